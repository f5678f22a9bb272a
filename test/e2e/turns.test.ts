import { beforeAll, expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { MailRow, NotificationRow } from '../../src/model/mail.ts';
import type { PoolRow } from '../../src/model/pool.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import {
  peek,
  promptOf,
  rehearse,
  sessionOf,
  turnsOf,
  untilSession,
  untilState,
  untilTalking,
} from '../support/peek.ts';
import { until } from '../support/until.ts';

const SILENT = resolve(import.meta.dir, '../fixtures/bin/works-silently');

let bench: Bench;

beforeAll(() => {
  bench = droverBench({
    config: {
      turn: { max_attempts: 3, backoff_ms: 100, sigkill_delay_ms: 400 },
      harness_runners: { quiet: { program: SILENT, event_format: 'ndjson', resume_flag: '--resume' } },
    },
  });
});

const hold = (name: string) => join(bench.home, `go-${name}`);
const release = (name: string) => writeFileSync(hold(name), '');
const mail = (to: string, subject: string) => bench.run(['mail', 'send', '--to', to, '--subject', subject]);
const mailOf = (name: string, type: string) =>
  peek<MailRow>(bench, 'SELECT * FROM mail WHERE to_id = :id AND type = :type ORDER BY seq', {
    id: sessionOf(bench, name).id,
    type,
  });

test('mail sent while a turn runs waits for its end and comes in one turn, once (C-06, O-61)', async () => {
  await rehearse(bench, 'busy', {
    turns: [[{ say: 'at work' }, { wait_for_file: hold('busy') }], [{ say: 'read it' }]],
  });
  await untilTalking(bench, 'busy');
  for (const subject of ['one', 'two', 'three']) expect((await mail('busy', subject)).code).toBe(0);
  expect(turnsOf(bench, 'busy')).toHaveLength(1);
  release('busy');
  const row = await untilState(bench, 'busy', 'completed');
  expect(row.turn).toBe(2);
  const prompt = promptOf(bench, 'busy', 2);
  for (const subject of ['one', 'two', 'three']) expect(prompt).toContain(`Subject: ${subject}`);
  expect(
    mailOf(row.name, 'status').map((each) => [each.delivered_turn, each.deliveries, each.read_at !== null]),
  ).toEqual([
    [2, 1, true],
    [2, 1, true],
    [2, 1, true],
  ]);
}, 60_000);

test('a persistent role rests idle; a nudge starts its next turn, the same nudge at once is one (O-75, C-09)', async () => {
  await rehearse(bench, 'watch', { turns: [[{ say: 'here' }]] }, ['--role', 'monitor']);
  await untilState(bench, 'watch', 'idle');
  expect((await bench.run(['nudge', 'watch'])).stdout).toBe('watch: a turn is starting\n');
  await untilSession(bench, 'watch', (row) => row.turn === 2 && row.state === 'idle');
  expect(promptOf(bench, 'watch', 2)).toContain('Check your mail inbox for new messages.');
  await bench.run(['pause', 'watch']);
  const said = await Promise.all([1, 2, 3].map(() => bench.json<{ changed: boolean }>(['nudge', 'watch', 'again'])));
  expect(said.filter(({ changed }) => changed).length).toBeLessThan(3);
  expect(mailOf('watch', 'nudge')).toHaveLength(1 + said.filter(({ changed }) => changed).length);
  await bench.run(['stop', 'watch']);
}, 60_000);

test('nudge --interrupt ends the turn and its tree; the next prompt has the words and the facts (O-75)', async () => {
  const work = [
    { write: { path: 'half.txt', content: 'x' } },
    { run: 'git add half.txt && git -c user.name=t -c user.email=t@t commit -qm halfway' },
  ];
  const script = {
    turns: [
      [...work, { write: { path: 'dirty.txt', content: 'x' } }, { daemon: 60_000 }, { say: 'deep in it' }, 'hang'],
      [{ say: 'turned round' }],
    ],
  };
  await rehearse(bench, 'deep', script, ['--worktree']);
  await until('it is deep in it', () => turnsOf(bench, 'deep')[0]?.result_text === 'deep in it');
  const { marker } = turnsOf(bench, 'deep')[0] ?? { marker: '' };
  const nudged = await bench.run(['nudge', 'deep', '--interrupt', 'stop, wrong branch']);
  expect(nudged.stdout).toBe('deep: turn 1 is being ended; the next one starts with your words\n');
  await untilState(bench, 'deep', 'completed');
  await assertNoLeaks(marker);
  expect(turnsOf(bench, 'deep').map((turn) => [turn.outcome, turn.reason])).toEqual([
    ['cancelled', 'interrupt'],
    ['completed', 'ok'],
  ]);
  const prompt = promptOf(bench, 'deep', 2);
  for (const word of [
    'stop, wrong branch',
    'Why: interrupt',
    'halfway',
    'dirty.txt',
    sessionOf(bench, 'deep').branch ?? '?',
  ])
    expect(prompt).toContain(word);
}, 60_000);

test('an interruption before the first word goes round by the queue and loses nothing (MODEL §2.6)', async () => {
  const slow = droverBench({
    config: {
      harness_runners: {
        mute: { program: 'sh', base_args: ['-c', 'cat >/dev/null; sleep 60'], event_format: 'ndjson' },
      },
    },
  });
  await slow.run(['sling', '--harness', 'mute', '--name', 'mute', 'say nothing']);
  await untilSession(slow, 'mute', (row) => row.state === 'booting');
  await until('it has a process', () => turnsOf(slow, 'mute')[0]?.pid);
  expect((await slow.run(['nudge', 'mute', '--interrupt', 'speak'])).code).toBe(0);
  await untilSession(slow, 'mute', (row) => row.state === 'booting' && row.turn === 2);
  await until('its prompt is there', () => turnsOf(slow, 'mute')[1]?.pid);
  const prompt = promptOf(slow, 'mute', 2);
  for (const word of ['speak', 'say nothing', 'Why: interrupt']) expect(prompt).toContain(word);
}, 60_000);

test('a failing turn is tried again with a growing pause, its mail marked, and given up after max_attempts (O-52)', async () => {
  await rehearse(bench, 'flaky', { turns: [[{ say: 'well' }, { wait_for_file: hold('flaky') }, { exit: 3 }]] });
  await untilState(bench, 'flaky', 'working');
  await mail('flaky', 'hint');
  release('flaky');
  const row = await untilState(bench, 'flaky', 'failed');
  expect([row.turn, row.attempt, row.end_reason]).toEqual([3, 3, 'exit 3']);
  const turns = turnsOf(bench, 'flaky');
  expect(turns.map(({ outcome, exit_code }) => [outcome, exit_code])).toEqual(turns.map(() => ['crashed', 3]));
  const pause = (n: number) => (turns[n]?.started_at ?? 0) - (turns[n - 1]?.ended_at ?? 0);
  expect(pause(1)).toBeGreaterThanOrEqual(100);
  expect(pause(2)).toBeGreaterThanOrEqual(200);
  expect(promptOf(bench, 'flaky', 3)).toContain('Redelivered: yes');
  const [hint] = mailOf('flaky', 'status');
  expect([hint?.read_at, hint?.delivered_turn]).toEqual([null, null]);
}, 60_000);

test('a first turn that says nothing fails at once, with what the program said (MODEL §2.6, field: stuck in booting)', async () => {
  const dumb = { program: 'sh', base_args: ['-c', 'echo cannot do that >&2; exit 5'], event_format: 'ndjson' };
  const quick = droverBench({ config: { harness_runners: { dumb } } });
  await quick.run(['sling', '--harness', 'dumb', '--name', 'dumb', 'try']);
  const row = await untilState(quick, 'dumb', 'failed');
  expect([row.turn, row.end_reason]).toEqual([1, 'no_output: exit 5']);
  expect((await quick.run(['logs', 'dumb'])).stdout).toContain('cannot do that');
}, 60_000);

test('work that nobody reports gets one reminder, then fails and tells the parent once (CX-10, O-32)', async () => {
  const parent = {
    turns: [
      [{ say: 'waiting' }, { wait_for_file: hold('lead') }],
      [{ done: 'joined' }, { say: 'reported' }],
    ],
  };
  await rehearse(bench, 'lead', parent);
  const parts = ['--parent', 'lead', '--role', 'builder', '--name', 'silent', 'do it'];
  expect((await bench.run(['sling', '--harness', 'quiet', ...parts])).code).toBe(0);
  const row = await untilState(bench, 'silent', 'failed');
  expect([row.turn, row.end_reason]).toEqual([2, 'no_terminal_mail']);
  expect(promptOf(bench, 'silent', 2)).toContain('Terminal mail: worker_done or result');
  const notes = () => peek<NotificationRow>(bench, 'SELECT * FROM notifications WHERE child_id = :id', { id: row.id });
  expect(notes().map(({ is_failed, body }) => [is_failed, body])).toEqual([[1, 'failed: no_terminal_mail']]);
  expect(mailOf('lead', 'worker_died')).toHaveLength(1);
  release('lead');
  await untilState(bench, 'lead', 'completed');
  const prompt = promptOf(bench, 'lead', 2);
  expect(prompt.match(/no_terminal_mail/g)?.length).toBeGreaterThan(0);
  expect(prompt).toContain('Type: worker_died');
  expect(prompt).toContain('Task silent (failed):');
  expect(notes().map(({ delivered_turn }) => delivered_turn)).toEqual([2]);
}, 60_000);

test("children's results come to an idle parent as one reminder (D-33…D-45)", async () => {
  await rehearse(bench, 'chief', { turns: [[{ say: 'slung' }]] }, ['--role', 'coordinator']);
  await untilState(bench, 'chief', 'idle');
  await bench.run(['pause', 'chief']);
  for (const name of ['kid-1', 'kid-2']) {
    const kid = {
      turns: [
        [{ say: `result of ${name}` }, { mail: { type: 'worker_done', subject: 's' } }, { say: `result of ${name}` }],
      ],
    };
    await rehearse(bench, name, kid, ['--parent', 'chief', '--role', 'builder']);
    await untilState(bench, name, 'completed');
  }
  await bench.run(['resume', 'chief']);
  await untilSession(bench, 'chief', (row) => row.turn === 2 && row.state === 'idle');
  const prompt = promptOf(bench, 'chief', 2);
  expect(prompt.match(/<system-reminder>/g)).toHaveLength(1);
  for (const name of ['kid-1', 'kid-2']) expect(prompt).toContain(`Task ${name} (completed):\nresult of ${name}`);
  await bench.run(['stop', 'chief']);
}, 60_000);

test('a usage limit parks with its instant, and the session goes on by itself then (E-100, CX-12)', async () => {
  const limit = { limit: { kind: 'usage_limit', message: 'limit reached', resets_in_ms: 6_000 } };
  await rehearse(bench, 'broke', { turns: [[{ say: 'hi' }, limit], [{ say: 'rich again' }]] });
  const row = await untilState(bench, 'broke', 'parked');
  expect([row.parked_reason, row.parked_pool, row.attempt]).toEqual(['usage_limit', 'rehearsal', 0]);
  const [pool] = peek<PoolRow>(bench, 'SELECT * FROM pools');
  expect((pool?.opens_at ?? 0) - row.updated_at).toBeLessThan(6_500);
  expect((await bench.run(['wait', 'broke'])).code).toBe(75);
  await untilState(bench, 'broke', 'completed');
  const turns = turnsOf(bench, 'broke');
  expect(turns.map(({ outcome }) => outcome)).toEqual(['limited', 'completed']);
  expect(turns[1]?.started_at).toBeGreaterThanOrEqual(pool?.opens_at ?? Number.POSITIVE_INFINITY);
}, 60_000);

test('a rate limit parks as such for as long as the provider says (CX-12)', async () => {
  const limit = { limit: { kind: 'rate_limit', retry_after_ms: 3_000 } };
  await rehearse(bench, 'hasty', { turns: [[{ say: 'hi' }, limit], [{ say: 'slower' }]] });
  expect((await untilState(bench, 'hasty', 'parked')).parked_reason).toBe('rate_limit');
  await untilState(bench, 'hasty', 'completed');
}, 60_000);

test('an unanswered question keeps a session idle, and the answer starts its turn (CX-10)', async () => {
  mkdirSync(join(bench.home, 'asks'), { recursive: true });
  await rehearse(bench, 'asker', { turns: [[{ ask: 'which port?' }, { say: 'waiting' }], [{ say: 'thanks' }]] }, [
    '--role',
    'builder',
  ]);
  await untilState(bench, 'asker', 'idle');
  const [question] = peek<MailRow>(bench, "SELECT * FROM mail WHERE type = 'question'");
  expect((await bench.run(['mail', 'reply', question?.id ?? '', '--body', '8080'])).code).toBe(0);
  await until('its second turn', () => turnsOf(bench, 'asker')[1]?.ended_at);
  expect(promptOf(bench, 'asker', 2)).toContain('8080');
  await bench.run(['stop', 'asker']);
}, 60_000);
