import { describe, expect, test } from 'bun:test';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rebaseOnto } from '../../src/git/rebase.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { tempDir } from '../support/temp.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from './plain.ts';
import { snapshot } from './snapshot.ts';
import { hook, newTrap } from './trap.ts';

const clock = systemClock;
const head = (root: string) => plainGit(root, 'rev-parse', 'HEAD');

/** `main`, and a linked worktree on the branch `work`; both start at the same commit. */
function lines(root = newRepository()) {
  const path = join(tempDir('trees'), 'work tree\n1');
  plainGit(root, 'worktree', 'add', '--quiet', '-b', 'work', path);
  return { root, path };
}

/** Files, branch, commit and index; not what git notes down about a rebase that is over (reflog, ORIG_HEAD). */
const state = (path: string) => [
  snapshot(path),
  plainGit(path, 'symbolic-ref', 'HEAD'),
  head(path),
  plainGit(path, 'status', '--porcelain=v2', '--branch'),
  plainGit(path, 'ls-files', '--stage'),
];

const outcome = async (path: string, onto: string) => rebaseOnto({ path, onto, clock });

describe('rebaseOnto (E-162, E-163)', () => {
  test('the commits of the branch come after the new base', async () => {
    const { root, path } = lines();
    const onto = commitFile(root, 'b', 'b\n', 'base');
    commitFile(path, 'c', 'c\n', 'one');
    commitFile(path, 'a', 'one\ntwo\n', 'two');
    expect(await outcome(path, onto)).toEqual({ outcome: 'rebased' });
    expect(plainGit(path, 'log', '--format=%s', 'work')).toBe('two\none\nbase\nfirst');
    expect(plainGit(path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/work');
    expect(plainGit(path, 'status', '--porcelain')).toBe('');
    expect(await outcome(path, onto)).toEqual({ outcome: 'up_to_date' });
  });

  test('a branch without commits of its own is moved forward', async () => {
    const { root, path } = lines();
    const onto = commitFile(root, 'b', 'b\n', 'base');
    expect(await outcome(path, onto)).toEqual({ outcome: 'rebased' });
    expect(head(path)).toBe(onto);
  });

  test('a conflict, also in the second commit, leaves everything as it was (E-163)', async () => {
    const { root, path } = lines();
    const onto = commitFile(root, 'a', 'theirs\n', 'base');
    commitFile(path, 'c', 'c\n', 'fine');
    commitFile(path, 'a', 'ours\n', 'clashes');
    const before = state(path);
    const result = await outcome(path, onto);
    if (result.outcome !== 'conflict') throw new Error(result.outcome);
    expect(result.message).toContain('CONFLICT (content): Merge conflict in a');
    expect(state(path)).toEqual(before);
    expect(tryPlainGit(path, ['rebase', '--abort']).code).not.toBe(0);
  });

  test('what a rebase would drop and a merge keeps is a conflict: a resolution in a merge commit', async () => {
    const { root, path } = lines();
    commitFile(path, 'a', 'ours\n', 'ours');
    const base = commitFile(root, 'a', 'theirs\n', 'theirs');
    tryPlainGit(path, ['merge', base]);
    writeFileSync(join(path, 'a'), 'theirs\n');
    writeFileSync(join(path, 'resolved'), 'only in the merge commit\n');
    plainGit(path, 'add', '.');
    plainGit(path, 'commit', '--quiet', '-m', 'merged');
    plainGit(path, 'checkout', '--quiet', '-B', 'work', 'HEAD');
    const onto = commitFile(root, 'b', 'b\n', 'base');
    const before = state(path);
    expect(await outcome(path, onto)).toMatchObject({ outcome: 'conflict' });
    expect(state(path)).toEqual(before);
  });

  test('what a rebase would drop and a merge keeps is a conflict: a line both added and one took out again', async () => {
    const { root, path } = lines();
    commitFile(path, 'a', 'one\nboth\n', 'add');
    commitFile(path, 'a', 'one\n', 'take out');
    commitFile(path, 'c', 'c\n', 'more');
    const onto = commitFile(root, 'a', 'one\nboth\n', 'base');
    const before = state(path);
    const result = await outcome(path, onto);
    expect(result).toMatchObject({ outcome: 'conflict', message: expect.stringContaining('a: both') });
    expect(state(path)).toEqual(before);
  });

  test('a commit that the base had, too, and took back, is not left out', async () => {
    const { root, path } = lines();
    const own = commitFile(path, 'c', 'own\n', 'own');
    commitFile(root, 'b', 'b\n', 'base');
    plainGit(root, 'cherry-pick', own);
    plainGit(root, 'revert', '--no-edit', 'HEAD');
    expect(await outcome(path, head(root))).toEqual({ outcome: 'rebased' });
    expect(readFileSync(join(path, 'c'), 'utf8')).toBe('own\n');
  });

  test('no hook, filter, editor or setting of the repository has a say; other branches stay', async () => {
    const trap = newTrap();
    const { root, path } = lines(trap.repo);
    const onto = commitFile(root, 'b', 'b\n', 'base');
    const middle = commitFile(path, 'c', 'c\n', 'one');
    plainGit(path, 'branch', 'stacked');
    commitFile(path, 'd', 'd\n', 'fixup! one');
    commitFile(path, '.gitattributes', '* filter=evil merge=evil\n', 'attributes');
    for (const name of ['pre-rebase', 'post-rewrite', 'post-checkout', 'pre-commit', 'commit-msg', 'post-commit'])
      hook(name)(trap);
    for (const key of [
      'filter.evil.smudge',
      'filter.evil.clean',
      'merge.evil.driver',
      'core.editor',
      'sequence.editor',
      'gpg.program',
    ]) {
      plainGit(root, 'config', key, trap.evil);
    }
    const on = [
      'rebase.autoStash',
      'rebase.autoSquash',
      'rebase.updateRefs',
      'rebase.rebaseMerges',
      'commit.gpgSign',
      'rerere.enabled',
      'pull.rebase',
    ];
    for (const key of on) plainGit(root, 'config', key, 'true');
    plainGit(root, 'config', 'rebase.missingCommitsCheck', 'error');
    rmSync(trap.canary, { force: true });
    expect(await outcome(path, onto)).toEqual({ outcome: 'rebased' });
    expect(existsSync(trap.canary)).toBe(false);
    expect(plainGit(path, 'log', '--format=%s', '-4')).toBe('attributes\nfixup! one\none\nbase');
    expect(plainGit(root, 'rev-parse', 'stacked')).toBe(middle);
  });

  test('an ignored file that a commit would overwrite is in the way', async () => {
    const { root, path } = lines();
    writeFileSync(join(root, '.git/info/exclude'), '.env\nlater\n');
    const base = head(root);
    const onto = (() => {
      writeFileSync(join(root, '.env'), 'theirs\n');
      plainGit(root, 'add', '-f', '.env');
      plainGit(root, 'commit', '--quiet', '-m', 'env');
      return head(root);
    })();
    commitFile(path, 'c', 'c\n', 'one');
    writeFileSync(join(path, '.env'), 'mine\n');
    const before = state(path);
    await expect(outcome(path, onto)).rejects.toMatchObject({ kind: 'refused', code: 'ignored_in_the_way' });
    expect(state(path)).toEqual(before);
    rmSync(join(path, '.env'));
    // In no commit at either end, but in one that is done over on the way.
    writeFileSync(join(path, 'later'), 'committed\n');
    plainGit(path, 'add', '-f', 'later');
    plainGit(path, 'commit', '--quiet', '-m', 'later');
    plainGit(path, 'rm', '--quiet', 'later');
    plainGit(path, 'commit', '--quiet', '-m', 'gone');
    writeFileSync(join(path, 'later'), 'mine\n');
    await expect(outcome(path, onto)).rejects.toMatchObject({ code: 'ignored_in_the_way' });
    expect(readFileSync(join(path, 'later'), 'utf8')).toBe('mine\n');
    expect(base).not.toBe(onto);
  });

  test('refused, untouched to the byte: dirty, detached, under way, the main worktree, unrelated', async () => {
    const { root, path } = lines();
    const onto = commitFile(root, 'a', 'theirs\n', 'base');
    commitFile(path, 'a', 'ours\n', 'ours');
    const check = async (at: string, code: string, commit = onto) => {
      const before = [snapshot(root), snapshot(path)];
      await expect(outcome(at, commit)).rejects.toMatchObject({ kind: 'refused', code });
      expect([snapshot(root), snapshot(path)]).toEqual(before);
    };
    await check(root, 'main_worktree');
    await check(
      path,
      'no_common_ancestor',
      plainGit(root, 'commit-tree', '-m', 'x', plainGit(root, 'rev-parse', 'HEAD^{tree}')),
    );
    writeFileSync(join(path, 'new'), 'new\n');
    await check(path, 'worktree_dirty');
    rmSync(join(path, 'new'));
    plainGit(path, 'checkout', '--quiet', '--detach');
    await check(path, 'head_detached');
    plainGit(path, 'checkout', '--quiet', 'work');
    expect(tryPlainGit(path, ['rebase', onto]).code).not.toBe(0);
    await check(path, 'operation_in_progress');
    plainGit(path, 'rebase', '--abort');
    plainGit(path, 'checkout', '--quiet', '--orphan', 'new');
    plainGit(path, 'rm', '--quiet', '-rf', '.');
    await check(path, 'no_commit_yet');
  });

  test('after a failure half-way the worktree is as it was', async () => {
    const { root, path } = lines();
    commitFile(path, 'c', 'c\n', 'one');
    const onto = commitFile(root, 'b', 'b\n', 'base');
    const before = state(path);
    // The branch cannot be moved at the end: somebody else has locked it.
    const lock = join(root, '.git/refs/heads/work.lock');
    writeFileSync(lock, '');
    await expect(rebaseOnto({ path, onto, clock: { ...clock, sleep: async () => {} } })).rejects.toMatchObject({
      kind: 'failed',
    });
    rmSync(lock);
    expect(state(path)).toEqual(before);
  });
});
