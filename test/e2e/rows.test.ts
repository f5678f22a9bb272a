import { beforeAll, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { SessionRow } from '../../src/model/session.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { sessionOf, supervisorPid, turnDir, turnsOf, untilState, untilTalking } from '../support/peek.ts';
import { tempDir } from '../support/temp.ts';

const FAKE = resolve(import.meta.dir, '../fixtures/bin/fake-claude');

const CONFIG = {
  turn: { max_attempts: 1, sigkill_delay_ms: 300 },
  profiles: { fast: { model: 'small', append_system_prompt: 'Be brief.' }, blunt: { model: 'tiny' } },
};

let bench: Bench;

/** A bench in which `claude` is the fake; FAKE_* reach it because the test says so in its PATH wrapper. */
function fakeBench(config: object, fake: Record<string, string> = {}): Bench {
  const bin = tempDir('fake-bin');
  const exports = Object.entries(fake).map(([name, value]) => `export ${name}='${value}'\n`);
  writeFileSync(join(bin, 'claude'), `#!/bin/sh\n${exports.join('')}exec '${FAKE}' "$@"\n`);
  chmodSync(join(bin, 'claude'), 0o755);
  return droverBench({ config, env: { PATH: `${bin}:${process.env.PATH}` } });
}

beforeAll(() => {
  bench = fakeBench(CONFIG);
});

const seen = (of: Bench, name: string, file: string, turn = 1) =>
  readFileSync(join(of.drover_home, `seen-${sessionOf(of, name).id}-${turn}`, file), 'utf8');

const sling = (of: Bench, name: string, task: string, ...more: string[]) =>
  of.json<{ session: SessionRow }>(['sling', '--harness', 'claude', '--name', name, ...more, task]);

test('a start: the pid is stored, it works in the repository, and knows who it is and pnpm from the lock file (E-010, E-036)', async () => {
  const go = join(tempDir('go'), 'go');
  const held = fakeBench(CONFIG, { FAKE_GO: go });
  writeFileSync(join(held.repo, 'pnpm-lock.yaml'), '');
  await sling(held, 'first', 'Repair the orchard wall.');
  const turn = await untilTalking(held, 'first');
  const { id, state } = await untilState(held, 'first', 'working');
  expect([state, turn.pid]).toEqual(['working', expect.any(Number)]);
  expect(readFileSync(`/proc/${turn.pid}/environ`, 'utf8')).toContain(`DROVER_SESSION_ID=${id}\0`);
  expect(seen(held, 'first', 'cwd').trim()).toBe(held.repo);
  expect(seen(held, 'first', 'args').split('\n')).toContain('--print');
  // Standard input carried the turn and ended: the fake went on only then.
  expect(seen(held, 'first', 'stdin')).toContain('Repair the orchard wall.');
  const env = Object.fromEntries(
    seen(held, 'first', 'env')
      .split('\n')
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
  expect(env).toMatchObject({
    ...{ DROVER_SESSION_ID: id, CLAUDE_SESSION_ID: id, CLAUDE_PROJECT_DIR: held.repo, CLAUDE_CODE_ENTRYPOINT: 'cli' },
    ...{ CLAUDE_PACKAGE_MANAGER: 'pnpm', CLAUDE_CODE_PACKAGE_MANAGER: 'pnpm', DROVER_HARNESS: 'claude' },
  });
  writeFileSync(go, '');
  await untilState(held, 'first', 'completed');
}, 60_000);

test('no command line shows the task: not that of the supervisor, the launcher or the harness (E-050)', async () => {
  const go = join(tempDir('go'), 'go');
  const held = fakeBench(CONFIG, { FAKE_GO: go });
  await sling(held, 'quiet', 'The word is pomegranate.');
  const { pid } = await untilTalking(held, 'quiet');
  for (const each of [pid ?? 0, supervisorPid(held)]) {
    const line = readFileSync(`/proc/${each}/cmdline`, 'utf8');
    expect(line.length).toBeGreaterThan(0);
    expect(line).not.toContain('pomegranate');
  }
  expect(seen(held, 'quiet', 'args')).not.toContain('pomegranate');
  expect(seen(held, 'quiet', 'stdin')).toContain('pomegranate');
  writeFileSync(go, '');
  await untilState(held, 'quiet', 'completed');
}, 60_000);

test('a turn end to end: profile and paths, both outputs kept, a sign of life, the state its end asks for, the same conversation next (E-018, O-50, O-57)', async () => {
  await sling(bench, 'rounds', 'Walk the fence.', '--role', 'monitor', '--profile', 'fast');
  const row = await untilState(bench, 'rounds', 'idle');
  const [turn] = turnsOf(bench, 'rounds');
  expect(turn).toMatchObject({ outcome: 'completed', exit_code: 0, result_ok: 1, tree_empty: 1, input_tokens: 7 });
  expect(row).toMatchObject({ native_session_id: 'native-fake', cost_micros: 4_515, result_text: 'All done.' });
  expect(row.last_activity_at).toBeGreaterThanOrEqual(turn?.started_at ?? Number.NaN);
  const args = (n: number) => seen(bench, 'rounds', 'args', n).split('\n');
  expect(args(1)[args(1).indexOf('--model') + 1]).toBe('small');
  expect(args(1)).toContain('Be brief.');
  expect(args(1)).not.toContain('--resume');
  const dir = turnDir(bench, 'rounds');
  expect(readFileSync(join(dir, 'stdout.jsonl'), 'utf8').trim().split('\n')).toHaveLength(3);
  expect(readFileSync(join(dir, 'stderr.log'), 'utf8')).toBe('a word on the side\n');
  expect((await bench.run(['nudge', 'rounds'])).code).toBe(0);
  await untilTalking(bench, 'rounds', 2);
  await untilState(bench, 'rounds', 'idle');
  expect(args(2)[args(2).indexOf('--resume') + 1]).toBe('native-fake');
}, 60_000);

test('an exit other than 0 fails the session (E-018)', async () => {
  const broken = fakeBench(CONFIG, { FAKE_EXIT: '4' });
  await sling(broken, 'broken', 'x');
  expect(await untilState(broken, 'broken', 'failed')).toMatchObject({ end_reason: 'exit 4' });
}, 60_000);

test('status: between turns a headless session is well, with its agents, mail and runs to be seen (O-79)', async () => {
  await sling(bench, 'resting', 'Look around.', '--role', 'monitor', '--run', 'nightly');
  await untilState(bench, 'resting', 'idle');
  const { sessions } = await bench.json<{ sessions: (SessionRow & { verdict: string })[] }>(['status']);
  expect(sessions.find(({ name }) => name === 'resting')).toMatchObject({ state: 'idle', verdict: 'ok', turn: 1 });
  expect(await bench.json(['show', 'resting'])).toMatchObject({ mail: [expect.objectContaining({ type: 'task' })] });
  expect(await bench.json(['run', 'list'])).toMatchObject({
    runs: [{ name: 'nightly', agent_count: 1, live_count: 1 }],
  });
}, 60_000);

test('sling: by itself, with a group, with a profile, and from a parent whose profile it inherits (E-007)', async () => {
  const { session: plain } = await sling(bench, 'plain', 'Paint the gate.');
  expect(plain).toMatchObject({
    ...{ profile_name: null, project: basename(bench.repo), task_group: 'Paint the gate.', harness: 'claude' },
    ...{ repo_root: bench.repo, working_dir: bench.repo, parent_id: null },
  });
  const { session: grouped } = await sling(bench, 'grouped', 'x', '--group', 'garden');
  expect(grouped).toMatchObject({ profile_name: null, task_group: 'garden' });
  const { session: chief } = await sling(
    bench,
    'chief',
    'x',
    '--role',
    'monitor',
    '--profile',
    'fast',
    '--group',
    'farm',
  );
  expect(chief).toMatchObject({ profile_name: 'fast', task_group: 'farm' });
  const { session: heir } = await sling(bench, 'heir', 'x', '--parent', 'chief');
  expect(heir).toMatchObject({ profile_name: 'fast', task_group: 'farm', parent_id: chief.id, depth: 1 });
  expect(JSON.parse(heir.profile_json ?? '{}')).toMatchObject({ model: 'small' });
  const { session: own } = await sling(bench, 'own', 'x', '--parent', 'chief', '--profile', 'blunt');
  expect(own.profile_name).toBe('blunt');
}, 60_000);

test('what cannot be started fails its session with the reason, and the worktree goes by clean, not by itself (E-011, E-054)', async () => {
  const go = join(tempDir('go'), 'go');
  const narrow = fakeBench({ ...CONFIG, max_live_sessions: 1 }, { FAKE_GO: go });
  const vanishing = join(narrow.env.PATH?.split(':')[0] ?? '', 'vanishing-tool');
  symlinkSync('/bin/true', vanishing);
  const runners = { brief: { program: 'vanishing-tool', event_format: 'ndjson' } };
  writeFileSync(
    join(narrow.home, '.config/drover/config.yaml'),
    JSON.stringify({ ...CONFIG, max_live_sessions: 1, harness_runners: runners }),
  );
  await sling(narrow, 'blocker', 'x');
  await untilTalking(narrow, 'blocker');
  await narrow.json(['sling', '--harness', 'brief', '--worktree', '--name', 'no-program', 'x']);
  await sling(narrow, 'no-directory', 'x');
  const turns = dirname(join(narrow.drover_home, 'sessions', sessionOf(narrow, 'no-directory').id, 'turns/1'));
  mkdirSync(dirname(turns), { recursive: true });
  writeFileSync(turns, 'in the way');
  rmSync(vanishing);
  writeFileSync(go, '');
  const row = await untilState(narrow, 'no-program', 'failed');
  expect(row.end_reason).toContain('spawn_error: ');
  expect(row.end_reason).toContain('vanishing-tool');
  expect(turnsOf(narrow, 'no-program')).toMatchObject([{ pid: null, exit_code: null }]);
  const blocked = await untilState(narrow, 'no-directory', 'failed');
  expect(blocked.end_reason).toContain('spawn_error: ');
  expect(blocked.end_reason).toContain(turns);
  // Failed is resumable, so the worktree stays until somebody says otherwise.
  expect(row.worktree_path).not.toBeNull();
  expect((await narrow.run(['clean', 'no-program'])).code).toBe(0);
  expect(sessionOf(narrow, 'no-program').worktree_path).toBeNull();
}, 60_000);
