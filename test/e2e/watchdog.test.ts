import { expect, test } from 'bun:test';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VerdictRow } from '../../src/model/verdict.ts';
import { liveness } from '../../src/sys/identity.ts';
import type { TickReport } from '../../src/watchdog/watcher.ts';
import { type Bench, DROVER, droverBench, writeConfig } from '../support/drover.ts';
import { freeze } from '../support/freeze.ts';
import { assertNoLeaks, leaksOf } from '../support/leaks.ts';
import {
  peek,
  promptOf,
  rehearse,
  sessionOf,
  supervisorPid,
  turnsOf,
  untilSession,
  untilState,
  untilTalking,
} from '../support/peek.ts';
import { beforeRemoval } from '../support/temp.ts';
import { until } from '../support/until.ts';

/** Every timer of a turn is out of reach: what ends a session here is the watchdog. */
const FAR = { first_event_ms: 60_000, between_events_ms: 60_000, tool_ms: 60_000, after_result_ms: 60_000 };
/** As long as a test may take, and longer. */
const NEVER = 600_000;

const settings = (watchdog: Record<string, unknown>) => ({
  turn: { max_attempts: 1, sigkill_delay_ms: 300, ...FAR },
  watchdog: { interval_ms: 150, stale_ms: NEVER, zombie_ms: NEVER, ...watchdog },
});
const watched = (watchdog: Record<string, unknown>): Bench => droverBench({ config: settings(watchdog) });

/** Speaks, and once more when the test says so; then does the rest. */
const untilTold = (bench: Bench, ...rest: unknown[]) => ({
  turns: [[{ say: 'hm' }, { wait_for_file: join(bench.home, 'speak') }, { say: 'my last word' }, ...rest]],
});

/** From its last word on the watchdog is impatient: how long a session takes to come up is for the machine to say. */
async function impatientAfter(bench: Bench, name: string, watchdog: Record<string, unknown>): Promise<void> {
  await untilTalking(bench, name);
  await untilWatched(bench);
  writeFileSync(join(bench.home, 'speak'), '');
  await until('its last word', () => turnsOf(bench, name)[0]?.result_text === 'my last word');
  writeConfig(bench.home, settings(watchdog));
}

const verdictsOf = (bench: Bench, name: string) =>
  peek<VerdictRow>(bench, 'SELECT * FROM verdicts WHERE session_id = :id ORDER BY seq', {
    id: sessionOf(bench, name).id,
  });
const actsOf = (bench: Bench, name: string) =>
  verdictsOf(bench, name).flatMap(({ act }) => (act === 'none' ? [] : [act]));

/** Whom the watchdog's lock file names; 0 when nobody. */
function watchdogPid(bench: Bench): number {
  const path = join(bench.drover_home, 'run/watchdog.lock');
  return existsSync(path) ? Number(readFileSync(path, 'utf8').split('\n')[0]) || 0 : 0;
}

const untilWatched = (bench: Bench) => until('a watchdog runs', () => watchdogPid(bench), 20_000);

function foreground(bench: Bench, args: string[] = []) {
  const child = Bun.spawn([DROVER, 'watch', ...args], { cwd: bench.repo, env: bench.env, stderr: 'pipe' });
  beforeRemoval(() => {
    child.kill('SIGKILL');
  });
  return child;
}

test('a stuck session is noted, nudged, and ended when that does not help; its tree is gone and its parent told once (O-32, O-69, O-71)', async () => {
  const bench = watched({ nudge_interval_ms: 400 });
  await rehearse(bench, 'chief', { turns: [[{ say: 'go' }, { tool: { tool: 'Wait', ms: 60_000 } }]] });
  await until('the lead waits', () => turnsOf(bench, 'chief')[0]?.tools_open);
  await rehearse(bench, 'mute', untilTold(bench, { daemon: 60_000 }, 'hang'), ['--parent', 'chief']);
  await impatientAfter(bench, 'mute', { stale_ms: 600, nudge_interval_ms: 400 });
  const row = await untilState(bench, 'mute', 'zombie', 40_000);
  expect([row.end_reason, actsOf(bench, 'mute')]).toEqual(['stuck', ['note', 'nudge', 'terminate']]);
  await until('its last turn is settled', () => turnsOf(bench, 'mute').every(({ ended_at }) => ended_at !== null));
  expect(turnsOf(bench, 'mute').map(({ outcome, end_cause, tree_empty }) => [outcome, end_cause, tree_empty])).toEqual([
    ['cancelled', 'interrupt', 1],
    ['stalled', 'stuck', 1],
  ]);
  for (const turn of turnsOf(bench, 'mute')) await assertNoLeaks(turn.marker);
  expect(promptOf(bench, 'mute', 2)).toContain('The watchdog noticed: silent for');
  const died = "SELECT payload_json FROM mail WHERE type = 'worker_died' AND from_id = :id";
  const mails = peek<{ payload_json: string }>(bench, died, { id: row.id });
  expect(mails.map(({ payload_json }) => JSON.parse(payload_json).terminatedBy)).toEqual(['tier0']);
  // The lead is silent as well, but a tool of his runs.
  expect([sessionOf(bench, 'chief').state, actsOf(bench, 'chief')]).toEqual(['working', []]);
}, 60_000);

test('beyond all patience: exactly its process is killed, it is reported, a zombie and gone, and its parent is told (E-080)', async () => {
  const bench = watched({ nudge_interval_ms: NEVER });
  await rehearse(bench, 'chief', { turns: [[{ say: 'go' }, { tool: { tool: 'Wait', ms: 60_000 } }]] });
  const { pid: chief } = await untilTalking(bench, 'chief');
  await until('the lead waits', () => turnsOf(bench, 'chief')[0]?.tools_open);
  await rehearse(bench, 'mute', untilTold(bench, 'hang'), ['--parent', 'chief']);
  const { pid } = await untilTalking(bench, 'mute');
  expect(liveness({ pid: pid ?? 0 })).toBe('alive');
  await impatientAfter(bench, 'mute', { stale_ms: 600, zombie_ms: 1_500, nudge_interval_ms: NEVER });
  const row = await untilState(bench, 'mute', 'zombie', 40_000);
  await until('its process is gone', () => liveness({ pid: pid ?? 0 }) === 'dead');
  expect([liveness({ pid: chief ?? 0 }), sessionOf(bench, 'chief').state]).toEqual(['alive', 'working']);
  await until('its turn is settled', () => turnsOf(bench, 'mute').every(({ ended_at }) => ended_at !== null));
  const findings = peek<{ report_json: string }>(bench, 'SELECT report_json FROM ticks ORDER BY seq').flatMap(
    ({ report_json }) => (JSON.parse(report_json) as TickReport).findings,
  );
  const ended = findings.filter(({ act, landed }) => act === 'terminate' && landed);
  expect(ended.map(({ name, health, turn }) => [name, health, turn])).toEqual([['mute', 'stuck', 1]]);
  const died = "SELECT to_name FROM mail WHERE type = 'worker_died' AND from_id = :id";
  expect(peek(bench, died, { id: row.id })).toEqual([{ to_name: 'chief' }]);
}, 60_000);

test('what explain shows is enough to judge again; other thresholds say other things (replay)', async () => {
  const bench = watched({});
  await rehearse(bench, 'mute', untilTold(bench, 'hang'));
  await impatientAfter(bench, 'mute', { stale_ms: 600, zombie_ms: 4_000 });
  await untilState(bench, 'mute', 'zombie', 40_000);
  const text = (await bench.run(['watch', 'explain', 'mute'])).stdout;
  for (const word of [
    'stuck (silent) by watchdog',
    'act    terminate',
    'facts  ',
    'working → stalled',
    'last_event_at -',
  ])
    expect(text).toContain(word);
  const file = join(bench.home, 'facts.json');
  writeFileSync(file, (await bench.run(['watch', 'explain', 'mute', '--json'])).stdout);
  const same = await bench.json<{ differing: number; verdicts: unknown[] }>(['watch', 'replay', file]);
  expect([same.differing, same.verdicts.length]).toEqual([0, 2]);
  const config = join(bench.home, 'patient.yaml');
  writeFileSync(config, 'watchdog:\n  stale_ms: 1h\n  zombie_ms: 2h\n');
  const other = await bench.json<{ differing: number; verdicts: { replayed: { health: string; act: string } }[] }>([
    ...['watch', 'replay', file, '--config', config],
  ]);
  expect(other.verdicts.map(({ replayed }) => `${replayed.health} ${replayed.act}`)).toEqual(['ok none', 'ok none']);
  expect(other.differing).toBe(2);
  const lines = join(bench.home, 'facts.ndjson');
  writeFileSync(
    lines,
    verdictsOf(bench, 'mute')
      .map((row) => `${JSON.stringify(row)}\n`)
      .join(''),
  );
  expect((await bench.json<{ differing: number }>(['watch', 'replay', lines])).differing).toBe(0);
  writeFileSync(lines, '{"judged_by":"watchdog"}\n');
  expect((await bench.run(['watch', 'replay', lines])).code).toBe(2);
  expect((await bench.run(['watch', 'explain', 'nobody'])).code).toBe(4);
  const shown = await bench.json<{ verdicts: VerdictRow[] }>(['show', 'mute']);
  expect(shown.verdicts.map(({ act }) => act)).toEqual(['note', 'terminate']);
}, 60_000);

test('a loop of the same tool call is ended; a long silent tool and a session that asks are left alone (fault 49, O-70)', async () => {
  const bench = watched({ loop_repeats: 5, nudge_interval_ms: 2_000, stale_ms: 5_000 });
  const again = Array.from({ length: 400 }, () => [
    { tool: { tool: 'Bash', input: { command: 'make test' }, output: 'error: no rule' } },
    { sleep: 60 },
  ]).flat();
  const other = Array.from({ length: 60 }, (_, i) => [
    { tool: { tool: 'Bash', input: { command: 'make test' }, output: `${i} of 60 done` } },
    { sleep: 60 },
  ]).flat();
  await rehearse(bench, 'polls', { turns: [[...other, { say: 'done' }]] });
  await rehearse(bench, 'builds', { turns: [[{ tool: { tool: 'Bash', ms: 9_000 } }, { say: 'built' }]] });
  await rehearse(bench, 'asks', { turns: [[{ ask: 'Which colour?' }, { sleep: 9_000 }, { say: 'waiting' }]] });
  await rehearse(bench, 'loops', { turns: [again] });
  await until('status says so', async () => {
    const { sessions } = await bench.json<{ sessions: { name: string; verdict: string }[] }>(['status']);
    return sessions.some(({ name, verdict }) => name === 'loops' && verdict === 'looping');
  });
  const row = await untilState(bench, 'loops', 'zombie', 40_000);
  expect([row.end_reason, actsOf(bench, 'loops')]).toEqual(['looping', ['note', 'nudge', 'terminate']]);
  expect(promptOf(bench, 'loops', 2)).toContain('the same tool call with the same answer');
  for (const turn of turnsOf(bench, 'loops')) await assertNoLeaks(turn.marker, 5_000);
  for (const name of ['polls', 'builds']) {
    await untilState(bench, name, 'completed');
    expect([name, actsOf(bench, name)]).toEqual([name, []]);
  }
  await untilSession(bench, 'asks', ({ state }) => state === 'idle');
  expect(actsOf(bench, 'asks')).toEqual([]);
}, 90_000);

test('supervisor and watchdog bring one another back after kill -9, and the turns go on (C-07)', async () => {
  const bench = watched({});
  const go = join(bench.home, 'go');
  await rehearse(bench, 'on', { turns: [[{ say: 'at work' }, { wait_for_file: go }, { say: 'done' }]] });
  const { marker } = await untilTalking(bench, 'on');
  const watchdog = await untilWatched(bench);
  const supervisor = supervisorPid(bench);
  process.kill(supervisor, 'SIGKILL');
  await until('another supervisor', () => ![0, supervisor].includes(supervisorPid(bench)), 20_000);
  expect([watchdogPid(bench), leaksOf(marker).length > 0]).toEqual([watchdog, true]);
  process.kill(watchdog, 'SIGKILL');
  await until('another watchdog', () => watchdogPid(bench) !== watchdog && watchdogPid(bench), 30_000);
  writeFileSync(go, '');
  await untilState(bench, 'on', 'completed');
  expect(turnsOf(bench, 'on').map(({ outcome, turn }) => [turn, outcome])).toEqual([[1, 'completed']]);
}, 90_000);

test('a supervisor that hangs is replaced (O-27)', async () => {
  const bench = watched({ rpc_timeout_ms: 150 });
  const go = join(bench.home, 'go');
  await rehearse(bench, 'on', { turns: [[{ say: 'at work' }, { wait_for_file: go }, { say: 'done' }]] });
  await untilTalking(bench, 'on');
  await untilWatched(bench);
  const hung = supervisorPid(bench);
  await freeze(bench, hung);
  await until('another supervisor', () => ![0, hung].includes(supervisorPid(bench)), 30_000);
  writeFileSync(go, '');
  await untilState(bench, 'on', 'completed');
  const told = peek<{ subject: string }>(
    bench,
    "SELECT subject FROM mail WHERE to_name = 'operator' AND from_name = 'drover'",
  );
  expect(told).toEqual([{ subject: 'The supervisor does not answer' }]);
}, 60_000);

test('the watchdog itself ends the tree when the supervisor cannot, and the turn is settled later (O-71)', async () => {
  const bench = watched({ rpc_timeout_ms: NEVER });
  await rehearse(bench, 'mute', untilTold(bench, { daemon: 60_000 }, 'hang'));
  const { marker } = await untilTalking(bench, 'mute');
  await impatientAfter(bench, 'mute', { rpc_timeout_ms: NEVER });
  const goOn = await freeze(bench, supervisorPid(bench));
  writeConfig(bench.home, settings({ stale_ms: 600, zombie_ms: 1_200, rpc_timeout_ms: NEVER }));
  await untilState(bench, 'mute', 'zombie', 20_000);
  await assertNoLeaks(marker, 8_000);
  expect(turnsOf(bench, 'mute')[0]?.ended_at).toBeNull();
  goOn();
  const settled = await until('the turn is settled', () => turnsOf(bench, 'mute').find(({ ended_at }) => ended_at));
  expect([settled.outcome, settled.tree_empty, sessionOf(bench, 'mute').state]).toEqual(['stalled', 1, 'zombie']);
}, 60_000);

test('there is one watchdog: a second is refused, may take its place, and down ends it with the supervisor (O-73)', async () => {
  const bench = watched({ is_enabled: false });
  await rehearse(bench, 'on', { turns: [[{ say: 'hi' }]] });
  await untilState(bench, 'on', 'completed');
  const first = foreground(bench);
  await until('the first has the lock', () => watchdogPid(bench) === first.pid);
  const second = await bench.run(['watch']);
  expect([second.code, second.stderr]).toEqual([3, expect.stringContaining(`pid ${first.pid}`)]);
  expect((await bench.run(['watch', '--background'])).code).toBe(3);
  const third = foreground(bench, ['--kill-others', '--interval', '5s']);
  expect(await first.exited).toBe(0);
  await until('the third has the lock', () => watchdogPid(bench) === third.pid);
  const ps = await bench.json<{ watchdog: { pid: number; state: string } }>(['ps']);
  expect(ps.watchdog).toMatchObject({ pid: third.pid, state: 'up' });
  expect((await bench.run(['ps'])).stdout).toContain(`watchdog: pid ${third.pid}`);
  // One look beside it says that there is one.
  expect(await bench.json(['watch', '--once'])).toMatchObject({
    is_watched: true,
    report: { watched: 0, findings: [] },
  });
  expect(await bench.json(['down'])).toMatchObject({ was_up: true, watchdog_was_up: true });
  expect([await third.exited, watchdogPid(bench), supervisorPid(bench)]).toEqual([0, 0, 0]);
}, 60_000);

test('the supervisor’s own watchdog ends with it, and it is started by hand as well', async () => {
  const bench = watched({ is_enabled: false });
  const { pid } = await bench.json<{ pid: number }>(['watch', '--background']);
  expect(watchdogPid(bench)).toBe(pid);
  process.kill(supervisorPid(bench), 'SIGTERM');
  await until('the supervisor is gone', () => supervisorPid(bench) === 0);
  await until('the watchdog is gone', () => liveness({ pid }) === 'dead', 20_000);
  expect(watchdogPid(bench)).toBe(0);
}, 60_000);

test('one look by hand judges and never acts, for it cannot know whether the machine slept; its exit code says what it found', async () => {
  const bench = watched({ is_enabled: false });
  await rehearse(bench, 'mute', { turns: [[{ say: 'hm' }, 'hang']] });
  await until('its only word', () => turnsOf(bench, 'mute')[0]?.result_text === 'hm');
  expect((await bench.run(['watch', '--once'])).stdout).toContain('all are well');
  writeConfig(bench.home, { watchdog: { is_enabled: false, stale_ms: 1, zombie_ms: 2 } });
  const once = await bench.run(['watch', '--once']);
  expect([once.code, once.stdout]).toEqual([1, expect.stringMatching(/mute +1 +stuck \(silent\) +terminate/)]);
  expect(once.stdout).toContain('only a look; no watchdog is at work');
  const { stdout } = await bench.run(['watch', '--once', '--json']);
  expect(JSON.parse(stdout)).toMatchObject({ is_watched: false, report: { watched: 1 } });
  expect([sessionOf(bench, 'mute').state, turnsOf(bench, 'mute')[0]?.end_cause]).toEqual(['working', null]);
  expect([verdictsOf(bench, 'mute'), peek(bench, 'SELECT 1 FROM ticks')]).toEqual([[], []]);
  expect((await bench.run(['watch', '--interval', 'soon'])).code).toBe(2);
}, 60_000);

test('a machine that slept judges nobody, and a frozen watchdog neither; then it goes on (faults 13, 14)', async () => {
  const bench = watched({});
  const go = join(bench.home, 'go');
  await rehearse(bench, 'on', untilTold(bench, { wait_for_file: go }, { say: 'done' }));
  const { marker } = await untilTalking(bench, 'on');
  const watchdog = await untilWatched(bench);
  // One that has not looked yet has nothing that it could come back to too late.
  const lock = join(bench.drover_home, 'run/watchdog.lock');
  const before = statSync(lock).mtimeMs;
  await until('a sign of life', () => statSync(lock).mtimeMs > before);
  await impatientAfter(bench, 'on', { stale_ms: 2_500, zombie_ms: 20_000 });
  // Everything stops at once, as it does when the lid is closed.
  const all = [watchdog, supervisorPid(bench), ...leaksOf(marker).map(({ pid }) => pid)];
  const goOn = await freeze(bench, ...all);
  await Bun.sleep(4_000);
  goOn();
  await until('it looks again', () => peek(bench, 'SELECT 1 FROM ticks WHERE report_json LIKE \'%"gap"%\'').length > 0);
  expect(actsOf(bench, 'on')).toEqual([]);
  await untilState(bench, 'on', 'stalled', 20_000);
  writeFileSync(go, '');
  await untilState(bench, 'on', 'completed');
}, 60_000);
