import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { VerdictRow } from '../../src/model/verdict.ts';
import { identityOf, type ProcessId, processStat, signal } from '../../src/sys/identity.ts';
import { bystander, claimToBe } from '../support/bystander.ts';
import { type Bench, DROVER, droverBench } from '../support/drover.ts';
import { assertNoLeaks, leaksOf } from '../support/leaks.ts';
import { ownSeconds } from '../support/own-seconds.ts';
import {
  peek,
  rehearse,
  sessionOf,
  supervisorLog,
  supervisorPid,
  turnDir,
  turnsOf,
  untilSession,
  untilState,
  untilTalking,
} from '../support/peek.ts';
import { until } from '../support/until.ts';

const bin = (name: string) => resolve(import.meta.dir, '../fixtures/bin', name);
const FAST = { max_attempts: 2, backoff_ms: 50, sigkill_delay_ms: 300 };
const DONE = { turns: [[{ say: 'done' }]] };

/** Whatever the day brings: seeded, so that a bad one can be had again. */
const seed = Number(process.env.FAULTS_SEED ?? Math.floor(Math.random() * 1e9));
let state = seed;
function roll(sides: number): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
  return Math.floor((state / 0x7fffffff) * sides);
}

/** Runs a verb and kills it after `ms`; true when it was cut off. */
async function cutOff(bench: Bench, args: string[], ms: number): Promise<boolean> {
  const child = Bun.spawn([DROVER, ...args], { cwd: bench.repo, env: bench.env, stdout: 'ignore', stderr: 'ignore' });
  await Promise.race([child.exited, Bun.sleep(ms)]);
  child.kill('SIGKILL');
  await child.exited;
  return child.signalCode === 'SIGKILL';
}

test('kill -9 of a verb at any instant: it is stored whole or not at all, and can be said again (fault 2)', async () => {
  const bench = droverBench({ config: { turn: FAST, max_live_sessions: 4 } });
  await rehearse(bench, 'box', DONE, ['--role', 'monitor']);
  await untilState(bench, 'box', 'idle');
  await bench.json(['pause', 'box']);
  const body = 'news '.repeat(2_000);
  const script = bench.script('cut', DONE);
  const sling = (i: number) => ['sling', '--harness', 'rehearsal', '--name', `s${i}`, `rehearsal-script: ${script}`];
  const send = (i: number) => ['mail', 'send', '--to', 'box', '--subject', `m${i}`, '--body', body];
  let cut = 0;
  for (let i = 0; i < 12; i += 2) {
    const both = [cutOff(bench, sling(i), 20 + roll(200)), cutOff(bench, send(i), 20 + roll(200))];
    cut += (await Promise.all(both)).filter(Boolean).length;
  }
  console.log(`FAULTS_SEED=${seed}: ${cut} of 12 verbs cut off`);
  expect(cut).toBeGreaterThan(0);
  for (let i = 0; i < 12; i += 2) {
    const sessions = peek<{ id: string; task: string }>(bench, 'SELECT * FROM sessions WHERE name = :n', {
      n: `s${i}`,
    });
    const briefs = peek<{ body: string }>(bench, "SELECT * FROM mail WHERE to_name = :n AND type = 'task'", {
      n: `s${i}`,
    });
    expect([seed, i, briefs.length]).toEqual([seed, i, sessions.length]);
    if (sessions.length === 0) expect((await bench.run(sling(i))).code).toBe(0);
    const mails = peek<{ body: string }>(bench, 'SELECT * FROM mail WHERE subject = :s', { s: `m${i}` });
    expect(mails.length).toBeLessThanOrEqual(1);
    for (const mail of mails) expect(mail.body.trim()).toBe(body.trim());
    expect((await untilState(bench, `s${i}`, 'completed')).turn).toBe(1);
  }
  const { findings } = await bench.json<{ findings: { check: string }[] }>(['doctor', '--quick']);
  expect(findings.map(({ check }) => check)).toContain('invariants');
}, 120_000);

test('kill -9 of launchers and harnesses at any instant: the right word for each, nothing left (faults 4, 5)', async () => {
  const emit = { program: bin('emitter.sh'), base_args: ['150'], event_format: 'ndjson' };
  const bench = droverBench({ config: { turn: FAST, max_live_sessions: 8, harness_runners: { emit } } });
  const fates = Array.from({ length: 8 }, (_, i) => ({ name: `v${i}`, victim: i % 2 === 0 ? 'launcher' : 'harness' }));
  const strike = async ({ name, victim }: (typeof fates)[number]) => {
    const { marker } = await untilTalking(bench, name);
    await Bun.sleep(roll(800));
    const processes = leaksOf(marker).filter(({ command }) => command.includes('emitter.sh'));
    const launcher = processes.find(({ command }) => command.includes('launcher.sh'));
    // A shell that is about to be somebody else looks like its parent: the harness is the launcher's own child.
    const harness = processes.find(({ pid }) => processStat(pid)?.parent === launcher?.pid);
    const found = victim === 'launcher' ? launcher : harness;
    const id: ProcessId | null = found === undefined ? null : identityOf(found.pid);
    return id !== null && signal(id, 'SIGKILL');
  };
  const strikes: Promise<boolean>[] = [];
  // Each is struck while the next ones are begun: none has time to end by itself before.
  for (const fate of fates) {
    await bench.run(['sling', '--harness', 'emit', '--name', fate.name, 'go']);
    strikes.push(strike(fate));
  }
  const struck = await Promise.all(strikes);
  for (const [i, { name, victim }] of fates.entries()) {
    const row = await untilSession(bench, name, ({ ended_at }) => ended_at !== null, 40_000);
    const turns = turnsOf(bench, name).map(({ outcome, exit_signal, tree_empty }) => [
      outcome,
      exit_signal,
      tree_empty,
    ]);
    const ends = {
      launcher: [['lost', null, 1]],
      harness: [
        ['crashed', 'SIGKILL', 1],
        ['completed', null, 1],
      ],
    };
    const expected = struck[i] ? ends[victim as keyof typeof ends] : [['completed', null, 1]];
    expect([seed, name, turns]).toEqual([seed, name, expected]);
    expect(row.state).toBe(struck[i] && victim === 'launcher' ? 'zombie' : 'completed');
    for (const { marker } of turnsOf(bench, name)) await assertNoLeaks(marker);
  }
  expect(struck.filter(Boolean).length).toBeGreaterThan(2);
}, 120_000);

test('a watchdog that is killed again and again judges nobody twice (fault 3)', async () => {
  const far = { first_event_ms: 60_000, between_events_ms: 60_000, tool_ms: 60_000 };
  const watchdog = { is_enabled: false, stale_ms: 500, nudge_interval_ms: 400, zombie_ms: 600_000 };
  const bench = droverBench({ config: { turn: { ...FAST, max_attempts: 1, ...far }, watchdog } });
  await rehearse(bench, 'mute', { turns: [[{ say: 'hm' }, 'hang']] });
  await untilTalking(bench, 'mute');
  let kills = 0;
  while (sessionOf(bench, 'mute').state !== 'zombie' && kills < 40) {
    const watch = [DROVER, 'watch', '--interval', '100ms'];
    const child = Bun.spawn(watch, { cwd: bench.repo, env: bench.env, stdout: 'ignore', stderr: 'ignore' });
    const isOver = () => sessionOf(bench, 'mute').state === 'zombie';
    // Some get as far as a look, however long they take to come up.
    await until('it watches', () => lockedBy(bench, 'watchdog') === child.pid || isOver(), 20_000);
    const end = performance.now() + 300 + roll(900);
    while (!isOver() && performance.now() < end) await Bun.sleep(10);
    child.kill('SIGKILL');
    await child.exited;
    kills += 1;
  }
  expect(kills).toBeGreaterThan(1);
  await until('its last turn is settled', async () => {
    await bench.run(['up']);
    return turnsOf(bench, 'mute').every(({ ended_at }) => ended_at !== null);
  });
  const { id } = sessionOf(bench, 'mute');
  const acts = peek<VerdictRow>(bench, "SELECT * FROM verdicts WHERE session_id = :id AND act <> 'none' ORDER BY seq", {
    id,
  });
  expect([seed, ...acts.map(({ act }) => act)]).toEqual([seed, 'note', 'nudge', 'terminate']);
  const nudges = peek(bench, "SELECT * FROM mail WHERE to_id = :id AND type = 'nudge'", { id });
  expect(nudges).toHaveLength(1);
  for (const { marker } of turnsOf(bench, 'mute')) await assertNoLeaks(marker);
}, 120_000);

/** Whom a lock file names; 0 when nobody. */
function lockedBy(bench: Bench, what: 'supervisor' | 'watchdog'): number {
  const path = join(bench.drover_home, `run/${what}.lock`);
  return existsSync(path) ? Number(readFileSync(path, 'utf8').split('\n')[0]) || 0 : 0;
}

/** Ends a turn's processes as a power cut does: nobody settles it, and no record of the end is written. */
async function vanish(bench: Bench, name: string): Promise<void> {
  const { marker } = await untilTalking(bench, name);
  for (const { pid } of leaksOf(marker)) {
    const id = identityOf(pid);
    if (id !== null) signal(id, 'SIGKILL');
  }
  await assertNoLeaks(marker);
  expect(readFileSync(join(turnDir(bench, name), 'exit.json'), 'utf8').trim()).toBe('');
}

/** Everything that is on record about a turn's launcher says that it is this process. */
function forge(bench: Bench, name: string, id: ProcessId): void {
  const db = new Database(join(bench.drover_home, 'drover.db'));
  db.run('PRAGMA busy_timeout = 5000');
  db.query('UPDATE turns SET pid = ?, pid_start_time = ?, boot_id = ? WHERE session_id = ?').run(
    ...[id.pid, id.start_time, id.boot_id, sessionOf(bench, name).id],
  );
  db.close();
  claimToBe(id, { record: join(turnDir(bench, name), 'pid.json') });
}

const LOCKS = ['supervisor', 'watchdog'];

/** Two turns in flight and a session at rest, all processes gone at once, and a stranger with the pid of all of them. */
async function afterwards(change: (id: ProcessId) => ProcessId) {
  const bench = droverBench({ config: { turn: FAST, watchdog: { is_enabled: false } } });
  const held = { turns: [[{ say: 'at work' }, { wait_for_file: join(bench.home, 'go') }]] };
  for (const name of ['one', 'two']) await rehearse(bench, name, held);
  await rehearse(bench, 'rests', { ...DONE, on_mail: [{ say: 'awake' }] }, ['--role', 'monitor']);
  await untilState(bench, 'rests', 'idle');
  for (const name of ['one', 'two']) await untilTalking(bench, name);
  process.kill(supervisorPid(bench), 'SIGKILL');
  const stranger = await bystander();
  const id = change(stranger.id);
  for (const name of ['one', 'two']) {
    await vanish(bench, name);
    forge(bench, name, id);
  }
  claimToBe(id, { locks: LOCKS.map((lock) => join(bench.drover_home, `run/${lock}.lock`)) });
  return { bench, stranger };
}

async function expectFresh({ bench, stranger }: Awaited<ReturnType<typeof afterwards>>) {
  // Before anybody has looked: a verb that ends things, and one that ends drover itself.
  expect((await bench.run(['down'])).code).toBe(0);
  const { stopped } = await bench.json<{ stopped: { state: string }[] }>(['stop', 'two']);
  expect(stopped.map(({ state: is }) => is)).toEqual(['stopped']);
  stranger.expectUntouched();
  expect((await bench.run(['up'])).code).toBe(0);
  expect((await untilState(bench, 'one', 'zombie')).end_reason).toBe('no_exit_status');
  await until('both are settled', () =>
    ['one', 'two'].every((name) => turnsOf(bench, name).every(({ ended_at }) => ended_at !== null)),
  );
  expect(turnsOf(bench, 'one').map((turn) => [turn.outcome, turn.tree_empty])).toEqual([['lost', 1]]);
  await bench.json(['nudge', 'rests']);
  await untilSession(bench, 'rests', (row) => row.turn === 2 && row.state === 'idle');
  await rehearse(bench, 'next', DONE);
  await untilState(bench, 'next', 'completed');
  expect((await bench.run(['down'])).code).toBe(0);
  stranger.expectUntouched();
  expect(supervisorLog(bench)).not.toContain('bug');
}

test('after a reboot every turn in flight is lost, the others go on, and who has the old pid now is left alone (fault 9)', async () => {
  const world = await afterwards((id) => ({ ...id, boot_id: '00000000-0000-4000-8000-000000000000' }));
  await expectFresh(world);
}, 120_000);

test('a pid that was given to somebody else is nobody to us: no signal, no wait, no claim (fault 10)', async () => {
  await expectFresh(await afterwards((id) => ({ ...id, start_time: `${Number(id.start_time) + 100}` })));
}, 120_000);

test('a harness that ends at once and lets a daemon speak for it has not succeeded, and the daemon is gone (fault 34)', async () => {
  const away = { program: bin('forks-away'), event_format: 'ndjson' };
  const bench = droverBench({ config: { turn: { ...FAST, max_attempts: 1 }, harness_runners: { away } } });
  await bench.run(['sling', '--harness', 'away', '--name', 'away', 'go']);
  const row = await untilSession(bench, 'away', ({ ended_at }) => ended_at !== null);
  const [turn] = turnsOf(bench, 'away');
  expect([row.state, turn?.outcome, turn?.exit_code, turn?.tree_empty]).toEqual(['failed', 'crashed', 0, 1]);
  expect(turn?.leftovers).toBeGreaterThanOrEqual(1);
  await assertNoLeaks(turn?.marker ?? 'no turn');
  const path = join(turnDir(bench, 'away'), 'stdout.jsonl');
  expect(turn?.stdout_offset).toBe(readFileSync(path).length);
}, 60_000);

test('a tool that forks 300 processes slows nobody for long, and none of them is left (fault 56)', async () => {
  const bench = droverBench({ config: { turn: FAST } });
  const seconds = ownSeconds();
  const many = `${bin('forks-many')} 300 ${seconds}`;
  await rehearse(bench, 'bomb', { turns: [[{ say: 'hold on' }, { run: many }, { say: 'all there' }, 'hang']] });
  await untilTalking(bench, 'bomb');
  await rehearse(bench, 'beside', DONE);
  await untilState(bench, 'beside', 'completed');
  await until('all of them live', () => leaksOf(seconds).length >= 300, 30_000);
  const { stopped } = await bench.json<{ stopped: { process_gone: boolean }[] }>(['stop', 'bomb']);
  expect(stopped).toMatchObject([{ process_gone: true }]);
  expect(leaksOf(seconds)).toEqual([]);
  await until('its turn is settled', () => turnsOf(bench, 'bomb')[0]?.ended_at);
  expect(turnsOf(bench, 'bomb')[0]).toMatchObject({ outcome: 'cancelled', tree_empty: 1, survivors: 0 });
}, 120_000);
