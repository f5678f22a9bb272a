import { describe, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { copyIncluded } from '../../src/session/worktree-include.ts';
import { commitFile, newRepository, plainGit } from '../git/plain.ts';
import { tempDir } from '../support/temp.ts';
import { isThere } from './field.ts';

/** A checkout with these files, a worktree of it, and what was copied into that. */
async function include(patterns: string, files: Record<string, string>, prepare: (repo: string) => void = () => {}) {
  const repo = newRepository();
  const to = join(repo, '..', 'tree');
  commitFile(repo, '.gitignore', 'secret/\n.env*\n*.key\nlink*\n', 'ignore');
  plainGit(repo, 'worktree', 'add', '-q', '-b', 'w', to);
  writeFileSync(join(repo, '.worktreeinclude'), patterns);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(repo, name)), { recursive: true });
    writeFileSync(join(repo, name), text);
  }
  prepare(repo);
  return { repo, to, included: await copyIncluded(repo, to) };
}

describe('.worktreeinclude', () => {
  test('copies what it names and git ignores, with modes, into a worktree that stays clean', async () => {
    const files = {
      '.env': 'A=1\n',
      '.env.prod': 'no',
      'secret/deep/a.key': 'k',
      'b.key': 'not named',
      'new.txt': 'untracked',
    };
    const { to, included } = await include('.env*\n!.env.prod\nsecret/\n*.txt\na\n', files, (repo) =>
      chmodSync(join(repo, 'secret/deep/a.key'), 0o640),
    );
    expect(included).toEqual({ files: 2, bytes: 5, left_out: [], more: 0 });
    expect(readFileSync(join(to, '.env'), 'utf8')).toBe('A=1\n');
    expect(statSync(join(to, 'secret/deep/a.key')).mode & 0o777).toBe(0o640);
    expect(['.env.prod', 'b.key', 'new.txt'].filter((name) => isThere(to, name))).toEqual([]);
    expect(readFileSync(join(to, 'a'), 'utf8')).toBe('one\n');
    expect(plainGit(to, 'status', '--porcelain')).toBe('');
  });

  test('asks the rules of the worktree, which may be older than those of the checkout', async () => {
    const { to, included } = await include('later.txt\n', { 'later.txt': 'x' }, (repo) =>
      writeFileSync(join(repo, '.gitignore'), 'later.txt\n'),
    );
    expect(included?.files).toBe(0);
    expect(isThere(to, 'later.txt')).toBe(false);
  });

  test('never writes over a file, and a second time brings only what is missing', async () => {
    const { repo, to } = await include('.env*\n', { '.env': 'theirs', '.env.b': 'b' });
    writeFileSync(join(to, '.env'), 'changed by the session');
    writeFileSync(join(repo, '.env.c'), 'c');
    expect(await copyIncluded(repo, to)).toMatchObject({ files: 1, left_out: [] });
    expect(readFileSync(join(to, '.env'), 'utf8')).toBe('changed by the session');
  });

  test('follows no link, here or there', async () => {
    const outside = tempDir();
    writeFileSync(join(outside, 'host.key'), 'secret of the machine');
    const { to, included } = await include('link*\nsecret/**\n*.key\n', { 'secret/in.key': 'k' }, (repo) => {
      symlinkSync(join(outside, 'host.key'), join(repo, 'link.key'));
      symlinkSync(outside, join(repo, 'linked'));
      symlinkSync(outside, join(repo, '..', 'tree', 'secret'));
    });
    expect(included?.files).toBe(0);
    expect(included?.left_out).toEqual(
      expect.arrayContaining([
        { path: 'link.key', why: 'it is no regular file' },
        { path: 'secret/in.key', why: 'a link on the way leads elsewhere' },
      ]),
    );
    expect(isThere(outside, 'in.key')).toBe(false);
    expect(['link.key', 'linked'].filter((name) => isThere(to, name))).toEqual([]);
  });

  test('leaves other repositories and names that are no text alone', async () => {
    const { to, included } = await include('secret/\n', { 'secret/ok': 'x' }, (repo) => {
      plainGit('/', 'init', '-q', join(repo, 'secret/inner'));
      writeFileSync(join(repo, 'secret/inner/file'), 'x');
      writeFileSync(Buffer.concat([Buffer.from(`${repo}/secret/`), Buffer.from([0xff, 0xfe])]), 'x');
    });
    expect(included?.files).toBe(1);
    expect(included?.left_out).toEqual([{ path: expect.stringContaining('secret/'), why: 'it is no regular file' }]);
    expect(isThere(to, 'secret/inner')).toBe(false);
  });

  test('copies so many and no more', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 5_012 }, (_, i) => [`secret/f${String(i).padStart(4, '0')}`, '']),
    );
    const { included } = await include('secret/\n', many);
    expect(included?.files).toBe(5_000);
    expect(included?.left_out).toHaveLength(10);
    expect(included?.more).toBe(2);
    const { to, included: large } = await include('.env*\n', { '.env': 'x' }, (repo) => {
      Bun.spawnSync(['truncate', '-s', '257M', join(repo, '.env.core')]);
    });
    expect(large).toEqual({
      files: 1,
      bytes: 1,
      left_out: [{ path: '.env.core', why: 'more than 256 MiB in all' }],
      more: 0,
    });
    expect(isThere(to, '.env.core')).toBe(false);
  }, 60_000);

  test('more names than can be listed: worktree_include_too_large, and nothing is copied', async () => {
    const repo = newRepository();
    const to = join(repo, '..', 'tree');
    plainGit(repo, 'worktree', 'add', '-q', '-b', 'w', to);
    writeFileSync(join(repo, '.worktreeinclude'), '*.env\n');
    const deep = join(...Array.from({ length: 14 }, () => 'd'.repeat(240)));
    mkdirSync(join(repo, deep), { recursive: true });
    for (let i = 0; i < 5_200; i += 1) writeFileSync(join(repo, deep, `${i}.env`), '');
    await expect(copyIncluded(repo, to)).rejects.toMatchObject({
      ...{ kind: 'failed', code: 'worktree_include_too_large' },
      details: { hint: expect.stringContaining('.worktreeinclude') },
    });
    expect(isThere(to, 'd'.repeat(240))).toBe(false);
  }, 60_000);

  test('no such file: nothing; something else by its name: a typed error', async () => {
    const repo = newRepository();
    expect(await copyIncluded(repo, repo)).toBeNull();
    Bun.spawnSync(['mkfifo', join(repo, '.worktreeinclude')]);
    await expect(copyIncluded(repo, repo)).rejects.toMatchObject({ code: 'not_a_file' });
  });
});
