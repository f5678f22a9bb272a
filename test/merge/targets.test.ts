import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { mergeSession } from '../../src/merge/one.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { mergeCandidates } from '../../src/store/merge.ts';
import { plainGit } from '../git/plain.ts';
import { commit, type Field, field } from './field.ts';

/** Its line of work: thread and reservation, and an incident with another session. */
async function withLine(world: Field, row: SessionRow) {
  await world.store.write((tx) => {
    const shared = { repo_root: world.repo, branch: row.branch, id: row.id, now: 1 };
    tx.run(
      `INSERT INTO threads (repo_root, branch, base_commit, base_tree, execution_path, created_at, updated_at)
       VALUES (:repo_root, :branch, 'c', 't', '/x', :now, :now)`,
      { repo_root: world.repo, branch: row.branch, now: 1 },
    );
    tx.run(
      `INSERT INTO reservations (session_id, repo_root, thread, status, started_at, completed_at, base_short, owner_session_id)
       VALUES (:id, :repo_root, :branch, 'complete', :now, :now, 'c', :id)`,
      shared,
    );
    tx.run(
      `INSERT INTO incidents (id, key, repo_root, kind, path, first_session_id, second_session_id, strategy, summary,
         created_at, updated_at)
       VALUES ('incident-1', 'k', :repo_root, 'overlap', 'a.txt', :id, 'other', 'escalate', 's', :now, :now)`,
      { repo_root: world.repo, id: row.id, now: 1 },
    );
  });
  const line = async () => ({
    thread: (await world.all<{ merged_commit: string }>('SELECT merged_commit FROM threads'))[0]?.merged_commit,
    status: (await world.all<{ status: string }>('SELECT status FROM reservations'))[0]?.status,
    resolution: (await world.all<{ resolution: string }>('SELECT resolution FROM incidents'))[0]?.resolution,
  });
  return line;
}

test('merged into another branch it is still a candidate for its own, and only that ends its line of work', async () => {
  const world = await field();
  plainGit(world.repo, 'branch', 'release');
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const line = await withLine(world, row);
  const before = await line();

  const aside = await world.queue({ into: 'release', is_clean: false });

  expect(aside).toMatchObject({ merged: [{ session_id: row.id, base_branch: 'release' }], exit_code: 0 });
  expect(await line()).toEqual(before);
  expect(await world.rowOf(row)).toMatchObject({ merged_at: null, merged_commit: null });
  expect((await world.queue({ into: 'release', dry_run: true })).entries).toEqual([]);
  expect((await world.queue({ dry_run: true })).entries.map(({ session_id }) => session_id)).toEqual([row.id]);

  expect(await world.queue()).toMatchObject({ merged: [{ session_id: row.id, base_branch: 'main' }] });

  expect(plainGit(world.repo, 'show', 'main:a.txt')).toBe('a');
  const merged_commit = plainGit(world.repo, 'rev-parse', 'main');
  expect(await line()).toEqual({ thread: merged_commit, status: 'merged', resolution: 'merged: builder' });
  expect(await world.rowOf(row)).toMatchObject({ merged_commit, worktree_path: null });
});

test('work that was merged, and is gone on with, is a candidate again when that has ended', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  expect(await world.queue({ is_clean: false })).toMatchObject({ merged: [{ session_id: row.id }] });
  world.clock.advance(1_000);
  const now = world.clock.now();
  await world.store.write((tx) => tx.run('UPDATE sessions SET ended_at = :now WHERE id = :id', { id: row.id, now }));
  expect((await mergeCandidates(world.store, world.repo, null)).map(({ id }) => id)).toEqual([row.id]);
});

test('work that is meant for another branch keeps its worktree, and that is said', async () => {
  const world = await field();
  plainGit(world.repo, 'branch', 'release');
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const signal = new AbortController().signal;
  const request = { row, into: 'release', is_clean: true, dry_run: false, by: 'operator', signal };
  expect(await mergeSession(world.deps, request)).toMatchObject({
    ...{ outcome: 'merged', cleaned_worktree: false },
    kept: expect.stringContaining('its work is meant for main'),
  });
  expect(existsSync(row.worktree_path ?? '')).toBe(true);
  expect(await world.queue()).toMatchObject({ merged: [{ session_id: row.id, cleaned_worktree: true }] });
});

test('ended work that was marked as ready, as it is, is taken as completed work is (HC-29, CX-28)', async () => {
  const world = await field();
  const make = (name: string, state: 'stopped' | 'failed' | 'idle') =>
    world.session(name, { state, commits: [{ [`${name}.txt`]: 'x\n' }] });
  const ready = await make('ready', 'stopped');
  const moved = await make('moved', 'failed');
  const elsewhere = await make('elsewhere', 'stopped');
  const live = await make('live', 'idle');
  const unmarked = await make('unmarked', 'stopped');
  const mark = (row: SessionRow, target_branch: string | null) =>
    world.store.write((tx) =>
      tx.run(
        `INSERT INTO threads (repo_root, branch, target_branch, base_commit, base_tree, execution_path, ready_at, ready_commit,
           created_at, updated_at) VALUES (:repo_root, :branch, :target_branch, 'c', 't', '/x', 1, :commit, 1, 1)`,
        {
          repo_root: world.repo,
          branch: row.branch,
          target_branch,
          commit: plainGit(world.repo, 'rev-parse', row.branch ?? ''),
        },
      ),
    );
  await mark(ready, 'main');
  await mark(moved, null);
  await mark(elsewhere, 'release');
  await mark(live, null);
  commit(moved.worktree_path ?? '', { 'more.txt': 'not ready\n' });

  const report = await world.queue({ all_ended: null });

  expect(report.merged.map(({ session_id }) => session_id)).toEqual([ready.id]);
  expect(report.active_with_worktree_ids).toEqual([live.id]);
  expect(report.blocked_by_queue_session_ids.sort()).toEqual([moved.id, elsewhere.id, unmarked.id].sort());
  expect(report.exit_code).toBe(0);
});
