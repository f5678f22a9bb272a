import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { factsOf, type Known } from '../../src/merge/facts.ts';
import { lockTarget } from '../../src/merge/lock.ts';
import type { Piece } from '../../src/merge/piece.ts';
import { buildStack, missingOf, verifyStack } from '../../src/merge/stack.ts';
import { mergeLockPath } from '../../src/model/merge-place.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { claimMerges, settleFailed, settleMerged } from '../../src/store/merge.ts';
import { plainGit } from '../git/plain.ts';
import { tempDir } from '../support/temp.ts';
import { commit, type Field, field } from './field.ts';

async function known(world: Field, row: SessionRow): Promise<Known & { head: string }> {
  const open = { require_completed: false, ready: new Map(), failures: new Map(), passed_over: new Map() };
  const target_head = plainGit(world.repo, 'rev-parse', 'main');
  const found = await factsOf(row, { repo_root: world.repo, target: 'main', target_head, ...open });
  if (found.head === null) throw new Error(found.candidate.error ?? 'no head');
  return { ...found, head: found.head };
}

async function stackOf(world: Field, rows: SessionRow[]) {
  const claims = [];
  for (const [seq, row] of rows.entries()) {
    const each = await known(world, row);
    claims.push({ seq, known: each, head: each.head });
  }
  return buildStack(world.repo, plainGit(world.repo, 'rev-parse', 'main'), claims);
}

test('a stack has one merge commit per entry, equal to git’s own, plain or not', async () => {
  const world = await field();
  const rows = [
    await world.session('one', { commits: [{ 'one.txt': '1\n' }, { 'dir/deep "quoted".txt': '1\n' }] }),
    await world.session('two', { commits: [{ 'two.txt': '2\n' }] }),
    await world.session('both', { commits: [{ 'two.txt': '2\n', 'README.md': 'hello\nboth\n' }] }),
    await world.session('clash', { commits: [{ 'two.txt': 'other\n' }] }),
    await world.session('nothing'),
  ];

  const { pieces, dropped } = await stackOf(world, rows);

  expect(pieces.map((piece) => [piece.claim.known.row.name, piece.is_plain, piece.tree !== null])).toEqual([
    ['one', true, true],
    ['two', true, true],
    ['both', false, true],
    ['nothing', true, false],
  ]);
  expect(dropped).toMatchObject([{ outcome: 'conflict', is_neighbour: true, conflicts: ['two.txt'] }]);
  await verifyStack(world.repo, pieces);
  for (const { ours, claim, commit: id } of pieces.slice(0, 3)) {
    plainGit(world.repo, 'checkout', '--quiet', '--detach', ours);
    plainGit(world.repo, 'merge', '--quiet', '--no-ff', '--no-edit', claim.head);
    expect(plainGit(world.repo, 'rev-parse', `${id}^{tree}`)).toBe(plainGit(world.repo, 'rev-parse', 'HEAD^{tree}'));
    expect(plainGit(world.repo, 'log', '-1', '--format=%P', id)).toBe(`${ours} ${claim.head}`);
  }
  expect(plainGit(world.repo, 'for-each-ref', 'refs/drover')).toBe('');
});

test('a merge that drops a line is caught, and the line is named', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'README.md': 'hello\nworker\n', 'a.txt': 'a\n' }] });
  commit(world.repo, { 'b.txt': 'b\n' });
  const [piece] = (await stackOf(world, [row])).pieces;
  if (piece === undefined) throw new Error('no piece');
  const { ours, claim } = piece;
  // What a merge looks like that keeps the target's files whole.
  const tree = plainGit(world.repo, 'rev-parse', `${ours}^{tree}`);
  const evil = plainGit(world.repo, 'commit-tree', tree, '-p', ours, '-p', claim.head, '-m', 'evil');
  const mutants: Piece[] = [
    { ...piece, commit: evil },
    { ...piece, commit: evil, tree },
    { ...piece, commit: plainGit(world.repo, 'commit-tree', piece.tree ?? '', '-p', ours, '-m', 'one parent') },
  ];

  await verifyStack(world.repo, [piece]);
  for (const mutant of mutants) {
    await expect(verifyStack(world.repo, [mutant])).rejects.toMatchObject({ kind: 'bug', code: 'merge_differs' });
  }
  expect((await missingOf(world.repo, [piece]))[0]?.lines).toEqual([]);
  expect((await missingOf(world.repo, [{ ...piece, commit: evil }]))[0]?.lines).toEqual([
    { path: 'README.md', side: 'theirs', line: 'worker' },
    { path: 'a.txt', side: 'theirs', line: 'a' },
  ]);
});

test('a target that others move while a gate runs: the result is built anew on theirs, and tried again', async () => {
  const once = join(tempDir('cas'), 'once');
  const world = await field();
  const other = `[ -e ${once} ] || { touch ${once}; git -C ${world.repo} -c user.name=o -c user.email=o@x commit -q --allow-empty -m other; }`;
  const { writeConfig } = await import('./field.ts');
  writeConfig(world, { gate: { commands: [`echo run >> ${once}.log`, other] } });
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });

  expect(await world.queue()).toMatchObject({ merged: [{ session_id: row.id }], failures: [] });

  expect(plainGit(world.repo, 'log', '--first-parent', '--format=%s', 'main').split('\n').slice(0, 2)).toEqual([
    "Merge branch 'drover/builder' into main",
    'other',
  ]);
  expect(readFileSync(`${once}.log`, 'utf8')).toBe('run\nrun\n');
}, 60_000);

test('an attempt is claimed once, and ended once', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const live = await world.session('live', { state: 'working' });
  const second = await world.second();
  const input = {
    claims: [row, live].map(({ id }) => ({ session_id: id, branch: 'b', head: 'h' })),
    ...{ repo_root: world.repo, target: 'main', base_head: 't', now: 1 },
  };
  const all = await Promise.all([claimMerges(world.store, input), claimMerges(second, input)]);
  const [claim, ...others] = all.flat();
  expect(others).toEqual([]);
  expect(claim?.session_id).toBe(row.id);
  const seq = claim?.seq ?? 0;
  const failed = { attempts: [{ seq, outcome: 'failed' as const, reason: 'r', output: null, mail: null }], now: 2 };
  expect(await settleFailed(world.store, failed)).toHaveLength(1);
  const merged = { seq, outcome: 'merged' as const, merged_commit: 'c', missing_json: null };
  expect(await settleMerged(second, { attempts: [merged], by: 'operator', now: 3 })).toEqual([]);
  expect((await world.rowOf(row)).merged_at).toBeNull();
});

test('locks of targets: names are safe and different ones do not meet; letting go twice does nothing (O-84)', () => {
  const home = tempDir('locks');
  const paths = [
    mergeLockPath(home, '/r', 'main'),
    mergeLockPath(home, '/s', 'main'),
    mergeLockPath(home, '/r', 'feature/a b'),
    mergeLockPath(home, '/r', 'feature-a-b'),
    mergeLockPath(home, '/r', `${'x'.repeat(300)}/../..`),
  ];
  expect(new Set(paths).size).toBe(paths.length);
  for (const path of paths)
    expect(path.slice(home.length)).toMatch(/^\/run\/merge-[A-Za-z0-9._-]{1,60}-[0-9a-f]{12}\.lock$/);
  const [main, other] = [lockTarget(home, '/r', 'main'), lockTarget(home, '/r', 'other')];
  expect([main.stillHeld(), other.stillHeld()]).toEqual([true, true]);
  // Two merges of one supervisor are two.
  expect(() => lockTarget(home, '/r', 'main')).toThrow('is merging into main just now');
  expect(main.stillHeld()).toBe(true);
  main.release();
  main.release();
  expect([main.stillHeld(), other.stillHeld()]).toEqual([false, true]);
  lockTarget(home, '/r', 'main').release();
  other.release();
});
