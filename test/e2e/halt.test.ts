import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HaltRow } from '../../src/model/halt.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { leaksOf } from '../support/leaks.ts';
import {
  peek,
  refused,
  rehearse,
  sessionOf,
  supervisorPid,
  turnsOf,
  untilSession,
  untilTalking,
} from '../support/peek.ts';
import { until } from '../support/until.ts';

interface Halted {
  halt: HaltRow;
  is_new: boolean;
  stopped: { name: string; state: string; process_gone: boolean }[];
  paused_plans: { name: string }[];
}

const HANG = { turns: [[{ say: 'at work' }, 'hang'], [{ say: 'resumed' }]] };
const live = (bench: Bench) =>
  peek<{ name: string }>(bench, 'SELECT name FROM sessions WHERE ended_at IS NULL').map(({ name }) => name);
const markers = (bench: Bench) =>
  peek<{ marker: string }>(bench, 'SELECT marker FROM turns').map(({ marker }) => marker);

/** The supervisor has looked at the database after everything that was written before. */
async function nextSync(bench: Bench): Promise<void> {
  const before = supervisorPid(bench);
  for (let i = 0; i < 4; i++) {
    expect((await bench.run(['up'])).code).toBe(0);
    await Bun.sleep(300);
  }
  expect(supervisorPid(bench)).toBe(before);
}

test('leads that sling in a tight loop are stopped whole: nobody lives after stop --all, nor after the next look (O-77)', async () => {
  const bench = droverBench({ config: { max_children: 1_000, max_live_sessions: 30 } });
  const child = bench.script('child', HANG);
  const loop = `while :; do "$DROVER_BIN" sling --harness rehearsal 'rehearsal-script: ${child}'; done`;
  for (const name of ['one', 'two', 'three'])
    await rehearse(bench, name, { turns: [[{ run: loop }, 'hang']] }, ['--role', 'lead']);
  await until('there are many', () => live(bench).length >= 15, 60_000);
  const halted = await bench.json<Halted>(['stop', '--all', '--reason', 'runaway']);
  expect(halted).toMatchObject({ is_new: true, halt: { halted_by: 'operator', reason: 'runaway' } });
  expect(halted.stopped.length).toBeGreaterThanOrEqual(15);
  expect(halted.stopped.every(({ state, process_gone }) => state === 'stopped' && process_gone)).toBe(true);
  expect(live(bench)).toEqual([]);
  await nextSync(bench);
  expect(live(bench)).toEqual([]);
  const left = markers(bench).flatMap((marker) => leaksOf(marker));
  expect(left).toEqual([]);

  // A person is not kept from it, and is told; what that one starts itself is refused.
  const script = {
    turns: [[{ run: '"$DROVER_BIN" sling --harness rehearsal more; echo "code $?"' }, { say: 'done' }]],
  };
  const task = `rehearse\nrehearsal-script: ${bench.script('own', script)}`;
  const own = await bench.run(['sling', '--harness', 'rehearsal', '--role', 'lead', '--name', 'own', '-'], {
    stdin: task,
  });
  expect([own.code, own.stderr]).toEqual([
    0,
    'everything is halted (runaway): this starts all the same; nothing else does until `drover resume --all`\n',
  ]);
  await untilSession(bench, 'own', ({ ended_at }) => ended_at !== null);
  expect(live(bench)).toEqual([]);
  expect((await bench.run(['logs', 'own'])).stdout).toContain('[halted]');
}, 150_000);

function planFile(bench: Bench): string {
  const path = join(bench.home, 'three.yaml');
  const step = (id: string) => `  - id: ${id}
    task: |
      Do it.
      rehearsal-script: |
        turns:
          - - say: at work
            - wait_for_file: ${join(bench.home, 'go')}
          - - say: resumed
`;
  const head =
    'name: three\nconcurrency: 1\non_failure: stop\ndefaults: {harness: rehearsal, worktree: false}\nsteps:\n';
  writeFileSync(path, head + ['a', 'b', 'c'].map(step).join(''));
  return path;
}

test('of a plan nothing starts after stop --all, though the supervisor dies with it; resume --all goes on (O-77, C-12)', async () => {
  const bench = droverBench();
  const plan = planFile(bench);
  expect((await bench.run(['plan', 'run', plan, '--detach'])).code).toBe(0);
  await until(
    'the first step works',
    () => peek(bench, "SELECT 1 FROM sessions WHERE name = 'a'").length === 1,
    30_000,
  );
  await untilTalking(bench, 'a');
  const halted = await bench.run(['stop', '--all']);
  expect([halted.code, halted.stdout]).toEqual([
    0,
    'a: working → stopped\nplan three: paused\nhalted: nothing starts by itself until `drover resume --all`\n',
  ]);
  process.kill(supervisorPid(bench), 'SIGKILL');
  expect((await bench.run(['up'])).code).toBe(0);
  await nextSync(bench);
  expect(peek(bench, 'SELECT step_id, state FROM plan_steps ORDER BY step_id')).toEqual([
    { step_id: 'a', state: 'running' },
    { step_id: 'b', state: 'pending' },
    { step_id: 'c', state: 'pending' },
  ]);
  expect(live(bench)).toEqual([]);

  const first = async (...args: string[]) => (await bench.run(args)).stdout.split('\n')[0];
  const line = /^HALTED .+ ago by operator \(operator\): nothing starts by itself until `drover resume --all`$/;
  for (const args of [['status'], ['ps'], ['plan', 'show', 'three']]) expect(await first(...args)).toMatch(line);
  expect(await first('doctor', '--quick')).toMatch(/^warning +halt +everything was halted/);
  expect(await first('report', 'three')).toContain('PARKED, everything is halted until drover resume --all');
  expect((await bench.json<{ halt: HaltRow }>(['status'])).halt).toMatchObject({ halted_by: 'operator' });
  const advice = await refused(bench, ['plan', 'resume', 'three'], [3, 'halted']);
  expect(advice.recovery_commands).toEqual(['drover resume --all']);
  await refused(bench, ['plan', 'run', plan, '--detach'], [3, 'halted']);
  await refused(bench, ['dispatch', 'run'], [3, 'halted']);

  writeFileSync(join(bench.home, 'go'), '');
  const resumed = await bench.run(['resume', '--all']);
  expect([resumed.code, resumed.stdout]).toEqual([0, 'the halt is lifted\nplan three: goes on\n  a: goes on\n']);
  await until('the plan has ended', () => peek(bench, 'SELECT 1 FROM plans WHERE ended_at IS NOT NULL').length, 60_000);
  expect(peek(bench, 'SELECT state, reason FROM plans')).toEqual([{ state: 'completed', reason: null }]);
  expect(sessionOf(bench, 'a')).toMatchObject({ state: 'completed', turn: 2 });
  expect((await bench.json<{ halt: null }>(['status'])).halt).toBeNull();
}, 150_000);

test('sessions named one by one, and those that a session stops, are no halt (O-77)', async () => {
  const bench = droverBench();
  await rehearse(bench, 'a', HANG);
  await untilTalking(bench, 'a');
  expect((await bench.run(['stop', 'a'])).code).toBe(0);
  await rehearse(bench, 'boss', { turns: [[{ run: '"$DROVER_BIN" stop --all' }, { say: 'done' }]] }, [
    '--role',
    'coordinator',
  ]);
  await until('its turn is over', () => turnsOf(bench, 'boss')[0]?.ended_at, 30_000);
  expect(peek(bench, 'SELECT * FROM halts')).toEqual([]);
}, 60_000);
