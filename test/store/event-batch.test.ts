import { Database } from 'bun:sqlite';
import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import type { EventRow } from '../../src/model/event.ts';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { appendEvent, lastEvents, listEvents } from '../../src/store/event.ts';
import { insertEvents } from '../../src/store/event-batch.ts';
import { openStore } from '../../src/store/open.ts';
import { MIGRATIONS } from '../../src/store/schema.ts';
import { EVENT_BATCHES } from '../../src/store/schema-events.ts';
import type { Store } from '../../src/store/store.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import { eventsOf, recordings } from '../harness/goldens.ts';
import { feedTurn, seedSession, takeTurn, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

/** `n` events of a session, as one write. */
async function say(store: Store, session_id: string, turn: number, n: number, from = 0): Promise<void> {
  const events = Array.from({ length: n }, (_, i) => ['text', 'info', from + i, { text: `${from + i}` }] as const);
  await store.write((tx) => insertEvents(tx, { session_id, turn, at: 7 }, events));
}

const view = (store: Store, session_id: string) =>
  store.read((tx) =>
    tx.all<EventRow>('SELECT * FROM events WHERE session_id = :session_id ORDER BY seq', { session_id }),
  );
const all = (store: Store, session_id: string) => listEvents(store, { session_id, limit: 1_000_000 });

describe('many events are one row, and every reader sees single ones', () => {
  test('what is listed, what the view shows and what was said are the same, of every kind (C-03)', async () => {
    const world = await testStore();
    const taken = await takeTurn(world, (await seedSession(world)).id);
    const said: HarnessEvent[] = [...recordings().flatMap(eventsOf), { type: 'custom', name: 'new' }];
    await feedTurn(world, taken, said);
    const listed = await all(world.store, taken.session.id);
    expect(await view(world.store, taken.session.id)).toEqual(listed);
    const own = listed.filter(({ line_offset }) => line_offset !== null);
    expect(own.map(({ type }) => type)).toEqual(said.map(({ type }) => type));
    expect(own.map(({ line_offset }) => line_offset)).toEqual(said.map((_, i) => i));
    expect([...new Set(own.map(({ level }) => level))].sort()).toEqual(['debug', 'error', 'info', 'warning']);
    expect(new Set(said.map(({ type }) => type)).size).toBeGreaterThan(9);
  });

  test('sessions that speak in turns share one numbering without gaps or doubles', async () => {
    const { store } = await testStore();
    const sizes = [1, 3000, 2, 1, 1, 17, 1024, 1025];
    for (const [i, n] of sizes.entries()) await say(store, i % 2 === 0 ? 'a' : 'b', 1, n, i * 10_000);
    const [a, b] = [await all(store, 'a'), await all(store, 'b')];
    const total = sizes.reduce((sum, n) => sum + n, 0);
    expect([...a, ...b].map(({ seq }) => seq).sort((x, y) => x - y)).toEqual(
      Array.from({ length: total }, (_, i) => i + 1),
    );
    for (const rows of [a, b]) {
      const offsets = rows.map(({ line_offset }) => line_offset ?? -1);
      expect(offsets).toEqual(offsets.toSorted((x, y) => x - y));
      expect(rows.every(({ data_json, line_offset }) => data_json === `{"text":"${line_offset}"}`)).toBe(true);
    }
    expect(await view(store, 'a')).toEqual(a);
    const rows = await store.read((tx) => tx.all<{ count: number }>('SELECT count FROM event_batches ORDER BY seq'));
    const full = (n: number) => Array.from({ length: n }, () => 256);
    expect(rows.map(({ count }) => count)).toEqual([1, ...full(11), 184, 2, 1, 1, 17, ...full(4), ...full(4), 1]);
  });

  test('who reads on from any event gets exactly what followed it, page by page, of one turn when asked', async () => {
    const { store } = await testStore();
    for (let i = 0; i < 90; i++) {
      await say(store, 'a', i < 45 ? 1 : 2, 1 + (i % 3), i * 10);
      await say(store, 'b', 1, 2);
    }
    await say(store, 'a', 2, 2_100, 10_000);
    const whole = await all(store, 'a');
    expect(whole).toHaveLength(180 + 2_100);
    for (const limit of [1, 7, 500]) {
      const pages: EventRow[] = [];
      for (let after_seq = 0; ; ) {
        const page = await listEvents(store, { session_id: 'a', after_seq, limit });
        if (page.length === 0 || pages.length > 300) break;
        pages.push(...page);
        after_seq = page.at(-1)?.seq ?? 0;
      }
      expect(pages).toEqual(whole.slice(0, pages.length));
      expect(pages.length).toBeGreaterThan(300);
    }
    const second = whole.filter(({ turn }) => turn === 2);
    const after_seq = second[30]?.seq ?? 0;
    expect(await listEvents(store, { session_id: 'a', turn: 2, after_seq, limit: 1_000 })).toEqual(
      second.slice(31, 1_031),
    );
    // From the last but one of a batch it takes parts of three.
    const late = { session_id: 'a', after_seq: whole[180 + 254]?.seq ?? 0, limit: 300 };
    expect(await listEvents(store, late)).toEqual(whole.slice(180 + 255, 180 + 555));
    expect(await listEvents(store, { session_id: 'a', turn: 3 })).toEqual([]);
    expect(await listEvents(store, { session_id: 'a', after_seq: whole.at(-1)?.seq ?? 0 })).toEqual([]);
    for (const limit of [1, 5, 2_099, 2_100, 2_150, 5_000])
      expect(await lastEvents(store, 'a', limit)).toEqual(whole.slice(-limit));
    expect(await lastEvents(store, 'nobody', 5)).toEqual([]);
  });

  test('asking by session opens no row of another one', async () => {
    const { store } = await testStore();
    const plan = await store.read((tx) =>
      tx.all<{ detail: string }>(
        "EXPLAIN QUERY PLAN SELECT * FROM events WHERE session_id = 'a' AND turn = 1 AND type = 'custom'",
      ),
    );
    expect(plan[0]?.detail).toBe('SEARCH b USING INDEX event_batches_by_session (session_id=?)');
  });
});

describe('events that were rows of their own', () => {
  const OLD = `INSERT INTO events (session_id, turn, type, level, line_offset, data_json, at) VALUES (?, ?, ?, ?, ?, ?, ?)`;
  const DATA = [
    '{}',
    '{"text":"a \\u0000 \\ud834 \\"quoted\\" 𝄞"}',
    '{"cost_micros":9007199254740991,"b":null}',
    '["x"]',
    '"y"',
  ];

  /** Opens it as the new version does, for as long as `work` takes. */
  async function opened(path: string, work: (store: Store) => Promise<void>): Promise<void> {
    const gate = openWriteGate(`${path}.gate`);
    const store = await openStore({ path, durability: 'normal', clock: systemClock, gate });
    await work(store);
    store.close();
    gate.close();
  }

  /** A database as it was before, with some events; their rows. */
  function before(path: string): EventRow[] {
    const db = new Database(path, { create: true, strict: true });
    const steps = MIGRATIONS.slice(0, MIGRATIONS.indexOf(EVENT_BATCHES));
    for (const step of steps) db.run(step);
    db.run(`PRAGMA user_version = ${steps.length}`);
    for (const [i, data] of DATA.entries())
      db.run(OLD, [
        `s${i % 2}`,
        i === 3 ? null : i,
        't',
        i === 2 ? 'error' : 'info',
        i === 0 ? null : i * 100,
        data,
        i,
      ]);
    db.run('DELETE FROM events WHERE seq = 2');
    const rows = db.query('SELECT * FROM events ORDER BY seq').all() as EventRow[];
    db.close();
    return rows;
  }

  test('keep every column and their numbers, and new ones follow (O-15)', async () => {
    const path = join(tempDir('batch'), 'drover.db');
    const old = before(path);
    expect(old.map(({ seq }) => seq)).toEqual([1, 3, 4, 5]);
    await opened(path, async (store) => {
      const both = async (read: typeof view) =>
        [...(await read(store, 's0')), ...(await read(store, 's1'))].sort((a, b) => a.seq - b.seq);
      expect(await both(all)).toEqual(old);
      expect(await both(view)).toEqual(old);
      await store.write((tx) => appendEvent(tx, { session_id: 's0', turn: 9, type: 'new', data: { a: 1 }, at: 50 }));
      expect((await all(store, 's0')).at(-1)).toMatchObject({ seq: 6, type: 'new', data_json: '{"a":1}' });
    });
  });

  test('what a supervisor of the version before still writes arrives as well', async () => {
    const path = join(tempDir('batch'), 'drover.db');
    before(path);
    const writer = new Database(path, { strict: true });
    const insert = writer.prepare(`${OLD}, (?8, ?9, ?10, ?11, ?12, ?13, ?14)`);
    await opened(path, async (store) => {
      const row = (offset: number) => ['s0', 5, 'text', 'info', offset, '{"text":"late"}', 60];
      insert.run(...row(1_000), ...row(1_001));
      writer.close();
      const late = (await all(store, 's0')).slice(-2);
      expect(late.map(({ seq, line_offset }) => [seq, line_offset])).toEqual([
        [6, 1_000],
        [7, 1_001],
      ]);
      expect(late[0]).toMatchObject({ turn: 5, type: 'text', level: 'info', data_json: '{"text":"late"}', at: 60 });
    });
  });
});
