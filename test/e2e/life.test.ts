import { beforeAll, expect, test } from 'bun:test';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { SessionRow } from '../../src/model/session.ts';
import { hashToken } from '../../src/session/identity.ts';
import { sessionByToken } from '../../src/store/session.ts';
import { type Bench, droverBench, writeConfig } from '../support/drover.ts';
import { promptOf, rehearse, sessionOf, turnDir, untilSession, untilState, untilTalking } from '../support/peek.ts';
import { withStore } from '../support/stored.ts';
import { until } from '../support/until.ts';

const CONFIG = {
  turn: { max_attempts: 1, sigkill_delay_ms: 300 },
  // A pool of its own for who hits a limit: the others of this file go on.
  profiles: { fast: { model: 'small', append_system_prompt: 'Be brief.' }, broke: { pool: 'broke' } },
  harness_runners: {
    teller: {
      ...{ program: resolve(import.meta.dir, '../fixtures/bin/works-silently'), base_args: ['environment'] },
      ...{ event_format: 'ndjson', env: { OWN: 'of the runner' }, env_allow: ['LET_THROUGH'] },
    },
  },
};

let bench: Bench;

beforeAll(() => {
  bench = droverBench({
    config: CONFIG,
    env: { CANARY_SECRET: 'canary-1', AWS_SECRET_ACCESS_KEY: 'canary-2', LET_THROUGH: 'yes', LC_ALL: 'C.UTF-8' },
  });
});

const hold = (name: string) => join(bench.home, `go-${name}`);
const held = (name: string) => ({ turns: [[{ say: 'at work' }, { wait_for_file: hold(name) }, { say: 'done' }]] });
const release = (name: string) => writeFileSync(hold(name), '');
const DONE = { turns: [[{ say: 'done' }]] };

test('sling is back with the id while the harness works (C-08)', async () => {
  const script = bench.script('slow', held('slow'));
  const args = ['sling', '--harness', 'rehearsal', '--name', 'slow', `rehearsal-script: ${script}`];
  const { session } = await bench.json<{ session: SessionRow }>(args);
  expect(session).toMatchObject({ name: 'slow', state: 'queued', turn: 0 });
  await untilTalking(bench, 'slow');
  const { sessions } = await bench.json<{ sessions: (SessionRow & { verdict: string })[] }>(['status']);
  expect(sessions.map((row) => [row.name, row.state, row.verdict, row.turn])).toEqual([['slow', 'working', 'ok', 1]]);
  const quiet = await bench.run(['--quiet', 'sling', '--harness', 'rehearsal', '--name', 'quick', 'x']);
  expect(quiet.stdout).toMatch(/^agent-[a-z2-7]{20}\n$/);
  release('slow');
  await untilState(bench, 'slow', 'completed');
}, 60_000);

test('--wait, wait and --follow end with the outcome: 0 completed, 1 failed or stopped, 75 parked (ARCHITECTURE §7)', async () => {
  const sling = (name: string, steps: unknown[], ...more: string[]) => {
    const task = `rehearsal-script: ${bench.script(name, { turns: [steps] })}`;
    return bench.run(['sling', '--harness', 'rehearsal', '--name', name, ...more, task]);
  };
  const good = await sling('good', [{ say: 'all is well' }], '--wait');
  expect([good.code, good.stdout]).toEqual([0, 'all is well\n']);
  expect(good.stderr).toContain('good: completed');
  expect((await sling('bad', [{ say: 'oh' }, { exit: 9 }], '--wait')).code).toBe(1);
  expect(
    (await sling('late', [{ say: 'oh' }, { limit: { resets_in_ms: 60_000 } }], '--wait', '--profile', 'broke')).code,
  ).toBe(75);
  const tale = `${'found it '.repeat(60)}in the end`;
  const shown = await sling('shown', [{ tool: { tool: 'Grep', input: { q: 1 } } }, { say: tale }], '--follow');
  expect([shown.code, shown.stdout]).toEqual([0, `${tale}\n`]);
  expect(shown.stderr).toContain('Grep');
  expect(shown.stderr).toContain(tale);
  expect((await bench.run(['wait', 'good', 'bad'])).code).toBe(1);
  expect((await bench.run(['wait', 'good', 'late', '--json'])).code).toBe(75);
  await bench.run(['stop', 'late']);
  expect((await bench.run(['wait', 'late'])).code).toBe(1);
}, 60_000);

test('wait --any is back with the first one that is over', async () => {
  await rehearse(bench, 'long', held('long'));
  await rehearse(bench, 'short', DONE);
  const { sessions } = await bench.json<{ sessions: SessionRow[] }>(['wait', '--any', 'long', 'short']);
  expect(sessions.map((row) => row.name)).toEqual(['short']);
  release('long');
  await untilState(bench, 'long', 'completed');
}, 60_000);

test('a session that nobody named gets role and task as its name, and -2, -3 beside living ones (O-74)', async () => {
  const script = bench.script('same', held('same'));
  const names = [];
  for (let i = 0; i < 3; i += 1) {
    const task = `Fix the flaky test of the parser!\nrehearsal-script: ${script}`;
    const { session } = await bench.json<{ session: SessionRow }>(['sling', '--harness', 'rehearsal', task]);
    names.push(session.name);
  }
  expect(names).toEqual([1, 2, 3].map((n) => `solo-fix-the-flaky-test-of-the${n === 1 ? '' : `-${n}`}`));
  release('same');
  for (const name of names) await untilState(bench, name, 'completed');
}, 60_000);

test('a session is found by id, by a unique beginning with or without its prefix, by name, and as the latest (E-020)', async () => {
  await rehearse(bench, 'wanted', DONE);
  const { id } = await untilState(bench, 'wanted', 'completed');
  for (const word of [id, id.slice(0, 14), id.slice(6, 14), 'wanted', 'latest'])
    expect((await bench.session(word)).id).toBe(id);
  const other = droverBench({ env: { DROVER_HOME: bench.drover_home } });
  expect((await other.run(['show', 'latest'], { env: { DROVER_HOME: bench.drover_home } })).code).toBe(4);
}, 60_000);

test('worktrees: from the right base, on branches of their own, two at a time, work kept apart (E-015, E-175)', async () => {
  bench.git('-c', 'user.name=t', '-c', 'user.email=t@t', 'commit', '-q', '--allow-empty', '-m', 'second');
  const [head, base] = [bench.git('rev-parse', 'HEAD'), bench.git('rev-parse', 'HEAD~1')];
  const work = (name: string) => ({
    // Not the same file: that would be an incident.
    turns: [[{ write: { path: `${name}.txt`, content: name } }, { commit: name }, { wait_for_file: hold('trees') }]],
  });
  await rehearse(bench, 'tree-a', work('tree-a'), ['--worktree', '--base', 'HEAD~1']);
  await rehearse(bench, 'tree-b', work('tree-b'), ['--worktree']);
  const rows = [];
  for (const name of ['tree-a', 'tree-b']) rows.push(await untilSession(bench, name, (row) => row.tool_calls >= 2));
  release('trees');
  const [a, b] = rows;
  expect([a?.base_commit, b?.base_commit]).toEqual([base, head]);
  expect(new Set(rows.map((row) => row.branch)).size).toBe(2);
  for (const row of rows) {
    await untilState(bench, row.name, 'completed');
    expect(row.working_dir).toBe(row.worktree_path ?? '');
    expect(readFileSync(join(row.working_dir, `${row.name}.txt`), 'utf8')).toBe(row.name);
    for (const other of rows.filter((each) => each !== row))
      expect(existsSync(join(row.working_dir, `${other.name}.txt`))).toBe(false);
    expect(bench.git('log', '-1', '--format=%s', row.branch ?? '')).toBe(row.name);
    expect(bench.git('rev-parse', `${row.branch}~1`)).toBe(row.base_commit ?? '');
  }
  for (const { name } of rows) expect(existsSync(join(bench.repo, `${name}.txt`))).toBe(false);
}, 60_000);

test('the profile is what it was when the session was slung, whatever the config says later (E-023)', async () => {
  const blocker = droverBench({ config: { ...CONFIG, max_live_sessions: 1 } });
  await rehearse(blocker, 'first', { turns: [[{ say: 'hi' }, { wait_for_file: join(blocker.home, 'go') }]] });
  await untilTalking(blocker, 'first');
  await blocker.run(['sling', '--harness', 'teller', '--profile', 'fast', '--name', 'second', 'x']);
  writeConfig(blocker.home, { ...CONFIG, profiles: { fast: { model: 'big' } } });
  writeFileSync(join(blocker.home, 'go'), '');
  await untilState(blocker, 'second', 'completed');
  expect(JSON.parse(sessionOf(blocker, 'second').profile_json ?? '{}').model).toBe('small');
  expect(promptOf(blocker, 'second')).toContain('Be brief.');
  const env = environmentOf(blocker, 'second', 1);
  expect(env.CLAUDE_MODEL).toBe('small');
}, 60_000);

function environmentOf(of: Bench, name: string, turn: number): Record<string, string> {
  const path = join(of.drover_home, `env-${sessionOf(of, name).id}-${turn}`);
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

const OURS = [
  ...[
    'HOME',
    'LANG',
    'LC_ALL',
    'PATH',
    'TERM',
    'PWD',
    'OWN',
    'LET_THROUGH',
    'GIT_TERMINAL_PROMPT',
    '_',
    'OLDPWD',
    'SHLVL',
  ],
  ...['DROVER_SESSION_ID', 'DROVER_HARNESS', 'DROVER_WORKING_DIR', 'DROVER_PROJECT_DIR', 'DROVER_AGENT_NAME'],
  ...['DROVER_TASK_ID', 'DROVER_PLUGIN_ROOT', 'DROVER_HOME', 'DROVER_BIN', 'DROVER_TOKEN', 'DROVER_TURN'],
  ...['DROVER_TURN_MARKER', 'CLAUDE_SESSION_ID', 'CLAUDE_PROJECT_DIR', 'CLAUDE_CODE_ENTRYPOINT'],
  ...['CLAUDE_PACKAGE_MANAGER', 'CLAUDE_CODE_PACKAGE_MANAGER', 'CLAUDE_PLUGIN_ROOT'],
];

test('a harness sees the allowed variables and who it works for, and no secret of the caller (E-042…E-049)', async () => {
  await bench.run(['sling', '--harness', 'teller', '--name', 'teller', '--role', 'monitor', 'x']);
  const { id } = await untilState(bench, 'teller', 'idle');
  const env = environmentOf(bench, 'teller', 1);
  expect(Object.keys(env).filter((name) => !OURS.includes(name))).toEqual([]);
  expect(JSON.stringify(env)).not.toContain('canary');
  expect(env).toMatchObject({
    ...{ DROVER_SESSION_ID: id, DROVER_AGENT_NAME: 'teller', DROVER_HARNESS: 'teller', DROVER_TURN: '1' },
    ...{ DROVER_WORKING_DIR: bench.repo, DROVER_HOME: bench.drover_home, CLAUDE_SESSION_ID: id, HOME: bench.home },
    ...{ OWN: 'of the runner', LET_THROUGH: 'yes', CLAUDE_PACKAGE_MANAGER: 'npm' },
  });
  const command = JSON.parse(readFileSync(join(turnDir(bench, 'teller'), 'command.json'), 'utf8'));
  expect(command.env).toContain('DROVER_TOKEN');
  expect(JSON.stringify(command)).not.toContain(env.DROVER_TOKEN);
}, 60_000);

test('the token is another one every turn, and dead after its turn (ARCHITECTURE §6)', async () => {
  await bench.run(['nudge', 'teller']);
  const row = await untilSession(bench, 'teller', (each) => each.turn === 2 && each.state === 'idle');
  const [first, second] = [1, 2].map((turn) => environmentOf(bench, 'teller', turn).DROVER_TOKEN ?? '');
  expect(first).toMatch(/^[a-z2-7]{52}$/);
  expect(second).not.toBe(first);
  for (const token of [first ?? '', second ?? '']) {
    expect(await withStore(bench, (store) => sessionByToken(store, hashToken(token)))).toBeNull();
    const ran = await bench.run(['mail', 'send', '--to', 'operator', '--subject', 'late'], {
      env: { DROVER_TOKEN: token },
    });
    expect([ran.code, ran.stderr]).toEqual([3, expect.stringContaining('token_invalid')]);
  }
  expect(row.token_hash).toBeNull();
  const live = held('token');
  await rehearse(bench, 'alive', live);
  await until('its token is known', () => sessionOf(bench, 'alive').token_hash);
  release('token');
  await untilState(bench, 'alive', 'completed');
  expect(sessionOf(bench, 'alive').token_hash).toBeNull();
}, 60_000);
