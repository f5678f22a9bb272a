import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { changedPaths, diffPreview, dirtyChanges } from '../../src/git/patch.ts';
import { fork } from './fork.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from './plain.ts';
import { newTrap } from './trap.ts';

const head = (root: string) => plainGit(root, 'rev-parse', 'HEAD');

describe('diffPreview (E-160)', () => {
  test('at most so many lines, the last one saying how many are missing', async () => {
    const root = newRepository();
    const from = head(root);
    const to = commitFile(root, 'a', Array.from({ length: 50 }, (_, i) => `${i}\n`).join(''), 'many');
    const show = (max_lines: number, path?: string) =>
      diffPreview({ repo_root: root, from, to, max_lines, ...(path === undefined ? {} : { path }) });
    const whole = (await show(1_000)).split('\n');
    expect(whole[0]).toBe('diff --git a/a b/a');
    expect((await show(whole.length)).split('\n')).toEqual(whole);
    const short = (await show(18)).split('\n');
    expect(short).toEqual([...whole.slice(0, 17), `… ${whole.length - 17} more lines`]);
    expect([await show(0), await show(5, 'other')]).toEqual(['', '']);
    expect(await diffPreview({ repo_root: root, from, to: from, max_lines: 9 })).toBe('');
  });

  test('only the path asked for, whatever its name means to git', async () => {
    const root = newRepository();
    const from = head(root);
    for (const name of [':(glob)*', '*', 'b b']) commitFile(root, name, `${name}\n`, 'x');
    const show = (path: string) => diffPreview({ repo_root: root, from, to: head(root), max_lines: 99, path });
    for (const name of [':(glob)*', '*', 'b b']) {
      const text = await show(name);
      expect([text.match(/^diff/gm)?.length, text.includes(`+${name}`)]).toEqual([1, true]);
    }
  });

  test('nothing in it can write to a terminal, and no line is long', async () => {
    const root = newRepository();
    const from = head(root);
    const to = commitFile(root, 'a', `\u001b[31mred\u009b0m\u202eevil\rover\n${'x'.repeat(1_000)}\n`, 'odd');
    const lines = (await diffPreview({ repo_root: root, from, to, max_lines: 99 })).split('\n');
    expect(lines).toContain('+\ufffd[31mred\ufffd0m\ufffdevil\ufffdover');
    expect(lines.at(-1)).toBe(`+${'x'.repeat(298)}…`);
  });

  test('no program of the repository runs', async () => {
    const { repo, canary, evil } = newTrap();
    commitFile(repo, '.gitattributes', '* diff=evil\n', 'attributes');
    for (const key of ['diff.external', 'diff.evil.command', 'diff.evil.textconv']) plainGit(repo, 'config', key, evil);
    const from = head(repo);
    const to = commitFile(repo, 'a', 'two\n', 'two');
    expect(await diffPreview({ repo_root: repo, from, to, max_lines: 99 })).toContain('+two');
    expect(existsSync(canary)).toBe(false);
    await expect(diffPreview({ repo_root: repo, from: '--output=x', to, max_lines: 9 })).rejects.toMatchObject({
      code: 'commit_invalid',
    });
  });
});

describe('changedPaths (E-158)', () => {
  test('create, modify, delete, move; from the merge base when asked', async () => {
    const root = newRepository();
    for (const name of ['gone', 'moved', 'changed']) commitFile(root, name, `${name}\n1\n2\n3\n`, name);
    const { ours, theirs } = fork(
      root,
      () => writeFileSync(join(root, 'ours'), 'ours\n'),
      () => {
        rmSync(join(root, 'gone'));
        plainGit(root, 'mv', 'moved', 'new\nname');
        writeFileSync(join(root, 'changed'), 'other\n');
        writeFileSync(join(root, 'new'), 'new\n');
      },
    );
    const since = await changedPaths({ repo_root: root, from: ours, to: theirs, since_merge_base: true });
    expect(since).toEqual([
      { path: 'changed', action: 'modify' },
      { path: 'gone', action: 'delete' },
      { path: 'new', action: 'create' },
      { path: 'new\nname', action: 'move', previous: 'moved' },
    ]);
    const between = await changedPaths({ repo_root: root, from: ours, to: theirs });
    expect(between).toEqual(expect.arrayContaining([...since, { path: 'ours', action: 'delete' }]));
    expect(await changedPaths({ repo_root: root, from: ours, to: ours })).toEqual([]);
  });

  test('without a common ancestor there is no answer since it', async () => {
    const root = newRepository();
    const alien = plainGit(root, 'commit-tree', '-m', 'x', plainGit(root, 'rev-parse', 'HEAD^{tree}'));
    const wanted = { repo_root: root, from: head(root), to: alien };
    await expect(changedPaths({ ...wanted, since_merge_base: true })).rejects.toMatchObject({
      code: 'no_common_ancestor',
    });
    expect(await changedPaths(wanted)).toEqual([]);
  });
});

describe('dirtyChanges', () => {
  test('staged, unstaged, unmerged and new; ignored ones are not among them', async () => {
    const root = newRepository();
    for (const name of ['gone', 'staged', 'moved', 'both']) commitFile(root, name, `${name}\n1\n2\n3\n`, name);
    writeFileSync(join(root, '.git/info/exclude'), 'ignored\n');
    for (const name of ['ignored', 'staged', 'new', 'a']) writeFileSync(join(root, name), `changed ${name}\n`);
    mkdirSync(join(root, 'folder'));
    for (const name of ['x', 'y\n']) writeFileSync(join(root, 'folder', name), 'x\n');
    plainGit(root, 'add', 'staged', 'new');
    rmSync(join(root, 'gone'));
    plainGit(root, 'mv', 'moved', 'there');
    expect((await dirtyChanges(root)).sort((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
      { path: 'a', action: 'modify' },
      { path: 'folder/x', action: 'create' },
      { path: 'folder/y\n', action: 'create' },
      { path: 'gone', action: 'delete' },
      { path: 'new', action: 'create' },
      { path: 'staged', action: 'modify' },
      { path: 'there', action: 'move', previous: 'moved' },
    ]);
  });

  test('in the middle of a merge, and before the first commit', async () => {
    const root = newRepository();
    fork(
      root,
      () => writeFileSync(join(root, 'a'), 'ours\n'),
      () => rmSync(join(root, 'a')),
    );
    expect(tryPlainGit(root, ['merge', 'theirs']).code).not.toBe(0);
    expect(await dirtyChanges(root)).toEqual([{ path: 'a', action: 'modify' }]);
    const unborn = newRepository({ unborn: true });
    writeFileSync(join(unborn, 'new'), 'x\n');
    expect(await dirtyChanges(unborn)).toEqual([{ path: 'new', action: 'create' }]);
  });
});
