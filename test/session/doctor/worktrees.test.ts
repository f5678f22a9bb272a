import { expect, test } from 'bun:test';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_CONFIG } from '../../../src/model/config.ts';
import type { AppError } from '../../../src/model/error.ts';
import { traceFindings } from '../../../src/session/doctor/worktrees.ts';
import { cleanWorktrees } from '../../../src/session/worktree-slots.ts';
import { field } from '../field.ts';

test('a worktree that lost its .git is told with the command that mends it, by doctor and by clean', async () => {
  const at = await field();
  const row = await at.completed('one');
  const place = { version: '0', repo_root: at.repo, locate: (error: AppError) => error };
  const found = async () =>
    (await traceFindings({ ...at.deps, ...place }, at.world.store, DEFAULT_CONFIG))
      .map(({ finding }) => finding)
      .filter(({ check }) => check === 'worktrees');
  const clean = (force: boolean) =>
    cleanWorktrees(at.deps, {
      ...{ repo_root: at.repo, named: [row.id], all_ended: false, force, discard_ignored: false, dry_run: false },
    });
  expect(await found()).toMatchObject([{ level: 'ok' }]);
  rmSync(join(row.worktree_path, '.git'));
  writeFileSync(join(row.worktree_path, 'mine'), 'not committed\n');

  const command = `git -C ${at.repo} worktree repair`;
  const what = `the worktree of one (${row.id}, completed) has lost its link to ${at.repo}: ${row.worktree_path}`;
  expect(await found()).toMatchObject([{ level: 'problem', what, hint: expect.stringContaining(command) }]);
  for (const force of [false, true])
    expect((await clean(force)).kept).toMatchObject([{ group: 'kept', why: expect.stringContaining(command) }]);

  expect(Bun.spawnSync(['sh', '-c', command], { env: at.deps.env }).exitCode).toBe(0);
  expect(await found()).toMatchObject([{ level: 'ok' }]);
  expect((await clean(false)).kept).toMatchObject([{ why: expect.stringContaining('mine') }]);
  expect(existsSync(join(row.worktree_path, 'mine'))).toBe(true);
});
