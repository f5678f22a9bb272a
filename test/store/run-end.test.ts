import { Database } from 'bun:sqlite';
import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { OPERATOR, SYSTEM } from '../../src/model/mail.ts';
import { recover } from '../../src/session/control.ts';
import { stopSession } from '../../src/store/control.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { openStore } from '../../src/store/open.ts';
import { completeRun, ensureRun, findRun } from '../../src/store/run.ts';
import { MIGRATIONS } from '../../src/store/schema.ts';
import { getSession, listSessions } from '../../src/store/session.ts';
import { abortTurn, endSession } from '../../src/store/settle.ts';
import type { Store } from '../../src/store/store.ts';
import { buryTurn } from '../../src/store/watch-act.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { endTurn, seedSession, type TestStore, takeTurn, testStore, verdictOf } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

interface RunWorld {
  world: TestStore;
  run_id: string;
  /** A session of the run, by name. */
  add: (name: string, more?: { role?: string; is_persistent?: number }) => Promise<string>;
}

async function runWorld(): Promise<RunWorld> {
  const world = await testStore();
  const run_id = await world.store.write((tx) => ensureRun(tx, 'nightly', 1));
  const add: RunWorld['add'] = async (name, more = {}) => (await seedSession(world, { run_id, name, ...more })).id;
  return { world, run_id, add };
}

const chief = { role: 'coordinator', is_persistent: 1 };

/** What drover has said of the run's end, and to whom. */
async function said({ store }: TestStore): Promise<{ to: string; subject: string }[]> {
  const all = (await listMail(store, {})).filter((mail) => mail.from_name === SYSTEM && mail.type === 'status');
  return all.map(({ to_name, subject }) => ({ to: to_name, subject }));
}

const done = async (world: TestStore, id: string) => endTurn(world, await takeTurn(world, id));
const stop = (store: Store, session_id: string) =>
  stopSession(store, { session_id, actor: 'cli', reason: 'enough', now: 5 });

const COMPLETED = 'Run nightly: all sessions have completed';

test('the coordinator hears once, with the last end, that all have completed (O-72)', async () => {
  const { world, run_id, add } = await runWorld();
  const coordinator = await add('chief', chief);
  const [a, b] = [await add('a'), await add('b')];
  await done(world, a);
  expect(await said(world)).toEqual([]);
  expect((await findRun(world.store, run_id)).notified_at).toBeNull();
  await done(world, b);
  expect(await said(world)).toEqual([{ to: 'chief', subject: COMPLETED }]);
  const [, mail] = await listMail(world.store, { to_id: coordinator });
  expect(mail?.body).toContain(run_id);
  expect(JSON.parse(mail?.payload_json ?? '')).toMatchObject({ run: run_id, total: 2, completed: 2, zombie: 0 });
  const { notified_at, status } = await findRun(world.store, run_id);
  expect([notified_at !== null, status]).toEqual([true, 'active']);
});

test('the last two end at once on two connections: one mail (O-72, I17)', async () => {
  for (let round = 0; round < 10; round += 1) {
    const { world, add } = await runWorld();
    await add('chief', chief);
    const ids = [await add('a'), await add('b')];
    const stores = [await world.second(), await world.second()] as const;
    await Promise.all(ids.map((id, i) => stop(stores[i % 2] ?? world.store, id)));
    expect(await said(world)).toHaveLength(1);
  }
});

test('a run is announced once, whatever starts, ends or is resumed in it later (O-72, I17)', async () => {
  const { world, run_id, add } = await runWorld();
  await stop(world.store, await add('early'));
  const { notified_at } = await findRun(world.store, run_id);
  await done(world, await add('late'));
  expect(await said(world)).toHaveLength(1);
  expect((await findRun(world.store, run_id)).notified_at).toBe(notified_at);
});

test('persistent sessions neither hold it up nor are counted, and their end announces nothing (O-72, CX-52)', async () => {
  const { world, add } = await runWorld();
  await add('chief', chief);
  const monitor = await add('guard', { role: 'monitor', is_persistent: 1 });
  await stop(world.store, monitor);
  expect(await said(world)).toEqual([]);
  await done(world, await add('a'));
  expect(await said(world)).toEqual([{ to: 'chief', subject: COMPLETED }]);
});

test('a session of another run, or of none, says nothing of this one (O-72)', async () => {
  const { world, add } = await runWorld();
  await add('a');
  await done(world, (await seedSession(world, { name: 'stranger' })).id);
  const other = await world.store.write((tx) => ensureRun(tx, 'other', 1));
  await done(world, (await seedSession(world, { name: 'guest', run_id: other })).id);
  expect(await said(world)).toEqual([{ to: OPERATOR, subject: 'Run other: all sessions have completed' }]);
});

test('a run that somebody has ended already is not announced (O-72)', async () => {
  const { world, run_id, add } = await runWorld();
  const id = await add('a');
  await completeRun(world.store, { id: run_id, status: 'failed', now: 2 });
  await done(world, id);
  expect(await said(world)).toEqual([]);
});

test('who takes over from a persistent session is persistent (O-72, CX-52)', async () => {
  const { world, add } = await runWorld();
  const id = await add('chief', chief);
  await stop(world.store, id);
  const ended = await getSession(world.store, id);
  if (ended === null) throw new Error('no such session');
  const heir = await recover(world.deps, { name: OPERATOR, session: null }, ended, undefined);
  expect(heir).toMatchObject({ recovered_from: id, run_id: ended.run_id, is_persistent: 1 });
});

test('in a home of the first schema the roles that came with drover say who is persistent (O-72)', async () => {
  const path = join(tempDir(), 'drover.db');
  const db = new Database(path);
  db.run(MIGRATIONS[0] ?? '');
  db.run('PRAGMA user_version = 1');
  const columns =
    'id, name, role, harness, task, project, task_group, repo_root, working_dir, state, created_at, updated_at';
  for (const role of ['coordinator', 'builder'])
    db.run(
      `INSERT INTO sessions (${columns}) VALUES ('${role}', '${role}', '${role}', 'h', 't', 'p', 'g', '/', '/', 'idle', 1, 1)`,
    );
  db.close();
  const gate = { tryEnter: () => () => undefined };
  const store = await openStore({ path, durability: 'normal', clock: systemClock, gate });
  const rows = await listSessions(store, {}, ['id', 'is_persistent']);
  store.close();
  expect(Object.fromEntries(rows.map((row) => [row.id, row.is_persistent]))).toEqual({ coordinator: 1, builder: 0 });
});

describe('who hears it', () => {
  test('nobody coordinates: the operator (O-72)', async () => {
    const { world, add } = await runWorld();
    await done(world, await add('a'));
    expect(await said(world)).toEqual([{ to: OPERATOR, subject: COMPLETED }]);
  });

  test('the coordinator has ended: the operator; an older one lives: that one (O-72)', async () => {
    for (const [names, to] of [
      [['gone'], OPERATOR],
      [['older', 'gone'], 'older'],
    ] as const) {
      const { world, add } = await runWorld();
      const ids = [];
      for (const name of names) {
        ids.push(await add(name, chief));
        world.clock.advance(10);
      }
      const worker = await add('a');
      await stop(world.store, ids.at(-1) ?? '');
      await done(world, worker);
      expect(await said(world)).toEqual([{ to, subject: COMPLETED }]);
    }
  });
});

describe('however the last one ends', () => {
  const ENDS: Record<string, { end: (world: TestStore, id: string) => Promise<unknown>; how: string }> = {
    'by a clean turn': { end: done, how: 'have completed' },
    'by a turn that crashed for good': {
      end: async (world, id) => endTurn(world, await takeTurn(world, id), { ok: false, settle: { max_attempts: 1 } }),
      how: 'have terminated (0 completed, 0 zombie, 1 failed, 0 stopped)',
    },
    'stopped by a person': {
      end: (world, id) => stop(world.store, id),
      how: 'have terminated (0 completed, 0 zombie, 0 failed, 1 stopped)',
    },
    'by a process that could not be started': {
      end: async (world, id) => {
        const { turn } = (await takeTurn(world, id)).turn;
        await abortTurn(world.store, { session_id: id, turn, reason: 'no such program', now: 5 });
      },
      how: 'have terminated (0 completed, 0 zombie, 1 failed, 0 stopped)',
    },
    'failed before its first turn': {
      end: (world, session_id) =>
        endSession(world.store, {
          session_id,
          event: 'fail',
          actor: 'supervisor',
          fence: 0,
          reason: 'r',
          died: true,
          now: 5,
        }),
      how: 'have terminated (0 completed, 0 zombie, 1 failed, 0 stopped)',
    },
    'buried by the watchdog': {
      end: async (world, session_id) => {
        const { turn } = await takeTurn(world, session_id);
        const verdict = verdictOf({ session_id, turn: turn.turn });
        const end = { reason: 'stuck', terminated_by: 'tier0', notify_parent: true } as const;
        await buryTurn(world.store, { verdict, events: null, rung: { level: 0, cause: 'silent' } }, end);
      },
      how: 'have terminated (0 completed, 1 zombie, 0 failed, 0 stopped)',
    },
  };

  test.each(Object.entries(ENDS))('%s (O-72)', async (_name, { end, how }) => {
    const { world, add } = await runWorld();
    await end(world, await add('a'));
    expect(await said(world)).toEqual([{ to: OPERATOR, subject: `Run nightly: all sessions ${how}` }]);
  });

  test('mixed ends are counted by kind (O-72)', async () => {
    const { world, add } = await runWorld();
    const last = await add('last');
    for (const { end } of Object.values(ENDS)) {
      await end(world, await add('one'));
      expect(await said(world)).toEqual([]);
    }
    await done(world, last);
    const how = 'have terminated (2 completed, 1 zombie, 3 failed, 1 stopped)';
    expect(await said(world)).toEqual([{ to: OPERATOR, subject: `Run nightly: all sessions ${how}` }]);
  });
});
