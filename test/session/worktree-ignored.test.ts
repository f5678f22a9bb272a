import { describe, expect, test } from 'bun:test';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { undoClaim } from '../../src/session/worktree.ts';
import { cleanWorktrees, pruneOne, type WorktreeCleanRequest } from '../../src/session/worktree-slots.ts';
import { claimSlot, strayClaims } from '../../src/store/worktree.ts';
import { commitFile, newRepository, plainGit } from '../git/plain.ts';
import { type Field, field, isThere, treeOf } from './field.ts';

const clean = async (at: Field, request: Partial<WorktreeCleanRequest> = {}) => {
  const all = { repo_root: at.repo, named: null, all_ended: false, force: false, discard_ignored: false };
  const { removed, kept } = await cleanWorktrees(at.deps, { ...all, dry_run: false, ...request });
  return { removed, why: kept.map(({ why }) => why).join('\n') };
};

/** A completed session whose repository ignores `build/`, `*.log` and `.env`, with these files in its worktree. */
async function built(files: Record<string, string>, options: { is_dirty?: boolean } = {}) {
  const at = await field();
  mkdirSync(join(at.repo, 'src'));
  commitFile(at.repo, 'src/a', 'a\n', 'a');
  commitFile(at.repo, '.gitignore', 'build/\n*.log\n.env\n', 'ignore');
  const row = await at.completed('one');
  const write = (name: string, text: string) => {
    mkdirSync(dirname(join(row.worktree_path, name)), { recursive: true });
    writeFileSync(join(row.worktree_path, name), text);
  };
  for (const [name, text] of Object.entries(files)) write(name, text);
  if (options.is_dirty) write('new', 'mine\n');
  const inside = (name: string) => join(row.worktree_path, name);
  const force = (request: Partial<WorktreeCleanRequest> = {}) =>
    clean(at, { named: [row.id], force: true, ...request });
  return { at, row, inside, force };
}

/** A repository with one commit; with `origin` a clone of one. */
function repositoryAt(path: string, origin?: string): void {
  mkdirSync(dirname(path), { recursive: true });
  if (origin !== undefined) plainGit('/', 'clone', '-q', origin, path);
  else {
    plainGit('/', 'init', '-q', path);
    commitFile(path, 'f', 'precious\n', 'c');
  }
}

describe('a clean takes what git ignores with it', () => {
  test('counted and named, beforehand as well, and in the session’s events', async () => {
    const { at, row } = await built({ 'build/x/1': '', 'build/x/2': '', 'src/o.log': '', '.env': 'KEY=1\n' });
    const ignored = { files: 4, names: ['.env', 'build/', 'src/o.log'], more: 0 };
    expect((await clean(at, { dry_run: true })).removed).toMatchObject([{ name: 'one', ignored, saved: null }]);
    expect(isThere(row.worktree_path, '.env')).toBe(true);
    expect((await clean(at)).removed).toMatchObject([{ name: 'one', ignored, saved: null }]);
    expect(isThere(row.worktree_path)).toBe(false);
    expect(await at.events(row, 'worktree_remove')).toEqual([
      { path: row.worktree_path, saved: null, ignored, nested: [] },
    ]);
  });

  test('of many only the first names', async () => {
    const files = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`${10 + i}.log`, '']));
    const { at } = await built(files);
    const [gone] = (await clean(at)).removed;
    expect(gone?.ignored).toMatchObject({ files: 25, more: 5 });
    expect(gone?.ignored.names).toHaveLength(20);
  });

  for (const [what, [place, make]] of Object.entries<[string, (path: string) => void]>({
    'deep below an ignored directory': ['build/deep/inner', repositoryAt],
    'that is an ignored directory itself': ['build', repositoryAt],
    'in a directory with tracked files': ['src', (path) => plainGit(path, 'init', '-q')],
    'that is bare and ignored': ['build/x.git', (path) => plainGit('/', 'init', '-q', '--bare', path)],
    'that lost its HEAD': ['build/torn', (path) => mkdirSync(join(path, '.git/objects'), { recursive: true })],
  })) {
    test(`a repository inside keeps it, whoever wants the room: one ${what}`, async () => {
      const { at, row, inside } = await built({ 'build/o': '' });
      make(inside(place));
      expect((await clean(at)).why).toBe(`other repositories are inside it: ${place}`);
      expect((await clean(at, { dry_run: true })).removed).toEqual([]);
      expect(await pruneOne(at.deps, at.repo)).toBeNull();
      expect(isThere(row.worktree_path, place)).toBe(true);
    });
  }

  test('what only looks like a repository keeps nothing', async () => {
    const { at, inside } = await built({
      'build/a/.git': 'gitdir: /nowhere/at/all\n',
      'build/b/HEAD': '',
      'build/c': '',
    });
    mkdirSync(inside('build/d/.git'), { recursive: true });
    expect((await clean(at)).removed).toMatchObject([{ ignored: { files: 3 } }]);
  });

  test('a directory that cannot be looked into keeps its worktree, and no other one', async () => {
    const { at, inside } = await built({ 'build/o': '' });
    await at.completed('two');
    mkdirSync(Buffer.concat([Buffer.from(inside('build/')), Buffer.from([0xff])]));
    const { removed, why } = await clean(at);
    expect(removed.map(({ name }) => name)).toEqual(['two']);
    expect(why).toStartWith('it cannot be looked through: ');
  });

  test('a claim is not taken back over one either', async () => {
    const at = await field();
    commitFile(at.repo, '.gitignore', 'build/\n', 'ignore');
    const row = await at.asking('one');
    const path = treeOf(at, row);
    await claimSlot(at.world.store, { session_id: row.id, path, max: 9, now: 1 });
    plainGit(at.repo, 'worktree', 'add', '-q', '-b', 'drover/one', path);
    repositoryAt(join(path, 'build/inner'));
    await at.stop(row);
    const [slot] = await strayClaims(at.world.store);
    expect(await undoClaim(at.deps, slot as never)).toBe('kept');
    expect(isThere(path, 'build/inner/f')).toBe(true);
    expect(await strayClaims(at.world.store)).toEqual([slot as never]);
  });
});

describe('by force', () => {
  test('ignored files are saved in a commit of their own, from which they come back', async () => {
    const { at, row, force } = await built({ 'build/x': 'built\n', '.env': 'KEY=1\n' }, { is_dirty: true });
    const [gone] = (await force()).removed;
    const ref = `refs/drover/rescued/${row.id}`;
    expect(gone).toMatchObject({ saved: { ref, ignored_ref: `${ref}-ignored` }, ignored: { files: 0, names: [] } });
    expect(isThere(row.worktree_path)).toBe(false);
    plainGit(at.repo, 'restore', '--overlay', `--source=${ref}-ignored`, '--worktree', '--', '.');
    expect([readFileSync(join(at.repo, 'build/x'), 'utf8'), isThere(at.repo, '.env')]).toEqual(['built\n', true]);
    expect(plainGit(at.repo, 'status', '--porcelain')).toBe('');
  });

  for (const [place, many] of [
    ['build/deep/inner', 0],
    ['build', 30],
    ['loose', 0],
  ] as const) {
    test(`a repository with commits of its own keeps it, also beside ${many} ignored files: ${place}`, async () => {
      const files = Object.fromEntries(Array.from({ length: many }, (_, i) => [`a${i}.log`, '']));
      const { at, row, inside, force } = await built(files, { is_dirty: true });
      repositoryAt(inside(place));
      const why = `the repository ${place} inside it cannot be saved with its history (it has commits that are on no remote); move it`;
      expect((await force({ dry_run: true })).why).toBe(why);
      expect((await force({ discard_ignored: true })).why).toBe(why);
      expect(isThere(row.worktree_path, place, 'f')).toBe(true);
      expect(plainGit(at.repo, 'for-each-ref', 'refs/drover')).toBe('');
    });
  }

  test('a clone that has nothing of its own goes, and is named; with a change, a stash, a branch or a worktree it stays', async () => {
    const origin = newRepository();
    const { row, inside, force } = await built({}, { is_dirty: true });
    repositoryAt(inside('build/dep'), origin);
    const at = inside('build/dep');
    const isKept = async () => (await force({ discard_ignored: true, dry_run: true })).why;
    expect(await isKept()).toBe('');
    writeFileSync(join(at, 'a'), 'changed\n');
    expect(await isKept()).toContain('(it has changes: a)');
    plainGit(at, 'stash', '-q');
    expect(await isKept()).toContain('commits that are on no remote');
    plainGit(at, 'stash', 'drop', '-q');
    plainGit(at, 'checkout', '-q', '-b', 'side');
    commitFile(at, 'b', 'b\n', 'b');
    plainGit(at, 'checkout', '-q', 'main');
    expect(await isKept()).toContain('commits that are on no remote');
    plainGit(at, 'branch', '-q', '-D', 'side');
    plainGit(at, 'worktree', 'add', '-q', '-b', 'tree', join(origin, '../tree-of-dep'), 'main');
    expect(await isKept()).toContain('it has other worktrees');
    plainGit(at, 'worktree', 'remove', join(origin, '../tree-of-dep'));
    // It cannot be saved as files: it goes only if that was said.
    expect((await force()).why).toContain('ignored files that cannot be saved: build/ (');
    const [gone] = (await force({ discard_ignored: true })).removed;
    expect(gone).toMatchObject({ nested: ['build/dep'], ignored: { names: ['build/'] } });
    expect(isThere(row.worktree_path)).toBe(false);
  }, 60_000);

  test('a worktree of the same repository inside: what its branch has stays, what is on none keeps it', async () => {
    const { at, row, inside, force } = await built({}, { is_dirty: true });
    plainGit(at.repo, 'worktree', 'add', '-q', '--detach', inside('build/tree'));
    commitFile(inside('build/tree'), 'b', 'b\n', 'b');
    expect((await force({ discard_ignored: true })).why).toContain('commits that are on no remote');
    plainGit(inside('build/tree'), 'checkout', '-q', '-b', 'inner');
    expect((await force({ discard_ignored: true })).removed).toMatchObject([{ nested: ['build/tree'] }]);
    expect([isThere(row.worktree_path), plainGit(at.repo, 'log', '-1', '--format=%s', 'inner')]).toEqual([false, 'b']);
  });

  test('what is too much keeps it, named, until that is given up; the small ones are saved all the same', async () => {
    const { at, row, inside, force } = await built({ '.env': 'KEY=1\n' }, { is_dirty: true });
    mkdirSync(inside('build'));
    writeFileSync(inside('huge.log'), Buffer.alloc(64 * 1024 * 1024));
    for (let i = 0; i < 5_001; i += 1) writeFileSync(inside(`build/${i}`), '');
    const why =
      'ignored files that cannot be saved: huge.log (1 files), build/ (5001 files); delete them, or add --discard-ignored';
    expect((await force({ dry_run: true })).why).toBe(why);
    expect((await force()).why).toBe(why);
    expect([isThere(inside('new')), plainGit(at.repo, 'for-each-ref', 'refs/drover')]).toEqual([true, '']);
    const [gone] = (await force({ discard_ignored: true })).removed;
    expect(gone?.ignored).toEqual({ files: 5_002, names: ['huge.log', 'build/'], more: 0 });
    expect(plainGit(at.repo, 'ls-tree', '-r', '--name-only', gone?.saved?.ignored_ref ?? '')).toBe('.env');
    expect(isThere(row.worktree_path)).toBe(false);
  }, 60_000);
});
