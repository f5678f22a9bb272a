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

test('a worktree that is elsewhere, in the middle of something, or not ours is no entry', async () => {
  const world = await field();
  const look = (path: string, branch: string) => lookAtWorktree({ repo_root: world.repo, path, branch });
  const row = await world.session('builder', { commits: [{ 'README.md': 'hello\nours\n' }] });
  const [path, branch] = [row.worktree_path ?? '', row.branch ?? ''];
  plainGit(path, 'switch', '--quiet', '-c', 'somewhere');
  await expect(look(path, branch)).rejects.toMatchObject({ code: 'worktree_elsewhere' });
  plainGit(path, 'switch', '--quiet', '--detach', branch);
  await expect(look(path, branch)).rejects.toMatchObject({ code: 'worktree_elsewhere' });
  plainGit(path, 'switch', '--quiet', branch);
  commit(world.repo, { 'README.md': 'hello\ntheirs\n' });
  expect(tryPlainGit(path, ['rebase', '--quiet', 'main']).code).toBe(1);
  await expect(look(path, branch)).rejects.toMatchObject({ code: 'operation_in_progress' });
  await expect(look(tempDir('foreign'), branch)).rejects.toMatchObject({ code: 'worktree_foreign' });
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
