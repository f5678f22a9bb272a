import { expect, test } from 'bun:test';
import { lookAtWorktree } from '../../src/git/look.ts';
import { rawChanges } from '../../src/git/raw-changes.ts';
import { plainGit, tryPlainGit } from '../git/plain.ts';
import { tempDir } from '../support/temp.ts';
import { commit, field, write } from './field.ts';

test('head and changes of a worktree, in one look, whatever the files are called', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a b.txt': '1\n', 'gone.txt': 'x\n' }] });
  const [repo_root, path, branch] = [world.repo, row.worktree_path ?? '', row.branch ?? ''];
  const head = plainGit(path, 'rev-parse', 'HEAD');
  expect(await lookAtWorktree({ repo_root, path, branch })).toEqual({ head, dirty: [] });
  write(path, { 'a b.txt': '2\n', 'new\nline.txt': 'n\n', 'dir/deep.txt': 'd\n' });
  plainGit(path, 'mv', 'gone.txt', 'moved away.txt');
  const seen = await lookAtWorktree({ repo_root, path, branch });
  expect(seen.dirty.sort()).toEqual(['a b.txt', 'dir/', 'gone.txt', 'moved away.txt', 'new\nline.txt']);
});

test('a worktree that is elsewhere, in the middle of something, or not ours is no entry, and says the way out', async () => {
  const world = await field();
  const look = (path: string, branch: string) => lookAtWorktree({ repo_root: world.repo, path, branch });
  const row = await world.session('builder', { commits: [{ 'README.md': 'hello\nours\n' }] });
  const [path, branch] = [row.worktree_path ?? '', row.branch ?? ''];
  const refused = async (code: string, ...commands: string[]) => {
    const error = { code, details: { hint: expect.any(String), recovery_commands: commands } };
    await expect(look(path, branch)).rejects.toMatchObject(error);
    return commands.map((command) => command.replace(`git -C ${path} `, ''));
  };
  const follow = (commands: readonly string[]) => {
    for (const command of commands) plainGit(path, ...command.split(' '));
  };
  const back = `git -C ${path} switch ${branch}`;
  plainGit(path, 'switch', '--quiet', '-c', 'somewhere');
  const there = commit(path, { 'there.txt': 't\n' });
  follow(await refused('worktree_elsewhere', back, `git -C ${path} merge somewhere`));
  expect(await look(path, branch)).toEqual({ head: there, dirty: [] });
  plainGit(path, 'switch', '--quiet', '--detach', branch);
  const lone = commit(path, { 'lone.txt': 'l\n' });
  follow(await refused('worktree_elsewhere', back, `git -C ${path} merge ${lone}`));
  expect(await look(path, branch)).toEqual({ head: lone, dirty: [] });
  plainGit(path, 'branch', '-m', 'renamed');
  follow(await refused('worktree_elsewhere', `git -C ${path} branch -m renamed ${branch}`));
  expect(await look(path, branch)).toEqual({ head: lone, dirty: [] });
  commit(world.repo, { 'README.md': 'hello\ntheirs\n' });
  expect(tryPlainGit(path, ['rebase', '--quiet', 'main']).code).toBe(1);
  follow(await refused('operation_in_progress', `git -C ${path} status`, `git -C ${path} rebase --abort`));
  expect(await look(path, branch)).toEqual({ head: lone, dirty: [] });
  plainGit(path, 'update-ref', '-d', `refs/heads/${branch}`);
  await refused('no_commit_yet', `git -C ${path} status`);
  await expect(look(tempDir('foreign'), branch)).rejects.toMatchObject({ code: 'worktree_foreign' });
});

test('the queue repeats the way out with the sentence', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const [path, branch] = [row.worktree_path ?? '', row.branch ?? ''];
  plainGit(path, 'switch', '--quiet', '-c', 'somewhere');
  const { entries } = await world.queue({ dry_run: true });
  const way = `git -C ${path} switch ${branch} && git -C ${path} merge somewhere`;
  expect(entries.map(({ suggested_action }) => suggested_action)).toEqual([
    `the worktree ${path} is on somewhere, not on its branch ${branch}: ${way}`,
  ]);
});

test('what pairs of commits differ in, each in its place, also when they do not', async () => {
  const world = await field();
  const first = plainGit(world.repo, 'rev-parse', 'main');
  const second = commit(world.repo, { 'x.txt': 'x\n', 'README.md': 'changed\n' });
  plainGit(world.repo, 'rm', '--quiet', 'x.txt');
  const third = commit(world.repo, { 'y.txt': 'y\n' });
  const found = await rawChanges(world.repo, [
    [first, second],
    [second, second],
    [second, third],
    [first, first],
  ]);
  expect(found.map((changes) => changes.map(({ path, status }) => `${status} ${path}`))).toEqual([
    ['M README.md', 'A x.txt'],
    [],
    ['D x.txt', 'A y.txt'],
    [],
  ]);
  expect(found[0]?.[1]).toMatchObject({ mode: '100644', blob: plainGit(world.repo, 'rev-parse', `${second}:x.txt`) });
});

test('a submodule that has moved is a change, whatever the checkout says about it', async () => {
  const world = await field();
  const at = (id: string) => {
    plainGit(world.repo, 'update-index', '--add', '--cacheinfo', `160000,${id},sub`);
    plainGit(world.repo, 'commit', '--quiet', '-m', 'submodule');
    return plainGit(world.repo, 'rev-parse', 'HEAD');
  };
  const [first, second] = [at('1'.repeat(40)), at('2'.repeat(40))];
  write(world.repo, { '.gitmodules': '[submodule "sub"]\npath = sub\nurl = ./sub\nignore = all\n' });
  expect(plainGit(world.repo, 'diff-tree', '-r', first, second)).toBe('');
  const [changes] = await rawChanges(world.repo, [[first, second]]);
  expect(changes).toEqual([{ path: 'sub', status: 'M', mode: '160000', blob: '2'.repeat(40) }]);
});
