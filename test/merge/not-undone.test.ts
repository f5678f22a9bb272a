import { afterAll, expect, mock, test } from 'bun:test';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as original from '../../src/git/merge-commit.ts';
import { rebaseSession } from '../../src/merge/one.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { plainGit } from '../git/plain.ts';
import { commit, type Field, field } from './field.ts';

const real = { ...original };
/** What happens while the result of a rebase is looked at. */
let meanwhile: (() => string) | null = null;

mock.module('../../src/git/merge-commit.ts', () => ({
  ...real,
  missingLines: async (wanted: Parameters<typeof real.missingLines>[0]) => {
    if (meanwhile === null) return real.missingLines(wanted);
    return { lines: [{ path: 'a.txt', side: 'theirs', line: meanwhile() }], truncated: false };
  },
}));
afterAll(() => {
  mock.module('../../src/git/merge-commit.ts', () => real);
});

const rebase = (world: Field, row: SessionRow) =>
  rebaseSession(
    { ...world.deps, clock: { ...world.clock, sleep: async () => {} } },
    { row, into: null, by: 'operator', signal: new AbortController().signal },
  );

/** A branch whose rebase has another tree than its merge: what is lost is asked for. */
async function odd() {
  const world = await field();
  const row = await world.session('builder', {
    commits: [{ 'a.txt': 'a\n', 'README.md': 'hello\nboth\n' }, { 'README.md': 'hello\n' }],
  });
  commit(world.repo, { 'README.md': 'hello\nboth\n' });
  const path = row.worktree_path ?? '';
  return {
    world,
    row,
    path,
    old: plainGit(path, 'rev-parse', 'HEAD'),
    git_dir: plainGit(path, 'rev-parse', '--git-dir'),
  };
}

test('while a branch is rebased its old head has a ref, and none afterwards', async () => {
  const { world, row, old } = await odd();
  const seen: string[] = [];
  meanwhile = () => {
    seen.push(plainGit(world.repo, 'for-each-ref', '--format=%(refname) %(objectname)', 'refs/drover'));
    return 'x';
  };
  await expect(rebase(world, row)).rejects.toMatchObject({ code: 'rebase_conflict' });
  expect(seen).toEqual([`refs/drover/rebase/${row.id} ${old}`]);
  expect(plainGit(world.repo, 'for-each-ref', 'refs/drover')).toBe('');
});

test('rebase_not_undone: said, claimed until it is, and then taken back by the next one', async () => {
  const { world, row, path, old, git_dir } = await odd();
  const lock = join(git_dir, 'index.lock');
  meanwhile = () => {
    writeFileSync(lock, '');
    return 'x';
  };
  await expect(rebase(world, row)).rejects.toMatchObject({
    ...{ kind: 'failed', code: 'rebase_not_undone' },
    details: { preserved: 'all commits of drover/builder', data: { head: old } },
  });
  expect(await world.all('SELECT reason FROM merges WHERE ended_at IS NULL')).toEqual([{ reason: 'rebase' }]);
  expect(plainGit(world.repo, 'for-each-ref', '--format=%(objectname)', 'refs/drover')).toBe(old);
  rmSync(lock);
  meanwhile = () => 'x';

  await expect(rebase(world, row)).rejects.toMatchObject({ code: 'rebase_conflict' });

  expect(plainGit(path, 'rev-parse', 'drover/builder')).toBe(old);
  expect(plainGit(path, 'status', '--porcelain', '--branch')).toBe('## drover/builder');
  expect(await world.all('SELECT seq FROM merges WHERE ended_at IS NULL')).toEqual([]);
  expect(plainGit(world.repo, 'for-each-ref', 'refs/drover')).toBe('');
}, 60_000);
