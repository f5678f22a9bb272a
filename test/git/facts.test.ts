import { expect, test } from 'bun:test';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { workFacts } from '../../src/git/facts.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from './plain.ts';

test('commits since the base, newest first, at most 20', async () => {
  const root = newRepository();
  const base = plainGit(root, 'rev-parse', 'HEAD');
  const second = commitFile(root, 'b', 'b\n', 'second: ünïcode  and "quotes"');
  const third = commitFile(root, 'c', 'c\n', 'third');
  expect(await workFacts(root, base)).toEqual({
    head: third,
    branch: 'main',
    commits: [
      { id: third, subject: 'third' },
      { id: second, subject: 'second: ünïcode  and "quotes"' },
    ],
    dirty: [],
    in_progress: null,
  });
  for (let i = 0; i < 20; i += 1) plainGit(root, 'commit', '-q', '--allow-empty', '-m', `more ${i}`);
  const facts = await workFacts(root, base);
  expect(facts?.commits).toHaveLength(20);
  expect(facts?.commits[0]?.subject).toBe('more 19');
});

test('without a base, with an unknown one, or one that is no id, there are no commits', async () => {
  const root = newRepository();
  commitFile(root, 'b', 'b\n', 'second');
  for (const base of [null, 'f'.repeat(40), 'HEAD~1', '--all', '']) {
    expect((await workFacts(root, base))?.commits).toEqual([]);
  }
});

test('dirty paths: changed, staged, renamed, deleted, new, with any character, from a directory below', async () => {
  const root = newRepository();
  commitFile(root, 'gone', 'gone\n', 'x');
  commitFile(root, 'old', 'a long enough text to be seen as renamed\n', 'x');
  commitFile(root, '.gitignore', 'ignored\n', 'x');
  mkdirSync(join(root, 'new dir'));
  for (const name of ['a', 'with space', 'new\nline', '"quoted"', 'ümlaut', 'ignored', 'new dir/file']) {
    writeFileSync(join(root, name), 'changed\n');
  }
  rmSync(join(root, 'gone'));
  plainGit(root, 'mv', 'old', 'moved');
  // The user's taste must not hide work.
  plainGit(root, 'config', 'status.showUntrackedFiles', 'no');
  const facts = await workFacts(join(root, 'new dir'), null);
  expect(facts?.dirty.sort()).toEqual(
    ['"quoted"', 'a', 'gone', 'moved', 'new dir/', 'new\nline', 'old', 'with space', 'ümlaut'].sort(),
  );
});

test('at most 50 dirty paths', async () => {
  const root = newRepository();
  for (let i = 0; i < 60; i += 1) writeFileSync(join(root, `f${i}`), '');
  expect((await workFacts(root, null))?.dirty).toHaveLength(50);
});

test('before the first commit', async () => {
  const root = newRepository({ unborn: true });
  writeFileSync(join(root, 'a'), '');
  expect(await workFacts(root, 'f'.repeat(40))).toEqual({
    head: null,
    branch: 'main',
    commits: [],
    dirty: ['a'],
    in_progress: null,
  });
});

/** `main` and `other` changed the same line; returns the commit they share. */
function conflicting(): { root: string; base: string } {
  const root = newRepository();
  const base = plainGit(root, 'rev-parse', 'HEAD');
  plainGit(root, 'branch', 'other');
  commitFile(root, 'a', 'ours\n', 'ours');
  plainGit(root, 'checkout', '-q', 'other');
  commitFile(root, 'a', 'theirs\n', 'theirs');
  return { root, base };
}

test('in the middle of a merge', async () => {
  const { root } = conflicting();
  expect(tryPlainGit(root, ['merge', 'main']).code).toBe(1);
  expect(await workFacts(root, null)).toMatchObject({ branch: 'other', dirty: ['a'], in_progress: 'merge' });
});

test('in the middle of a rebase, of either kind and in a linked worktree', async () => {
  for (const kind of ['--merge', '--apply']) {
    const { root, base } = conflicting();
    plainGit(root, 'checkout', '-q', 'main');
    const path = join(root, '..', 'linked');
    plainGit(root, 'worktree', 'add', '-q', path, 'other');
    expect(tryPlainGit(path, ['rebase', kind, 'main']).code).not.toBe(0);
    const facts = await workFacts(path, base);
    expect(facts).toMatchObject({ branch: null, dirty: ['a'], in_progress: 'rebase' });
    expect(facts?.commits).toEqual([{ id: plainGit(root, 'rev-parse', 'main'), subject: 'ours' }]);
    expect((await workFacts(root, null))?.in_progress).toBeNull();
  }
});

test('in the middle of a bisection', async () => {
  const root = newRepository();
  commitFile(root, 'b', 'b\n', 'second');
  plainGit(root, 'bisect', 'start');
  expect((await workFacts(root, null))?.in_progress).toBe('bisect');
});
