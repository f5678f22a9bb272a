import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mergedTrees, predictMerge } from '../../src/git/merge-tree.ts';
import { tempDir } from '../support/temp.ts';
import { fork } from './fork.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from './plain.ts';
import { snapshot } from './snapshot.ts';
import { newTrap } from './trap.ts';

const write = (root: string, name: string, text: string | Uint8Array) => () => writeFileSync(join(root, name), text);
const leftovers = () => readdirSync(tmpdir()).filter((name) => name.startsWith('drover-git-'));

describe('predictMerge (E-176, I21)', () => {
  test('without a conflict: the tree that git merge gives, and no trace in the repository', async () => {
    const root = newRepository();
    const { ours, theirs } = fork(root, write(root, 'b', 'b\n'), write(root, 'c', 'c\n'));
    const before = snapshot(root);
    const left = leftovers();
    const prediction = await predictMerge(root, ours, theirs);
    expect(snapshot(root)).toEqual(before);
    expect(leftovers()).toEqual(left);
    plainGit(root, 'merge', '--quiet', '--no-edit', 'theirs');
    expect(prediction).toMatchObject({ tree: plainGit(root, 'rev-parse', 'HEAD^{tree}'), conflicts: [] });
  });

  test('with keep_objects the tree is there; without, it is not', async () => {
    const root = newRepository();
    const { ours, theirs } = fork(root, write(root, 'b', 'b\n'), write(root, 'c', 'c\n'));
    const { tree } = await predictMerge(root, ours, theirs);
    expect(tryPlainGit(root, ['cat-file', '-e', tree ?? '']).code).not.toBe(0);
    expect((await predictMerge(root, ours, theirs, { keep_objects: true })).tree).toBe(tree);
    expect(plainGit(root, 'cat-file', '-t', tree ?? '')).toBe('tree');
  });

  test("every kind of conflict, in git's own words, each path once", async () => {
    const root = newRepository();
    for (const name of ['text', 'gone', 'moved', 'dir']) commitFile(root, name, `${name} is\nhere\n`, name);
    commitFile(root, 'bin', '\0one', 'bin');
    commitFile(root, 'fine', '1\n2\n3\n4\n5\n6\n7\n', 'fine');
    const { ours, theirs } = fork(
      root,
      () => {
        for (const name of ['text', 'new', 'gone']) write(root, name, `ours ${name}\n`)();
        write(root, 'bin', '\0two')();
        write(root, 'fine', '0\n1\n2\n3\n4\n5\n6\n7\n')();
        rmSync(join(root, 'moved'));
        mkdirSync(join(root, 'folder'));
        write(root, 'folder/x', 'x')();
      },
      () => {
        for (const name of ['text', 'new']) write(root, name, `theirs ${name}\n`)();
        write(root, 'bin', '\0three')();
        write(root, 'fine', '1\n2\n3\n4\n5\n6\n7\n8\n')();
        write(root, 'folder', 'a file')();
        rmSync(join(root, 'gone'));
        plainGit(root, 'mv', 'moved', 'elsewhere');
      },
    );
    const before = snapshot(root);
    const { tree, conflicts, messages } = await predictMerge(root, ours, theirs);
    expect(tree).toBeNull();
    expect(conflicts).toEqual([
      { path: 'bin', kind: 'binary' },
      { path: 'elsewhere', kind: 'rename/delete' },
      expect.objectContaining({ kind: 'file/directory' }),
      { path: 'gone', kind: 'modify/delete' },
      { path: 'new', kind: 'add/add' },
      { path: 'text', kind: 'content' },
    ]);
    expect(messages).toContain('CONFLICT (content): Merge conflict in text\n');
    expect(snapshot(root)).toEqual(before);
  });

  test('a conflict about the commit of a submodule', async () => {
    const root = newRepository();
    const link = (n: number) => () => {
      const id = commitFile(join(root, 'sub'), 'a', `${n}\n`, `${n}`);
      plainGit(join(root, 'sub'), 'checkout', '--quiet', '-B', `b${n}`, id);
      plainGit(root, 'add', 'sub');
    };
    newRepository({ dir: join(root, 'sub') });
    const start = plainGit(join(root, 'sub'), 'rev-parse', 'HEAD');
    plainGit(root, '-c', 'advice.addEmbeddedRepo=false', 'add', 'sub');
    plainGit(root, 'commit', '--quiet', '-m', 'sub');
    const back = (work: () => void) => () => {
      plainGit(join(root, 'sub'), 'checkout', '--quiet', start);
      work();
    };
    const { ours, theirs } = fork(root, back(link(1)), back(link(2)));
    const { conflicts } = await predictMerge(root, ours, theirs);
    expect(conflicts).toHaveLength(1);
    expect(conflicts[0]).toMatchObject({ path: 'sub', kind: expect.stringContaining('submodule') });
  });

  test('paths with newlines, quotes and bytes that are no UTF-8', async () => {
    const root = newRepository();
    const names = ['new\nline', 'tab\t"quote"', 'grün 日本'];
    const raw = Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0x66, 0xfc, 0x72])]);
    const all = (text: string) => () => {
      for (const name of names) write(root, name, text)();
      writeFileSync(raw, text);
    };
    const { ours, theirs } = fork(root, all('ours\n'), all('theirs\n'));
    const { conflicts } = await predictMerge(root, ours, theirs);
    const expected = [...names, 'f\ufffdr'].sort().map((path) => ({ path, kind: 'add/add' }));
    expect(conflicts.sort((a, b) => (a.path < b.path ? -1 : 1))).toEqual(expected);
  });

  test('attributes are those of ours, whatever stands in a checkout', async () => {
    const root = newRepository();
    mkdirSync(join(root, 'deep'));
    commitFile(root, 'deep/list', 'one\n', 'list');
    commitFile(root, 'deep/.gitattributes', 'list merge=union\n', 'attributes');
    const { ours, theirs } = fork(
      root,
      write(root, 'deep/list', 'one\nours\n'),
      write(root, 'deep/list', 'one\ntheirs\n'),
    );
    writeFileSync(join(root, 'deep/.gitattributes'), 'list -merge\n');
    const before = snapshot(root);
    const { tree } = await predictMerge(root, ours, theirs, { keep_objects: true });
    expect(plainGit(root, 'show', `${tree}:deep/list`)).toBe('one\nours\ntheirs');
    expect(snapshot(root, (path) => path.startsWith('/.git/objects'))).toEqual(
      Object.fromEntries(Object.entries(before).filter(([path]) => !path.startsWith('/.git/objects'))),
    );
  });

  test('many at once: the same trees, by the attributes of one commit; nothing from the first conflict on', async () => {
    const root = newRepository();
    const texts = { united: 'one\n', plain: 'one\n' };
    for (const [name, text] of Object.entries(texts)) commitFile(root, name, text, name);
    const base = commitFile(root, '.gitattributes', 'united merge=union\n', 'attributes');
    const change = (name: string, text: string) => {
      plainGit(root, 'switch', '--quiet', '--detach', base);
      return commitFile(root, name, text, 'change');
    };
    const [a, b] = [change('united', 'one\na\n'), change('united', 'one\nb\n')];
    const [c, d] = [change('plain', 'one\nc\n'), change('plain', 'one\nd\n')];
    writeFileSync(join(root, '.gitattributes'), 'united -merge\nplain merge=union\n');
    const before = snapshot(root);
    const [left, pairs] = [
      leftovers(),
      [
        [a, b],
        [a, c],
        [c, d],
        [a, d],
      ] as const,
    ];
    const trees = await mergedTrees(root, base, pairs);
    expect(snapshot(root)).toEqual(before);
    expect(leftovers()).toEqual(left);
    const expected = await Promise.all(pairs.map(([ours, theirs]) => predictMerge(root, ours, theirs)));
    expect(trees).toEqual([expected[0]?.tree ?? '', expected[1]?.tree ?? '', null, null]);
    expect(expected.map(({ tree }) => tree === null)).toEqual([false, false, true, false]);
    await expect(mergedTrees(root, 'main', pairs)).rejects.toMatchObject({ code: 'commit_invalid' });
  });

  test('a merge driver of the repository does not run', async () => {
    const { repo, canary, evil } = newTrap();
    commitFile(repo, '.gitattributes', '* merge=evil\n', 'attributes');
    plainGit(repo, 'config', 'merge.evil.driver', evil);
    const { ours, theirs } = fork(repo, write(repo, 'a', 'ours\n'), write(repo, 'a', 'theirs\n'));
    expect((await predictMerge(repo, ours, theirs)).conflicts).toEqual([{ path: 'a', kind: 'content' }]);
    expect(existsSync(canary)).toBe(false);
  });

  test('from a linked worktree, a bare repository, a path with colon and quote, and one that borrows its objects', async () => {
    const root = newRepository({ dir: join(tempDir('git'), 'a:b "c"') });
    const { ours, theirs } = fork(root, write(root, 'b', 'b\n'), write(root, 'c', 'c\n'));
    const { tree } = await predictMerge(root, ours, theirs);
    const at = (name: string) => join(root, '..', name);
    plainGit(root, 'worktree', 'add', '--quiet', '--detach', at('linked'));
    plainGit('/', 'clone', '--quiet', '--bare', root, at('bare'));
    plainGit('/', 'clone', '--quiet', '--shared', root, at('borrower'));
    commitFile(at('borrower'), 'own', 'x\n', 'own');
    for (const name of ['linked', 'bare', 'borrower']) {
      const before = snapshot(at(name));
      expect((await predictMerge(at(name), ours, theirs)).tree).toBe(tree);
      expect(snapshot(at(name))).toEqual(before);
    }
    const own = plainGit(at('borrower'), 'rev-parse', 'HEAD');
    expect((await predictMerge(at('borrower'), own, theirs)).tree).not.toBeNull();
  });

  test('histories with nothing in common, also because a shallow clone ends too early', async () => {
    const root = newRepository();
    const { ours, theirs } = fork(root, write(root, 'b', 'b\n'), write(root, 'c', 'c\n'));
    const alien = plainGit(root, 'commit-tree', '-m', 'alien', plainGit(root, 'rev-parse', 'HEAD^{tree}'));
    const refused = { kind: 'refused', code: 'no_common_ancestor' };
    const unrelated = await predictMerge(root, ours, alien).catch((error) => error);
    expect(unrelated).toMatchObject({ ...refused, details: { data: { is_shallow: false } } });
    const shallow = join(root, '..', 'shallow');
    plainGit('/', 'clone', '--quiet', '--depth=1', '--no-single-branch', `file://${root}`, shallow);
    const error = await predictMerge(shallow, ours, theirs).catch((error) => error);
    expect(error).toMatchObject(refused);
    expect(error.details.recovery_commands).toEqual(['git fetch --unshallow']);
  });

  test('names and unknown commits are refused', async () => {
    const root = newRepository();
    const head = plainGit(root, 'rev-parse', 'HEAD');
    for (const name of ['main', '--all', '', 'HEAD']) {
      await expect(predictMerge(root, head, name)).rejects.toMatchObject({ kind: 'usage', code: 'commit_invalid' });
    }
    const unknown = predictMerge(root, head, '1'.repeat(40));
    await expect(unknown).rejects.toMatchObject({ kind: 'not_found', code: 'commit_not_found' });
    const tree = plainGit(root, 'rev-parse', 'HEAD^{tree}');
    await expect(predictMerge(root, head, tree)).rejects.toMatchObject({ code: 'commit_not_found' });
  });
});
