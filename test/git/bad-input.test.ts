import { describe, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { advanceBranch, branchHead, checkoutsOf, forwardCheckout, isAncestor } from '../../src/git/branch.ts';
import { commitMerge, missingLines } from '../../src/git/merge-commit.ts';
import { predictMerge } from '../../src/git/merge-tree.ts';
import { changedPaths, diffPreview, dirtyChanges } from '../../src/git/patch.ts';
import { worktreeHealth } from '../../src/git/readiness.ts';
import { rebaseOnto } from '../../src/git/rebase.ts';
import { rescue } from '../../src/git/rescue.ts';
import { addScratch, removeScratch } from '../../src/git/scratch.ts';
import { AppError } from '../../src/model/error.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { tempDir } from '../support/temp.ts';
import { asAnybody } from './as-anybody.ts';
import { fork } from './fork.ts';
import { commitFile, newRepository, plainGit } from './plain.ts';
import { snapshot } from './snapshot.ts';

const clock = systemClock;
const [ours, theirs] = ['1'.repeat(40), '2'.repeat(40)];

/** What asks for a repository, and what asks for a worktree. */
const OF_REPOSITORY: Record<string, (repo_root: string) => Promise<unknown>> = {
  predictMerge: (repo_root) => predictMerge(repo_root, ours, theirs),
  commitMerge: (repo_root) => commitMerge({ repo_root, ours, theirs, message: 'm' }),
  missingLines: (repo_root) => missingLines({ repo_root, ours, theirs, merged: ours }),
  isAncestor: (repo_root) => isAncestor(repo_root, ours, theirs),
  branchHead: (repo_root) => branchHead(repo_root, 'main'),
  advanceBranch: (repo_root) => advanceBranch({ repo_root, branch: 'main', from: ours, to: theirs, clock }),
  checkoutsOf: (repo_root) => checkoutsOf(repo_root, 'main'),
  addScratch: (repo_root) => addScratch({ repo_root, path: '/nowhere/at/all', commit: ours, clock }),
  removeScratch: (repo_root) => removeScratch({ repo_root, path: '/nowhere/at/all', clock }),
  diffPreview: (repo_root) => diffPreview({ repo_root, from: ours, to: theirs, max_lines: 9 }),
  changedPaths: (repo_root) => changedPaths({ repo_root, from: ours, to: theirs }),
};
const OF_WORKTREE: Record<string, (path: string) => Promise<unknown>> = {
  forwardCheckout: (path) => forwardCheckout({ path, branch: 'main', from: ours, to: theirs }),
  rebaseOnto: (path) => rebaseOnto({ path, onto: ours, clock }),
  rescue: (path) => rescue({ path, session_id: 's1', clock }),
  dirtyChanges: (path) => dirtyChanges(path),
  worktreeHealth: (path) => worktreeHealth({ path, base: ours }),
};
const ALL = { ...OF_REPOSITORY, ...OF_WORKTREE };

/** Ask nothing that a configuration could answer with a program. */
const HARMLESS = ['branchHead', 'advanceBranch', 'removeScratch', 'forwardCheckout'];

async function errorOf(work: Promise<unknown>): Promise<AppError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof AppError) return error;
  throw new Error(`not a typed error: ${error}`);
}

describe('a place that is no good: a typed error, and nothing is touched', () => {
  const places: Record<string, () => { place: string; root: string; codes: string[] }> = {
    'no directory': () => {
      const root = tempDir('none');
      return {
        root,
        place: join(root, 'gone'),
        codes: ['cwd_not_found', 'worktree_not_found', 'repository_not_found'],
      };
    },
    'not a repository': () => {
      const root = tempDir('none');
      return { root, place: root, codes: ['repository_not_found'] };
    },
    'a worktree whose repository is gone': () => {
      const root = newRepository();
      const place = join(root, '../linked');
      plainGit(root, 'worktree', 'add', '--quiet', '-b', 'linked', place);
      rmSync(root, { recursive: true });
      return { root: place, place, codes: ['repository_not_found'] };
    },
    'a configuration that git cannot read': () => {
      const root = newRepository();
      writeFileSync(join(root, '.git/config'), '[core\n');
      return { root, place: root, codes: ['git_failed'] };
    },
    'a configuration that could change under way': () => {
      const root = newRepository();
      plainGit(root, 'config', 'includeIf.onbranch:**.path', '/nowhere');
      return { root, place: root, codes: ['git_config_unsafe', 'commit_not_found', 'main_worktree'] };
    },
  };
  for (const [what, make] of Object.entries(places)) {
    test(what, async () => {
      const { root, place, codes } = make();
      const before = snapshot(root);
      for (const [name, work] of Object.entries(ALL)) {
        if (what.includes('under way') && HARMLESS.includes(name)) continue;
        const { code } = await errorOf(work(place));
        expect([name, codes.includes(code) ? 'as expected' : code]).toEqual([name, 'as expected']);
      }
      expect(snapshot(root)).toEqual(before);
    });
  }

  test('a bare repository has no files; its branches can be merged', async () => {
    const root = newRepository();
    const { ours, theirs } = fork(
      root,
      () => writeFileSync(join(root, 'b'), 'b\n'),
      () => writeFileSync(join(root, 'c'), 'c\n'),
    );
    const bare = join(root, '..', 'bare');
    plainGit('/', 'clone', '--quiet', '--bare', root, bare);
    const before = snapshot(bare);
    for (const work of Object.values(OF_WORKTREE)) expect((await errorOf(work(bare))).code).toBe('bare_repository');
    expect(snapshot(bare)).toEqual(before);
    const merged = await commitMerge({ repo_root: bare, ours, theirs, message: 'm' });
    if (merged.outcome !== 'merged') throw new Error(merged.outcome);
    const { commit } = merged;
    const lost = await missingLines({ repo_root: bare, ours, theirs, merged: commit });
    expect(lost).toEqual({ lines: [], truncated: false });
    expect(await advanceBranch({ repo_root: bare, branch: 'main', from: ours, to: commit, clock })).toBe('advanced');
    const path = join(tempDir('scratch'), 's');
    await addScratch({ repo_root: bare, path, commit, clock });
    await removeScratch({ repo_root: bare, path, clock });
  });

  test('a folder below the top of a worktree, and one inside of .git', async () => {
    const root = newRepository();
    mkdirSync(join(root, 'below'));
    const before = snapshot(root);
    for (const work of Object.values(OF_WORKTREE)) {
      expect((await errorOf(work(join(root, 'below')))).code).toBe('worktree_foreign');
      expect((await errorOf(work(join(root, '.git')))).code).toBe('repository_not_found');
    }
    expect(snapshot(root)).toEqual(before);
  });
});

describe('a repository that may not be written to', () => {
  test('refs that are read-only: no branch moves, nothing is rescued to nowhere', async () => {
    const root = newRepository();
    const from = plainGit(root, 'rev-parse', 'HEAD');
    plainGit(root, 'branch', 'target');
    const to = plainGit(root, 'commit-tree', '-p', from, '-m', 'm', plainGit(root, 'rev-parse', 'HEAD^{tree}'));
    const refs = ['refs', 'refs/heads'].map((name) => join(root, '.git', name));
    for (const dir of refs) chmodSync(dir, 0o555);
    const before = snapshot(root);
    const move = { repo_root: root, branch: 'target', from, to, clock };
    expect(asAnybody('branch.ts', 'advanceBranch', move)).toBe('refused permission_denied');
    expect(snapshot(root)).toEqual(before);
    const saved = asAnybody('rescue.ts', 'rescue', { path: root, session_id: 's1', clock });
    expect(saved).toBe('refused repository_not_writable');
    expect(plainGit(root, 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/main\nrefs/heads/target');
    for (const dir of refs) chmodSync(dir, 0o755);
  });

  test('objects that are read-only: a merge can be predicted, but not made', async () => {
    const root = newRepository();
    const { ours, theirs } = fork(
      root,
      () => writeFileSync(join(root, 'b'), 'b\n'),
      () => writeFileSync(join(root, 'c'), 'c\n'),
    );
    Bun.spawnSync(['chmod', '-R', 'a-w', join(root, '.git/objects')]);
    const before = snapshot(root);
    const predicted = JSON.parse(asAnybody('merge-tree.ts', 'predictMerge', root, ours, theirs));
    expect(predicted).toMatchObject({ tree: expect.any(String), conflicts: [] });
    const merge = { repo_root: root, ours, theirs, message: 'm' };
    expect(asAnybody('merge-commit.ts', 'commitMerge', merge)).toBe('refused permission_denied');
    expect(snapshot(root)).toEqual(before);
    Bun.spawnSync(['chmod', '-R', 'u+w', join(root, '.git/objects')]);
  });

  test('files that cannot be written half-way: a checkout and a rebase are taken back', async () => {
    const root = newRepository();
    mkdirSync(join(root, 'locked'));
    for (const name of ['gone', 'z', 'locked/old']) writeFileSync(join(root, name), `${name}\n`);
    plainGit(root, 'add', '.');
    plainGit(root, 'commit', '--quiet', '-m', 'start');
    const from = plainGit(root, 'rev-parse', 'HEAD');
    const path = join(root, '../linked');
    plainGit(root, 'worktree', 'add', '--quiet', '-b', 'linked', path);
    commitFile(path, 'own', 'own\n', 'own');
    plainGit(root, 'checkout', '--quiet', '-b', 'next');
    plainGit(root, 'rm', '--quiet', 'gone');
    mkdirSync(join(root, 'b/deep'), { recursive: true });
    for (const name of ['a', 'b/deep/new', 'locked/new', 'z', 'zz\n"ü']) writeFileSync(join(root, name), 'changed\n');
    plainGit(root, 'add', '.');
    plainGit(root, 'commit', '--quiet', '-m', 'next');
    const to = plainGit(root, 'rev-parse', 'HEAD');
    plainGit(root, 'checkout', '--quiet', 'main');
    const folders = [join(root, 'locked'), join(path, 'locked')];
    for (const dir of folders) chmodSync(dir, 0o555);
    const state = () =>
      [root, path].map((at) => [
        snapshot(at, (name) => name.startsWith('/.git/')),
        plainGit(at, 'rev-parse', '--symbolic-full-name', 'HEAD'),
        plainGit(at, 'rev-parse', 'HEAD'),
        plainGit(at, 'status', '--porcelain'),
      ]);
    const before = state();
    const forward = { path: root, branch: 'main', from, to };
    expect(asAnybody('branch.ts', 'forwardCheckout', forward)).toBe('refused permission_denied');
    expect(state()).toEqual(before);
    expect(asAnybody('rebase.ts', 'rebaseOnto', { path, onto: to, clock })).toBe('refused permission_denied');
    expect(state()).toEqual(before);
    for (const dir of folders) chmodSync(dir, 0o755);
    expect(await forwardCheckout(forward)).toBe('forwarded');
    expect(await rebaseOnto({ path, onto: to, clock })).toEqual({ outcome: 'rebased' });
  });
});
