import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { isKeptElsewhere, removeMergedBranch } from '../../src/git/merged.ts';
import { tempDir } from '../support/temp.ts';

function repository() {
  const dir = tempDir();
  const git = (...args: string[]) => {
    const run = Bun.spawnSync(['git', '-C', dir, ...args]);
    if (run.exitCode !== 0) throw new Error(run.stderr.toString());
    return run.stdout.toString().trim();
  };
  git('init', '-q', '-b', 'main');
  const commit = () => git('commit', '-q', '--allow-empty', '-m', String(Math.random()));
  commit();
  return { dir, git, commit };
}

test('commits are kept when another branch, a remote or a tag has all of them', async () => {
  const { dir, git, commit } = repository();
  git('switch', '-q', '-c', 'team/work');
  expect(await isKeptElsewhere(dir, git('rev-parse', 'HEAD'), 'team/work')).toBe(true);
  commit();
  const head = git('rev-parse', 'HEAD');
  const isKept = () => isKeptElsewhere(dir, head, 'team/work');
  expect(await isKept()).toBe(false);
  expect(await isKeptElsewhere(dir, head, null)).toBe(true);
  for (const ref of ['refs/heads/other', 'refs/remotes/origin/team/work', 'refs/tags/v1']) {
    git('update-ref', ref, head);
    expect(await isKept()).toBe(true);
    git('update-ref', '-d', ref);
  }
  git('update-ref', 'refs/heads/work', head);
  expect(await isKept()).toBe(true);
});

test('a branch is deleted only when it is merged and nowhere checked out', async () => {
  const { dir, git, commit } = repository();
  git('branch', 'merged');
  git('worktree', 'add', '-q', '-b', 'used', join(tempDir(), 'tree'));
  git('switch', '-q', '-c', 'own');
  commit();
  git('switch', '-q', 'main');
  const refused = (code: string) => expect.objectContaining({ code });
  await expect(removeMergedBranch(dir, 'own')).rejects.toEqual(refused('branch_unmerged'));
  await expect(removeMergedBranch(dir, 'used')).rejects.toEqual(refused('branch_in_use'));
  await expect(removeMergedBranch(dir, 'main')).rejects.toEqual(refused('branch_in_use'));
  expect(await removeMergedBranch(dir, 'merged')).toBe(true);
  expect(await removeMergedBranch(dir, 'merged')).toBe(false);
  expect(git('branch', '--format=%(refname:short)').split('\n').sort()).toEqual(['main', 'own', 'used']);
});

test('of two branches that keep each other, one stays, however both are asked to go at once', async () => {
  const { dir, git, commit } = repository();
  const pairs = 12;
  const heads: string[] = [];
  for (let i = 0; i < pairs; i += 1) {
    git('switch', '-q', '-c', `a${i}`, 'main');
    commit();
    heads.push(git('rev-parse', 'HEAD'));
    git('branch', `b${i}`);
  }
  git('switch', '-q', 'main');
  for (let i = 0; i < pairs; i += 1) {
    const both = await Promise.allSettled([`a${i}`, `b${i}`].map((branch) => removeMergedBranch(dir, branch)));
    const failed = both.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []));
    expect(failed).toEqual(['branch_unmerged']);
  }
  const left = git('for-each-ref', '--format=%(objectname)', 'refs/heads/a*', 'refs/heads/b*').split('\n');
  expect(left.sort()).toEqual(heads.sort());
});

test('what keeps a branch may be an older name of a remote, an annotated tag, or a newer commit', async () => {
  const { dir, git, commit } = repository();
  for (const keep of [
    () => git('tag', '-a', '-m', 'v', 'v1', 'work'),
    () => git('update-ref', 'refs/remotes/origin/x', 'work'),
    () => git('branch', 'zz', git('commit-tree', '-p', 'work', '-m', 'newer', 'work^{tree}')),
  ]) {
    git('switch', '-q', '-c', 'work', 'main');
    commit();
    git('switch', '-q', 'main');
    await expect(removeMergedBranch(dir, 'work')).rejects.toMatchObject({ code: 'branch_unmerged' });
    keep();
    git('symbolic-ref', 'refs/remotes/origin/HEAD', 'refs/heads/work');
    expect(await removeMergedBranch(dir, 'work')).toBe(true);
    git('symbolic-ref', '-d', 'refs/remotes/origin/HEAD');
  }
});
