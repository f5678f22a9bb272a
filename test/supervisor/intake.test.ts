import { expect, test } from 'bun:test';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rehearsal } from '../../src/harness/rehearsal.ts';
import { AppError } from '../../src/model/error.ts';
import type { Harness } from '../../src/model/harness.ts';
import { listActivity } from '../../src/store/activity.ts';
import { listEvents } from '../../src/store/event.ts';
import { Intake } from '../../src/supervisor/intake.ts';
import { type Prices, RunningTurn } from '../../src/supervisor/running.ts';
import { seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

/** An adapter with a bug: half a token breaks the row. */
const BROKEN: Harness = {
  ...rehearsal,
  parse: () => [
    {
      type: 'usage',
      mode: 'add',
      tokens: { input_tokens: 0.5, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0 },
    },
  ],
};

async function running(
  world: TestStore,
  name: string,
  harness: Harness,
  lines: string[],
  place: { repo_root?: string; working_dir?: string } = {},
  prices: Prices | null = null,
): Promise<RunningTurn> {
  const row = await seedSession(world, { name, ...place });
  const { session, turn } = await takeTurn(world, row.id);
  mkdirSync(turn.dir, { recursive: true });
  writeFileSync(join(turn.dir, 'stdout.jsonl'), lines.map((line) => `${line}\n`).join(''));
  return new RunningTurn({
    session,
    row: turn,
    harness,
    identity: null,
    max_line_bytes: 1 << 20,
    prices,
  });
}

const text = (n: number) => JSON.stringify({ type: 'text', text: `line ${n}` });

test('lines that break the row cost their turn its events and nobody else anything', async () => {
  const world = await testStore();
  const good = await running(world, 'good', rehearsal, [text(1), text(2)]);
  const bad = await running(world, 'bad', BROKEN, [text(1), text(2), text(3)]);
  const after = await running(world, 'after', rehearsal, [text(1)]);
  const intake = new Intake(world.store, world.clock);
  await intake.take([good, bad, after], true);
  const texts = async (turn: RunningTurn) =>
    (await listEvents(world.store, { session_id: turn.key })).filter(({ type }) => type === 'text').length;
  expect([await texts(good), await texts(bad), await texts(after)]).toEqual([2, 0, 1]);
  expect(bad.row).toMatchObject({ malformed: 3, lines: 3, stdout_offset: 3 * (text(1).length + 1) });
  // Once more: nothing is doubled, and what is appended is read on.
  await intake.take([good, bad, after], true);
  expect([await texts(good), await texts(after)]).toEqual([2, 1]);
  expect(bad.row.malformed).toBe(3);
  for (const turn of [good, bad, after]) turn.close();
});

test('a stream that was closed to us is read to its end at the end of its turn, and only then', async () => {
  const world = await testStore();
  const turn = await running(world, 'closed', rehearsal, [text(1)]);
  const intake = new Intake(world.store, world.clock);
  turn.read = () => {
    throw new AppError('refused', 'permission_denied', 'cannot read stdout.jsonl');
  };
  await intake.take([turn], false);
  await intake.take([turn], true);
  expect(turn.dirty).toBe(false);
  turn.read = () => {
    throw new AppError('unavailable', 'too_many_open_files', 'cannot read stdout.jsonl');
  };
  // What passes is waited out: the rest of the stream may say how the turn ended.
  await expect(intake.take([turn], true)).rejects.toMatchObject({ code: 'too_many_open_files' });
  turn.close();
});

test('a file that a tool reached by a link is stored by its own name (E-142)', async () => {
  const world = await testStore();
  const root = tempDir('checkout');
  mkdirSync(join(root, 'real'));
  symlinkSync('real', join(root, 'lnk'));
  const touching: Harness = {
    ...rehearsal,
    parse: () => [
      {
        ...{ type: 'tool_use', tool: 'Edit', tool_id: null, input: '{}' },
        files: [{ path: join(root, 'lnk/x'), action: 'modify' }],
      },
    ],
  };
  const turn = await running(world, 'linked', touching, [text(1)], { repo_root: root, working_dir: root });
  await new Intake(world.store, world.clock).take([turn], true);
  const activity = await listActivity(world.store, { session_id: turn.key, limit: 9 });
  expect(activity.map(({ path }) => path)).toEqual(['real/x']);
  turn.close();
});

test('tokens cost what the table says of the model that the harness names, else of the one it was asked for', async () => {
  const world = await testStore();
  const said = (model: string | null) =>
    JSON.stringify({ type: 'session', native_session_id: 'n', model, version: null });
  const tokens = {
    input_tokens: 10,
    output_tokens: 0,
    cache_read_tokens: 0,
    cache_write_tokens: 0,
    reasoning_tokens: 0,
  };
  const usage = JSON.stringify({ type: 'usage', mode: 'turn', tokens });
  const prices = { table: { named: { input: 3, output: 0 }, asked: { input: 7, output: 0 } }, models: [null, 'asked'] };
  const costOf = async (name: string, model: string | null, of: Prices | null) => {
    const turn = await running(world, name, rehearsal, [said(model), usage], {}, of);
    await new Intake(world.store, world.clock).take([turn], true);
    turn.close();
    return [turn.row.cost_micros, turn.row.is_cost_estimated];
  };
  expect(await costOf('one', 'named', prices)).toEqual([30, 1]);
  expect(await costOf('two', null, prices)).toEqual([70, 1]);
  expect(await costOf('three', 'unheard-of', { ...prices, models: ['unknown'] })).toEqual([null, 0]);
  expect(await costOf('four', 'named', null)).toEqual([null, 0]);
});

test('turns that end at the same moment are written together, and the trouble of one is not that of the others', async () => {
  const world = await testStore();
  let writes = 0;
  const store = new Proxy(world.store, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (key === 'write') writes += 1;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const turns = [];
  for (const name of ['one', 'two', 'three'])
    turns.push(await running(world, name, rehearsal, [text(1), text(2)], { working_dir: tempDir() }));
  const intake = new Intake(store, world.clock);
  await Promise.all(turns.map((turn) => intake.takeRest(turn)));
  expect([writes, ...turns.map(({ row }) => row.lines)]).toEqual([1, 2, 2, 2]);
  const [good, bad] = [
    await running(world, 'good', rehearsal, [text(1)]),
    await running(world, 'bad', rehearsal, [text(1)]),
  ];
  bad.read = () => {
    throw new AppError('unavailable', 'too_many_open_files', 'cannot read stdout.jsonl');
  };
  const ends = await Promise.allSettled([good, bad].map((turn) => intake.takeRest(turn)));
  expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  expect([good.row.lines, good.dirty, bad.row.lines, bad.dirty]).toEqual([1, false, 0, true]);
  for (const turn of [...turns, good, bad]) turn.close();
});
