import { describe, expect, test } from 'bun:test';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { worktreeHealth } from '../../src/git/readiness.ts';
import { tempDir } from '../support/temp.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from './plain.ts';
import { snapshot } from './snapshot.ts';

const head = (root: string) => plainGit(root, 'rev-parse', 'HEAD');

function worktree() {
  const root = newRepository();
  const path = join(tempDir('trees'), 'work');
  plainGit(root, 'worktree', 'add', '--quiet', '-b', 'work', path);
  return { root, path, health: (base = head(root)) => worktreeHealth({ path, base }) };
}

const nothing = { dirty: [], conflicts: [], operation: null };

describe('worktreeHealth (E-176)', () => {
  test('clear: nothing of its own, also when the base has gone on', async () => {
    const { root, path, health } = worktree();
    expect(await health()).toEqual({ ...nothing, health: 'clear' });
    commitFile(root, 'a', 'base\n', 'base');
    const before = [snapshot(root), snapshot(path)];
    expect(await health()).toEqual({ ...nothing, health: 'clear' });
    expect([snapshot(root), snapshot(path)]).toEqual(before);
  });

  test('in progress: changed files or commits; clear again once they are merged', async () => {
    const { root, path, health } = worktree();
    writeFileSync(join(path, 'new'), 'new\n');
    expect(await health()).toEqual({ ...nothing, health: 'in_progress', dirty: ['new'] });
    rmSync(join(path, 'new'));
    commitFile(path, 'c', 'c\n', 'c');
    expect(await health()).toEqual({ ...nothing, health: 'in_progress' });
    commitFile(root, 'b', 'b\n', 'b');
    expect(await health()).toEqual({ ...nothing, health: 'in_progress' });
    plainGit(root, 'merge', '--quiet', '--no-edit', 'work');
    expect(await health()).toEqual({ ...nothing, health: 'clear' });
  });

  test('conflicted: the commits clash with the base, in a predicted merge that changes nothing', async () => {
    const { root, path, health } = worktree();
    commitFile(path, 'a', 'ours\n', 'ours');
    commitFile(root, 'a', 'theirs\n', 'theirs');
    const before = [snapshot(root), snapshot(path)];
    expect(await health()).toEqual({ ...nothing, health: 'conflicted', conflicts: [{ path: 'a', kind: 'content' }] });
    expect([snapshot(root), snapshot(path)]).toEqual(before);
  });

  test('an operation under way is told, with the paths that are not merged', async () => {
    const { root, path, health } = worktree();
    commitFile(path, 'a', 'ours\n', 'ours');
    const base = head(root);
    const theirs = commitFile(root, 'a', 'theirs\n', 'theirs');
    expect(tryPlainGit(path, ['merge', theirs]).code).not.toBe(0);
    const unmerged = { health: 'conflicted', dirty: ['a'], conflicts: [{ path: 'a', kind: 'unmerged' }] };
    expect(await health(base)).toEqual({ ...unmerged, operation: 'merge' } as never);
    plainGit(path, 'merge', '--abort');
    expect(tryPlainGit(path, ['rebase', theirs]).code).not.toBe(0);
    expect(await health(base)).toEqual({ ...unmerged, operation: 'rebase' } as never);
    plainGit(path, 'rebase', '--abort');
    expect(tryPlainGit(path, ['cherry-pick', theirs]).code).not.toBe(0);
    expect(await health(base)).toEqual({ ...unmerged, operation: 'cherry-pick' } as never);
    plainGit(path, 'cherry-pick', '--abort');
    plainGit(path, 'reset', '--quiet', '--hard', base);
    plainGit(path, 'bisect', 'start');
    expect(await health(base)).toEqual({ ...nothing, health: 'in_progress', operation: 'bisect' });
  });

  test('before the first commit', async () => {
    const root = newRepository({ unborn: true });
    const base = head(newRepository());
    expect(await worktreeHealth({ path: root, base })).toEqual({ ...nothing, health: 'clear' });
    writeFileSync(join(root, 'new'), 'x\n');
    expect(await worktreeHealth({ path: root, base })).toMatchObject({ health: 'in_progress', dirty: ['new'] });
  });
});
