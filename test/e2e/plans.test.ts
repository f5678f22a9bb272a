import { expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PlanRow } from '../../src/model/plan.ts';
import type { StepRow } from '../../src/model/plan-step.ts';
import { droverBench } from '../support/drover.ts';
import { peek } from '../support/peek.ts';
import { until } from '../support/until.ts';

const step = (id: string, more: string, ...acts: string[]) => `  - id: ${id}
    ${more}
    task: |
      Do it.
      rehearsal-script: |
        turns:
          - - ${acts.join('\n            - ')}
`;

test('a plan of a fan and a join ends as it should although its supervisor is killed in the middle (C-12, I9)', async () => {
  const bench = droverBench();
  const go = join(bench.home, 'go');
  const plan = join(bench.home, 'fan.yaml');
  writeFileSync(
    plan,
    [
      'name: fan\ndefaults: {harness: rehearsal, worktree: false}\nsteps:\n',
      step('left', 'outputs: {said: answer}', 'say: from the left'),
      step(
        'right',
        'outputs: {file: right.txt}',
        `wait_for_file: ${go}`,
        'write: {path: right.txt, content: from the right}',
      ),
      '  - id: join\n    needs: [left, right]\n    inputs: {both: "{{ steps.left.outputs.said }} and {{ steps.right.outputs.file }}"}\n',
      '    task: "Join {{ inputs.both }}."\n',
    ].join(''),
  );
  const ran = await bench.run(['plan', 'run', plan, '--detach', '--quiet']);
  expect([ran.code, ran.stderr]).toEqual([0, '']);
  const stateOf = (step_id: string) =>
    peek<StepRow>(bench, 'SELECT * FROM plan_steps WHERE step_id = :step_id', { step_id })[0];
  await until('the left one is done', () => stateOf('left')?.state === 'done', 30_000);
  const before = Number(readFileSync(join(bench.drover_home, 'run/supervisor.lock'), 'utf8').split('\n')[0]);
  expect(stateOf('right')?.state).toBe('running');
  process.kill(before, 'SIGKILL');
  writeFileSync(go, '');
  expect((await bench.run(['up'])).code).toBe(0);

  await until('it has ended', () => peek<PlanRow>(bench, 'SELECT * FROM plans')[0]?.ended_at, 30_000);
  expect(peek<PlanRow>(bench, 'SELECT * FROM plans')).toMatchObject([{ state: 'completed', reason: null }]);
  expect(peek(bench, 'SELECT name, state, turn, task FROM sessions ORDER BY name')).toMatchObject([
    { name: 'join', state: 'completed', turn: 1, task: 'Join from the left and from the right.' },
    { name: 'left', state: 'completed', turn: 1 },
    { name: 'right', state: 'completed', turn: 1 },
  ]);
  await until('its report is written', () => peek<PlanRow>(bench, 'SELECT * FROM plans')[0]?.reported_at, 30_000);
}, 120_000);

test('a night that failed by a red gate goes on in the morning, when a person has said what to change (C-12)', async () => {
  const bench = droverBench();
  const plan = join(bench.home, 'red.yaml');
  const go = join(bench.home, 'go');
  writeFileSync(
    plan,
    [
      'name: night\ndefaults: {harness: rehearsal, worktree: false}\nsteps:\n',
      step('red', `gate: "test -e ${go}"`, 'say: done'),
      step('after', 'needs: red', 'say: done as well'),
    ].join(''),
  );
  const ran = await bench.run(['plan', 'run', plan, '--wait', '--quiet']);
  expect(ran.code).toBe(1);
  expect(peek<StepRow>(bench, 'SELECT * FROM plan_steps ORDER BY position')).toMatchObject([
    { step_id: 'red', state: 'failed', outcome: 'gate' },
    { step_id: 'after', state: 'skipped', outcome: 'need_failed' },
  ]);
  expect((await bench.run(['plan', 'resume', 'night'])).stderr).toContain('drover resume SESSION');
  writeFileSync(go, '');
  const resumed = await bench.run(['resume', 'red', '--text', 'now it is there']);
  expect([resumed.code, resumed.stdout.trim()]).toEqual([
    0,
    'red: parked → queued; the plan night, which had failed, is open again with the step red',
  ]);
  const now = () => peek<PlanRow>(bench, 'SELECT * FROM plans')[0];
  await until('it has ended again', () => now()?.ended_at, 30_000);
  await until('its report is written again', () => now()?.reported_at, 30_000);
  expect(now()).toMatchObject({ state: 'completed', reason: null });
  expect(peek(bench, 'SELECT name, state FROM sessions ORDER BY name')).toMatchObject([
    { name: 'after', state: 'completed' },
    { name: 'red', state: 'completed' },
  ]);
  const [run] = peek<{ id: string }>(bench, 'SELECT id FROM runs');
  expect(readFileSync(join(bench.drover_home, `reports/${run?.id}.md`), 'utf8')).toContain('Done: all 2 steps done.');
}, 120_000);
