import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { prepareWorktree } from '../../src/session/worktree.ts';
import { claimSlot } from '../../src/store/worktree.ts';
import { WorktreeDesk } from '../../src/supervisor/worktrees.ts';
import { commitFile, plainGit } from '../git/plain.ts';
import { storePlanAt } from '../plan/run-field.ts';
import { type Field, field, isThere, treeOf } from '../session/field.ts';

/** A desk whose work beside the loop is done at once, with a monotonic clock of our own. */
function deskOf(at: Field) {
  let monotonic = 0;
  const began: string[] = [];
  const lines: string[] = [];
  let last: Promise<void> = Promise.resolve();
  const begin = (key: string, work: () => Promise<void>) => {
    began.push(key);
    last = work();
  };
  const deps = { ...at.deps, clock: { ...at.world.clock, monotonic: () => monotonic } };
  const desk = new WorktreeDesk({ deps, log: (line) => lines.push(line) }, { begin }, () => {});
  return {
    ...{ desk, began, lines },
    /** One look, and what it begins brought to its end; how often work was begun so far. */
    look: async (starting: string[] = []) => {
      await desk.look((id) => starting.includes(id));
      await last;
      return began.length;
    },
    pass: (ms: number) => {
      monotonic += ms;
      return desk.isDue(monotonic);
    },
  };
}

test('while nobody waits for a slot nothing is done, however full they are (ARCHITECTURE §1 idle costs nothing)', async () => {
  const at = await field();
  at.config.max_worktrees = 1;
  const row = await at.completed('done');
  const { desk, look, pass } = deskOf(at);
  expect([await look(), desk.full, pass(3_600_000)]).toEqual([0, [at.repo], false]);
  expect(isThere(row.worktree_path)).toBe(true);
});

test('while somebody waits room is made; when there is none to make it is tried again after growing pauses (CX-23)', async () => {
  const at = await field();
  at.config.max_worktrees = 2;
  const [done, held] = [await at.completed('done'), await at.completed('held')];
  writeFileSync(join(held.worktree_path, 'new'), 'x');
  const a = await at.asking('a');
  const { desk, look, pass, lines } = deskOf(at);
  expect(await look()).toBe(1);
  expect(lines).toEqual([`${done.worktree_path}: of done, which is completed and merged: removed to make room`]);
  expect([await look(), desk.full]).toEqual([1, []]);
  expect(await prepareWorktree(at.deps, a)).toBe('ready');
  await at.asking('b');
  expect([await look(), await look(), await look()]).toEqual([2, 2, 2]);
  expect([pass(1_900), await look()]).toEqual([false, 2]);
  expect([pass(200), await look()]).toEqual([true, 3]);
  expect([pass(2_100), await look()]).toEqual([false, 3]);
  expect([pass(2_000), await look()]).toEqual([true, 4]);
  // Its end changes what can be taken: there is no pause to wait for.
  await at.stop(a);
  expect([await look(), await look()]).toEqual([5, 5]);
});

test('the clean worktree of an ended step makes room although its branch is merged nowhere; its end is waited for (CX-23)', async () => {
  const at = await field();
  at.config.max_worktrees = 1;
  const row = await at.completed('done');
  commitFile(row.worktree_path, 'w', 'w', 'w');
  const plan = await storePlanAt(at.world, at.repo, 'name: n\nsteps: [{id: a, task: t}]');
  await at.world.store.write((tx) =>
    tx.run(
      "INSERT INTO step_sessions (plan_id, step_id, round, slot, session_id, created_at) VALUES (:p, 'a', 1, 1, :s, 1)",
      {
        p: plan.id,
        s: row.id,
      },
    ),
  );
  await at.asking('waits');
  const { look, lines } = deskOf(at);
  expect([await look(), lines, at.trees()]).toEqual([1, [], [row.worktree_path]]);
  await at.world.store.write((tx) => tx.run("UPDATE plan_steps SET state = 'done', ended_at = 1"));
  // There is no pause to wait for.
  expect(await look()).toBe(2);
  expect(lines).toEqual([
    `${row.worktree_path}: of done, which is completed and whose step has ended (its branch drover/done stays): removed to make room`,
  ]);
  expect([at.trees(), at.branches()]).toEqual([[], ['drover/done', 'main']]);
});

test('what a supervisor that was killed left of a session that will not start is taken back, but not from one that is starting', async () => {
  const at = await field();
  const row = await at.asking('one');
  await claimSlot(at.world.store, { session_id: row.id, path: treeOf(at, row), max: 9, now: 1 });
  plainGit(at.repo, 'worktree', 'add', '-q', '-b', 'drover/one', treeOf(at, row));
  const { look, lines, pass } = deskOf(at);
  expect(await look()).toBe(0);
  await at.stop(row);
  expect(await look([row.id])).toBe(0);
  writeFileSync(join(treeOf(at, row), 'mine'), 'x');
  expect([await look(), await look(), lines]).toEqual([1, 1, []]);
  Bun.spawnSync(['rm', join(treeOf(at, row), 'mine')]);
  expect([pass(2_100), await look()]).toEqual([true, 2]);
  expect([at.trees(), at.branches(), lines.length]).toEqual([[], ['main'], 1]);
  expect([await look(), pass(3_600_000)]).toEqual([2, false]);
});
