import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addScratch, removeScratch } from '../../src/git/scratch.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { tempDir } from '../support/temp.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from './plain.ts';
import { snapshot } from './snapshot.ts';
import { hook, newTrap } from './trap.ts';

const head = (root: string) => plainGit(root, 'rev-parse', 'HEAD');
const clock = systemClock;

function wanted(repo_root: string, name = 'scratch\none', root = tempDir('scratch')) {
  return { repo_root, path: join(root, name), commit: head(repo_root), clock };
}

const notes = (root: string) => {
  const dir = join(root, '.git/worktrees');
  return existsSync(dir) ? readdirSync(dir) : [];
};

describe('addScratch', () => {
  test('the files of the commit on no branch, kept by git through a prune', async () => {
    const root = newRepository();
    const at = wanted(root);
    commitFile(root, 'b', 'b\n', 'later');
    const refs = plainGit(root, 'for-each-ref');
    await addScratch(at);
    expect([head(at.path), existsSync(join(at.path, 'a')), existsSync(join(at.path, 'b'))]).toEqual([
      at.commit,
      true,
      false,
    ]);
    expect(tryPlainGit(at.path, ['symbolic-ref', 'HEAD']).code).not.toBe(0);
    expect(plainGit(root, 'for-each-ref')).toBe(refs);
    rmSync(at.path, { recursive: true });
    plainGit(root, 'worktree', 'prune', '--expire=now');
    expect(notes(root)).toHaveLength(1);
    await removeScratch(at);
    expect(notes(root)).toEqual([]);
  });

  test('nothing is overwritten, and after an error nothing is left', async () => {
    const root = newRepository();
    const at = wanted(root);
    mkdirSync(at.path);
    writeFileSync(join(at.path, 'mine'), 'mine\n');
    const before = [snapshot(root), snapshot(at.path)];
    await expect(addScratch(at)).rejects.toMatchObject({ kind: 'refused', code: 'worktree_exists' });
    const elsewhere = { ...at, path: join(at.path, 'x') };
    await expect(addScratch({ ...elsewhere, commit: '1'.repeat(40) })).rejects.toMatchObject({
      code: 'commit_not_found',
    });
    await expect(addScratch({ ...elsewhere, commit: 'main' })).rejects.toMatchObject({ code: 'commit_invalid' });
    await expect(addScratch({ ...elsewhere, path: 'x' })).rejects.toMatchObject({ code: 'worktree_path_invalid' });
    expect([snapshot(root), snapshot(at.path)]).toEqual(before);
  });

  test('what a killed process left at the path is in the way until it is removed', async () => {
    const root = newRepository();
    const at = wanted(root);
    await addScratch(at);
    await expect(addScratch(at)).rejects.toMatchObject({ code: 'worktree_exists' });
    rmSync(at.path, { recursive: true });
    await expect(addScratch(at)).rejects.toMatchObject({ code: 'worktree_exists' });
    await removeScratch(at);
    await addScratch(at);
    await removeScratch(at);
  });

  test('neither hooks nor filters run; the pointer of a large file stays a pointer', async () => {
    const trap = newTrap();
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n';
    commitFile(trap.repo, '.gitattributes', '*.bin filter=lfs diff=lfs merge=lfs -text\n', 'attributes');
    commitFile(trap.repo, 'x.bin', pointer, 'pointer');
    plainGit(trap.repo, 'config', 'filter.lfs.smudge', trap.evil);
    plainGit(trap.repo, 'config', 'filter.lfs.required', 'true');
    hook('post-checkout')(trap);
    rmSync(trap.canary, { force: true });
    const at = wanted(trap.repo);
    await addScratch(at);
    expect(`${plainGit(at.path, 'show', 'HEAD:x.bin')}\n`).toBe(pointer);
    expect(existsSync(trap.canary)).toBe(false);
    await removeScratch(at);
  });
});

describe('removeScratch (ARCHITECTURE §1.6)', () => {
  test('whatever gates left in it, and nothing else', async () => {
    const root = newRepository();
    const [at, other] = [wanted(root), wanted(root, 'other')];
    for (const each of [at, other]) await addScratch(each);
    const gone = join(tempDir('gone'), 'gone');
    plainGit(root, 'worktree', 'add', '--quiet', '-b', 'gone', gone);
    rmSync(gone, { recursive: true });
    const outside = tempDir('outside');
    writeFileSync(join(outside, 'kept'), 'kept\n');
    writeFileSync(join(at.path, 'a'), 'changed\n');
    writeFileSync(Buffer.concat([Buffer.from(`${at.path}/`), Buffer.from([0xff, 0x0a])]), 'odd\n');
    symlinkSync(outside, join(at.path, 'link'));
    mkdirSync(join(at.path, 'node_modules/deep'), { recursive: true });
    writeFileSync(join(at.path, 'node_modules/deep/x'), 'x\n', { mode: 0o000 });
    plainGit(at.path, 'checkout', '--quiet', '-b', 'made-by-a-gate');
    // As a gate may do that takes the worktree for its own repository: .git now names another one.
    writeFileSync(join(at.path, '.git'), `gitdir: ${root}/.git\n`);
    const before = snapshot(root, (path) => path.startsWith('/.git/worktrees/scratch'));
    const others = [snapshot(other.path), snapshot(outside)];
    await removeScratch(at);
    expect(existsSync(at.path)).toBe(false);
    expect(snapshot(root)).toEqual(before);
    expect([snapshot(other.path), snapshot(outside)]).toEqual(others);
    await removeScratch(other);
    expect(notes(root)).toEqual(['gone']);
  });

  test('folders that nobody may write to, for a user without the rights of root', async () => {
    const root = newRepository();
    const at = wanted(root);
    await addScratch(at);
    const locked = join(at.path, 'cache/deep');
    mkdirSync(locked, { recursive: true });
    writeFileSync(join(locked, 'x'), 'x\n');
    Bun.spawnSync(['chmod', '0555', locked]);
    Bun.spawnSync(['chmod', '0000', join(at.path, 'cache')]);
    const script = `const { removeScratch } = await import(${JSON.stringify(join(import.meta.dir, '../../src/git/scratch.ts'))});
      await removeScratch(${JSON.stringify({ repo_root: root, path: at.path })});`;
    const command = [process.execPath, '-e', script];
    // Root, who may do everything, has to give that up.
    const plain = ['setpriv', '--bounding-set=-dac_override,-dac_read_search'];
    if (process.getuid?.() === 0) command.unshift(...plain);
    const { exitCode, stderr } = Bun.spawnSync(command, { cwd: '/' });
    expect([exitCode, stderr.toString()]).toEqual([0, '']);
    expect([existsSync(at.path), notes(root)]).toEqual([false, []]);
  });

  test('again after every point at which it may have been interrupted', async () => {
    const root = newRepository();
    const at = wanted(root);
    await removeScratch(at);
    await addScratch(at);
    // Half of the files are gone.
    rmSync(join(at.path, '.git'));
    await removeScratch(at);
    expect([existsSync(at.path), notes(root)]).toEqual([false, []]);
    await addScratch(at);
    // All of them are, with the folder around.
    rmSync(join(at.path, '..'), { recursive: true });
    await removeScratch(at);
    expect(notes(root)).toEqual([]);
    await removeScratch(at);
  });

  test('never what it has not made', async () => {
    const root = newRepository();
    const trees = tempDir('trees');
    const [linked, detached, plain] = ['linked', 'detached', 'plain'].map((name) => join(trees, name)) as [
      string,
      string,
      string,
    ];
    plainGit(root, 'worktree', 'add', '--quiet', '-b', 'linked', linked);
    plainGit(root, 'worktree', 'add', '--quiet', '--detach', detached);
    mkdirSync(plain);
    const at = wanted(root);
    await addScratch(at);
    const moved = join(trees, 'moved');
    renameSync(at.path, moved);
    const before = [snapshot(root), snapshot(trees)];
    for (const path of [root, linked, detached, plain, moved, `${root}/.git`]) {
      await expect(removeScratch({ repo_root: root, path, clock })).rejects.toMatchObject({ code: 'worktree_foreign' });
    }
    expect([snapshot(root), snapshot(trees)]).toEqual(before);
  });
});
