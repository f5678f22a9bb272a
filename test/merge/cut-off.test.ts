import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { rebaseSession } from '../../src/merge/one.ts';
import { OPERATOR } from '../../src/model/mail.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { recover, resume } from '../../src/session/control.ts';
import { claimMerges } from '../../src/store/merge.ts';
import { processesInside } from '../../src/sys/inside.ts';
import { plainGit, tryPlainGit } from '../git/plain.ts';
import { until } from '../support/until.ts';
import { commit, type Field, field, write } from './field.ts';

const head = (path: string) => plainGit(path, 'rev-parse', 'HEAD');
const PERSON = { name: OPERATOR, session: null };
const KEPT = ['for-each-ref', '--format=%(refname) %(objectname)', 'refs/drover'];

/** What a rebase that was killed leaves: its claim, and what git has done by then. */
async function claimed(world: Field, row: SessionRow, base_head: string) {
  const path = row.worktree_path ?? '';
  const claims = [{ session_id: row.id, branch: row.branch ?? '', head: head(path) }];
  await claimMerges(world.store, {
    repo_root: world.repo,
    target: 'main',
    base_head,
    claims,
    reason: 'rebase',
    now: 1,
  });
  plainGit(world.repo, 'update-ref', `refs/drover/rebase/${row.id}`, head(path));
  return { path, old: head(path) };
}

const rebased = (path: string, onto: string) =>
  tryPlainGit(path, ['rebase', '--quiet', '--merge', '--no-rebase-merges', '--reapply-cherry-picks', onto]).code;

/** A branch with a file that only a merge commit of its own has: a rebase drops that. */
async function withResolution(world: Field) {
  const row = await world.session('builder', { commits: [{ 'own.txt': 'own\n' }] });
  const path = row.worktree_path ?? '';
  plainGit(path, 'checkout', '--quiet', '-b', 'side');
  commit(path, { 'x.txt': 'side\n' });
  plainGit(path, 'checkout', '--quiet', 'drover/builder');
  commit(path, { 'y.txt': 'own\n' });
  plainGit(path, 'merge', '--quiet', '--no-ff', '--no-commit', 'side');
  commit(path, { 'only-in-merge.txt': 'precious\n' });
  plainGit(path, 'branch', '--quiet', '-D', 'side');
  return row;
}

/** With a claim of the rebase, and a rebase that has stopped in the middle. */
async function stuck(world: Field) {
  const row = await world.session('builder', { commits: [{ 'README.md': 'hello\nours\n' }] });
  const onto = commit(world.repo, { 'README.md': 'hello\ntheirs\n' });
  const place = await claimed(world, row, onto);
  expect(rebased(place.path, onto)).toBe(1);
  return { row, onto, ...place };
}

test('killed between git’s rebase and the look at what it dropped: taken back, and nothing of it is lost', async () => {
  const world = await field();
  const row = await withResolution(world);
  const onto = commit(world.repo, { 'other.txt': 'theirs\n' });
  const { path, old } = await claimed(world, row, onto);
  expect(rebased(path, onto)).toBe(0);
  expect(existsSync(join(path, 'only-in-merge.txt'))).toBe(false);

  const report = await world.queue();

  expect(report).toMatchObject({ merged: [{ session_id: row.id }], missing: [], failures: [] });
  expect(plainGit(world.repo, 'show', 'main:only-in-merge.txt')).toBe('precious');
  expect(tryPlainGit(world.repo, ['merge-base', '--is-ancestor', old, 'main']).code).toBe(0);
  expect(await world.all('SELECT outcome FROM merges ORDER BY seq')).toEqual([
    { outcome: 'conflict' },
    { outcome: 'merged' },
  ]);
  expect(plainGit(world.repo, ...KEPT)).toBe('');
});

test('killed after a rebase that lost nothing: it counts', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const onto = commit(world.repo, { 'b.txt': 'b\n' });
  const { path } = await claimed(world, row, onto);
  expect(rebased(path, onto)).toBe(0);
  const now = head(path);

  const request = { row, into: null, by: OPERATOR, signal: new AbortController().signal };
  expect(await rebaseSession(world.deps, request)).toMatchObject({ already_up_to_date: true });

  expect(head(path)).toBe(now);
  expect((await world.rowOf(row)).base_commit).toBe(onto);
  expect(await world.all('SELECT * FROM merges')).toEqual([]);
  expect(await world.all("SELECT type FROM events WHERE type = 'rebased'")).toHaveLength(1);
  expect(plainGit(world.repo, ...KEPT)).toBe('');
});

test('killed, and others have moved the branch since: nothing is touched, and who has to look is told', async () => {
  const world = await field();
  const row = await withResolution(world);
  const onto = commit(world.repo, { 'other.txt': 'theirs\n' });
  const { path, old } = await claimed(world, row, onto);
  expect(rebased(path, onto)).toBe(0);
  const theirs = commit(path, { 'later.txt': 'of a person\n' });

  const report = await world.queue({ is_clean: false });

  expect(report.failures).toEqual([{ session_id: row.id, reason: expect.stringContaining('only-in-merge.txt') }]);
  expect(head(path)).toBe(theirs);
  const ref = `refs/drover/rebase/${row.id}`;
  expect(plainGit(world.repo, ...KEPT)).toBe(`${ref} ${old}`);
  const [mail] = await world.all<{ to_name: string; body: string }>("SELECT * FROM mail WHERE type = 'merge_failed'");
  expect(mail?.to_name).toBe(OPERATOR);
  expect(mail?.body).toContain(ref);
});

test('killed, and somebody has changed files there since: nothing is touched', async () => {
  const world = await field();
  const row = await withResolution(world);
  const onto = commit(world.repo, { 'other.txt': 'theirs\n' });
  const { path } = await claimed(world, row, onto);
  expect(rebased(path, onto)).toBe(0);
  const now = head(path);
  write(path, { 'own.txt': 'changed\n' });
  expect(await world.queue()).toMatchObject({ merged: [], dirty_worktree_ids: [row.id], failures: [{}] });
  expect(head(path)).toBe(now);
  expect(plainGit(path, 'status', '--porcelain')).toBe('M own.txt');
});

test('killed before git had begun, or with commits on top of the old ones: left as it is', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const onto = commit(world.repo, { 'b.txt': 'b\n' });
  const { path } = await claimed(world, row, onto);
  const more = commit(path, { 'c.txt': 'c\n' });
  expect(await world.queue()).toMatchObject({ merged: [{ session_id: row.id }], failures: [] });
  expect(tryPlainGit(world.repo, ['merge-base', '--is-ancestor', more, 'main']).code).toBe(0);
  expect(await world.all('SELECT outcome, reason FROM merges ORDER BY seq')).toEqual([
    { outcome: 'failed', reason: 'interrupted' },
    { outcome: 'merged', reason: null },
  ]);
});

test('a rebase whose git lives on is not taken back under it; the next one does it', async () => {
  const world = await field();
  const { row, path, old } = await stuck(world);
  const other = await world.session('other', { commits: [{ 'b.txt': 'b\n' }] });
  const git = Bun.spawn(['sleep', '300'], { cwd: path, stdio: ['ignore', 'ignore', 'ignore'] });
  try {
    await until('it to be inside', () => processesInside(path).includes(git.pid));
    expect(await world.queue()).toMatchObject({ merged: [{ session_id: other.id }] });
    expect(plainGit(path, 'status')).toContain('rebas');
    expect(await world.all('SELECT reason FROM merges WHERE ended_at IS NULL')).toEqual([{ reason: 'rebase' }]);
  } finally {
    git.kill('SIGKILL');
    await git.exited;
  }
  expect(await world.queue()).toMatchObject({ conflicted_session_ids: [row.id] });
  expect(head(path)).toBe(old);
  expect(plainGit(path, 'status', '--porcelain', '--branch')).toBe('## drover/builder');
  expect(await world.all('SELECT seq FROM merges WHERE ended_at IS NULL')).toEqual([]);
});

test('a rebase that somebody else has begun since is theirs', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'README.md': 'hello\nours\n' }] });
  const onto = commit(world.repo, { 'README.md': 'hello\ntheirs\n' });
  const { path } = await claimed(world, row, onto);
  commit(path, { 'more.txt': 'of a person\n' });
  expect(rebased(path, onto)).toBe(1);
  write(path, { 'README.md': 'hello\ntheirs\nours\n' });
  await world.queue();
  expect(plainGit(path, 'status')).toContain('rebas');
  expect(await Bun.file(join(path, 'README.md')).text()).toBe('hello\ntheirs\nours\n');
  expect(await world.all('SELECT outcome, reason FROM merges')).toEqual([{ outcome: 'failed', reason: 'interrupted' }]);
});

test('a rebase in the worktree of a session that lives is its own', async () => {
  const world = await field();
  const { row, path } = await stuck(world);
  await world.store.write((tx) =>
    tx.run("UPDATE sessions SET state = 'working', ended_at = NULL, end_reason = NULL WHERE id = :id", { id: row.id }),
  );
  write(path, { 'README.md': 'hello\nours and theirs\n' });
  expect(await world.queue()).toMatchObject({ active_with_worktree_ids: [row.id] });
  expect(plainGit(path, 'status')).toContain('rebas');
  expect(await Bun.file(join(path, 'README.md')).text()).toBe('hello\nours and theirs\n');
  expect(await world.all('SELECT seq FROM merges WHERE ended_at IS NULL')).toEqual([]);
});

test('who is in the middle of being rebased is not resumed and not recovered; the named command ends that', async () => {
  const world = await field();
  const row = await world.session('builder', { state: 'stopped', commits: [{ 'a.txt': 'a\n' }] });
  const onto = commit(world.repo, { 'b.txt': 'b\n' });
  await claimed(world, row, onto);
  const all = async () => [await world.all('SELECT * FROM sessions'), await world.all('SELECT * FROM mail')];
  const before = await all();
  const refused = {
    ...{ kind: 'refused', code: 'rebase_under_way' },
    details: { recovery_commands: ['drover rebase builder --into main'] },
  };
  await expect(resume(world.deps, PERSON, row, {})).rejects.toMatchObject(refused);
  await expect(recover(world.deps, PERSON, row, undefined)).rejects.toMatchObject(refused);
  expect(await all()).toEqual(before);

  await rebaseSession(world.deps, { row, into: 'main', by: OPERATOR, signal: new AbortController().signal });
  expect((await resume(world.deps, PERSON, row, {})).row.state).toBe('queued');
});
