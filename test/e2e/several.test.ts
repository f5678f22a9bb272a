import { beforeAll, expect, test } from 'bun:test';
import { type Bench, droverBench } from '../support/drover.ts';
import { peek, type Refusal, refused, rehearse, sessionOf, untilState, untilTalking } from '../support/peek.ts';

interface Results {
  paused?: { name: string; changed: boolean }[];
  resumed?: { name: string; changed: boolean }[];
  recovered?: { from: string; session: { id: string; name: string } }[];
  failed: { id: string; name: string; error: Refusal }[];
}

let bench: Bench;
const HANG = {
  turns: [
    [{ say: 'at work' }, 'hang'],
    [{ say: 'again' }, 'hang'],
  ],
};
const DONE = { turns: [[{ say: 'done' }]] };
const states = (...names: string[]) => names.map((name) => sessionOf(bench, name).state);
const sessions = () => peek(bench, 'SELECT id FROM sessions').length;
/** Several at once, as `--json`; the exit code is not part of the object. */
async function several(...args: string[]): Promise<Results & { code: number }> {
  const ran = await bench.run([...args, '--json']);
  return { code: ran.code, ...(JSON.parse(ran.stdout) as Results) };
}

/** The bad one first, in the middle and last. */
const orders = (bad: string, [x, y]: [string, string]) => [
  [bad, x, y],
  [x, bad, y],
  [x, y, bad],
];

beforeAll(async () => {
  bench = droverBench({ config: { turn: { max_attempts: 1, backoff_ms: 50, sigkill_delay_ms: 1_500 } } });
  for (const name of ['live-1', 'live-2']) await rehearse(bench, name, HANG);
  await rehearse(bench, 'over', DONE);
  for (const name of ['live-1', 'live-2']) await untilTalking(bench, name);
  await untilState(bench, 'over', 'completed');
}, 60_000);

test('one that cannot be paused, resumed or recovered, wherever it stands, refuses all of them before anything is done (CX-04)', async () => {
  const live: [string, string] = ['live-1', 'live-2'];
  for (const names of orders('over', live)) {
    const error = await refused(bench, ['pause', ...names], [3, 'session_ended']);
    expect([error.preserved, states(...live)]).toEqual(['nothing was done to any of them', ['working', 'working']]);
  }
  expect(await several('pause', ...live, 'live-1')).toMatchObject({ code: 0, paused: [{}, {}], failed: [] });
  for (const name of live) await untilState(bench, name, 'parked');
  for (const names of orders('over', live)) {
    await refused(bench, ['resume', ...names], [3, 'cannot_resume']);
    expect(states(...live)).toEqual(['parked', 'parked']);
  }
  await bench.run(['stop', ...live]);
  await rehearse(bench, 'lives', HANG);
  const before = sessions();
  for (const names of orders('lives', live)) await refused(bench, ['recover', ...names], [3, 'still_live']);
  expect(sessions()).toBe(before);
}, 90_000);

test('what shows only when it is done is told session by session; the others are done, and somebody is rung (CX-04)', async () => {
  for (const name of ['next-1', 'next-3']) await rehearse(bench, name, DONE);
  await rehearse(bench, 'next-2', HANG);
  for (const name of ['next-1', 'next-3']) await untilState(bench, name, 'completed');
  await untilTalking(bench, 'next-2');
  await bench.run(['stop', 'next-2']);
  const [first] = (await several('recover', 'next-2')).recovered ?? [];
  expect(first?.session.name).toBe('next-2');
  const old = first?.from ?? '';
  const all = await several('recover', 'next-1', old, 'next-3');
  expect(all.code).toBe(3);
  expect(all.recovered?.map(({ session }) => session.name)).toEqual(['next-1', 'next-3']);
  expect(all.failed).toMatchObject([{ id: old, error: { code: 'taken_over', preserved: 'next-2 is as it was' } }]);
  for (const one of all.recovered ?? []) await bench.until(one.session.id, ({ state }) => state === 'completed');
  const told = await bench.run(['recover', all.recovered?.[0]?.session.id ?? '', old]);
  expect(told.code).toBe(3);
  expect(told.stdout).toMatch(/^agent-\w+ {2}next-1 {2}takes over from agent-\w+\n$/);
  expect(told.stderr).toContain('error: next-2: next-2');
  expect(told.stderr).not.toContain('Safe: nothing');
}, 90_000);

test('pause --all, and at once resume --all, waits for a harness that shrugs it off; whoever ended is passed over (CX-04)', async () => {
  const own = droverBench({ config: { turn: { sigkill_delay_ms: 1_500 } } });
  const deaf = { turns: [[{ ignore_signals: ['TERM', 'INT', 'HUP'] }, { say: 'not me' }, 'hang'], [{ say: 'again' }]] };
  for (const name of ['deaf-1', 'deaf-2']) await rehearse(own, name, deaf);
  for (const name of ['deaf-1', 'deaf-2']) await untilTalking(own, name);
  expect((await own.run(['pause', '--all'])).code).toBe(0);
  const resumed = await own.run(['resume', '--all']);
  expect([resumed.code, resumed.stdout.split('\n').filter(Boolean).sort(), resumed.stderr]).toEqual([
    0,
    ['deaf-1: parked → queued', 'deaf-2: parked → queued'],
    '',
  ]);
  for (const name of ['deaf-1', 'deaf-2']) await untilState(own, name, 'completed');
  const nobody = await own.run(['pause', '--all']);
  expect([nobody.code, nobody.stdout]).toEqual([0, 'nothing is live\n']);
}, 90_000);
