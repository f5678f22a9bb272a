import { describe, expect, test } from 'bun:test';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { commitMerge, missingLines } from '../../src/git/merge-commit.ts';
import { tempDir } from '../support/temp.ts';
import { fork } from './fork.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from './plain.ts';
import { snapshot } from './snapshot.ts';

const write = (root: string, name: string, text: string | Uint8Array) => () => writeFileSync(join(root, name), text);
const head = (root: string) => plainGit(root, 'rev-parse', 'HEAD');
const treeOf = (root: string, name: string) => plainGit(root, 'rev-parse', `${name}^{tree}`);

/** A tree that has `text` in `name` and is `commit` otherwise: what a careless hand could have made of a merge. */
function treeWith(root: string, commit: string, name: string, text: string | Uint8Array | null): string {
  const env = { GIT_INDEX_FILE: join(tempDir('index'), 'index') };
  const git = (...args: string[]) => {
    const { code, stdout, stderr } = tryPlainGit(root, args, env);
    if (code !== 0) throw new Error(stderr);
    return stdout.trim();
  };
  git('read-tree', commit);
  if (text === null) git('rm', '--quiet', '--cached', name);
  else {
    writeFileSync(join(root, '..', 'blob'), text);
    const blob = git('hash-object', '-w', join(root, '..', 'blob'));
    git('update-index', '--add', '--cacheinfo', `100644,${blob},${name}`);
  }
  return git('write-tree');
}

describe('commitMerge (E-153, I21)', () => {
  test('a commit with both parents; no ref moves, no checkout is touched', async () => {
    const root = newRepository();
    const { ours, theirs } = fork(root, write(root, 'b', 'b\n'), write(root, 'c', 'c\n'));
    const outside = (path: string) => path.startsWith('/.git/objects');
    const before = snapshot(root, outside);
    const message = '-x\n\n#not a comment\nü\n';
    const merged = await commitMerge({ repo_root: root, ours, theirs, message });
    if (merged.outcome !== 'merged') throw new Error(merged.outcome);
    expect(snapshot(root, outside)).toEqual(before);
    expect(plainGit(root, 'log', '-1', '--format=%P %T %cn <%ce>', merged.commit)).toBe(
      `${ours} ${theirs} ${merged.tree} T <t@example.invalid>`,
    );
    expect(`${plainGit(root, 'log', '-1', '--format=%B', merged.commit)}\n`).toBe(message);
    plainGit(root, 'fsck', '--strict');
  });

  test('up to date: theirs is contained already', async () => {
    const root = newRepository();
    const theirs = head(root);
    const ours = commitFile(root, 'b', 'b\n', 'b');
    const wanted = { repo_root: root, message: 'm' };
    expect(await commitMerge({ ...wanted, ours, theirs })).toEqual({ outcome: 'up_to_date' });
    expect(await commitMerge({ ...wanted, ours, theirs: ours })).toEqual({ outcome: 'up_to_date' });
    expect(await commitMerge({ ...wanted, ours: theirs, theirs: ours })).toMatchObject({ outcome: 'merged' });
  });

  test('a conflict is told with its paths, and no commit is made', async () => {
    const root = newRepository();
    const { ours, theirs } = fork(root, write(root, 'a', 'ours\n'), write(root, 'a', 'theirs\n'));
    expect(await commitMerge({ repo_root: root, ours, theirs, message: 'm' })).toMatchObject({
      outcome: 'conflict',
      prediction: { tree: null, conflicts: [{ path: 'a', kind: 'content' }] },
    });
    expect(plainGit(root, 'fsck', '--unreachable')).not.toContain('unreachable commit');
  });

  test('without a configured name the merge is by drover; with one, by its owner', async () => {
    const root = newRepository();
    const { ours, theirs } = fork(root, write(root, 'b', 'b\n'), write(root, 'c', 'c\n'));
    plainGit(root, 'config', '--remove-section', 'user');
    const { HOME } = process.env;
    process.env.HOME = tempDir('home');
    try {
      const by = async () => {
        const merged = await commitMerge({ repo_root: root, ours, theirs, message: 'm' });
        if (merged.outcome !== 'merged') throw new Error(merged.outcome);
        return plainGit(root, 'log', '-1', '--format=%an <%ae> %cn <%ce>', merged.commit);
      };
      expect(await by()).toBe('drover <drover@localhost> drover <drover@localhost>');
      plainGit(root, 'config', 'user.name', 'Only A Name');
      expect(await by()).toBe('drover <drover@localhost> drover <drover@localhost>');
      plainGit(root, 'config', 'user.email', 'a@example.invalid');
      expect(await by()).toBe('Only A Name <a@example.invalid> Only A Name <a@example.invalid>');
    } finally {
      process.env.HOME = HOME;
    }
  });

  test('whatever two sides do: the tree is that of git merge, and no line is missing', async () => {
    const words = fc.constantFrom('{', '}', 'x', 'return', '', 'y', 'call()', 'z');
    const edit = fc.record({
      at: fc.nat(20),
      drop: fc.nat(3),
      put: fc.array(words, { maxLength: 4 }),
      file: fc.constantFrom('one', 'two'),
    });
    const side = fc.record({ edits: fc.array(edit, { maxLength: 4 }), rename: fc.boolean(), remove: fc.boolean() });
    const root = newRepository();
    const start = (name: string) =>
      `${Array.from({ length: 20 }, (_, i) => `${name} ${i % 3 ? i : '}'}`).join('\n')}\n`;
    for (const name of ['one', 'two', 'three']) write(root, name, start(name))();
    plainGit(root, 'add', '.');
    plainGit(root, 'commit', '--quiet', '-m', 'start');
    const base = head(root);
    const work = (done: typeof side extends fc.Arbitrary<infer T> ? T : never) => () => {
      for (const { at, drop, put, file } of done.edits) {
        const lines = readFileSync(join(root, file), 'utf8').split('\n');
        lines.splice(at, drop, ...put);
        write(root, file, lines.join('\n'))();
      }
      if (done.rename) plainGit(root, 'mv', 'one', 'renamed');
      if (done.remove) rmSync(join(root, 'three'));
    };
    let merges = 0;
    await fc.assert(
      fc.asyncProperty(side, side, async (one, two) => {
        plainGit(root, 'checkout', '--quiet', '-f', '-B', 'main', base);
        tryPlainGit(root, ['branch', '-D', 'theirs']);
        const { ours, theirs } = fork(root, work(one), work(two));
        const merged = await commitMerge({ repo_root: root, ours, theirs, message: 'm' });
        const plain = tryPlainGit(root, ['merge', '--quiet', '--no-ff', '--no-edit', 'theirs']);
        if (plain.code !== 0) tryPlainGit(root, ['merge', '--abort']);
        expect(merged.outcome === 'conflict').toBe(plain.code !== 0);
        if (merged.outcome !== 'merged') return;
        merges += 1;
        expect(merged.tree).toBe(treeOf(root, 'HEAD'));
        const missing = await missingLines({ repo_root: root, ours, theirs, merged: merged.commit });
        expect(missing).toEqual({ lines: [], truncated: false });
      }),
      { numRuns: 20, seed: 7 },
    );
    expect(merges).toBeGreaterThan(3);
  }, 60_000);
});

describe('missingLines (ARCHITECTURE §1.6)', () => {
  const text = (...lines: string[]) => `${lines.join('\n')}\n`;

  test('a line of either side that the merged tree has not', async () => {
    const root = newRepository();
    commitFile(root, 'f', text('1', '2', '3', '4', '5', '6', '7'), 'f');
    const { ours, theirs } = fork(
      root,
      write(root, 'f', text('ours', '1', '2', '3', '4', '5', '6', '7')),
      write(root, 'f', text('1', '2', '3', '4', '5', '6', '7', '', 'theirs', 'too')),
    );
    const lost = async (merged: string) => (await missingLines({ repo_root: root, ours, theirs, merged })).lines;
    expect(
      await lost(treeWith(root, ours, 'f', text('ours', '1', '2', '3', '4', '5', '6', '7', '', 'theirs', 'too'))),
    ).toEqual([]);
    expect(await lost(ours)).toEqual([
      { path: 'f', side: 'theirs', line: 'theirs' },
      { path: 'f', side: 'theirs', line: 'too' },
    ]);
    expect(await lost(theirs)).toEqual([{ path: 'f', side: 'ours', line: 'ours' }]);
    expect(await lost(treeWith(root, ours, 'f', null))).toHaveLength(3);
  });

  test('the same line twice: one of two copies is missing', async () => {
    const root = newRepository();
    commitFile(root, 'f', text('a', '}', 'b', 'c', 'd', 'e'), 'f');
    const { ours, theirs } = fork(
      root,
      write(root, 'f', text('a', '}', 'b', 'x', '}', 'y', '}', 'c', 'd', 'e')),
      write(root, 'f', text('a', '}', 'b', 'c', 'd', 'e', 'end')),
    );
    const merged = treeWith(root, ours, 'f', text('a', '}', 'b', 'x', '}', 'y', 'c', 'd', 'e', 'end'));
    const { lines } = await missingLines({ repo_root: root, ours, theirs, merged });
    expect(lines).toEqual([{ path: 'f', side: 'ours', line: '}' }]);
    // Of three, ours has put in two.
    const none = treeWith(root, ours, 'f', text('a', 'b', 'x', 'y', 'c', 'd', 'e', 'end'));
    expect((await missingLines({ repo_root: root, ours, theirs, merged: none })).lines).toHaveLength(2);
  });

  test('what the other side took out is not missing, and what both added needs to be there once', async () => {
    const root = newRepository();
    commitFile(root, 'f', text('}', 'a', 'b', 'c', 'd', 'e', 'f', 'g'), 'f');
    const { ours, theirs } = fork(
      root,
      write(root, 'f', text('}', 'a', 'b', 'c', 'd', 'e', 'f', 'g', '}', 'same')),
      write(root, 'f', text('a', 'b', 'c', 'd', 'e', 'f', 'g', '}', 'same')),
    );
    const merged = await commitMerge({ repo_root: root, ours, theirs, message: 'm' });
    if (merged.outcome !== 'merged') throw new Error(merged.outcome);
    expect(plainGit(root, 'show', `${merged.tree}:f`)).toBe('a\nb\nc\nd\ne\nf\ng\n}\nsame');
    expect((await missingLines({ repo_root: root, ours, theirs, merged: merged.tree })).lines).toEqual([]);
    const without = treeWith(root, merged.tree, 'f', text('a', 'b', 'c', 'd', 'e', 'f', 'g', '}'));
    expect((await missingLines({ repo_root: root, ours, theirs, merged: without })).lines).toEqual([
      { path: 'f', side: 'ours', line: 'same' },
      { path: 'f', side: 'theirs', line: 'same' },
    ]);
  });

  test('renames are followed, however much was changed besides', async () => {
    const root = newRepository();
    const long = Array.from({ length: 30 }, (_, i) => `line ${i}`);
    commitFile(root, 'old name', text(...long), 'f');
    const more = Array.from({ length: 60 }, (_, i) => `more ${i}`);
    const { ours, theirs } = fork(root, write(root, 'old name', text(...long, ...more)), () => {
      plainGit(root, 'mv', 'old name', 'new\nname');
      write(root, 'new\nname', text('first', ...long.slice(10)))();
    });
    const merged = await commitMerge({ repo_root: root, ours, theirs, message: 'm' });
    if (merged.outcome !== 'merged') throw new Error(merged.outcome);
    const check = async (tree: string) => (await missingLines({ repo_root: root, ours, theirs, merged: tree })).lines;
    expect(await check(merged.tree)).toEqual([]);
    const short = treeWith(root, merged.tree, 'new\nname', text('first', ...long.slice(10), ...more.slice(1)));
    expect(await check(short)).toEqual([{ path: 'old name', side: 'ours', line: 'more 0' }]);
    const other = treeWith(root, merged.tree, 'new\nname', text(...long.slice(10), ...more));
    expect(await check(other)).toEqual([{ path: 'new\nname', side: 'theirs', line: 'first' }]);
  });

  test('renames are followed to a file that has hardly a line of the one it was', async () => {
    const root = newRepository();
    const long = Array.from({ length: 30 }, (_, i) => `line ${i}`);
    commitFile(root, 'old', text(...long), 'old');
    const { ours, theirs } = fork(root, write(root, 'old', text('ours', ...long.slice(0, 8))), () => {
      plainGit(root, 'mv', 'old', 'new');
      write(root, 'new', text(...Array.from({ length: 28 }, (_, i) => `more ${i}`), 'x', ...long))();
    });
    const merged = treeWith(root, theirs, 'new', `${plainGit(root, 'show', `${theirs}:new`)}\nours\n`);
    const check = async (tree: string) => (await missingLines({ repo_root: root, ours, theirs, merged: tree })).lines;
    const short = text('ours', ...Array.from({ length: 28 }, (_, i) => `more ${i}`), 'x', ...long.slice(0, 8));
    expect(await check(treeWith(root, merged, 'new', short))).toEqual([]);
    expect(await check(treeWith(root, merged, 'new', short.slice('ours\n'.length)))).toEqual([
      { path: 'old', side: 'ours', line: 'ours' },
    ]);
  });

  test('a file whose last line has no end', async () => {
    const root = newRepository();
    commitFile(root, 'f', 'one\ntwo', 'f');
    const { ours, theirs } = fork(root, write(root, 'f', 'one\ntwo\nthree\nfour'), write(root, 'g', 'g'));
    const { lines } = await missingLines({ repo_root: root, ours, theirs, merged: theirs });
    expect(lines.map(({ line }) => line)).toEqual(['three', 'four']);
  });

  test('binary files: the content of a side that did not survive; attributes hide nothing', async () => {
    const root = newRepository();
    commitFile(root, 'bin', '\0one', 'bin');
    commitFile(root, 'text', text('1', '2', '3', '4', '5'), 'text');
    commitFile(root, '.gitattributes', '* -diff\n', 'attributes');
    const { ours, theirs } = fork(
      root,
      () => {
        write(root, 'bin', '\0two')();
        write(root, 'text', text('0', '1', '2', '3', '4', '5'))();
      },
      () => {
        write(root, 'new', '\0new')();
        write(root, 'text', text('1', '2', '3', '4', '5', '6'))();
      },
    );
    const merged = await commitMerge({ repo_root: root, ours, theirs, message: 'm' });
    if (merged.outcome !== 'merged') throw new Error(merged.outcome);
    const check = async (tree: string) => (await missingLines({ repo_root: root, ours, theirs, merged: tree })).lines;
    expect(await check(merged.tree)).toEqual([]);
    expect(await check(theirs)).toEqual([
      { path: 'bin', side: 'ours', line: '(binary file)' },
      { path: 'text', side: 'ours', line: '0' },
    ]);
    expect(await check(treeWith(root, merged.tree, 'bin', '\0three'))).toHaveLength(1);
    expect(await check(treeWith(root, merged.tree, 'new', null))).toEqual([
      { path: 'new', side: 'theirs', line: '(binary file)' },
    ]);
  });

  test('a file that becomes a link, one that becomes a folder, lines that look like those of a patch', async () => {
    const root = newRepository();
    commitFile(root, 'f', text('f'), 'f');
    commitFile(root, 'g', text('g'), 'g');
    const odd = text(
      '--- a/x',
      '+++ b/x',
      '@@ -1 +1 @@',
      'diff --git a/f b/f',
      `${'1'.repeat(40)} ${'2'.repeat(40)}`,
      ':100644',
    );
    const { ours, theirs } = fork(
      root,
      () => {
        rmSync(join(root, 'f'));
        Bun.spawnSync(['ln', '-s', 'somewhere', join(root, 'f')]);
        rmSync(join(root, 'g'));
        mkdirSync(join(root, 'g'));
        write(root, 'g/inside', text('inside'))();
      },
      write(root, 'odd', `${odd}no end`),
    );
    const check = async (tree: string) => (await missingLines({ repo_root: root, ours, theirs, merged: tree })).lines;
    const merged = await commitMerge({ repo_root: root, ours, theirs, message: 'm' });
    if (merged.outcome !== 'merged') throw new Error(merged.outcome);
    expect(await check(merged.tree)).toEqual([]);
    expect((await check(ours)).map(({ line }) => line)).toEqual([...odd.trim().split('\n'), 'no end']);
    expect(await check(theirs)).toEqual([
      { path: 'f', side: 'ours', line: 'somewhere' },
      { path: 'g/inside', side: 'ours', line: 'inside' },
    ]);
  });

  test('at most 1,000, and it says so', async () => {
    const root = newRepository();
    const many = Array.from({ length: 1_001 }, (_, i) => `${i}`);
    const { ours, theirs } = fork(root, write(root, 'b', 'b\n'), write(root, 'many', text(...many)));
    const { lines, truncated } = await missingLines({ repo_root: root, ours, theirs, merged: ours });
    expect([lines.length, truncated]).toEqual([1_000, true]);
  });

  test('after a crosswise merge, which has two bases', async () => {
    const root = newRepository();
    commitFile(root, 'f', text('1', '2', '3', '4', '5', '6', '7', '8'), 'f');
    const { ours, theirs } = fork(
      root,
      write(root, 'f', text('ours', '1', '2', '3', '4', '5', '6', '7', '8')),
      write(root, 'f', text('1', '2', '3', '4', '5', '6', '7', '8', 'theirs')),
    );
    const merge = async (a: string, b: string) => {
      const merged = await commitMerge({ repo_root: root, ours: a, theirs: b, message: 'm' });
      if (merged.outcome !== 'merged') throw new Error(merged.outcome);
      return merged.commit;
    };
    const [x, y] = [await merge(ours, theirs), await merge(theirs, ours)];
    plainGit(root, 'checkout', '--quiet', '--detach', x);
    const left = commitFile(root, 'f', text('left', 'ours', '1', '2', '3', '4', '5', '6', '7', '8', 'theirs'), 'l');
    plainGit(root, 'checkout', '--quiet', '--detach', y);
    const right = commitFile(root, 'g', text('right'), 'r');
    const merged = await merge(left, right);
    const check = async (tree: string) =>
      (await missingLines({ repo_root: root, ours: left, theirs: right, merged: tree })).lines;
    expect(await check(merged)).toEqual([]);
    expect(await check(right)).toEqual([{ path: 'f', side: 'ours', line: 'left' }]);
    // Either line is new to one of the bases, and none of what has come since.
    const numbers = ['1', '2', '3', '4', '5', '6', '7', '8'];
    expect(await check(treeWith(root, merged, 'f', text('left', ...numbers, 'theirs')))).toEqual([]);
    expect(await check(treeWith(root, merged, 'f', text('left', 'ours', ...numbers)))).toEqual([]);
  });
});
