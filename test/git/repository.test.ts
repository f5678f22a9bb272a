import { describe, expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { workFacts } from '../../src/git/facts.ts';
import { findRepository, resolveCommit } from '../../src/git/repository.ts';
import { tempDir } from '../support/temp.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from './plain.ts';

describe('findRepository', () => {
  test('a directory below the top, reached through a symbolic link (E-175)', async () => {
    const root = newRepository();
    mkdirSync(join(root, 'sub'));
    const link = join(root, '..', 'link');
    symlinkSync(join(root, 'sub'), link);
    expect(await findRepository(link)).toEqual({
      root,
      main_root: root,
      common_dir: join(root, '.git'),
      git_dir: join(root, '.git'),
      is_bare: false,
      is_unfinished: false,
      head_commit: plainGit(root, 'rev-parse', 'HEAD'),
      branch: 'main',
    });
  });

  test('a linked worktree knows the main one, also when a path holds spaces and newlines', async () => {
    const root = newRepository({ dir: join(tempDir('git'), 'my repo\nsecond line ') });
    const path = join(root, '..', 'linked tree\nx');
    plainGit(root, 'worktree', 'add', '-q', '-b', 'side', path);
    expect(await findRepository(path)).toMatchObject({
      root: path,
      main_root: root,
      common_dir: join(root, '.git'),
      branch: 'side',
      is_bare: false,
    });
  });

  test('a bare repository and a worktree of it', async () => {
    const bare = join(tempDir('git'), 'bare.git');
    plainGit('/', 'clone', '-q', '--bare', newRepository(), bare);
    expect(await findRepository(bare)).toMatchObject({ root: bare, main_root: bare, is_bare: true, branch: 'main' });
    const path = join(bare, '..', 'tree');
    plainGit(bare, 'worktree', 'add', '-q', '-b', 'side', path);
    expect(await findRepository(path)).toMatchObject({ root: path, main_root: bare, is_bare: false });
    expect(await workFacts(bare, null)).toBeNull();
  });

  test('the branch has its own name, whatever else is called like it', async () => {
    const root = newRepository();
    for (const ref of ['refs/tags/main', 'refs/heads/HEAD', 'refs/heads/heads/main']) {
      plainGit(root, 'update-ref', ref, 'HEAD');
      expect(await findRepository(root)).toMatchObject({ root, branch: 'main' });
    }
    for (const name of ['HEAD', 'HEAD^{commit}', 'main']) writeFileSync(join(root, name), '');
    expect(await findRepository(root)).toMatchObject({
      root,
      head_commit: plainGit(root, 'rev-parse', 'refs/heads/main'),
    });
    plainGit(root, 'symbolic-ref', 'HEAD', 'refs/heads/unborn');
    expect(await findRepository(root)).toMatchObject({ root, head_commit: null, branch: 'unborn' });
  });

  test('no commit yet, and a detached HEAD', async () => {
    const unborn = newRepository({ unborn: true });
    expect(await findRepository(unborn)).toMatchObject({ head_commit: null, branch: 'main' });
    const detached = newRepository();
    plainGit(detached, 'checkout', '-q', '--detach');
    const found = await findRepository(detached);
    expect(found?.branch).toBeNull();
    expect(found?.head_commit).toBe(plainGit(detached, 'rev-parse', 'HEAD'));
  });

  test('null where there is none: no directory, a file, a plain directory, inside .git, a worktree cut off', async () => {
    const root = newRepository();
    const path = join(root, '..', 'linked');
    plainGit(root, 'worktree', 'add', '-q', '-b', 'side', path);
    rmSync(join(root, '.git/worktrees'), { recursive: true });
    for (const dir of [join(root, 'gone'), join(root, 'a'), join(root, 'a/b'), tempDir(), join(root, '.git'), path]) {
      expect(await findRepository(dir)).toBeNull();
      expect(await workFacts(dir, null)).toBeNull();
    }
  });

  test('a repository whose configuration cannot be read is an error, not an absence', async () => {
    const root = newRepository();
    writeFileSync(join(root, '.git/config'), '[broken');
    await expect(findRepository(root)).rejects.toMatchObject({ kind: 'failed', code: 'git_failed' });
  });

  test('a configuration cannot move the worktree somewhere else', async () => {
    const root = newRepository();
    plainGit(root, 'config', 'core.worktree', tempDir());
    expect(await findRepository(root)).toBeNull();
  });

  test('a worktree whose making was cut short says so', async () => {
    const root = newRepository();
    commitFile(root, '.gitattributes', '* filter=slow\n', 'attributes');
    const filter = join(root, '..', 'slow');
    writeFileSync(filter, '#!/bin/sh\nkill -9 $(ps -o ppid= -p $PPID) $PPID\n');
    chmodSync(filter, 0o755);
    plainGit(root, 'config', 'filter.slow.smudge', filter);
    const path = join(root, '..', 'half');
    expect(tryPlainGit(root, ['worktree', 'add', '-b', 'half', path]).code).not.toBe(0);
    expect(existsSync(path)).toBe(true);
    expect(await findRepository(path)).toMatchObject({ root: path, branch: 'half', is_unfinished: true });
  });
});

describe('resolveCommit', () => {
  test('names, abbreviations, annotated tags and expressions become full ids', async () => {
    const root = newRepository();
    const first = plainGit(root, 'rev-parse', 'HEAD');
    const second = commitFile(root, 'b', 'b\n', 'second');
    plainGit(root, 'tag', '-a', '-m', 'x', 'v1', first);
    for (const ref of ['main', 'HEAD', 'refs/heads/main', second, second.slice(0, 8)]) {
      expect(await resolveCommit(root, ref)).toBe(second);
    }
    for (const ref of ['HEAD~1', 'v1', first]) expect(await resolveCommit(root, ref)).toBe(first);
  });

  test('everything else is null: unknown, empty, a blob, an option, two names', async () => {
    const root = newRepository();
    const none = ['nope', '', 'HEAD:a', '--git-dir', '-h', '--help', '--all', 'HEAD HEAD', 'HEAD\nHEAD', 'a\0b', '-'];
    for (const ref of [...none, 'f'.repeat(40), '--show-toplevel', '@{-1}']) {
      expect(await resolveCommit(root, ref)).toBeNull();
    }
    expect(await resolveCommit(newRepository({ unborn: true }), 'HEAD')).toBeNull();
  });

  test('a branch that looks like an option is still a branch', async () => {
    const root = newRepository();
    const id = plainGit(root, 'rev-parse', 'HEAD');
    plainGit(root, 'update-ref', 'refs/heads/--help', id);
    expect(await resolveCommit(root, '--help')).toBe(id);
  });
});
