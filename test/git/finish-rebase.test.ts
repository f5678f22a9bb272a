import { describe, expect, test } from 'bun:test';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { finishRebase } from '../../src/git/finish-rebase.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { tempDir } from '../support/temp.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from './plain.ts';

/** A rebase of three commits onto two others that stands still behind the second one, as when its git was killed there. */
function cutOff() {
  const root = newRepository();
  const path = join(tempDir('trees'), 'work');
  plainGit(root, 'worktree', 'add', '--quiet', '-b', 'work', path);
  for (const name of ['x', 'y', 'z']) commitFile(path, name, `${name}\n`, name);
  commitFile(root, 'b', 'b\n', 'base');
  const onto = commitFile(root, 'a', 'two\n', 'base again');
  const head = plainGit(path, 'rev-parse', 'HEAD');
  const git_dir = plainGit(path, 'rev-parse', '--absolute-git-dir');
  const stop = `test ! -e '${join(path, 'y')}'`;
  expect(tryPlainGit(path, ['rebase', '--quiet', '--merge', '--exec', stop, onto]).code).not.toBe(0);
  expect(tryPlainGit(path, ['symbolic-ref', 'HEAD']).code).not.toBe(0);
  const saved: string[] = [];
  const save = async () => saved.push(plainGit(path, 'status', '--porcelain'));
  const finish = () =>
    finishRebase({ repo_root: root, path, branch: 'work', head, onto, clock: systemClock, save: () => save() });
  const expectBack = () => {
    expect(plainGit(path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/work');
    expect(plainGit(path, 'rev-parse', 'HEAD')).toBe(head);
    expect(plainGit(path, 'status', '--porcelain')).toBe('');
    expect(existsSync(join(git_dir, 'rebase-merge'))).toBe(false);
  };
  return { root, path, head, git_dir, saved, finish, expectBack };
}

describe('a rebase whose git was killed is taken back', () => {
  test('with the locks it held, and a file without its end', async () => {
    const { root, path, git_dir, finish, expectBack, saved } = cutOff();
    for (const name of ['index', 'HEAD']) writeFileSync(join(git_dir, `${name}.lock`), '');
    writeFileSync(join(root, '.git/refs/heads/work.lock'), '');
    writeFileSync(join(path, 'a'), 'tw');
    expect(await finish()).toEqual({ now: 'as_before' });
    expectBack();
    expect(saved).toEqual([]);
    expect(tryPlainGit(path, ['commit', '--allow-empty', '--quiet', '-m', 'goes on']).code).toBe(0);
  });

  test('where git itself cannot: what stands in the files is kept first', async () => {
    const { path, git_dir, finish, expectBack, saved } = cutOff();
    rmSync(join(git_dir, 'rebase-merge/head-name'));
    writeFileSync(join(path, 'a'), 'half\n');
    expect(await finish()).toEqual({ now: 'as_before' });
    expectBack();
    expect(saved).toEqual(['M a']);
  });

  test('one that could not be taken back the first time is known by its notes the next time', async () => {
    const { path, git_dir, finish, expectBack } = cutOff();
    rmSync(join(git_dir, 'rebase-merge/head-name'));
    writeFileSync(join(path, 'stranger'), 'nobody knows\n');
    await expect(finish()).rejects.toMatchObject({ code: 'rebase_not_undone' });
    expect(existsSync(join(git_dir, 'rebase-merge'))).toBe(true);
    rmSync(join(path, 'stranger'));
    expect(await finish()).toEqual({ now: 'as_before' });
    expectBack();
  });
});
