import { describe, expect, test } from 'bun:test';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { mustRunHook, runHook } from '../../src/session/hooks.ts';
import { afterRun, beforeRun } from '../../src/session/run-hooks.ts';
import { endTurn, takeTurn } from '../support/store.ts';
import { type Field, field } from './field.ts';

async function ready(): Promise<Field & { row: Awaited<ReturnType<Field['settled']>> }> {
  const at = await field();
  return { ...at, row: await at.settled('one') };
}

const logOf = ({ world, row }: Awaited<ReturnType<typeof ready>>, hook: string) =>
  readFileSync(join(world.home, 'sessions', row.id, 'hooks', `${hook}.log`), 'utf8');

test('a hook runs in the worktree with who it is for and without a token or anybody’s credential', async () => {
  const at = await ready();
  at.deps.env.ANTHROPIC_API_KEY = 'sk-secret';
  at.deps.env.DROVER_TOKEN = 'secret';
  at.config.worktree.hooks.before_remove = 'pwd; env; cat; echo oops >&2';
  const run = await runHook(at.deps, 'before_remove', at.row, at.row.worktree_path);
  expect(run).toMatchObject({ hook: 'before_remove', ok: true, code: 0, signal: null, timed_out: false });
  const lines = logOf(at, 'before_remove').trim().split('\n');
  expect(lines[0]).toBe(at.row.worktree_path);
  expect(lines.at(-1)).toBe('oops');
  const env = Object.fromEntries(
    lines.filter((line) => line.includes('=')).map((line) => line.split('=') as [string, string]),
  );
  expect(Object.entries(env).filter(([name]) => name.startsWith('DROVER_'))).toEqual(
    expect.arrayContaining([
      ['DROVER_SESSION_ID', at.row.id],
      ['DROVER_SESSION_NAME', 'one'],
      ['DROVER_WORKTREE', at.row.worktree_path],
      ['DROVER_REPO', at.repo],
      ['DROVER_BRANCH', 'drover/one'],
    ]),
  );
  expect(Object.keys(env).filter((name) => /TOKEN|KEY|SECRET/.test(name))).toEqual([]);
  expect(await at.events(at.row, 'hook')).toEqual([expect.objectContaining({ hook: 'before_remove', ok: true })]);
});

test('what a hook prints is kept up to a bound', async () => {
  const at = await ready();
  at.config.worktree.hooks.after_run = 'head -c 300000 /dev/zero | tr "\\0" x; echo; echo the end';
  const run = await runHook(at.deps, 'after_run', at.row, at.row.worktree_path);
  expect(logOf(at, 'after_run')).toHaveLength(64 * 1024);
  expect(run?.output.length).toBe(2_000);
});

/** Whoever nobody waits for may stay as a zombie. */
function isAlive(pid_file: string): boolean {
  const proc = `/proc/${readFileSync(pid_file, 'utf8').trim()}/stat`;
  return existsSync(proc) && !/\) Z /.test(readFileSync(proc, 'utf8'));
}

/** Shell text that starts a process in a session of its own, which writes its pid to this file first and goes on. */
const astray = (pid_file: string, then = 'exec sleep 600') =>
  `setsid sh -c 'echo $$ >"${pid_file}.new" && mv "${pid_file}.new" "${pid_file}"; ${then}' & until [ -s "${pid_file}" ]; do sleep 0.02; done`;

test('when its time is over its whole tree is ended, also what has left its session', async () => {
  const at = await ready();
  const file = join(at.world.home, 'pid');
  at.config.worktree.hook_timeout_ms = 3_000;
  at.config.worktree.hooks.after_run = `(${astray(file)}) & sleep 600`;
  const run = await runHook(at.deps, 'after_run', at.row, at.row.worktree_path);
  expect(run).toMatchObject({ ok: false, timed_out: true });
  expect(isAlive(file)).toBe(false);
});

test('what a hook leaves behind at its good end is ended and counted, even if it never stops talking', async () => {
  const at = await ready();
  const file = join(at.world.home, 'pid');
  at.config.worktree.hooks.after_run = astray(file, 'while :; do echo still here; sleep 0.02; done');
  const run = await runHook(at.deps, 'after_run', at.row, at.row.worktree_path);
  expect(run).toMatchObject({ ok: true, timed_out: false });
  expect(run?.left_over).toBeGreaterThan(0);
  expect(isAlive(file)).toBe(false);
  expect(await at.events(at.row, 'hook')).toEqual([expect.objectContaining({ left_over: run?.left_over })]);
  at.config.worktree.hooks.after_run = 'true';
  expect(await runHook(at.deps, 'after_run', at.row, at.row.worktree_path)).toMatchObject({ left_over: 0 });
});

test('no hook, or no directory: nothing is run and nothing recorded', async () => {
  const at = await ready();
  expect(await runHook(at.deps, 'after_run', at.row, at.row.worktree_path)).toBeNull();
  at.config.worktree.hooks.after_run = 'true';
  rmSync(at.row.worktree_path, { recursive: true });
  expect(await runHook(at.deps, 'after_run', at.row, at.row.worktree_path)).toBeNull();
  await mustRunHook(at.deps, 'after_run', at.row, at.row.worktree_path);
  expect(await at.events(at.row, 'hook')).toEqual([]);
});

describe('before and after a turn', () => {
  test('before run fails: an attempt is spent, the session waits, and fails after as many as a turn may have', async () => {
    const at = await ready();
    at.config.turn = { ...at.config.turn, max_attempts: 3, backoff_ms: 10_000 };
    at.config.worktree.hooks.before_run = 'echo not yet; exit 1';
    const due = async () => {
      const { state, attempt, next_turn_at } = await at.now(at.row);
      return [state, attempt, Math.round(((next_turn_at ?? 0) - at.world.clock.now()) / 1000)];
    };
    expect(await beforeRun(at.deps, at.row.id)).toBe(false);
    expect(await due()).toEqual(['queued', 1, 10]);
    expect(await beforeRun(at.deps, at.row.id)).toBe(false);
    expect(await due()).toEqual(['queued', 2, 20]);
    expect(await beforeRun(at.deps, at.row.id)).toBe(false);
    expect(await at.now(at.row)).toMatchObject({ state: 'failed', turn: 0, next_turn_at: null });
    expect((await at.now(at.row)).end_reason).toStartWith(
      'hook_failed: the hook before_run failed with exit code 1: not yet',
    );
    expect(await at.events(at.row, 'hook')).toHaveLength(3);
  });

  test('before run succeeds, or there is no worktree: the turn starts', async () => {
    const at = await ready();
    at.config.worktree.hooks.before_run = 'echo x >>"$DROVER_WORKTREE/ran"';
    expect(await beforeRun(at.deps, at.row.id)).toBe(true);
    expect(readFileSync(join(at.row.worktree_path, 'ran'), 'utf8')).toBe('x\n');
    const plain = await at.asking('plain', { branch: null, base_ref: null });
    at.config.worktree.hooks.before_run = 'exit 1';
    expect(await beforeRun(at.deps, plain.id)).toBe(true);
  });

  test('hooks of a repository that is not trusted fail the session at once, with the way out', async () => {
    const at = await ready();
    at.config.untrusted_keys = ['worktree.hooks.before_run'];
    expect(await beforeRun(at.deps, at.row.id)).toBe(false);
    expect((await at.now(at.row)).end_reason).toMatch(/^repository_untrusted: .*add .* to trusted_repositories/);
  });

  test('after run only says so when it fails', async () => {
    const at = await ready();
    const lines: string[] = [];
    const after = async () => afterRun(at.deps, await at.now(at.row), (line) => lines.push(line));
    at.config.worktree.hooks.after_run = 'exit 7';
    await endTurn(at.world, await takeTurn(at.world, at.row.id));
    await after();
    at.config.untrusted_keys = ['worktree.hooks.after_run'];
    await after();
    expect(lines).toEqual([
      'one: the hook after_run failed with exit code 7',
      expect.stringContaining('one: the hook after_run: repository_untrusted: '),
    ]);
    expect(await at.now(at.row)).toMatchObject({ state: 'completed' });
  });
});
