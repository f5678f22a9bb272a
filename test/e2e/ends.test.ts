import { beforeAll, expect, test } from 'bun:test';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, droverBench, writeConfig } from '../support/drover.ts';
import { freeze } from '../support/freeze.ts';
import { assertNoLeaks, leaksOf } from '../support/leaks.ts';
import { ownSeconds } from '../support/own-seconds.ts';
import {
  peek,
  promptOf,
  refused,
  rehearse,
  sessionOf,
  supervisorPid,
  turnsOf,
  untilSession,
  untilState,
  untilTalking,
} from '../support/peek.ts';
import { until } from '../support/until.ts';

let bench: Bench;
const DONE = { turns: [[{ say: 'done' }]] };
const HANG = { turns: [[{ say: 'at work' }, 'hang'], [{ say: 'resumed' }]] };

beforeAll(() => {
  bench = droverBench({ config: { turn: { max_attempts: 1, backoff_ms: 50, sigkill_delay_ms: 400 } } });
});

interface Stopped {
  stopped: { name: string; changed: boolean; prev: string; state: string; process_gone: boolean }[];
}
const stop = (...args: string[]) => bench.json<Stopped>(['stop', ...args]).then(({ stopped }) => stopped);

test('stop climbs the ladder: a harness that shrugs off TERM is gone, and how it ended is recorded (E-144, E-145)', async () => {
  await rehearse(bench, 'stubborn', {
    turns: [[{ ignore_signals: ['TERM', 'INT', 'HUP'] }, { say: 'not me' }, { daemon: 60_000 }, 'hang']],
  });
  const { marker } = await untilTalking(bench, 'stubborn');
  await until('it stands firm', () => (turnsOf(bench, 'stubborn')[0]?.events ?? 0) > 2);
  const start = performance.now();
  const [done] = await stop('stubborn', '--reason', 'wrong base');
  expect(performance.now() - start).toBeLessThan(4_800);
  expect(done).toMatchObject({ changed: true, prev: 'working', state: 'stopped', process_gone: true });
  await assertNoLeaks(marker);
  expect(sessionOf(bench, 'stubborn').end_reason).toBe('wrong base');
  expect(turnsOf(bench, 'stubborn')[0]).toMatchObject({
    ...{ end_cause: 'stop', outcome: 'cancelled', exit_signal: 'SIGKILL', tree_empty: 1, survivors: 0 },
  });
}, 60_000);

test('daemons in sessions of their own, with a scrubbed environment, do not outlive the stop (ARCHITECTURE §1.4)', async () => {
  const seconds = ownSeconds();
  const ms = Math.round(Number(seconds) * 1_000);
  await rehearse(bench, 'host', {
    turns: [[{ daemon: ms }, { daemon: { ms, clean_env: true, stdout: 'close' } }, { say: 'here' }, 'hang']],
  });
  await untilTalking(bench, 'host');
  await until('both live', () => (turnsOf(bench, 'host')[0]?.events ?? 0) > 3);
  expect(leaksOf(seconds)).toHaveLength(2);
  expect((await stop('host'))[0]).toMatchObject({ process_gone: true });
  await assertNoLeaks(seconds);
}, 60_000);

test('a daemon that a turn leaves behind goes with the turn, which then is a success (ARCHITECTURE §1.4)', async () => {
  const seconds = ownSeconds();
  await rehearse(bench, 'litter', { turns: [[{ daemon: Math.round(Number(seconds) * 1_000) }, { say: 'done' }]] });
  await untilState(bench, 'litter', 'completed');
  await assertNoLeaks(seconds);
}, 60_000);

test('stop of a queued, an idle, an ended and an unknown session (CX-07, O-77)', async () => {
  const narrow = droverBench({ config: { max_live_sessions: 1 } });
  await rehearse(narrow, 'first', HANG);
  await untilTalking(narrow, 'first');
  await rehearse(narrow, 'waiting', DONE);
  const both = await narrow.json<Stopped>(['stop', 'waiting', 'first']);
  expect(both.stopped.map(({ prev, state }) => [prev, state])).toEqual([
    ['queued', 'stopped'],
    ['working', 'stopped'],
  ]);
  expect(sessionOf(narrow, 'waiting').turn).toBe(0);
  await rehearse(bench, 'rests', DONE, ['--role', 'monitor']);
  await untilState(bench, 'rests', 'idle');
  expect((await stop('rests'))[0]).toMatchObject({ prev: 'idle', state: 'stopped' });
  expect((await stop('rests'))[0]).toMatchObject({ changed: false, state: 'stopped' });
  await refused(bench, ['stop', '--strict', 'rests'], [3, 'already_ended']);
  await rehearse(bench, 'lives', HANG);
  const { marker } = await untilTalking(bench, 'lives');
  for (const names of [
    ['lives', 'rests'],
    ['rests', 'lives'],
  ])
    await refused(bench, ['stop', ...names, '--strict'], [3, 'already_ended']);
  expect(sessionOf(bench, 'lives').state).toBe('working');
  expect((await stop('lives', 'rests')).map(({ changed, process_gone }) => [changed, process_gone])).toEqual([
    [true, true],
    [false, true],
  ]);
  await assertNoLeaks(marker);
  await refused(bench, ['stop', 'rests', 'nobody-here'], [4, 'session_not_found']);
}, 60_000);

test('stop --all ends every live session and tells the parent nothing twice (I15)', async () => {
  const all = droverBench();
  for (const name of ['a', 'b', 'c']) await rehearse(all, name, HANG, name === 'a' ? [] : ['--parent', 'a']);
  for (const name of ['a', 'b', 'c']) await untilTalking(all, name);
  const { stopped } = await all.json<Stopped>(['stop', '--all']);
  expect(stopped.map(({ name, state }) => [name, state]).sort()).toEqual([
    ['a', 'stopped'],
    ['b', 'stopped'],
    ['c', 'stopped'],
  ]);
  expect((await all.run(['stop', '--all'])).stdout).toMatch(
    /^nothing is live\nhalted, since .+: nothing starts by itself/,
  );
  expect(peek(all, 'SELECT child_name, death_no FROM notifications ORDER BY child_name')).toEqual([
    { child_name: 'b', death_no: 1 },
    { child_name: 'c', death_no: 1 },
  ]);
}, 60_000);

test('stop needs no supervisor that can, frozen or dead, and no settings that can be read (faults 1, 14)', async () => {
  const frozen = droverBench();
  await rehearse(frozen, 'a', HANG);
  const { marker } = await untilTalking(frozen, 'a');
  const goOn = await freeze(frozen, supervisorPid(frozen));
  writeConfig(frozen.home, { max_live_sessions: 'broken' });
  try {
    const { stopped } = await frozen.json<Stopped>(['stop', 'a']);
    expect(stopped[0]).toMatchObject({ state: 'stopped', process_gone: true });
    await assertNoLeaks(marker);
  } finally {
    writeConfig(frozen.home, {});
    goOn();
  }
  await until('its turn is settled', () => turnsOf(frozen, 'a').every(({ outcome }) => outcome === 'cancelled'));
  await rehearse(frozen, 'b', HANG);
  const second = await untilTalking(frozen, 'b');
  process.kill(supervisorPid(frozen), 'SIGKILL');
  expect((await frozen.json<Stopped>(['stop', 'b'])).stopped[0]).toMatchObject({ process_gone: true });
  await assertNoLeaks(second.marker);
}, 60_000);

test('pause holds a session with its reason, resume goes on with the facts and the words (CX-04)', async () => {
  await rehearse(bench, 'held', HANG);
  const { marker } = await untilTalking(bench, 'held');
  expect((await bench.run(['pause', 'held', '--reason', 'waiting for the schema'])).stdout).toContain(
    'working → parked',
  );
  await until('its turn is over', () => turnsOf(bench, 'held').every(({ ended_at }) => ended_at !== null));
  await assertNoLeaks(marker);
  const row = sessionOf(bench, 'held');
  expect([row.parked_reason, row.resume_at]).toEqual(['operator', null]);
  expect(JSON.parse(row.parked_evidence ?? '{}')).toMatchObject({ text: 'waiting for the schema', from: 'working' });
  expect((await bench.run(['wait', 'held'])).code).toBe(75);
  expect((await bench.run(['resume', 'held', '--text', 'the schema is there'])).code).toBe(0);
  await untilState(bench, 'held', 'completed');
  const prompt = promptOf(bench, 'held', 2);
  expect(prompt).toContain('the schema is there');
  expect(prompt).toContain('Your previous turn was cut off');
  expect(prompt).toContain('parked: operator');
}, 60_000);

test('resume of a failed and of a stopped session starts its next turn; the others are told what to do (E-146)', async () => {
  await rehearse(bench, 'flop', { turns: [[{ say: 'hi' }, { exit: 4 }], [{ say: 'better' }]] });
  expect((await untilState(bench, 'flop', 'failed')).end_reason).toBe('exit 4');
  expect((await bench.run(['resume', 'flop'])).code).toBe(0);
  const flop = await untilState(bench, 'flop', 'completed');
  expect([flop.turn, flop.resume_count, flop.end_reason]).toEqual([2, 1, 'ok']);
  expect(promptOf(bench, 'flop', 2)).toContain('Why: failed: exit 4');

  await rehearse(bench, 'cut', HANG);
  await untilTalking(bench, 'cut');
  const running = await refused(bench, ['resume', 'cut'], [3, 'cannot_resume']);
  expect(running.message).toBe(`Session is already running: ${sessionOf(bench, 'cut').id}`);
  await stop('cut');
  const ended = await refused(bench, ['nudge', 'cut'], [3, 'recipient_ended']);
  expect(ended.recovery_commands).toEqual(['drover resume cut']);
  expect((await bench.run(['resume', 'cut'])).code).toBe(0);
  await untilState(bench, 'cut', 'completed');
  const over = await refused(bench, ['resume', 'cut'], [3, 'cannot_resume']);
  expect(over.message).toBe(`Completed sessions cannot be resumed: ${sessionOf(bench, 'cut').id}`);
  expect(over.recovery_commands).toEqual(['drover recover cut']);
  expect((await refused(bench, ['pause', 'cut'], [3, 'session_ended'])).preserved).toBe('nothing was changed');

  await rehearse(bench, 'rest', DONE, ['--role', 'monitor']);
  await untilState(bench, 'rest', 'idle');
  const idle = await refused(bench, ['resume', 'rest'], [3, 'cannot_resume']);
  expect(idle.recovery_commands).toEqual(['drover nudge rest']);
  expect((await refused(bench, ['recover', 'rest'], [3, 'still_live'])).recovery_commands).toEqual([
    'drover stop rest',
  ]);
}, 60_000);

test('recover inherits worktree, branch and conversation; one successor at a time (ARCHITECTURE §1.2)', async () => {
  const script = {
    turns: [
      [{ write: { path: 'half.txt', content: 'half' } }, { wait_for_file: join(bench.home, 'tear') }, { exit: 4 }],
    ],
  };
  const next = {
    turns: [[{ append: { path: 'half.txt', content: ' and half' } }, { wait_for_file: join(bench.home, 'go') }]],
  };
  await rehearse(bench, 'torn', script, ['--worktree']);
  await until('it has a turn', () => sessionOf(bench, 'torn').turn === 1);
  await bench.run(['mail', 'send', '--to', 'torn', '--subject', 'unread so far']);
  writeFileSync(join(bench.home, 'tear'), '');
  const torn = await untilState(bench, 'torn', 'failed');
  expect(existsSync(join(torn.worktree_path ?? '', 'half.txt'))).toBe(true);
  const path = bench.script('torn', next);
  const text = `finish it\nrehearsal-script: ${path}`;
  const { recovered } = await bench.json<{ recovered: { session: { id: string } }[] }>([
    'recover',
    'torn',
    '--text',
    text,
  ]);
  const id = recovered[0]?.session.id ?? '';
  const heir = await untilSession(bench, id, (row) => row.tool_calls > 0);
  expect([heir.worktree_path, heir.branch, heir.recovered_from]).toEqual([torn.worktree_path, torn.branch, torn.id]);
  expect(turnsOf(bench, id)[0]?.native_session_before).toBe(torn.native_session_id);
  for (const word of ['finish it', 'Subject: unread so far']) expect(promptOf(bench, id)).toContain(word);
  const again = await refused(bench, ['recover', torn.id], [3, 'taken_over']);
  expect(again.message).toContain(id);
  await refused(bench, ['resume', torn.id], [3, 'taken_over']);
  writeFileSync(join(bench.home, 'go'), '');
  await untilState(bench, id, 'completed');
  expect(readFileSync(join(torn.worktree_path ?? '', 'half.txt'), 'utf8')).toBe('half and half');
  expect(sessionOf(bench, torn.id).state).toBe('failed');
  expect((await bench.run(['recover', torn.id])).code).toBe(0);
}, 60_000);
