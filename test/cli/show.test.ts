import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { droverBench } from '../support/drover.ts';
import { CLEAN_EVENTS, endTurn, feedTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

interface Shown {
  schema_version: number;
  session: Record<string, unknown>;
  turns: Record<string, unknown>[];
  mail: { direction: string; state: string; type: string; to_name: string }[];
  state_log: { to_state: string }[];
  children: { name: string }[];
  parent: { name: string } | null;
  files: string | null;
}

/** A bench that reads a store filled through its own API. */
async function filled() {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  return { world, bench };
}

async function seedChildren(world: TestStore, parent_id: string): Promise<void> {
  for (let n = 1; n <= 7; n += 1) {
    await seedSession(world, { name: `child-${n}`, parent_id });
    world.clock.advance(1);
  }
}

test('show tells one session whole: turns, mail both ways, states, parent and children (E-167)', async () => {
  const { world, bench } = await filled();
  const lead = await seedSession(world, { name: 'lead-1', task: 'lead the herd' });
  const turn = await takeTurn(world, lead.id);
  await feedTurn(world, turn, CLEAN_EVENTS.slice(0, 2));
  await seedChildren(world, lead.id);
  await endTurn(world, await takeTurn(world, (await bench.session('child-1')).id));
  const shown = await bench.json<Shown>(['show', 'lead-1']);
  expect(shown).toMatchObject({
    schema_version: 1,
    parent: null,
    session: { name: 'lead-1', state: 'working', turn: 1 },
  });
  expect(shown.session).not.toHaveProperty('token_hash');
  expect(shown.turns).toEqual([expect.objectContaining({ turn: 1, outcome: null, events: 2 })]);
  expect(shown.turns[0]).not.toHaveProperty('marker');
  expect(shown.mail.map(({ direction, type, state }) => ({ direction, type, state }))).toEqual([
    { direction: 'in', type: 'task', state: 'in turn 1' },
  ]);
  expect(shown.state_log.map((row) => row.to_state)).toEqual(['queued', 'booting', 'working']);
  expect(shown.children.map((row) => row.name)).toEqual([1, 2, 3, 4, 5, 6, 7].map((n) => `child-${n}`));
  const child = await bench.json<Shown>(['show', 'child-1']);
  expect(child).toMatchObject({
    parent: { name: 'lead-1' },
    session: { state: 'completed', result_text: 'the result' },
  });
  expect(child.mail.map((row) => row.state)).toEqual(['read']);
});

test('show for people has its lines in the order of E-169, at most five children, and no control characters', async () => {
  const { world, bench } = await filled();
  const lead = await seedSession(world, { name: 'lead-1', task: 'evil \u001b[31mred\u001b[0m \u202etask' });
  await seedChildren(world, lead.id);
  await endTurn(world, await takeTurn(world, lead.id), { ok: false });
  const { code, stdout, stderr } = await bench.run(['show', 'lead-1']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const labels = stdout
    .split('\n\n')[0]
    ?.split('\n')
    .map((line) => line.split(/ {2,}/)[0]);
  expect(labels).toEqual([
    'Session',
    'Task',
    'Role',
    'Harness',
    'State',
    'Directory',
    'Tokens',
    'Tools',
    'Cost',
    'Last event',
    'Children',
    'Created',
    'Updated',
  ]);
  expect(stdout).toContain('child-5');
  expect(stdout).not.toContain('child-6');
  expect(stdout).toContain('and 2 more');
  expect(stdout).toMatch(/1 +crashed +exit 1 +1 /);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  expect(stdout).not.toMatch(/[\u001b\u202e]/);
});

test('show of nobody is 4, also before anything was stored, and creates nothing (H-09)', async () => {
  const bench = droverBench();
  const ran = await bench.run(['show', 'nobody', '--json']);
  expect({ code: ran.code, error: JSON.parse(ran.stdout).error.code }).toEqual({ code: 4, error: 'session_not_found' });
  expect(existsSync(bench.drover_home)).toBe(false);
});
