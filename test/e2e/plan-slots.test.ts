import { expect, test } from 'bun:test';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Report } from '../../src/model/report.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { peek } from '../support/peek.ts';

const TASK = (...acts: string[]) =>
  [
    '      Do it.',
    '      rehearsal-script: |',
    '        turns:',
    '          - - say: at it',
    ...acts.map((act) => `            - ${act}`),
  ].join('\n');

const planOf = (name: string, steps: Record<string, string[]>) =>
  `name: ${name}\nconcurrency: 4\ndefaults: {harness: rehearsal, worktree: true, merge: none}\nsteps:\n${Object.entries(
    steps,
  )
    .map(([id, acts]) => `  - id: ${id}\n    task: |\n${TASK(...acts)}\n`)
    .join('')}`;

const clean = (id: string) => [`write: {path: own-${id}.txt, content: x}`, `commit: {message: ${id}}`];
const dirty = (id: string) => clean(id).slice(0, 1);

async function run(bench: Bench, name: string, steps: Record<string, string[]>) {
  const file = join(bench.home, `${name}.yaml`);
  writeFileSync(file, planOf(name, steps));
  return bench.run(['plan', 'run', file, '--wait', '--quiet']);
}

test('a plan with more branches than slots goes through; where work is left lying it parks, says so and goes on (E-012, CX-23)', async () => {
  const bench = droverBench({ config: { max_worktrees: 2, turn: { sigkill_delay_ms: 300 } } });
  expect(
    await run(bench, 'clean', Object.fromEntries(['a', 'b', 'c', 'd'].map((id) => [id, clean(id)]))),
  ).toMatchObject({ code: 0 });
  expect(peek(bench, "SELECT count(*) AS n FROM sessions WHERE state = 'completed'")).toEqual([{ n: 4 }]);
  expect(bench.git('for-each-ref', '--format=%(refname)', 'refs/heads').split('\n').length).toBe(5);

  expect((await run(bench, 'dirty', { e: dirty('e'), f: dirty('f'), g: clean('g') })).code).toBe(75);
  const reported = await bench.json<Report>(['report', '--format', 'json', 'dirty']);
  expect(reported).toMatchObject({
    verdict: 'parked',
    counts: { parked: 1, done: 2 },
    waiting: [{ step_id: 'g', reason: 'worktree', commands: ['drover worktree list', 'drover worktree clean'] }],
  });
  // Paused on top of that, nothing of it is at work either: nobody waits for it in vain.
  expect((await bench.run(['plan', 'pause', 'dirty'])).code).toBe(0);
  expect((await bench.run(['plan', 'run', 'dirty', '--wait', '--quiet'])).code).toBe(75);
  expect((await bench.run(['plan', 'resume', 'dirty'])).code).toBe(0);
  const { worktree_path: held } = peek<{ worktree_path: string }>(
    bench,
    "SELECT worktree_path FROM sessions WHERE name = 'e'",
  )[0] ?? {
    worktree_path: '',
  };
  rmSync(join(held, 'own-e.txt'));
  expect((await bench.run(['worktree', 'clean'])).code).toBe(0);
  expect((await bench.run(['plan', 'run', 'dirty', '--wait', '--quiet'])).code).toBe(0);
}, 120_000);
