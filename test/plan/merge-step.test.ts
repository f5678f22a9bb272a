import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mergeStep } from '../../src/plan/merge-step.ts';
import { prepareWorktree } from '../../src/session/worktree.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { commitFile, plainGit } from '../git/plain.ts';
import { type Field, field } from '../session/field.ts';
import { droverBench } from '../support/drover.ts';
import { look, sessionsOf, stepsOf, storePlanAt, work } from './run-field.ts';

const STEP = 'task: t, worktree: true, merge: queue';
const TWO = `name: night\nsteps:\n  - {id: a, ${STEP}}\n  - {id: b, ${STEP}}\n`;

/** A plan whose two steps have done their work and are being merged. */
async function merging(at: Field) {
  commitFile(at.repo, 'README.md', 'hello\n', 'readme');
  const plan = await storePlanAt(at.world, at.repo, TWO);
  await look(at.world, plan, at.deps);
  for (const { id, step_id } of await sessionsOf(at.world, plan)) {
    expect(await prepareWorktree(at.deps, await at.now({ id }))).toBe('ready');
    commitFile((await at.now({ id })).worktree_path ?? '', `${step_id}.txt`, 'x\n', step_id);
    await work(at.world, { id });
  }
  await look(at.world, plan, at.deps);
  const effects = (await sessionsOf(at.world, plan)).map(({ id, step_id, round }) => ({
    ...{ do: 'merge' as const, key: step_id, plan_id: plan.id, step_id, round, session_id: id },
  }));
  return { plan, effects };
}

test('a plan that waits for a person’s changes in the target’s checkout tells the operator, once', async () => {
  const at = await field();
  const { plan, effects } = await merging(at);
  writeFileSync(join(at.repo, 'README.md'), 'edited at bed time\n');
  for (const effect of effects) await mergeStep(at.deps, effect, new AbortController().signal);
  const steps = await stepsOf(at.world, plan);
  expect([steps.a?.state, steps.b?.state]).toEqual(['parked', 'parked']);
  const mails = (await listMail(at.world.store, { to_id: null })).filter(({ type }) => type === 'escalation');
  expect(mails).toMatchObject([
    { subject: `The plan night waits: ${at.repo} is on main and has changes of its own`, to_name: 'operator' },
  ]);
  for (const part of ['"README.md"', `git -C ${at.repo} status`, `drover plan resume ${plan.id}`])
    expect(mails[0]?.body).toContain(part);
});

test('a target that is clean: nobody is told anything, and the work is in', async () => {
  const at = await field();
  const { effects } = await merging(at);
  for (const effect of effects) await mergeStep(at.deps, effect, new AbortController().signal);
  expect(plainGit(at.repo, 'ls-tree', '--name-only', 'main').split('\n')).toContain('b.txt');
  expect((await listMail(at.world.store, { to_id: null })).filter(({ type }) => type === 'escalation')).toEqual([]);
});

test('plan check says beforehand that a checkout of a target has changes', async () => {
  const bench = droverBench();
  const check = async (merge: string) => {
    const step = `task: t, harness: rehearsal, worktree: true, merge: ${merge}`;
    return (await bench.run(['plan', 'check', '-'], { stdin: `name: n\nsteps:\n  - {id: a, ${step}}\n` })).stderr;
  };
  expect(await check('queue')).toBe('');
  writeFileSync(join(bench.repo, 'new.txt'), 'in nobody’s way\n');
  expect(await check('queue')).toBe('');
  bench.git('add', 'new.txt');
  bench.git('-c', 'user.name=t', '-c', 'user.email=t@localhost', 'commit', '-q', '-m', 'new');
  writeFileSync(join(bench.repo, 'new.txt'), 'changed\n');
  expect(await check('queue')).toBe(
    `note: ${bench.repo} is on main and has changes of its own: until that is mended, no step is merged there. Commit or stash them, or merge into another branch with --into.\n`,
  );
  expect(await check('none')).toBe('');
}, 60_000);
