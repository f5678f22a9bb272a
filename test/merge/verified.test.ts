import { afterAll, expect, mock, test } from 'bun:test';
import { existsSync } from 'node:fs';
import * as original from '../../src/git/merge-commit.ts';
import { plainGit } from '../git/plain.ts';
import { commit, field } from './field.ts';

const real = { ...original };
type Lie = (ours: string, theirs: string, tree: string) => { commit: string; tree: string };
let lie: Lie | null = null;

mock.module('../../src/git/merge-commit.ts', () => ({
  ...real,
  commitMerge: async (wanted: Parameters<typeof real.commitMerge>[0]) => {
    const merge = await real.commitMerge(wanted);
    return merge.outcome === 'merged' && lie !== null
      ? { ...merge, ...lie(wanted.ours, wanted.theirs, merge.tree) }
      : merge;
  },
}));
afterAll(() => {
  mock.module('../../src/git/merge-commit.ts', () => real);
});

const written = (repo: string, tree: string, ...parents: string[]) =>
  plainGit(repo, 'commit-tree', tree, ...parents.flatMap((id) => ['-p', id]), '-m', 'a lie');

const LIES: [name: string, make: (repo: string) => Lie][] = [
  [
    'keeps the target’s files whole',
    (repo) => (ours, theirs) => {
      const tree = plainGit(repo, 'rev-parse', `${ours}^{tree}`);
      return { tree, commit: written(repo, tree, ours, theirs) };
    },
  ],
  [
    'has another tree than it says',
    (repo) => (ours, theirs, tree) => ({ tree, commit: written(repo, `${ours}^{tree}`, ours, theirs) }),
  ],
  ['has one parent only', (repo) => (ours, _, tree) => ({ tree, commit: written(repo, tree, ours) })],
  [
    'has its parents the wrong way round',
    (repo) => (ours, theirs, tree) => ({ tree, commit: written(repo, tree, theirs, ours) }),
  ],
];

test.each(LIES)('a merge commit that %s never gets into the target (I21)', async (_, make) => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'README.md': 'hello\nworker\n', 'a.txt': 'a\n' }] });
  const before = commit(world.repo, { 'b.txt': 'b\n' });
  const refs = plainGit(world.repo, 'for-each-ref');
  lie = make(world.repo);
  await expect(world.queue()).rejects.toMatchObject({ kind: 'bug', code: 'merge_differs' });
  expect(plainGit(world.repo, 'for-each-ref')).toBe(refs);
  expect(plainGit(world.repo, 'rev-parse', 'main')).toBe(before);
  expect(plainGit(world.repo, 'status', '--porcelain')).toBe('');
  expect(existsSync(row.worktree_path ?? '')).toBe(true);
  expect(await world.all('SELECT * FROM merges')).toEqual([]);
  lie = null;
  expect(await world.queue()).toMatchObject({ merged: [{ session_id: row.id }], exit_code: 0 });
});
