import { afterAll, expect, test } from 'bun:test';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import type { SessionRow } from '../../src/model/session.ts';
import type { Cleaned } from '../../src/session/clean.ts';
import { stopSession } from '../../src/store/control.ts';
import type { NewSession } from '../../src/store/new-session.ts';
import { getSession } from '../../src/store/session.ts';
import { endSession } from '../../src/store/settle.ts';
import { turnFiles } from '../../src/sys/turn-files.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { endTurn, feedTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

const DAY_MS = 86_400_000;

interface Answer {
  dry_run: boolean;
  bytes: number;
  sessions: Cleaned[];
}

interface Yard {
  world: TestStore;
  bench: Bench;
  /** An ended session of the bench's repository with a log directory of 10 bytes. */
  ended(name: string, draft?: Partial<NewSession>): Promise<SessionRow>;
  /** The same with a worktree on a branch of its own. */
  withWorktree(name: string): Promise<SessionRow & { path: string }>;
  logs(row: SessionRow): string;
  now(row: SessionRow): Promise<SessionRow | null>;
}

/** Everything in it ended ten days ago. */
async function yard(): Promise<Yard> {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  world.clock.advance(-10 * DAY_MS);
  const here: Yard = {
    world,
    bench,
    ended: async (name, draft = {}) => {
      const row = await seedSession(world, {
        name,
        role: 'solo',
        repo_root: bench.repo,
        working_dir: bench.repo,
        ...draft,
      });
      const turn = await takeTurn(world, row.id);
      mkdirSync(turn.turn.dir, { recursive: true });
      writeFileSync(turnFiles(turn.turn.dir).stdout, '0123456789');
      await endTurn(world, turn);
      return row;
    },
    withWorktree: async (name) => {
      const path = join(bench.home, 'worktrees', name);
      bench.git('worktree', 'add', '-q', '-b', `drover/${name}`, path);
      const row = await here.ended(name, { worktree_path: path, working_dir: path, branch: `drover/${name}` });
      return { ...row, path };
    },
    logs: (row) => homePaths.session(world.home, row.id),
    now: (row) => getSession(world.store, row.id),
  };
  return here;
}

const parts = (answer: Answer) =>
  answer.sessions.map((one) => [
    one.name,
    one.removed.map((each) => each.part).join(),
    one.kept.map((each) => each.why).join(),
  ]);
const commit = (dir: string) => [
  '-C',
  dir,
  '-c',
  'user.name=t',
  '-c',
  'user.email=t@localhost',
  'commit',
  '-q',
  '--allow-empty',
  '-m',
  'work',
];

test('clean removes logs of sessions that ended long ago and keeps their rows; the dry run says exactly that (E-150)', async () => {
  const { bench, world, ended, logs, now } = await yard();
  const old = await ended('old');
  world.clock.advance(9 * DAY_MS);
  const young = await ended('young');
  const other = await ended('other', { repo_root: '/elsewhere' });
  const dry = await bench.json<Answer>(['clean', '--dry-run', '--older-than', '2d']);
  expect(dry).toMatchObject({
    dry_run: true,
    bytes: 10,
    sessions: [
      { name: 'old', removed: [{ part: 'logs', what: logs(old), bytes: 10 }] },
      { name: 'young', removed: [] },
    ],
  });
  expect([old, young, other].map((row) => existsSync(logs(row)))).toEqual([true, true, true]);
  const real = await bench.json<Answer>(['clean', '--older-than', '2d']);
  expect(real).toEqual({ ...dry, dry_run: false });
  expect([old, young, other].map((row) => existsSync(logs(row)))).toEqual([false, true, true]);
  expect(await now(old)).toMatchObject({ state: 'completed', result_text: 'the result' });
  expect((await bench.run(['logs', 'old'])).stdout).toContain('turn 1: completed');
  expect((await bench.run(['clean'])).stdout).toBe(
    '1 ended session is too young and kept; --older-than sets the age\nnothing else to remove\n',
  );
});

test('the retention is seven days unless said otherwise; a session given by name goes at once (E-151)', async () => {
  const { bench, world, ended, logs } = await yard();
  await ended('ten-days');
  world.clock.advance(4 * DAY_MS);
  const six = await ended('six-days');
  expect(parts(await bench.json<Answer>(['clean', '--dry-run']))).toEqual([
    ['ten-days', 'logs', ''],
    ['six-days', '', 'it has not been over for long enough'],
  ]);
  expect(parts(await bench.json<Answer>(['clean', 'six-days', '--older-than', '8d']))[0]?.[1]).toBe('');
  expect((await bench.run(['clean', 'six-days', '--older-than', '7'])).code).toBe(2);
  expect(existsSync(logs(six))).toBe(true);
  expect((await bench.run(['clean', 'six-days'])).stdout).toMatch(/six-days +removed +logs/);
  expect(existsSync(logs(six))).toBe(false);
});

test('a clean merged worktree goes with its branch and out of the row (E-148)', async () => {
  const { bench, withWorktree, now } = await yard();
  const row = await withWorktree('done');
  bench.git(...commit(row.path));
  bench.git('merge', '-q', 'drover/done');
  const dry = await bench.json<Answer>(['clean', '--dry-run']);
  expect(existsSync(row.path)).toBe(true);
  const real = await bench.json<Answer>(['clean']);
  expect(real.sessions).toEqual(dry.sessions);
  expect(parts(real)).toEqual([['done', 'worktree,branch,logs', '']]);
  expect(existsSync(row.path)).toBe(false);
  expect(bench.git('branch', '--list', 'drover/*')).toBe('');
  expect(bench.git('worktree', 'list').split('\n')).toHaveLength(1);
  expect(await now(row)).toMatchObject({
    worktree_path: null,
    working_dir: bench.repo,
    branch: 'drover/done',
    state: 'completed',
  });
});

test('dirty, unmerged and unfinished work is kept and told, never forced (O-85, I22)', async () => {
  const { bench, withWorktree, now } = await yard();
  const dirty = await withWorktree('dirty');
  writeFileSync(join(dirty.path, 'notes.txt'), 'mine');
  const unmerged = await withWorktree('unmerged');
  bench.git(...commit(unmerged.path));
  const [a, b] = [await bench.json<Answer>(['clean', '--dry-run']), await bench.json<Answer>(['clean'])];
  expect(b.sessions).toEqual(a.sessions);
  expect(parts(b)).toEqual([
    ['dirty', 'logs', 'changes that are not committed: notes.txt'],
    ['unmerged', 'logs', 'drover/unmerged has commits that are on no other branch'],
  ]);
  for (const row of [dirty, unmerged]) {
    expect(existsSync(row.path)).toBe(true);
    expect(await now(row)).toMatchObject({ worktree_path: row.path, working_dir: row.path });
  }
  expect(bench.git('branch', '--list', 'drover/*').split('\n')).toHaveLength(2);
});

const sleepers: { kill(): void; exited: Promise<number> }[] = [];
afterAll(async () => {
  for (const child of sleepers) child.kill();
  await Promise.all(sleepers.map((child) => child.exited));
});

test('a worktree in use by another session or by a process is kept (I22)', async () => {
  const { bench, world, withWorktree, ended, now } = await yard();
  const shared = await withWorktree('shared');
  const heir = await ended('heir', { worktree_path: shared.path, working_dir: shared.path, branch: shared.branch });
  const visited = await withWorktree('visited');
  await seedSession(world, { name: 'visitor', repo_root: bench.repo, working_dir: join(visited.path, 'sub') });
  const busy = await withWorktree('busy');
  sleepers.push(Bun.spawn(['sleep', '600'], { cwd: busy.path }));
  const why = Object.fromEntries(
    parts(await bench.json<Answer>(['clean', 'shared', 'visited', 'busy'])).map(([name, , kept]) => [name, kept]),
  );
  expect(why).toEqual({
    shared: 'heir (completed) uses it',
    visited: 'visitor (queued) uses it',
    busy: expect.stringMatching(/^process \d+ works in it$/),
  });
  for (const row of [shared, visited, busy]) expect(existsSync(row.path)).toBe(true);
  expect(parts(await bench.json<Answer>(['clean', 'shared', 'heir']))).toEqual([
    ['shared', 'worktree,branch', ''],
    ['heir', 'logs', ''],
  ]);
  expect(await now(heir)).toMatchObject({ worktree_path: null });
});

test('a live session, or one whose turn is still open, is refused before anything is removed (O-81)', async () => {
  const { bench, world, ended, logs } = await yard();
  const old = await ended('old');
  const live = await seedSession(world, { name: 'live', repo_root: bench.repo });
  const error = async (...args: string[]) =>
    (await bench.json<{ error: { code: string; recovery_commands: string[] } }>(['clean', ...args], 3)).error;
  expect(await error('old', 'live')).toMatchObject({ code: 'session_live', recovery_commands: ['drover stop live'] });
  const turn = await takeTurn(world, live.id);
  await feedTurn(world, turn, [{ type: 'text', text: 'x' }]);
  await stopSession(world.store, { session_id: live.id, actor: 'cli', reason: 'operator', now: world.clock.now() });
  expect((await error('old', 'live')).code).toBe('turn_still_ending');
  expect(existsSync(logs(old))).toBe(true);
  expect(parts(await bench.json<Answer>(['clean']))).toEqual([
    ['old', 'logs', ''],
    ['live', '', 'turn 1 of live is still being ended'],
  ]);
});

test('a zombie becomes completed by clean, once, and nothing else of it changes', async () => {
  const { bench, world, now } = await yard();
  const row = await seedSession(world, { name: 'dead', repo_root: bench.repo });
  const turn = await takeTurn(world, row.id);
  await endSession(world.store, {
    session_id: row.id,
    event: 'bury',
    actor: 'watchdog',
    reason: 'no_exit_status',
    fence: 1,
    died: true,
    now: world.clock.now(),
  });
  await endTurn(world, turn, { ok: false });
  expect(await now(row)).toMatchObject({ state: 'zombie' });
  expect(parts(await bench.json<Answer>(['clean', '--dry-run']))).toEqual([['dead', 'state', '']]);
  expect(await now(row)).toMatchObject({ state: 'zombie' });
  expect((await bench.run(['clean'])).stdout).toMatch(/dead +changed +state +zombie → completed/);
  expect(await now(row)).toMatchObject({ state: 'completed' });
  expect((await bench.run(['clean', 'dead'])).stdout).toBe('nothing to remove\n');
});

test('before anything was stored there is nothing to clean; outside a repository it wants to be told what', async () => {
  const bench = droverBench();
  expect(await bench.run(['clean'])).toEqual({ code: 0, stdout: 'nothing to remove\n', stderr: '' });
  expect(existsSync(bench.drover_home)).toBe(false);
  const full = await yard();
  await full.ended('old');
  expect((await full.bench.run(['clean'], { cwd: '/' })).stderr).toContain('--all');
  expect(parts(JSON.parse((await full.bench.run(['clean', '--all', '--json'], { cwd: '/' })).stdout))).toEqual([
    ['old', 'logs', ''],
  ]);
});
