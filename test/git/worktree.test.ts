import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { findRepository } from '../../src/git/repository.ts';
import { addWorktree, branchName, removeCleanWorktree } from '../../src/git/worktree.ts';
import type { Clock } from '../../src/model/clock.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { tempDir } from '../support/temp.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from './plain.ts';

const head = (root: string) => plainGit(root, 'rev-parse', 'HEAD');

function wanted(repo_root: string, name: string, clock: Clock = systemClock) {
  const path = join(repo_root, '..', 'trees', name);
  return { repo_root, path, branch: `drover/${name}`, base_commit: head(repo_root), clock };
}

const branches = (root: string) =>
  plainGit(root, 'for-each-ref', '--format=%(refname:short)', 'refs/heads').split('\n');

describe('addWorktree', () => {
  test('a branch at the base, tracking nothing, with its parents made (E-175)', async () => {
    const root = newRepository();
    const base_commit = head(root);
    commitFile(root, 'b', 'b\n', 'later');
    plainGit(root, 'config', 'branch.autoSetupMerge', 'always');
    const request = { ...wanted(root, 'one'), base_commit };
    await addWorktree(request);
    expect(await findRepository(request.path)).toMatchObject({
      root: request.path,
      main_root: root,
      branch: 'drover/one',
      head_commit: base_commit,
      is_unfinished: false,
    });
    expect(existsSync(join(request.path, 'a'))).toBe(true);
    expect(tryPlainGit(root, ['config', '--get-regexp', '^branch\\.drover']).code).toBe(1);
  });

  test('paths with spaces and newlines, an empty directory in place, a main checkout in the middle of a merge', async () => {
    const root = newRepository({ dir: join(tempDir('git'), 'my repo\nx') });
    plainGit(root, 'branch', 'other');
    commitFile(root, 'a', 'ours\n', 'ours');
    const base_commit = head(root);
    plainGit(root, 'checkout', '-q', 'other');
    commitFile(root, 'a', 'theirs\n', 'theirs');
    tryPlainGit(root, ['merge', 'main']);
    const request = { ...wanted(root, 'tree with\nnewline'), branch: 'w', base_commit };
    mkdirSync(request.path, { recursive: true });
    await addWorktree(request);
    expect(await findRepository(request.path)).toMatchObject({ root: request.path, head_commit: base_commit });
    expect(readFileSync(join(request.path, 'a'), 'utf8')).toBe('ours\n');
  });

  test('12 at once from one repository: no failure, no orphan', async () => {
    const root = newRepository();
    for (let i = 0; i < 30; i += 1) writeFileSync(join(root, `f${i}`), `${i}\n`);
    plainGit(root, 'add', '.');
    plainGit(root, 'commit', '-qm', 'files');
    const requests = Array.from({ length: 12 }, (_, i) => wanted(root, `t${i}`));
    const results = await Promise.allSettled(requests.map((request) => addWorktree(request)));
    expect(results.filter(({ status }) => status === 'rejected')).toEqual([]);
    expect(branches(root)).toHaveLength(13);
    for (const { path } of requests) expect(plainGit(path, 'status', '--porcelain')).toBe('');
  }, 60_000);

  test('a lost fight for a lock is tried again after a pause, and leaves nothing when it stays lost', async () => {
    const root = newRepository();
    const lock = join(root, '.git/refs/heads/drover/one.lock');
    mkdirSync(join(root, '.git/refs/heads/drover'), { recursive: true });
    writeFileSync(lock, '');
    const pauses: number[] = [];
    const freeing: Clock = {
      ...systemClock,
      sleep: async (ms) => {
        pauses.push(ms);
        if (pauses.length === 2) rmSync(lock);
      },
    };
    await addWorktree(wanted(root, 'one', freeing));
    expect(pauses).toHaveLength(2);
    expect(pauses[0]).toBeWithin(10, 30.01);
    expect(pauses[1]).toBeWithin(20, 60.01);

    writeFileSync(join(root, '.git/refs/heads/drover/two.lock'), '');
    const patient: Clock = { ...systemClock, sleep: async (ms) => void pauses.push(ms) };
    await expect(addWorktree(wanted(root, 'two', patient))).rejects.toMatchObject({ code: 'git_failed' });
    expect(pauses).toHaveLength(9);
    expect(branches(root)).toEqual(['drover/one', 'main']);
  });

  test('a branch in the way is refused and left alone: the same name, a parent, a child, checked out', async () => {
    const root = newRepository();
    plainGit(root, 'branch', 'drover');
    const refused = { kind: 'refused', code: 'branch_exists' };
    await expect(addWorktree(wanted(root, 'one'))).rejects.toMatchObject(refused);
    await expect(addWorktree({ ...wanted(root, 'one'), branch: 'drover' })).rejects.toMatchObject(refused);
    await expect(addWorktree({ ...wanted(root, 'one'), branch: 'main' })).rejects.toMatchObject(refused);
    plainGit(root, 'branch', 'team/x');
    await expect(addWorktree({ ...wanted(root, 'one'), branch: 'team' })).rejects.toMatchObject(refused);
    expect(branches(root)).toEqual(['drover', 'main', 'team/x']);
    expect(existsSync(join(root, '..', 'trees/one'))).toBe(false);
  });

  test('two calls for the same branch: one wins, the branch stays', async () => {
    const root = newRepository();
    const requests = ['x', 'y'].map((name) => ({ ...wanted(root, name), branch: 'same' }));
    const results = await Promise.allSettled(requests.map((request) => addWorktree(request)));
    const lost = results.filter((result) => result.status === 'rejected');
    expect(lost.map(({ reason }) => reason.code)).toEqual(['branch_exists']);
    expect(branches(root)).toEqual(['main', 'same']);
  });

  test('something at the path is refused, kept, and no branch is left', async () => {
    const root = newRepository();
    const request = wanted(root, 'one');
    mkdirSync(request.path, { recursive: true });
    writeFileSync(join(request.path, 'precious'), 'x');
    await expect(addWorktree(request)).rejects.toMatchObject({ kind: 'refused', code: 'worktree_exists' });
    expect(existsSync(join(request.path, 'precious'))).toBe(true);
    expect(branches(root)).toEqual(['main']);
  });

  test('the place of a worktree that somebody deleted can be used again', async () => {
    const root = newRepository();
    const request = wanted(root, 'one');
    await addWorktree(request);
    rmSync(request.path, { recursive: true });
    await addWorktree({ ...request, branch: 'again' });
    expect((await findRepository(request.path))?.branch).toBe('again');
    expect(branches(root)).toEqual(['again', 'drover/one', 'main']);
  });

  test('what cannot be: names, paths, bases', async () => {
    const root = newRepository();
    const request = wanted(root, 'one');
    for (const branch of ['', '-b', '--orphan', 'HEAD', 'a..b', 'a b', 'x.lock', '@{-1}', '@', 'a\0b', 'a\nb', '/a']) {
      await expect(addWorktree({ ...request, branch })).rejects.toMatchObject({
        kind: 'usage',
        code: 'branch_invalid',
      });
    }
    for (const path of ['relative', '-f', '', '/a\0b']) {
      await expect(addWorktree({ ...request, path })).rejects.toMatchObject({ code: 'worktree_path_invalid' });
    }
    for (const base_commit of ['HEAD', 'f'.repeat(40), '--force', '', head(root).slice(0, 12)]) {
      await expect(addWorktree({ ...request, base_commit })).rejects.toMatchObject({ code: 'base_not_found' });
    }
    expect(branches(root)).toEqual(['main']);
  });

  test('a checkout that fails leaves no branch and no directory', async () => {
    const root = newRepository();
    const blob = plainGit(root, 'rev-parse', 'HEAD:a');
    rmSync(join(root, '.git/objects', blob.slice(0, 2), blob.slice(2)));
    const request = wanted(root, 'one');
    const error = await addWorktree(request).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: 'failed', code: 'git_failed' });
    expect(JSON.stringify(error)).toContain(blob);
    expect(branches(root)).toEqual(['main']);
    expect(existsSync(request.path)).toBe(false);
  });
});

describe('removeCleanWorktree (never by force)', () => {
  async function tree(): Promise<{ root: string; path: string }> {
    const root = newRepository();
    commitFile(root, '.gitignore', 'ignored\n', 'ignore');
    const request = wanted(root, 'one');
    await addWorktree(request);
    return { root, path: request.path };
  }
  const remove = ({ root, path }: { root: string; path: string }) =>
    removeCleanWorktree({ repo_root: root, path, clock: systemClock });
  const dirty = { kind: 'refused', code: 'worktree_dirty' };

  test('a clean one goes, its branch and commits stay', async () => {
    const at = await tree();
    const id = commitFile(at.path, 'new', 'x\n', 'work');
    writeFileSync(join(at.path, 'ignored'), 'x');
    await remove(at);
    expect(existsSync(at.path)).toBe(false);
    expect(plainGit(at.root, 'rev-parse', 'drover/one')).toBe(id);
    expect(plainGit(at.root, 'worktree', 'list').split('\n')).toHaveLength(1);
  });

  test('changes and new files keep it, even when the configuration hides new files', async () => {
    const at = await tree();
    writeFileSync(join(at.path, 'new'), 'x');
    plainGit(at.root, 'config', 'status.showUntrackedFiles', 'no');
    await expect(remove(at)).rejects.toMatchObject(dirty);
    rmSync(join(at.path, 'new'));
    writeFileSync(join(at.path, 'a'), 'changed\n');
    await expect(remove(at)).rejects.toMatchObject(dirty);
    plainGit(at.path, 'add', 'a');
    await expect(remove(at)).rejects.toMatchObject(dirty);
    expect(readFileSync(join(at.path, 'a'), 'utf8')).toBe('changed\n');
  });

  test('a commit that only a detached HEAD holds keeps it; one that a branch holds does not', async () => {
    const at = await tree();
    plainGit(at.path, 'checkout', '-q', '--detach');
    commitFile(at.path, 'new', 'x\n', 'lone');
    await expect(remove(at)).rejects.toMatchObject(dirty);
    plainGit(at.path, 'branch', 'saved');
    await remove(at);
    expect(existsSync(at.path)).toBe(false);
  });

  test('an operation in progress keeps it, although nothing is changed', async () => {
    const at = await tree();
    plainGit(at.path, 'bisect', 'start');
    await expect(remove(at)).rejects.toMatchObject(dirty);
    expect(existsSync(at.path)).toBe(true);
  });

  test('a deleted directory is forgotten, an unknown one is not found', async () => {
    const at = await tree();
    rmSync(at.path, { recursive: true });
    await remove(at);
    expect(plainGit(at.root, 'worktree', 'list').split('\n')).toHaveLength(1);
    await expect(remove(at)).rejects.toMatchObject({ kind: 'not_found', code: 'worktree_not_found' });
    await expect(remove({ root: tempDir(), path: at.path })).rejects.toMatchObject({
      code: 'repository_not_found',
    });
  });

  test('only a linked worktree of that repository: not the main one, not a directory in it, not of another', async () => {
    const at = await tree();
    const other = await tree();
    mkdirSync(join(at.path, 'sub'));
    for (const path of [at.root, join(at.path, 'sub'), other.path, other.root]) {
      await expect(remove({ root: at.root, path })).rejects.toMatchObject({
        kind: 'refused',
        code: 'worktree_foreign',
      });
    }
    expect([at.root, at.path, other.path].every((path) => existsSync(path))).toBe(true);
  });

  test('a locked one stays', async () => {
    const at = await tree();
    plainGit(at.root, 'worktree', 'lock', at.path);
    await expect(remove(at)).rejects.toMatchObject({ code: 'git_failed' });
    expect(existsSync(at.path)).toBe(true);
  });
});

describe('branchName', () => {
  test('prefix, words, suffix (E-175)', () => {
    expect(branchName('drover', 'Fix the Löw-level bug!', 'abc123')).toBe('drover/fix-the-low-level-bug-abc123');
    expect(branchName('team/drover/', '', 'abc123')).toBe('team/drover/abc123');
    expect(branchName('', 'x', 'y')).toBe('x-y');
    expect(branchName('', '', '')).toBe('work');
  });

  test('is valid for git whatever goes in', () => {
    const root = newRepository({ unborn: true });
    const names = new Set<string>();
    const text = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom('..', '-x', 'a.lock', '@{', 'HEAD', '/', '~'),
    );
    fc.assert(
      fc.property(text, text, text, (...parts) => void names.add(branchName(...parts))),
      { numRuns: 300 },
    );
    for (const name of names) {
      if (!/^[A-Za-z0-9_]+(-+[A-Za-z0-9_]+)*(\/[A-Za-z0-9_]+(-+[A-Za-z0-9_]+)*)*$/.test(name)) throw new Error(name);
    }
    for (const name of [...names].slice(0, 25)) plainGit(root, 'check-ref-format', '--branch', name);
  });
});
