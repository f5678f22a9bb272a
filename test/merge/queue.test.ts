import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { plainGit } from '../git/plain.ts';
import { field, write } from './field.ts';

const nothing = {
  merged: [],
  rebased: [],
  active_with_worktree_ids: [],
  conflicted_session_ids: [],
  dirty_worktree_ids: [],
  blocked_by_queue_session_ids: [],
  failures: [],
};

test('a mixed set: the ready one goes in, active and dirty ones stay (E-156)', async () => {
  const world = await field();
  const ready = await world.session('merge-ready', { commits: [{ 'merged.txt': 'bulk merge\n' }] });
  const active = await world.session('active-worktree', { state: 'working', commits: [{ 'a.txt': 'a\n' }] });
  const dirty = await world.session('dirty-worktree', { state: 'stopped', dirty: { 'dirty.txt': 'dirty\n' } });

  const report = await world.queue();

  expect(report).toMatchObject({
    ...nothing,
    merged: [{ session_id: ready.id, already_up_to_date: false, cleaned_worktree: true, base_branch: 'main' }],
    active_with_worktree_ids: [active.id],
    dirty_worktree_ids: [dirty.id],
  });
  expect(readFileSync(join(world.repo, 'merged.txt'), 'utf8')).toBe('bulk merge\n');
  expect([ready, active, dirty].map((row) => existsSync(row.worktree_path ?? ''))).toEqual([false, true, true]);
  expect(report.exit_code).toBe(1);
});

test('order and blocking of the queue; a dry run writes nothing, objects included (E-158, E-159, E-160, E-161)', async () => {
  const world = await field();
  const stopped = (minutes_ago: number, files: Record<string, string>) => ({
    ...{ state: 'stopped' as const, minutes_ago },
    commits: [files],
  });
  const alpha = await world.session('alpha', stopped(3, { 'README.md': 'alpha\n' }));
  const beta = await world.session('beta', stopped(2, { 'README.md': 'beta\n' }));
  const gamma = await world.session('gamma', stopped(1, { 'src.txt': 'gamma\n' }));
  const facts = () => [
    plainGit(world.repo, 'count-objects', '-v'),
    plainGit(world.repo, 'for-each-ref'),
    plainGit(world.repo, 'status', '--porcelain'),
  ];
  const before = facts();

  const { entries } = await world.queue({ dry_run: true });

  expect(facts()).toEqual(before);
  expect(await world.all('SELECT * FROM merges')).toEqual([]);
  expect(entries.filter((entry) => entry.ready_to_merge).map((e) => [e.session_id, e.queue_position])).toEqual([
    [alpha.id, 1],
    [gamma.id, 2],
  ]);
  const blocked = entries.find((entry) => entry.session_id === beta.id);
  expect(blocked).toEqual({
    ...{ session_id: beta.id, task: 'task of beta', project: 'farm', task_group: 'general', branch: 'drover/beta' },
    ...{ base_branch: 'main', state: 'stopped', worktree_health: 'in_progress', dirty: false, queue_position: null },
    ready_to_merge: false,
    blocked_by: [
      {
        ...{ session_id: alpha.id, branch: 'drover/alpha', state: 'stopped', conflicts: ['README.md'] },
        summary: `merge after ${alpha.id} to avoid branch conflicts`,
        conflicting_patch_preview: expect.stringContaining('+beta'),
        blocker_patch_preview: expect.stringContaining('+alpha'),
      },
    ],
    suggested_action: `merge after ${alpha.id}`,
  });
});

test('the loop merges, rebases what only conflicts with the target, and merges that (E-162)', async () => {
  const world = await field();
  const alpha = await world.session('alpha', { minutes_ago: 2, commits: [{ 'README.md': 'hello\nalpha\n' }] });
  const beta = await world.session('beta', {
    minutes_ago: 1,
    commits: [{ 'README.md': 'hello\nalpha\n' }, { 'README.md': 'hello\nalpha\nbeta\n' }],
  });
  const before = await world.queue({ dry_run: true });
  expect(before.entries.map((entry) => [entry.session_id, entry.ready_to_merge])).toEqual([
    [alpha.id, true],
    [beta.id, false],
  ]);

  const report = await world.queue();

  expect(report).toMatchObject({
    ...nothing,
    merged: [{ session_id: alpha.id }, { session_id: beta.id }],
    rebased: [{ session_id: beta.id, branch: 'drover/beta', base_branch: 'main', already_up_to_date: false }],
  });
  expect(readFileSync(join(world.repo, 'README.md'), 'utf8')).toBe('hello\nalpha\nbeta\n');
  for (const row of [alpha, beta]) {
    expect(await world.rowOf(row)).toMatchObject({ worktree_path: null, merged_commit: expect.any(String) });
    expect(existsSync(row.worktree_path ?? '')).toBe(false);
  }
  expect(report.exit_code).toBe(0);
});

test('a rebase that fails is recorded once and leaves the entry as it was (E-163, CX-29)', async () => {
  const world = await field();
  const alpha = await world.session('alpha', { minutes_ago: 2, commits: [{ 'README.md': 'hello\nalpha\n' }] });
  const beta = await world.session('beta', { minutes_ago: 1, commits: [{ 'README.md': 'hello\nbeta\n' }] });
  const path = beta.worktree_path ?? '';
  const head = plainGit(path, 'rev-parse', 'HEAD');

  const report = await world.queue();

  expect(report).toMatchObject({
    ...nothing,
    merged: [{ session_id: alpha.id }],
    conflicted_session_ids: [beta.id],
    failures: [{ session_id: beta.id, reason: expect.stringContaining('git rebase failed') }],
  });
  expect(plainGit(path, 'status', '--porcelain', '--branch')).toBe('## drover/beta');
  expect(plainGit(path, 'rev-parse', 'HEAD')).toBe(head);
  expect(report.exit_code).toBe(1);

  const again = await world.queue();
  expect(again).toMatchObject({ ...nothing, conflicted_session_ids: [beta.id] });
  expect(await world.all('SELECT outcome FROM merges ORDER BY seq')).toEqual([
    { outcome: 'merged' },
    { outcome: 'conflict' },
  ]);
});

test('without clean-up one pass: conflicts before changes, nothing is rebased or removed (E-155, E-157)', async () => {
  const world = await field();
  const alpha = await world.session('alpha', { minutes_ago: 3, commits: [{ 'README.md': 'hello\nalpha\n' }] });
  const beta = await world.session('beta', {
    minutes_ago: 2,
    commits: [{ 'README.md': 'hello\nbeta\n' }],
    dirty: { x: 'x' },
  });
  const report = await world.queue({ is_clean: false });
  expect(report).toMatchObject({
    ...nothing,
    merged: [{ session_id: alpha.id, cleaned_worktree: false }],
    conflicted_session_ids: [beta.id],
  });
  expect([alpha, beta].every((row) => existsSync(row.worktree_path ?? ''))).toBe(true);
  // What is in is no candidate any more, although its worktree is there.
  expect((await world.queue({ dry_run: true })).entries.map((entry) => entry.session_id)).toEqual([beta.id]);
});

test('only completed work is taken by itself, unless the settings or the caller say so (CX-28)', async () => {
  const world = await field();
  const row = await world.session('stopped', { state: 'stopped', commits: [{ 'a.txt': 'a\n' }] });
  expect(await world.queue({ all_ended: null })).toMatchObject({
    ...{ merged: [], blocked_by_queue_session_ids: [row.id], exit_code: 0 },
  });
  expect(await world.queue({ all_ended: true })).toMatchObject({ merged: [{ session_id: row.id }] });
});

test('targets are worked off one after the other; one that is refused does not stop the others', async () => {
  const world = await field();
  plainGit(world.repo, 'branch', 'release');
  const to_main = await world.session('to-main', { minutes_ago: 2, commits: [{ 'README.md': 'hello\nmain\n' }] });
  const to_release = await world.session('to-release', { commits: [{ 'b.txt': 'b\n' }], base_branch: 'release' });
  write(world.repo, { 'README.md': 'mine\n' });

  const report = await world.queue();

  expect(report.merged).toMatchObject([{ session_id: to_release.id, base_branch: 'release' }]);
  expect(report.refusals).toMatchObject([
    { target: 'main', session_ids: [to_main.id], error: { code: 'target_checkout_dirty' } },
  ]);
  expect(report.exit_code).toBe(3);
  expect(readFileSync(join(world.repo, 'README.md'), 'utf8')).toBe('mine\n');
  expect(plainGit(world.repo, 'show', 'release:b.txt')).toBe('b');
});
