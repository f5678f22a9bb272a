import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { liveness } from '../../src/sys/identity.ts';
import { type Bench, DROVER, droverBench } from '../support/drover.ts';
import { freeze } from '../support/freeze.ts';
import { leaksOf } from '../support/leaks.ts';
import {
  peek,
  rehearse,
  sessionOf,
  supervisorLog,
  supervisorPid,
  turnsOf,
  untilSession,
  untilState,
  untilTalking,
} from '../support/peek.ts';
import { beforeRemoval } from '../support/temp.ts';
import { until } from '../support/until.ts';

const FAST = { turn: { max_attempts: 2, backoff_ms: 50, sigkill_delay_ms: 300 } };

function foreground(bench: Bench) {
  const child = Bun.spawn([DROVER, 'up', '--foreground'], { cwd: bench.repo, env: bench.env, stderr: 'pipe' });
  beforeRemoval(() => {
    child.kill('SIGKILL');
  });
  return child;
}

/** The processor time of a process in ms. */
function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const go = (bench: Bench) => join(bench.home, 'go');
const held = (bench: Bench) => ({ turns: [[{ say: 'at work' }, { wait_for_file: go(bench) }]] });

test('two supervisors at once are one: the other ends with 3 and says who runs (I20)', async () => {
  const bench = droverBench();
  const both = [foreground(bench), foreground(bench)];
  const first = await Promise.race(both.map(async (child, i) => ({ i, code: await child.exited })));
  expect(first.code).toBe(3);
  const winner = both[1 - first.i];
  expect(await both[first.i]?.stderr.text()).toContain(`pid ${winner?.pid}`);
  expect(supervisorPid(bench)).toBe(winner?.pid ?? 0);
  await until('it answers', () => existsSync(join(bench.drover_home, 'run/supervisor.sock')));
  winner?.kill('SIGTERM');
  expect(await winner?.exited).toBe(0);
}, 60_000);

test('SIGTERM and down leave turns running, and the next supervisor sees them through (C-10)', async () => {
  const bench = droverBench({ config: FAST });
  await rehearse(bench, 'on', held(bench));
  const { pid, marker } = await untilTalking(bench, 'on');
  process.kill(supervisorPid(bench), 'SIGTERM');
  await until('the lock is free', () => supervisorPid(bench) === 0);
  expect(leaksOf(marker).length).toBeGreaterThan(0);
  expect((await bench.run(['up'])).code).toBe(0);
  const down = await bench.json<{ running: number }>(['down']);
  expect(down.running).toBe(1);
  writeFileSync(go(bench), '');
  await until('the harness ends unwatched', () => leaksOf(marker).length === 0);
  expect(sessionOf(bench, 'on').state).toBe('working');
  expect((await bench.run(['up'])).code).toBe(0);
  const row = await untilState(bench, 'on', 'completed');
  expect(turnsOf(bench, 'on').map((turn) => [turn.pid, turn.exit_code, turn.outcome])).toEqual([[pid, 0, 'completed']]);
  expect(row.turn).toBe(1);
}, 60_000);

test('down reaches a supervisor that is only just starting', async () => {
  const bench = droverBench();
  const socket = join(bench.drover_home, 'run/supervisor.sock');
  for (let attempt = 1; ; attempt += 1) {
    const child = foreground(bench);
    await until('it has the lock', () => supervisorPid(bench) === child.pid);
    child.kill('SIGSTOP');
    // It is frozen between lock and doorbell, unless it was quicker than we are.
    const isCaught = !existsSync(socket);
    const down = bench.run(['down']);
    if (isCaught) await Bun.sleep(1_500);
    child.kill('SIGCONT');
    expect([(await down).code, await child.exited]).toEqual([0, 0]);
    if (isCaught) return;
    expect(attempt).toBeLessThan(10);
  }
}, 60_000);

test('kill -9 of the launcher: the turn is lost, its tree is gone, the session is a zombie (MODEL §2.7)', async () => {
  const bench = droverBench({ config: FAST });
  await rehearse(bench, 'shimless', { turns: [[{ say: 'hi' }, { daemon: 60_000 }, 'hang']] });
  const turn = await untilTalking(bench, 'shimless');
  const { pid } = await until('its launcher is known', () => turnsOf(bench, 'shimless').find((row) => row.pid));
  process.kill(pid ?? 0, 'SIGKILL');
  const row = await untilState(bench, 'shimless', 'zombie');
  expect(row.end_reason).toBe('no_exit_status');
  expect(turnsOf(bench, 'shimless').map(({ outcome, tree_empty }) => [outcome, tree_empty])).toEqual([['lost', 1]]);
  expect(leaksOf(turn.marker)).toEqual([]);
  expect((await bench.json<{ stopped: unknown[] }>(['stop', 'shimless'])).stopped).toEqual([
    expect.objectContaining({ prev: 'zombie', state: 'completed', was_zombie: true, process_gone: true }),
  ]);
}, 60_000);

test('kill -9 of the harness: crashed with its signal, and tried again with the same conversation (fault 4)', async () => {
  const bench = droverBench({ config: FAST });
  await rehearse(bench, 'shot', { turns: [[{ say: 'hi' }, 'hang'], [{ say: 'again' }]] });
  const { marker } = await untilTalking(bench, 'shot');
  const harness = leaksOf(marker).find(({ command }) => command.includes('rehearsal/main'));
  process.kill(harness?.pid ?? 0, 'SIGKILL');
  await untilState(bench, 'shot', 'completed');
  const turns = turnsOf(bench, 'shot');
  expect(turns.map((turn) => [turn.outcome, turn.exit_signal])).toEqual([
    ['crashed', 'SIGKILL'],
    ['completed', null],
  ]);
  expect(turns[1]?.native_session_before).toBe(turns[0]?.native_session_after ?? 'none');
  expect(turns[1]?.native_session_after).toBe(turns[0]?.native_session_after ?? 'none');
}, 60_000);

test('a replaced lock file ends the supervisor that held the old one, and the turns go on (I20)', async () => {
  const bench = droverBench({ config: FAST });
  await rehearse(bench, 'kept', held(bench));
  await untilTalking(bench, 'kept');
  const id = { pid: supervisorPid(bench) };
  const lock = join(bench.drover_home, 'run/supervisor.lock');
  renameSync(lock, `${lock}.old`);
  writeFileSync(lock, '');
  await until('the old one is gone', () => liveness(id) === 'dead');
  expect(supervisorLog(bench)).toContain('the pid lock or the database is not ours any more');
  expect((await bench.run(['up'])).code).toBe(0);
  writeFileSync(go(bench), '');
  await untilState(bench, 'kept', 'completed');
}, 60_000);

test('a database that was moved aside and restored gets a supervisor of its own (fault 24)', async () => {
  const bench = droverBench({ config: FAST });
  await rehearse(bench, 'before', { turns: [[{ say: 'hi' }]] });
  await untilState(bench, 'before', 'completed');
  const id = { pid: supervisorPid(bench) };
  const path = join(bench.drover_home, 'drover.db');
  const db = new Database(path);
  db.run(`VACUUM INTO '${path}.backup'`);
  db.close();
  for (const suffix of ['', '-wal', '-shm'])
    if (existsSync(path + suffix)) renameSync(path + suffix, `${path}.old${suffix}`);
  renameSync(`${path}.backup`, path);
  await until('the old one is gone', () => liveness(id) === 'dead');
  await rehearse(bench, 'after', { turns: [[{ say: 'hi' }]] });
  await untilState(bench, 'after', 'completed');
  expect(sessionOf(bench, 'before').state).toBe('completed');
}, 60_000);

test('without its socket the supervisor still sees mail within a second, and hangs a new one', async () => {
  const bench = droverBench({ config: FAST });
  await rehearse(bench, 'listener', { turns: [[{ say: 'hi' }]], on_mail: [{ say: 'read' }] }, ['--role', 'monitor']);
  await untilState(bench, 'listener', 'idle');
  const pid = supervisorPid(bench);
  const socket = join(bench.drover_home, 'run/supervisor.sock');
  rmSync(socket);
  const sent = await bench.run(['mail', 'send', '--to', 'listener', '--subject', 'news']);
  expect([sent.code, sent.stderr]).toEqual([0, '']);
  await untilSession(bench, 'listener', (row) => row.turn === 2 && row.state === 'idle');
  await until('there is a doorbell', () => existsSync(socket));
  const [mail] = peek<{ created_at: number }>(bench, "SELECT created_at FROM mail WHERE subject = 'news'");
  const [, turn] = turnsOf(bench, 'listener');
  expect((turn?.started_at ?? 0) - (mail?.created_at ?? 0)).toBeLessThan(6_000);
  expect(supervisorPid(bench)).toBe(pid);
}, 60_000);

test('a supervisor that was stopped for longer than a timer judges nobody by it afterwards (fault 13)', async () => {
  const timers = { first_event_ms: 6_000, between_events_ms: 6_000, tool_ms: 6_000 };
  const bench = droverBench({ config: { turn: { ...FAST.turn, ...timers } } });
  await rehearse(bench, 'patient', held(bench));
  await untilTalking(bench, 'patient');
  const pid = supervisorPid(bench);
  const goOn = await freeze(bench, pid);
  await Bun.sleep(7_000);
  goOn();
  await Bun.sleep(1_500);
  expect(sessionOf(bench, 'patient').state).toBe('working');
  writeFileSync(go(bench), '');
  await untilState(bench, 'patient', 'completed');
}, 60_000);

test('full slots, a queue and a session that waits to be tried again cost nothing (ARCHITECTURE §1.7)', async () => {
  const bench = droverBench({ config: { turn: { ...FAST.turn, backoff_ms: 8_000 }, max_live_sessions: 2 } });
  const crash = { turns: [[{ say: 'hi' }, { exit: 3 }], [{ say: 'better' }]] };
  await rehearse(bench, 'slot', held(bench));
  await untilTalking(bench, 'slot');
  await rehearse(bench, 'again', crash);
  const { next_turn_at } = await untilState(bench, 'again', 'idle');
  await rehearse(bench, 'other', held(bench));
  await untilTalking(bench, 'other');
  const queued = Array.from({ length: 20 }, (_, i) => `queued-${i}`);
  const script = bench.script('queued', { turns: [[{ say: 'done' }]] });
  for (const name of queued) {
    const args = ['sling', '--harness', 'rehearsal', '--worktree', '--name', name, `rehearsal-script: ${script}`];
    expect((await bench.run(args)).code).toBe(0);
  }
  await until('the second try is due', () => Date.now() > (next_turn_at ?? 0), 20_000);
  const again = sessionOf(bench, 'again');
  expect([again.state, again.turn]).toEqual(['idle', 1]);
  const pid = supervisorPid(bench);
  const before = cpuOf(pid);
  await Bun.sleep(3_000);
  const used = cpuOf(pid) - before;
  console.log(`supervisor with full slots and ${queued.length} queued: ${used} ms of processor time in 3 s`);
  expect(used).toBeLessThan(450);
  expect(peek(bench, 'SELECT 1 FROM sessions WHERE worktree_path IS NOT NULL')).toEqual([]);
  writeFileSync(go(bench), '');
  for (const name of ['again', 'queued-0']) await untilState(bench, name, 'completed', 30_000);
}, 120_000);
