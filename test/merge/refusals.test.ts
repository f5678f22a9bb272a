import { expect, test } from 'bun:test';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mergeSession, rebaseSession } from '../../src/merge/one.ts';
import { AppError } from '../../src/model/error.ts';
import { mergeLockPath } from '../../src/model/merge-place.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { claimMerges, dropClaims, mergeCandidates, planMerges, settleFailed } from '../../src/store/merge.ts';
import { processesInside } from '../../src/sys/inside.ts';
import { plainGit } from '../git/plain.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';
import { commit, type Field, field, write, writeConfig } from './field.ts';
import { holdLock } from './lock-holder.ts';

const signal = new AbortController().signal;
const merge = (world: Field, row: SessionRow) =>
  mergeSession(world.deps, { row, into: null, is_clean: true, dry_run: false, by: 'operator', signal });
const rebase = (world: Field, row: SessionRow) =>
  rebaseSession(world.deps, { row, into: null, by: 'operator', signal });

/** What a refusal has to leave alone. */
const state = async (world: Field) => [
  plainGit(world.repo, 'for-each-ref'),
  plainGit(world.repo, 'status', '--porcelain', '--branch'),
  plainGit(world.repo, 'worktree', 'list'),
  await world.all('SELECT * FROM sessions'),
  await world.all('SELECT * FROM merges'),
  await world.all('SELECT * FROM mail'),
];

const refused = (code: string) => ({ kind: 'refused', code, details: { preserved: expect.any(String) } });

async function claim(world: Field, row: SessionRow, target: string) {
  const head = plainGit(world.repo, 'rev-parse', row.branch ?? '');
  const claims = [{ session_id: row.id, branch: row.branch ?? '', head }];
  const place = { repo_root: world.repo, target, base_head: plainGit(world.repo, 'rev-parse', target), now: 1 };
  const [made] = await claimMerges(world.store, { ...place, claims });
  if (made === undefined) throw new Error('no claim');
  return made;
}

test('a claim with a plan is not dropped: it may have come true', async () => {
  const world = await field();
  const rows = [await world.session('planned'), await world.session('plain')];
  const [planned, plain] = [
    await claim(world, rows[0] as SessionRow, 'main'),
    await claim(world, rows[1] as SessionRow, 'main'),
  ];
  await planMerges(world.store, [{ seq: planned.seq, base_head: planned.base_head, merged_commit: planned.base_head }]);
  await dropClaims(world.store, [planned.seq, plain.seq]);
  expect(await world.all('SELECT seq FROM merges')).toEqual([{ seq: planned.seq }]);
});

test('merge_lock_lost: who has lost its lock while a gate ran does not move the target (O-45)', async () => {
  const world = await field();
  writeConfig(world, { gate: { commands: [`rm ${mergeLockPath(world.home, world.repo, 'main')}`] } });
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const before = await state(world);
  await expect(merge(world, row)).rejects.toMatchObject(refused('merge_lock_lost'));
  expect(await state(world)).toEqual(before);
});

test('an attempt that somebody settles while its gate runs does not move the target', async () => {
  const marks = tempDir('settled');
  const [begun, go] = [join(marks, 'begun'), join(marks, 'go')];
  const world = await field({ gate: { commands: [`touch ${begun}; while [ ! -e ${go} ]; do sleep 0.02; done`] } });
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const target = plainGit(world.repo, 'rev-parse', 'main');
  const merging = merge(world, row).then(
    () => 'merged',
    (error: Error) => error.message,
  );
  await until('the gate to run', () => existsSync(begun));
  const [open] = await world.all<{ seq: number }>('SELECT seq FROM merges');
  const attempt = { seq: open?.seq ?? 0, outcome: 'failed' as const, reason: 'test', output: null, mail: null };
  await settleFailed(await world.second(), { attempts: [attempt], now: 2 });
  writeFileSync(go, '');
  expect(await merging).toContain('was settled while its target was locked');
  expect(plainGit(world.repo, 'rev-parse', 'main')).toBe(target);
  expect(await world.rowOf(row)).toMatchObject({ merged_at: null });
}, 60_000);

test('target_moved: after five times nothing is forced, and what others did stays', async () => {
  const world = await field();
  const runs = join(tempDir('moved'), 'runs');
  const other = `git -C ${world.repo} -c user.name=o -c user.email=o@x commit --quiet --allow-empty -m other`;
  writeConfig(world, { gate: { commands: [`echo >> ${runs}; ${other}`] } });
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  await expect(merge(world, row)).rejects.toMatchObject(refused('target_moved'));
  expect((await Bun.file(runs).text()).length).toBe(5);
  expect(plainGit(world.repo, 'log', '--format=%s', 'main').split('\n').slice(0, 6)).toEqual([
    ...Array.from({ length: 5 }, () => 'other'),
    'work',
  ]);
  expect(await world.all('SELECT * FROM merges')).toEqual([]);
  expect(existsSync(row.worktree_path ?? '')).toBe(true);
}, 60_000);

test('what is refused at the end anyway is refused before a gate runs: dirty, checked out twice', async () => {
  const ran = join(tempDir('early'), 'ran');
  const world = await field({ gate: { commands: [`touch ${ran}`] } });
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const second = join(tempDir('twice'), 'second');
  plainGit(world.repo, 'worktree', 'add', '--quiet', '--force', second, 'main');
  const twice = await state(world);
  await expect(merge(world, row)).rejects.toMatchObject(refused('target_checked_out_twice'));
  await expect(world.queue()).rejects.toMatchObject(refused('target_checked_out_twice'));
  expect(await state(world)).toEqual(twice);

  plainGit(world.repo, 'worktree', 'remove', second);
  write(world.repo, { 'README.md': 'mine\n' });
  const dirty = await state(world);
  await expect(merge(world, row)).rejects.toMatchObject(refused('target_checkout_dirty'));
  await expect(world.queue()).rejects.toMatchObject(refused('target_checkout_dirty'));
  expect(await state(world)).toEqual(dirty);
  expect(existsSync(ran)).toBe(false);
});

test('target_checkout_busy: somebody is in the middle of something in the checkout of the target', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  writeFileSync(join(world.repo, '.git/index.lock'), '');
  const before = await state(world);
  await expect(merge(world, row)).rejects.toMatchObject(refused('target_checkout_busy'));
  expect(await state(world)).toEqual(before);
  expect(existsSync(join(world.repo, 'a.txt'))).toBe(false);
});

test('session_claimed: while it is merged elsewhere it is neither merged nor rebased', async () => {
  const world = await field();
  plainGit(world.repo, 'branch', 'release');
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  commit(world.repo, { 'b.txt': 'b\n' });
  const holder = await holdLock(mergeLockPath(world.home, world.repo, 'release'));
  try {
    await claim(world, row, 'release');
    const before = await state(world);
    await expect(merge(world, row)).rejects.toMatchObject(refused('session_claimed'));
    await expect(rebase(world, row)).rejects.toMatchObject(refused('session_claimed'));
    expect(await state(world)).toEqual(before);
  } finally {
    await holder.release();
  }
});

test('session_active: who lives is neither merged nor rebased (E-152, E-154)', async () => {
  const world = await field();
  const row = await world.session('builder', { state: 'idle', commits: [{ 'a.txt': 'a\n' }] });
  const before = await state(world);
  await expect(merge(world, row)).rejects.toMatchObject(refused('session_active'));
  await expect(rebase(world, row)).rejects.toMatchObject(refused('session_active'));
  expect(await state(world)).toEqual(before);
});

test('session_active: who lives is waited for, who is held has to go on first', async () => {
  const world = await field();
  const waysOf = async (state: 'idle' | 'parked') => {
    const row = { ...(await world.session(state, { state: 'idle' })), state };
    const error: unknown = await merge(world, row).catch((each: unknown) => each);
    return error instanceof AppError ? error.details.recovery_commands : error;
  };
  expect(await waysOf('idle')).toEqual(['drover wait idle', 'drover stop idle']);
  expect(await waysOf('parked')).toEqual(['drover resume parked', 'drover stop parked']);
});

test('no_worktree: whose branch drover removed is recovered, not told to merge it by hand', async () => {
  const world = await field();
  const row = await world.session('builder');
  const bare = { ...row, worktree_path: null };
  await expect(merge(world, bare)).rejects.toMatchObject({
    ...{ code: 'no_worktree', details: { recovery_commands: ['drover recover builder'] } },
  });
});

test('rebase_conflict: the branch is as it was, and the attempt is on record', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'README.md': 'hello\nours\n' }] });
  commit(world.repo, { 'README.md': 'hello\ntheirs\n' });
  const before = await state(world);
  await expect(rebase(world, row)).rejects.toMatchObject({
    ...{ kind: 'failed', code: 'rebase_conflict' },
    details: { data: { session_id: row.id, conflicts: ['README.md'] } },
  });
  const now = await state(world);
  expect([now.slice(0, 4), now[5]]).toEqual([before.slice(0, 4), before[5]]);
  expect(await world.all('SELECT outcome FROM merges')).toEqual([{ outcome: 'conflict' }]);
});

test('worktree_in_use: no rebase under a process that works there', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const path = row.worktree_path ?? '';
  commit(world.repo, { 'b.txt': 'b\n' });
  const person = Bun.spawn(['sleep', '300'], { cwd: path, stdio: ['ignore', 'ignore', 'ignore'] });
  try {
    await until('it to be inside', () => processesInside(path).includes(person.pid));
    const before = await state(world);
    await expect(rebase(world, row)).rejects.toMatchObject(refused('worktree_in_use'));
    expect(await state(world)).toEqual(before);
  } finally {
    person.kill('SIGKILL');
    await person.exited;
  }
});

test('of sessions with one worktree the newest is the candidate', async () => {
  const world = await field();
  const old = await world.session('old', { minutes_ago: 9, commits: [{ 'a.txt': 'a\n' }] });
  const successor = await world.session('new', { minutes_ago: 1 });
  await world.store.write((tx) =>
    tx.run(
      `UPDATE sessions SET created_at = created_at + :later, worktree_path = :path, working_dir = :path, branch = :branch
       WHERE id = :id`,
      { id: successor.id, path: old.worktree_path, branch: old.branch, later: 60_000 },
    ),
  );
  expect((await mergeCandidates(world.store, world.repo, null)).map(({ id }) => id)).toEqual([successor.id]);
});
