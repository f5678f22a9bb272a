import { expect, test } from 'bun:test';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { judgeWorktree } from '../../src/session/worktree-clean.ts';
import { commitFile, plainGit } from '../git/plain.ts';
import { field } from './field.ts';

test('a worktree whose branch stays may go unmerged, with its commits on that branch alone and nothing left in it (O-85)', async () => {
  const at = await field();
  const row = await at.completed('one');
  const path = row.worktree_path;
  const judge = (is_branch_kept: boolean) => judgeWorktree(at.deps, { row, path, ids: [row.id], is_branch_kept });
  commitFile(path, 'w', 'w', 'w');
  expect((await judge(false)).why).toBe('drover/one has commits that are on no other branch');
  expect(await judge(true)).toMatchObject({ why: null, branch: null, branch_kept: null });
  writeFileSync(join(path, 'new'), 'x');
  expect((await judge(true)).why).toBe('changes that are not committed: new');
  rmSync(join(path, 'new'));
  // Its own branch says nothing of what was committed beside it.
  plainGit(path, 'checkout', '-q', '--detach');
  commitFile(path, 'v', 'v', 'v');
  expect((await judge(true)).why).toBe('its detached HEAD has commits that are on no other branch');
  plainGit(path, 'checkout', '-q', '-b', 'other');
  expect((await judge(true)).why).toBe('other has commits that are on no other branch');
  plainGit(path, 'checkout', '-q', 'drover/one');
  plainGit(path, 'branch', '-q', '-D', 'other');
  rmSync(path, { recursive: true });
  expect(await judge(false)).toMatchObject({ branch_kept: expect.stringContaining('drover/one has commits') });
  expect(await judge(true)).toMatchObject({ why: null, branch: null, branch_kept: null });
});
