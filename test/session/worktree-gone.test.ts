import { expect, test } from 'bun:test';
import { rmSync } from 'node:fs';
import {
  cleanWorktrees,
  listWorktrees,
  pruneOne,
  type WorktreeCleanRequest,
} from '../../src/session/worktree-slots.ts';
import { commitFile, plainGit } from '../git/plain.ts';
import { type Field, field } from './field.ts';

const clean = (at: Field, more: Partial<WorktreeCleanRequest> = {}) =>
  cleanWorktrees(at.deps, {
    ...{ repo_root: at.repo, named: null, all_ended: false, force: false, discard_ignored: false, dry_run: false },
    ...more,
  });

/** Completed, with a commit that is on its branch only, and no directory any more. */
async function unmerged(at: Field, name: string) {
  const row = await at.completed(name);
  commitFile(row.worktree_path, 'work', 'w\n', 'unmerged');
  rmSync(row.worktree_path, { recursive: true });
  return row;
}

test('a deleted worktree whose branch is not merged stays in the queue, unless somebody names it', async () => {
  const at = await field();
  const row = await unmerged(at, 'one');
  const why = 'its directory is gone, drover/one has commits that are on no other branch: drover merge one';
  expect(await clean(at)).toMatchObject({ removed: [], kept: [{ name: 'one', group: 'kept', why }] });
  expect(await pruneOne(at.deps, at.repo)).toBeNull();
  expect((await at.now(row)).worktree_path).toBe(row.worktree_path);
  expect((await listWorktrees(at.deps, at.repo)).worktrees).toMatchObject([{ name: 'one', health: 'gone' }]);

  const branch_kept = `drover/one has commits that are on no other branch: git -C ${at.repo} merge drover/one`;
  for (const dry_run of [true, false])
    expect((await clean(at, { named: [row.id], dry_run })).removed).toMatchObject([{ branch: null, branch_kept }]);
  expect([at.branches(), at.trees()]).toEqual([['drover/one', 'main'], []]);
  expect((await at.now(row)).worktree_path).toBeNull();
});

test('one whose branch is merged goes with its branch', async () => {
  const at = await field();
  await unmerged(at, 'one');
  plainGit(at.repo, 'merge', '--quiet', '--no-ff', '-m', 'by hand', 'drover/one');
  expect((await clean(at)).removed).toMatchObject([{ branch: 'drover/one', branch_kept: null }]);
  expect([at.branches(), at.trees()]).toEqual([['main'], []]);
});
