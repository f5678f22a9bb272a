import { expect, test } from 'bun:test';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { advanceTarget } from '../../src/merge/advance.ts';
import { factsOf } from '../../src/merge/facts.ts';
import { buildStack } from '../../src/merge/stack.ts';
import { homePaths } from '../../src/model/home.ts';
import { mergeLockPath } from '../../src/model/merge-place.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { claimMerges, planMerges } from '../../src/store/merge.ts';
import { plainGit, tryPlainGit } from '../git/plain.ts';
import { DROVER } from '../support/drover.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';
import { commit, type Field, field, writeConfig } from './field.ts';

/** The real program in the world's home. */
function drover(world: Field, ...args: string[]) {
  const { PATH, HOME, XDG_CONFIG_HOME } = world.deps.env;
  return Bun.spawn([DROVER, ...args], {
    cwd: world.repo,
    env: {
      ...{ PATH: PATH ?? '', HOME: HOME ?? '', XDG_CONFIG_HOME: XDG_CONFIG_HOME ?? '', DROVER_HOME: world.home },
      ...{ GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1', TERM: 'dumb' },
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function ended(child: ReturnType<typeof drover>) {
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { stdout, stderr, code };
}

/** One attempt, as far as it had come when its process was killed. */
async function killedAfter(world: Field, row: SessionRow, step: 'claim' | 'plan' | 'advance'): Promise<void> {
  const from = plainGit(world.repo, 'rev-parse', 'main');
  const place = { repo_root: world.repo, target: 'main' };
  const open = { require_completed: false, ready: new Map(), failures: new Map(), passed_over: new Map() };
  const ground = { ...place, target_head: from, ...open };
  const known = await factsOf(row, ground);
  const head = known.head ?? '';
  const claims = [{ session_id: row.id, branch: row.branch ?? '', head }];
  const [claim] = await claimMerges(world.store, { ...place, claims, base_head: from, now: world.clock.now() });
  if (step === 'claim' || claim === undefined) return;
  const { pieces } = await buildStack(world.repo, from, [{ seq: claim.seq, known, head }]);
  const merged_commit = pieces[0]?.commit ?? '';
  await planMerges(world.store, [{ seq: claim.seq, base_head: from, merged_commit }]);
  if (step === 'advance') await advanceTarget({ deps: world.deps, by: 'operator', ...place }, from, merged_commit);
}

const OUTCOMES = 'SELECT outcome, reason FROM merges ORDER BY seq';

test.each(['claim', 'plan'] as const)(
  'killed after the %s: nothing had moved; the attempt is ended and made anew',
  async (step) => {
    const world = await field();
    const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
    await killedAfter(world, row, step);
    expect(await world.queue()).toMatchObject({ merged: [{ session_id: row.id }], failures: [], exit_code: 0 });
    expect(await world.all(OUTCOMES)).toEqual([
      { outcome: 'failed', reason: 'interrupted' },
      { outcome: 'merged', reason: null },
    ]);
  },
);

test('what a killed merge left does not keep its session from another target', async () => {
  const world = await field();
  plainGit(world.repo, 'branch', 'release');
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  await killedAfter(world, row, 'plan');
  expect(await world.queue({ into: 'release' })).toMatchObject({
    merged: [{ session_id: row.id, base_branch: 'release' }],
  });
  expect(await world.all('SELECT target, outcome FROM merges ORDER BY seq')).toEqual([
    { target: 'main', outcome: 'failed' },
    { target: 'release', outcome: 'merged' },
  ]);
});

test('killed after the target had moved: it counts as merged, once, with all that belongs to it', async () => {
  const world = await field();
  const lead = await world.session('lead', { state: 'idle' });
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }], parent_id: lead.id });
  await killedAfter(world, row, 'advance');
  const main = plainGit(world.repo, 'rev-parse', 'main');

  const report = await world.queue();

  expect(report.merged).toMatchObject([{ session_id: row.id, already_up_to_date: false, cleaned_worktree: true }]);
  expect(plainGit(world.repo, 'rev-parse', 'main')).toBe(main);
  expect(await world.all(OUTCOMES)).toEqual([{ outcome: 'merged', reason: null }]);
  expect(await world.rowOf(row)).toMatchObject({ merged_commit: main, worktree_path: null });
  expect(await world.all("SELECT to_name FROM mail WHERE type = 'merged'")).toEqual([{ to_name: 'lead' }]);
});

test('killed in the middle of a rebase: it is taken back, and the branch is as it was', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'README.md': 'hello\nours\n' }] });
  const path = row.worktree_path ?? '';
  const head = plainGit(path, 'rev-parse', 'HEAD');
  const onto = commit(world.repo, { 'README.md': 'hello\ntheirs\n' });
  const claims = [{ session_id: row.id, branch: row.branch ?? '', head }];
  const place = { repo_root: world.repo, target: 'main', base_head: onto };
  await claimMerges(world.store, { ...place, claims, reason: 'rebase', now: 1 });
  expect(tryPlainGit(path, ['rebase', '--quiet', 'main']).code).toBe(1);

  const report = await world.queue();

  expect(report.conflicted_session_ids).toEqual([row.id]);
  expect(plainGit(path, 'rev-parse', 'HEAD')).toBe(head);
  expect(plainGit(path, 'status', '--porcelain', '--branch')).toBe('## drover/builder');
});

test('kill -9 while a gate runs: target untouched; the next merge ends the gate, clears up and goes on (O-84, I21)', async () => {
  const world = await field();
  const marks = tempDir('kill');
  const begun = join(marks, 'begun');
  writeConfig(world, { gate: { commands: [`cd ${marks}; setsid sleep 300 & touch ${begun}; sleep 300`] } });
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const target = plainGit(world.repo, 'rev-parse', 'main');

  const first = drover(world, 'merge', 'builder');
  await until('the gate to run', () => existsSync(begun), 30_000);
  // Meanwhile nobody else gets in; it is told who is there, at once.
  const second = await ended(drover(world, 'merge', '--queue', '--json'));
  expect(second.code).toBe(3);
  expect(JSON.parse(second.stdout).error).toMatchObject({
    code: 'merge_running',
    message: expect.stringContaining(mergeLockPath(world.home, world.repo, 'main')),
    data: { pid: first.pid, target: 'main' },
  });
  first.kill('SIGKILL');
  await first.exited;
  expect(plainGit(world.repo, 'rev-parse', 'main')).toBe(target);
  expect(readdirSync(homePaths.merges(world.home))).toHaveLength(1);

  writeConfig(world, { gate: { commands: ['true'] } });
  const third = await ended(drover(world, 'merge', 'builder', '--json'));
  expect(third).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(third.stdout)).toMatchObject({ session_id: row.id, outcome: 'merged', cleaned_worktree: true });
  expect(readdirSync(homePaths.merges(world.home))).toEqual([]);
  expect(plainGit(world.repo, 'worktree', 'list').split('\n')).toHaveLength(1);
  await assertNoLeaks(marks);
}, 60_000);

test('a gate that kills its own drover loses nothing', async () => {
  const world = await field({
    gate: { commands: ['read -r _ _ _ drover _ </proc/$PPID/stat; kill -9 $drover; sleep 1'] },
  });
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const target = plainGit(world.repo, 'rev-parse', 'main');
  const killed = await ended(drover(world, 'merge', '--queue'));
  expect(killed.code).not.toBe(0);
  expect(plainGit(world.repo, 'rev-parse', 'main')).toBe(target);
  writeConfig(world, {});
  expect(await world.queue()).toMatchObject({ merged: [{ session_id: row.id }] });
}, 60_000);

test('one worktree that cannot be read is one failure, and the others go in (E-157, E-166, CX-29)', async () => {
  const world = await field();
  const good = await world.session('good', { commits: [{ 'a.txt': 'a\n' }] });
  const gone = await world.session('gone', { commits: [{ 'b.txt': 'b\n' }] });
  const broken = await world.session('broken', { commits: [{ 'c.txt': 'c\n' }] });
  plainGit(world.repo, 'worktree', 'remove', gone.worktree_path ?? '');
  writeFileSync(join(broken.worktree_path ?? '', '.git'), 'gitdir: /nowhere\n');

  const report = await world.queue();

  // Of a directory that is gone the branch is still there.
  expect(report.merged.map((each) => each.session_id).sort()).toEqual([good.id, gone.id].sort());
  expect(report.failures.map((each) => each.session_id)).toEqual([broken.id]);
  expect(report.blocked_by_queue_session_ids).toEqual([]);
  expect(report.exit_code).toBe(1);
});
