import { expect, test } from 'bun:test';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { findHarness } from '../../src/harness/registry.ts';
import type { EventRow } from '../../src/model/event.ts';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { Transcript } from '../../src/session/transcript.ts';
import { listEvents } from '../../src/store/event.ts';
import { Intake } from '../../src/supervisor/intake.ts';
import { RunningTurn } from '../../src/supervisor/running.ts';
import { turnFiles } from '../../src/sys/turn-files.ts';
import { endTurn, seedSession, type TakenTurn, type TestStore, takeTurn, testStore } from '../support/store.ts';

const long = (word: string) => `${word} `.repeat(500);
const block = (word: string) => ({ type: 'text', text: long(word) });

/** Lines as Claude Code writes them: several texts in one, characters of several bytes, short ones between. */
const LINES = [
  { type: 'assistant', message: { content: [block('häuser'), { type: 'text', text: 'kurz' }, block('brücken')] } },
  { type: 'assistant', message: { content: [{ type: 'tool_use', id: 't', name: 'Bash', input: { c: long('ls') } }] } },
  { type: 'user', message: { content: [{ type: 'tool_result', tool_use_id: 't', content: 'x'.repeat(70_000) }] } },
  // The same head as before: only the place within the line tells them apart.
  { type: 'assistant', message: { content: [block('same'), { type: 'text', text: `${long('same')}but longer` }] } },
].map((line) => JSON.stringify(line));

/** A turn of the harness `id` whose output was read into the store the way the supervisor does it. */
async function told(lines: readonly string[]): Promise<{ world: TestStore; taken: TakenTurn; stdout: string }> {
  const world = await testStore();
  const row = await seedSession(world, { name: 'teller', harness: 'claude' });
  return { world, ...(await tell(world, row.id, lines)) };
}

async function tell(world: TestStore, id: string, lines: readonly string[]) {
  const taken = await takeTurn(world, id);
  mkdirSync(taken.turn.dir, { recursive: true });
  const stdout = turnFiles(taken.turn.dir).stdout;
  writeFileSync(stdout, lines.join('\n'));
  const harness = findHarness('claude', {});
  const { session, turn } = taken;
  const at = { identity: null, max_line_bytes: 1 << 20 };
  const running = new RunningTurn({ session, row: turn, harness, ...at });
  await new Intake(world.store, world.clock).take([running], true);
  running.close();
  return { taken, stdout };
}

const said = (lines: readonly string[]) => lines.flatMap((line) => findHarness('claude', {}).parse(line) ?? []);

async function shown({ world, taken }: { world: TestStore; taken: TakenTurn }) {
  const stored = await listEvents(world.store, { session_id: taken.session.id });
  const rows = await new Transcript(world.store, taken.session, world.deps.env).whole(stored);
  expect(rows.map(({ seq }) => seq)).toEqual(stored.map(({ seq }) => seq));
  const own = (row: EventRow) => row.line_offset !== null;
  const event = (row: EventRow) => ({ type: row.type, ...JSON.parse(row.data_json) });
  return { stored: stored.filter(own), events: rows.filter(own).map(event) as (HarnessEvent & { is_cut?: true })[] };
}

test('every event is shown as the adapter made it, whatever its row has kept', async () => {
  const world = await told(LINES);
  const { stored, events } = await shown(world);
  expect(events).toEqual(said(LINES));
  expect(Math.max(...stored.map(({ data_json }) => data_json.length))).toBeLessThan(400);
});

test('turns have files of their own', async () => {
  // One line, so that the next thing to be looked up is at the same place of another file.
  const first = LINES.slice(0, 1);
  const world = await told(first);
  await endTurn(world.world, world.taken, { ok: false });
  const again = [JSON.stringify({ type: 'assistant', message: { content: [block('again')] } }), ...LINES];
  await tell(world.world, world.taken.session.id, again);
  const { events } = await shown(world);
  expect(events.slice(0, said(first).length)).toEqual(said(first));
  expect(events.slice(-said(again).length)).toEqual(said(again));
});

test('when the file is gone, cut or another one, the head stays, marked and with an ellipsis', async () => {
  const world = await told(LINES);
  const changes = [
    () => rmSync(world.stdout),
    () => writeFileSync(world.stdout, ''),
    () => writeFileSync(world.stdout, `${LINES.join('\n').replaceAll('a', 'o')}`),
    () => writeFileSync(world.stdout, LINES.join('\n').slice(0, 100)),
    () => writeFileSync(world.stdout, 'x'.repeat(3_000_000)),
    () => {
      rmSync(world.stdout);
      // Opening a pipe would wait for a writer for ever.
      expect(Bun.spawnSync(['mkfifo', world.stdout]).exitCode).toBe(0);
    },
    () => renameSync(world.taken.turn.dir, `${world.taken.turn.dir}-elsewhere`),
  ];
  for (const change of changes) {
    change();
    const { events } = await shown(world);
    const [first, second] = events;
    expect(first).toEqual({ type: 'text', text: `${long('häuser').slice(0, 200)}…`, is_cut: true });
    expect(second).toEqual({ type: 'text', text: 'kurz' });
  }
});

test('an adapter that has left the config leaves the heads', async () => {
  const world = await told(LINES);
  const session = { ...world.taken.session, harness: 'gone-away' };
  const { events } = await shown({ world: world.world, taken: { ...world.taken, session } });
  expect(events[0]).toMatchObject({ is_cut: true });
});
