import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { advanceBranch, branchHead, checkoutsOf, forwardCheckout, isAncestor } from '../../src/git/branch.ts';
import type { Clock } from '../../src/model/clock.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { tempDir } from '../support/temp.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from './plain.ts';
import { snapshot } from './snapshot.ts';
import { hook, newTrap } from './trap.ts';

const head = (root: string, name = 'HEAD') => plainGit(root, 'rev-parse', name);

/** A repository whose branch `next` is one commit ahead of the checked out `main`. */
function ahead(change: (root: string) => void = (root) => commitFile(root, 'b', 'b\n', 'b')) {
  const root = newRepository();
  const from = head(root);
  plainGit(root, 'checkout', '--quiet', '-b', 'next');
  change(root);
  const to = head(root);
  plainGit(root, 'checkout', '--quiet', 'main');
  return { root, from, to };
}

describe('branchHead', () => {
  test('the commit of exactly that branch', async () => {
    const root = newRepository();
    plainGit(root, 'branch', 'team/x');
    plainGit(root, 'tag', 'tagged');
    plainGit(root, 'pack-refs', '--all');
    expect(await branchHead(root, 'team/x')).toBe(head(root));
    for (const name of [
      'none',
      'team',
      'tagged',
      'main~0',
      'main@{0}',
      'main^{tree}',
      '',
      '-x',
      '../tags/tagged',
      'HEAD',
    ]) {
      expect(await branchHead(root, name)).toBeNull();
    }
    expect(await branchHead(newRepository({ unborn: true }), 'main')).toBeNull();
  });
});

describe('advanceBranch: compare and swap (I21)', () => {
  const wanted = (repo_root: string, from: string | null, to: string, branch = 'target', clock: Clock = systemClock) =>
    advanceBranch({ repo_root, branch, from, to, clock });

  test('moves only from where it is said to be, and says so in the reflog', async () => {
    const { root, from, to } = ahead();
    expect(await wanted(root, from, to)).toBe('moved');
    expect(await branchHead(root, 'target')).toBeNull();
    expect(await wanted(root, null, from)).toBe('advanced');
    const before = snapshot(root);
    expect(await wanted(root, null, to)).toBe('moved');
    expect(await wanted(root, to, from)).toBe('moved');
    expect(snapshot(root)).toEqual(before);
    expect(await wanted(root, from, to)).toBe('advanced');
    expect(await branchHead(root, 'target')).toBe(to);
    expect(plainGit(root, 'reflog', '--format=%gs', 'target')).toBe('drover: merge\ndrover: merge');
  });

  test('of many at once exactly one wins, and nobody fails', async () => {
    const { root, from } = ahead();
    plainGit(root, 'branch', 'target', from);
    const tree = plainGit(root, 'rev-parse', 'HEAD^{tree}');
    const commits = Array.from({ length: 8 }, (_, i) => plainGit(root, 'commit-tree', '-p', from, '-m', `${i}`, tree));
    const results = await Promise.all(commits.map((to) => wanted(root, from, to)));
    expect(results.filter((result) => result === 'advanced')).toHaveLength(1);
    expect(await branchHead(root, 'target')).toBe(commits[results.indexOf('advanced')] ?? '');
  });

  test("waits for another git's lock, and gives up with nothing changed", async () => {
    const { root, from, to } = ahead();
    plainGit(root, 'branch', 'target', from);
    const lock = join(root, '.git/refs/heads/target.lock');
    writeFileSync(lock, '');
    let pauses = 0;
    const clock = (until: number): Clock => ({
      ...systemClock,
      sleep: async () => {
        pauses += 1;
        if (pauses === until) rmSync(lock);
      },
    });
    await expect(wanted(root, from, to, 'target', clock(99))).rejects.toMatchObject({ code: 'git_failed' });
    expect([pauses, await branchHead(root, 'target')]).toEqual([7, from]);
    pauses = 0;
    expect(await wanted(root, from, to, 'target', clock(2))).toBe('advanced');
  });

  test('names that are no branch, that are in the way, that stand for another; ids that are no commit', async () => {
    const { root, from, to } = ahead();
    plainGit(root, 'branch', 'a/b');
    plainGit(root, 'symbolic-ref', 'refs/heads/alias', 'refs/heads/next');
    const before = snapshot(root);
    for (const name of ['a..b', 'x.lock', '', 'a b', '/x', 'x~1']) {
      await expect(wanted(root, null, to, name)).rejects.toMatchObject({ kind: 'usage', code: 'branch_invalid' });
    }
    for (const name of ['a', 'a/b/c']) {
      await expect(wanted(root, null, to, name)).rejects.toMatchObject({ code: 'branch_in_the_way' });
    }
    await expect(wanted(root, to, from, 'alias')).rejects.toMatchObject({ code: 'branch_symbolic' });
    await expect(wanted(root, null, '1'.repeat(40))).rejects.toMatchObject({ code: 'commit_not_found' });
    await expect(wanted(root, null, head(root, 'HEAD^{tree}'))).rejects.toMatchObject({ code: 'commit_not_found' });
    await expect(wanted(root, null, 'next')).rejects.toMatchObject({ code: 'commit_invalid' });
    expect(snapshot(root)).toEqual(before);
  });

  test('a hook of the repository does not run', async () => {
    const trap = newTrap();
    hook('reference-transaction')(trap);
    expect(await wanted(trap.repo, null, head(trap.repo))).toBe('advanced');
    expect(existsSync(trap.canary)).toBe(false);
  });
});

describe('checkoutsOf', () => {
  test('the worktrees on the branch, those in the middle of rebasing or bisecting it, none that is gone', async () => {
    const root = newRepository();
    const trees = tempDir('trees');
    const add = (name: string, branch: string) =>
      plainGit(root, 'worktree', 'add', '--quiet', '-f', join(trees, name), branch);
    plainGit(root, 'branch', 'x');
    plainGit(root, 'branch', 'x/y'.replace('/', '-'));
    for (const name of ['one\ntwo', 'gone', 'rebasing', 'bisecting']) add(name, 'x');
    add('other', 'x-y');
    rmSync(join(trees, 'gone'), { recursive: true });
    const rebasing = join(trees, 'rebasing');
    commitFile(rebasing, 'a', 'changed\n', 'changed');
    plainGit(rebasing, 'checkout', '--quiet', '--detach', 'HEAD~1');
    const onto = commitFile(rebasing, 'a', 'otherwise\n', 'otherwise');
    plainGit(rebasing, 'checkout', '--quiet', '--ignore-other-worktrees', 'x');
    expect(tryPlainGit(rebasing, ['rebase', onto]).code).not.toBe(0);
    const bisecting = join(trees, 'bisecting');
    plainGit(bisecting, 'checkout', '--quiet', '--ignore-other-worktrees', 'x');
    plainGit(bisecting, 'bisect', 'start');
    plainGit(bisecting, 'checkout', '--quiet', '--detach', 'main');
    expect((await checkoutsOf(root, 'x')).sort()).toEqual([bisecting, join(trees, 'one\ntwo'), rebasing].sort());
    expect(await checkoutsOf(root, 'main')).toEqual([root]);
    expect(await checkoutsOf(root, 'none')).toEqual([]);
    const bare = join(trees, 'bare');
    plainGit('/', 'clone', '--quiet', '--bare', root, bare);
    expect(await checkoutsOf(bare, 'main')).toEqual([]);
  });
});

describe('forwardCheckout (E-153)', () => {
  const forward = (at: { root: string; from: string; to: string }, branch = 'main') =>
    forwardCheckout({ path: at.root, branch, from: at.from, to: at.to });
  /** Reading the status may refresh the times in the index; nothing else may differ. */
  const state = (root: string) => snapshot(root);

  test('files, index and branch together, files of the person kept', async () => {
    const at = ahead((root) => {
      commitFile(root, 'b', 'b\n', 'b');
      commitFile(root, 'a', 'changed\n', 'a');
    });
    writeFileSync(join(at.root, 'untracked'), 'mine\n');
    expect(await forward(at)).toBe('forwarded');
    expect(plainGit(at.root, 'status', '--porcelain')).toBe('?? untracked');
    expect([head(at.root, 'main'), plainGit(at.root, 'symbolic-ref', 'HEAD')]).toEqual([at.to, 'refs/heads/main']);
    expect(readFileSync(join(at.root, 'b'), 'utf8')).toBe('b\n');
    expect(await forward(at)).toBe('moved');
  });

  test('a linked worktree, in a path with a newline', async () => {
    const at = ahead();
    const path = join(tempDir('trees'), 'a\nb');
    plainGit(at.root, 'worktree', 'add', '--quiet', '-b', 'linked', path, at.from);
    expect(await forward({ ...at, root: path }, 'linked')).toBe('forwarded');
    expect(plainGit(path, 'status', '--porcelain')).toBe('');
  });

  for (const [what, [path, change]] of Object.entries<[path: string, change: (root: string) => void]>({
    'a changed file': ['a', (root) => writeFileSync(join(root, 'a'), 'mine\n')],
    'a staged file': [
      'mine',
      (root) => {
        writeFileSync(join(root, 'mine'), 'mine\n');
        plainGit(root, 'add', 'mine');
      },
    ],
    'a deleted file': ['a', (root) => rmSync(join(root, 'a'))],
    'a new file in the way': ['b', (root) => writeFileSync(join(root, 'b'), 'mine\n')],
    'an ignored file in the way': [
      'b',
      (root) => {
        writeFileSync(join(root, '.git/info/exclude'), 'b\n');
        writeFileSync(join(root, 'b'), 'mine\n');
      },
    ],
    'a folder with ignored files in the way': [
      'b/',
      (root) => {
        writeFileSync(join(root, '.git/info/exclude'), 'mine\n');
        mkdirSync(join(root, 'b'));
        writeFileSync(join(root, 'b/mine'), 'mine\n');
      },
    ],
    'an ignored file where a folder has to be': [
      'folder',
      (root) => {
        writeFileSync(join(root, '.git/info/exclude'), 'folder\n');
        writeFileSync(join(root, 'folder'), 'mine\n');
      },
    ],
    'an ignored link in the way': [
      'b',
      (root) => {
        writeFileSync(join(root, '.git/info/exclude'), 'b\n');
        symlinkSync('/nowhere', join(root, 'b'));
      },
    ],
  })) {
    test(`dirty, untouched to the byte: ${what}`, async () => {
      const at = ahead((root) => {
        mkdirSync(join(root, 'folder'));
        writeFileSync(join(root, 'folder/x'), 'x\n');
        plainGit(root, 'add', 'folder');
        commitFile(root, 'b', 'b\n', 'b');
        commitFile(root, 'a', 'changed\n', 'a');
      });
      change(at.root);
      const before = state(at.root);
      expect(await forward(at)).toEqual({ in_the_way: [path] });
      expect(state(at.root)).toEqual(before);
    });
  }

  test('changes that are hidden from git status are in the way, too', async () => {
    const at = ahead((root) => {
      commitFile(root, 'a', 'changed\n', 'a');
    });
    plainGit(at.root, 'update-index', '--skip-worktree', 'a');
    writeFileSync(join(at.root, 'a'), 'mine\n');
    expect(await forward(at)).toEqual({ in_the_way: ['a'] });
    expect(readFileSync(join(at.root, 'a'), 'utf8')).toBe('mine\n');
    expect(head(at.root, 'main')).toBe(at.from);
  });

  for (const [what, change] of Object.entries<(root: string) => void>({
    'a merge under way': (root) => {
      plainGit(root, 'branch', 'side');
      commitFile(root, 'c', 'c\n', 'c');
      plainGit(root, 'checkout', '--quiet', 'side');
      commitFile(root, 'd', 'd\n', 'd');
      plainGit(root, 'checkout', '--quiet', 'main');
      plainGit(root, 'merge', '--quiet', '--no-commit', 'side');
    },
    'a revert under way': (root) => {
      plainGit(root, 'revert', '--no-commit', 'HEAD');
    },
    "another git's lock": (root) => writeFileSync(join(root, '.git/index.lock'), ''),
  })) {
    test(`busy, untouched to the byte: ${what}`, async () => {
      const at = ahead();
      change(at.root);
      const before = state(at.root);
      expect(await forward({ ...at, from: head(at.root) })).toBe('busy');
      expect(state(at.root)).toEqual(before);
    });
  }

  test('moved, untouched to the byte: another branch, no branch, another commit, before the first one', async () => {
    const at = ahead();
    const check = async (prepare: () => void) => {
      prepare();
      const before = state(at.root);
      expect(await forward(at)).toBe('moved');
      expect(state(at.root)).toEqual(before);
    };
    await check(() => plainGit(at.root, 'checkout', '--quiet', '-b', 'elsewhere'));
    await check(() => plainGit(at.root, 'checkout', '--quiet', '--detach', 'main'));
    // Behind `from`, so that a fast-forward would be possible.
    plainGit(at.root, 'checkout', '--quiet', 'main');
    const [from, to] = [commitFile(at.root, 'c', 'c\n', 'c'), commitFile(at.root, 'd', 'd\n', 'd')];
    plainGit(at.root, 'reset', '--quiet', '--hard', at.from);
    const before = state(at.root);
    expect(await forward({ root: at.root, from, to })).toBe('moved');
    expect(state(at.root)).toEqual(before);
    await check(() => plainGit(at.root, 'checkout', '--quiet', '--orphan', 'main2'));
  });

  test('a target that does not contain the old commit is refused', async () => {
    const { root, from } = ahead();
    const ours = commitFile(root, 'c', 'c\n', 'c');
    const before = state(root);
    for (const to of [from, head(root, 'next')]) {
      await expect(forward({ root, from: ours, to })).rejects.toMatchObject({ code: 'not_fast_forward' });
    }
    expect(state(root)).toEqual(before);
  });

  test('neither hooks nor filters run, and options of the repository for merges do not count', async () => {
    const trap = newTrap();
    const { repo, canary, evil } = trap;
    const from = head(repo);
    plainGit(repo, 'checkout', '--quiet', '-b', 'next');
    commitFile(repo, '.gitattributes', '* filter=evil\n', 'attributes');
    const to = commitFile(repo, 'b', 'b\n', 'b');
    plainGit(repo, 'checkout', '--quiet', 'main');
    for (const name of ['post-merge', 'post-checkout', 'pre-merge-commit', 'reference-transaction']) hook(name)(trap);
    plainGit(repo, 'config', 'filter.evil.smudge', evil);
    plainGit(repo, 'config', 'branch.main.mergeOptions', '--squash --allow-unrelated-histories -s evil');
    plainGit(repo, 'config', 'merge.ff', 'false');
    plainGit(repo, 'config', 'merge.autoStash', 'true');
    rmSync(canary, { force: true });
    expect(await forward({ root: repo, from, to })).toBe('forwarded');
    expect([head(repo, 'main'), existsSync(canary)]).toEqual([to, false]);
    plainGit(repo, 'config', '--remove-section', 'filter.evil');
    expect(plainGit(repo, 'status', '--porcelain')).toBe('');
  });
});

test('isAncestor: a commit is its own; unknown ones are an error', async () => {
  const { root, from, to } = ahead();
  expect(await Promise.all([isAncestor(root, from, to), isAncestor(root, to, from), isAncestor(root, to, to)])).toEqual(
    [true, false, true],
  );
  await expect(isAncestor(root, from, '1'.repeat(40))).rejects.toMatchObject({ code: 'commit_not_found' });
  await expect(isAncestor(root, 'main', to)).rejects.toMatchObject({ code: 'commit_invalid' });
});
