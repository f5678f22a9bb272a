import { expect } from 'bun:test';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { advanceBranch, branchHead, forwardCheckout } from '../../src/git/branch.ts';
import { commitMerge } from '../../src/git/merge-commit.ts';
import { predictMerge } from '../../src/git/merge-tree.ts';
import { rebaseOnto } from '../../src/git/rebase.ts';
import { rescue } from '../../src/git/rescue.ts';
import { addScratch, removeScratch } from '../../src/git/scratch.ts';
import { AppError } from '../../src/model/error.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { type SmallDisk, testOnSmallDisk } from '../support/small-disk.ts';
import { fork } from './fork.ts';
import { commitFile, newRepository, plainGit } from './plain.ts';
import { snapshot } from './snapshot.ts';

const clock = systemClock;
const file = 'test/git/disk.test.ts';

/** Lines that do not get smaller by being packed. */
const noise = (kilobytes: number) =>
  Array.from(
    { length: kilobytes },
    () => `${Buffer.from(crypto.getRandomValues(new Uint8Array(768))).toString('base64')}\n`,
  ).join('');

/** A repository on the disk: `main` checked out, `theirs`, `big` (in front of `main`), and a worktree on `work`. */
function repositoryOn({ bench }: SmallDisk) {
  const root = newRepository({ dir: join(bench.drover_home, 'repo') });
  const lines = noise(64);
  commitFile(root, 'text', lines, 'text');
  const { ours, theirs } = fork(
    root,
    () => writeFileSync(join(root, 'text'), `ours\n${lines}`),
    () => writeFileSync(join(root, 'text'), `${lines}theirs\n`),
  );
  plainGit(root, 'checkout', '--quiet', '-b', 'big');
  commitFile(root, 'first', 'small\n', 'first');
  writeFileSync(join(root, 'a'), noise(8));
  writeFileSync(join(root, 'text'), noise(400));
  const big = commitFile(root, 'zzz', noise(600), 'big');
  plainGit(root, 'add', '.');
  plainGit(root, 'commit', '--quiet', '--amend', '-m', 'big');
  plainGit(root, 'checkout', '--quiet', 'main');
  const work = join(bench.drover_home, 'work');
  plainGit(root, 'worktree', 'add', '--quiet', '-b', 'work', work, 'main~1');
  commitFile(work, 'w', 'w\n', 'w');
  return { root, ours, theirs, work, big: plainGit(root, 'rev-parse', 'big'), old: big };
}

/** What counts of a worktree: its files, its branch and commit, what is staged. */
const state = (path: string) => [
  snapshot(path, (name) => name.startsWith('/.git')),
  plainGit(path, 'symbolic-ref', 'HEAD'),
  plainGit(path, 'rev-parse', 'HEAD'),
  plainGit(path, 'status', '--porcelain'),
  plainGit(path, 'ls-files', '--stage'),
];
const refs = (root: string) => plainGit(root, 'for-each-ref');

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  return error instanceof AppError ? error.code : `${error}`;
}

testOnSmallDisk('a full disk: each says so and leaves nothing half-done', { file, size: '16m' }, async (disk) => {
  const { root, ours, theirs, work, big } = repositoryOn(disk);
  writeFileSync(join(work, 'new'), noise(300));
  const scratch = join(disk.bench.drover_home, 'scratch');
  const saved = { path: work, session_id: 's1', clock };
  const before = [state(root), state(work), refs(root)];
  const same = () => expect([state(root), state(work), refs(root)]).toEqual(before);
  disk.fill();
  disk.spare(48);
  expect((await predictMerge(root, ours, theirs)).tree).not.toBeNull();
  expect(await codeOf(commitMerge({ repo_root: root, ours, theirs, message: 'm' }))).toBe('disk_full');
  expect(await codeOf(addScratch({ repo_root: root, path: scratch, commit: big, clock }))).toBe('disk_full');
  expect([existsSync(scratch), readdirSync(join(root, '.git/worktrees'))]).toEqual([false, ['work']]);
  expect(await codeOf(rescue(saved))).toBe('disk_full');
  disk.free();
  disk.fill();
  disk.spare(200);
  const { ino } = statSync(join(root, 'text'));
  expect(await codeOf(forwardCheckout({ path: root, branch: 'main', from: ours, to: big }))).toBe('disk_full');
  // Not even begun.
  expect(statSync(join(root, 'text')).ino).toBe(ino);
  disk.free();
  same();
  disk.fill();
  expect(await codeOf(advanceBranch({ repo_root: root, branch: 'theirs', from: theirs, to: big, clock }))).toBe(
    'disk_full',
  );
  expect(await branchHead(root, 'theirs')).toBe(theirs);
  disk.free();
  same();
  plainGit(root, 'fsck', '--strict');
  expect(await forwardCheckout({ path: root, branch: 'main', from: ours, to: big })).toBe('forwarded');
  await addScratch({ repo_root: root, path: scratch, commit: ours, clock });
  disk.fill();
  await removeScratch({ repo_root: root, path: scratch, clock });
  disk.free();
  expect((await rescue(saved)).ref).toBe('refs/drover/rescued/s1');
});

testOnSmallDisk(
  'a disk that fills up during a rebase: the worktree is as it was',
  { file, size: '16m' },
  async (disk) => {
    const { root, work, big } = repositoryOn(disk);
    const before = [state(work), refs(root)];
    for (const kilobytes of [0, 40, 100, 500]) {
      disk.fill();
      disk.spare(kilobytes);
      const code = await codeOf(rebaseOnto({ path: work, onto: big, clock }));
      disk.free();
      expect([kilobytes, code]).toEqual([kilobytes, 'disk_full']);
      expect([state(work), refs(root)]).toEqual(before);
    }
    expect(await rebaseOnto({ path: work, onto: big, clock })).toEqual({ outcome: 'rebased' });
  },
);

testOnSmallDisk(
  'a disk that is read-only: each says so, and what only looks still works',
  { file, size: '16m' },
  async (disk) => {
    const { root, ours, theirs, work, big } = repositoryOn(disk);
    writeFileSync(join(work, 'new'), 'new\n');
    const before = snapshot(disk.bench.drover_home);
    disk.remount('ro');
    const none = 'read_only_filesystem';
    expect((await predictMerge(root, ours, theirs)).tree).not.toBeNull();
    expect(await codeOf(commitMerge({ repo_root: root, ours, theirs, message: 'm' }))).toBe(none);
    expect(await codeOf(advanceBranch({ repo_root: root, branch: 'theirs', from: theirs, to: big, clock }))).toBe(none);
    expect(await codeOf(forwardCheckout({ path: root, branch: 'main', from: ours, to: big }))).toBe(none);
    expect(await codeOf(addScratch({ repo_root: root, path: join(root, '../s'), commit: ours, clock }))).toBe(none);
    expect(await codeOf(rescue({ path: work, session_id: 's1', clock }))).toBe(none);
    expect(snapshot(disk.bench.drover_home)).toEqual(before);
  },
);
