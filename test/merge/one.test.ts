import { expect, test } from 'bun:test';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mergeSession, type OneRequest, rebaseSession } from '../../src/merge/one.ts';
import { AppError } from '../../src/model/error.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { plainGit } from '../git/plain.ts';
import { commit, type Field, field } from './field.ts';

const merge = (world: Field, row: SessionRow, more: Partial<OneRequest> = {}) =>
  mergeSession(world.deps, {
    ...{ row, into: null, is_clean: true, dry_run: false, by: 'operator', signal: new AbortController().signal },
    ...more,
  });

async function refusal(promise: Promise<unknown>): Promise<AppError> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof AppError) return error;
  throw new Error(`no refusal: ${error}`);
}

/** Everything a refusal must leave alone: refs, files of the person's checkout, rows. */
async function state(world: Field) {
  return {
    refs: plainGit(world.repo, 'for-each-ref'),
    status: plainGit(world.repo, 'status', '--porcelain', '--branch'),
    readme: readFileSync(join(world.repo, 'README.md'), 'utf8'),
    sessions: await world.all('SELECT * FROM sessions'),
    merges: await world.all('SELECT * FROM merges'),
    mail: await world.all('SELECT * FROM mail'),
  };
}

test('merge with clean-up: content arrives, worktree, metadata and branch go (E-153)', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'feature.txt': 'ready to merge\n' }] });

  const outcome = await merge(world, row);

  expect(outcome).toMatchObject({
    ...{ session_id: row.id, branch: 'drover/builder', base_branch: 'main', outcome: 'merged' },
    ...{ cleaned_worktree: true, kept: null, missing: [] },
  });
  expect(readFileSync(join(world.repo, 'feature.txt'), 'utf8')).toBe('ready to merge\n');
  expect(existsSync(row.worktree_path ?? '')).toBe(false);
  expect(plainGit(world.repo, 'branch', '--list', 'drover/builder')).toBe('');
  expect(await world.rowOf(row)).toMatchObject({
    ...{ worktree_path: null, merged_commit: plainGit(world.repo, 'rev-parse', 'main'), merged_at: expect.any(Number) },
  });
  expect(plainGit(world.repo, 'status', '--porcelain', '--branch')).toBe('## main');
  // Both parents are there: the target as it was, and the branch.
  expect(plainGit(world.repo, 'log', '-1', '--format=%P').split(' ')).toHaveLength(2);
});

test('a session that lives, or has no worktree, is refused and nothing changes (E-152, E-154)', async () => {
  const world = await field();
  const live = await world.session('live', { state: 'working', commits: [{ 'a.txt': 'a\n' }] });
  const bare = await world.session('bare', { commits: [{ 'b.txt': 'b\n' }] });
  await world.store.write((tx) => tx.run('UPDATE sessions SET worktree_path = NULL WHERE id = :id', { id: bare.id }));
  const before = await state(world);
  const signal = new AbortController().signal;

  expect((await refusal(merge(world, live))).message).toBe(
    `Cannot merge active session ${live.id} while it is working`,
  );
  const rebase = { row: live, into: null, by: 'operator', signal };
  expect((await refusal(rebaseSession(world.deps, rebase))).message).toBe(
    `Cannot rebase active session ${live.id} while it is working`,
  );
  const no_worktree = await refusal(merge(world, await world.rowOf(bare)));
  expect([no_worktree.exitCode, no_worktree.message]).toEqual([3, `Session ${bare.id} has no attached worktree`]);

  expect(await state(world)).toEqual(before);
});

test('a dirty worktree, and a session without a known target, are refused with a way out (E-153)', async () => {
  const world = await field();
  const dirty = await world.session('dirty', { commits: [{ 'a.txt': 'a\n' }], dirty: { 'b.txt': 'b\n' } });
  const astray = await world.session('astray', { commits: [{ 'c.txt': 'c\n' }], base_branch: null });
  const before = await state(world);

  expect(await refusal(merge(world, dirty))).toMatchObject({ kind: 'refused', code: 'worktree_dirty' });
  const error = await refusal(merge(world, astray));
  expect(error).toMatchObject({ kind: 'refused', code: 'no_target' });
  expect(error.details.recovery_commands).toEqual(['drover merge astray --into BRANCH']);
  expect(await refusal(merge(world, astray, { into: 'nowhere' }))).toMatchObject({ code: 'target_not_found' });

  expect(await state(world)).toEqual(before);
  expect(await merge(world, astray, { into: 'main' })).toMatchObject({ outcome: 'merged', base_branch: 'main' });
});

test('a checkout of the target with changes is refused before anything is touched', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'README.md': 'hello\nbuilder\n' }] });
  writeFileSync(join(world.repo, 'README.md'), 'mine\n');
  writeFileSync(join(world.repo, 'notes.txt'), 'mine too\n');
  const before = await state(world);

  const error = await refusal(merge(world, row));

  expect(error).toMatchObject({ kind: 'refused', code: 'target_checkout_dirty' });
  expect(error.details.preserved).toContain('every branch and worktree');
  expect(await state(world)).toEqual(before);
  expect(readFileSync(join(world.repo, 'notes.txt'), 'utf8')).toBe('mine too\n');
});

test('an ignored file where a merged one belongs is refused by name, as late as that, and stays', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'notes.txt': 'of the session\n' }] });
  writeFileSync(join(world.repo, '.git/info/exclude'), 'notes.txt\n');
  writeFileSync(join(world.repo, 'notes.txt'), 'of the person\n');
  const before = await state(world);

  const error = await refusal(merge(world, row));

  expect(error.code).toBe('target_checkout_dirty');
  expect(error.details.unsafe_condition).toContain('"notes.txt"');
  expect(error.details.data).toMatchObject({ changed: ['notes.txt'] });
  expect(await state(world)).toEqual(before);
  expect(readFileSync(join(world.repo, 'notes.txt'), 'utf8')).toBe('of the person\n');
});

test('the work goes to the branch it is meant for, whatever the person is on by now', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  plainGit(world.repo, 'switch', '--quiet', '-c', 'other');
  writeFileSync(join(world.repo, 'README.md'), 'changed on other\n');
  const other = plainGit(world.repo, 'rev-parse', 'other');

  expect(await merge(world, row)).toMatchObject({ outcome: 'merged', base_branch: 'main' });

  expect(plainGit(world.repo, 'show', 'main:a.txt')).toBe('a');
  expect(plainGit(world.repo, 'rev-parse', 'HEAD')).toBe(other);
  expect(existsSync(join(world.repo, 'a.txt'))).toBe(false);
  expect(readFileSync(join(world.repo, 'README.md'), 'utf8')).toBe('changed on other\n');
});

test('a conflict is told with its paths, and nothing is touched', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'README.md': 'theirs\n' }] });
  commit(world.repo, { 'README.md': 'ours\n' });
  const before = await state(world);

  const error = await refusal(merge(world, row));

  expect(error).toMatchObject({ kind: 'failed', code: 'merge_conflict' });
  expect(error.details.data).toMatchObject({ conflicts: ['README.md'], preview: expect.stringContaining('+theirs') });
  expect(error.details.recovery_commands?.[0]).toBe('drover rebase builder');
  expect(await state(world)).toEqual(before);
});

test('nothing new is up to date, and cleaned like any other', async () => {
  const world = await field();
  const row = await world.session('idler');
  const head = plainGit(world.repo, 'rev-parse', 'main');
  expect(await merge(world, row)).toMatchObject({ outcome: 'up_to_date', cleaned_worktree: true });
  expect(plainGit(world.repo, 'rev-parse', 'main')).toBe(head);
});

test('a dry run of one says what would be, and writes nothing', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const before = [await state(world), plainGit(world.repo, 'count-objects', '-v')];
  expect(await merge(world, row, { dry_run: true })).toBeNull();
  expect([await state(world), plainGit(world.repo, 'count-objects', '-v')]).toEqual(before);
});

test('rebase puts the branch on top of its target, once (E-154)', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const onto = commit(world.repo, { 'b.txt': 'b\n' });
  const request = { row, into: null, by: 'operator', signal: new AbortController().signal };

  expect(await rebaseSession(world.deps, request)).toMatchObject({
    ...{ session_id: row.id, branch: 'drover/builder', base_branch: 'main', already_up_to_date: false },
  });
  expect(plainGit(row.worktree_path ?? '', 'rev-parse', 'HEAD~1')).toBe(onto);
  expect((await world.rowOf(row)).base_commit).toBe(onto);
  expect(await rebaseSession(world.deps, request)).toMatchObject({ already_up_to_date: true });
  expect(await world.all('SELECT * FROM merges')).toEqual([]);
});

test('merged work ends its line: thread, reservation, incidents, mail to the parent, event, in one go', async () => {
  const world = await field();
  const lead = await world.session('lead', { state: 'idle' });
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }], parent_id: lead.id });
  const now = world.clock.now();
  await world.store.write((tx) => {
    const shared = { repo_root: world.repo, branch: row.branch, now };
    tx.run(
      `INSERT INTO threads (repo_root, branch, base_commit, base_tree, execution_path, created_at, updated_at)
       VALUES (:repo_root, :branch, 'c', 't', '/x', :now, :now)`,
      shared,
    );
    tx.run(
      `INSERT INTO reservations (session_id, repo_root, thread, status, started_at, completed_at, base_short, owner_session_id)
       VALUES (:id, :repo_root, :branch, 'complete', :now, :now, 'c', :id)`,
      { ...shared, id: row.id },
    );
    tx.run(
      `INSERT INTO incidents (id, key, repo_root, kind, path, first_session_id, second_session_id, strategy, summary,
         created_at, updated_at)
       VALUES ('incident-1', 'k', :repo_root, 'overlap', 'a.txt', :id, :other, 'escalate', 's', :now, :now)`,
      { repo_root: world.repo, id: row.id, other: lead.id, now },
    );
  });

  const outcome = await merge(world, row);

  const merged_commit = outcome?.merged_commit;
  expect(await world.all('SELECT merged_commit FROM threads')).toEqual([{ merged_commit }]);
  expect(await world.all("SELECT status FROM reservations WHERE thread = 'drover/builder'")).toEqual([
    { status: 'merged' },
  ]);
  expect(await world.all('SELECT resolution FROM incidents')).toEqual([{ resolution: 'merged: builder' }]);
  expect(await world.all("SELECT to_name, type FROM mail WHERE type = 'merged'")).toEqual([
    { to_name: 'lead', type: 'merged' },
  ]);
  expect(await world.all("SELECT session_id FROM events WHERE type = 'merged'")).toEqual([{ session_id: row.id }]);
  expect(await world.all('SELECT outcome, merged_commit FROM merges')).toEqual([{ outcome: 'merged', merged_commit }]);
});
