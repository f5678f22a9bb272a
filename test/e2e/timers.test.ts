import { expect, test } from 'bun:test';
import { resolve } from 'node:path';
import { type Bench, droverBench } from '../support/drover.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { rehearse, sessionOf, turnsOf, untilState } from '../support/peek.ts';
import { until } from '../support/until.ts';

const CLOSES = resolve(import.meta.dir, '../fixtures/bin/closes-stdout');

/** A bench of its own, because timers are settings; every other timer is out of reach. */
function timed(turn: Record<string, number>, more: Record<string, unknown> = {}): Bench {
  const far = { first_event_ms: 60_000, between_events_ms: 60_000, tool_ms: 60_000, after_result_ms: 60_000 };
  return droverBench({ config: { turn: { max_attempts: 1, sigkill_delay_ms: 300, ...far, ...turn }, ...more } });
}

/** What became of a session whose turn drover ended: state, reason, cause; and nothing of it is left. */
async function ended(bench: Bench, name: string, state: Parameters<typeof untilState>[2]) {
  const row = await untilState(bench, name, state);
  // The watchdog writes the state before it ends the processes; the turn is settled after that.
  await until('its turn is settled', () => turnsOf(bench, name)[0]?.ended_at);
  const [turn] = turnsOf(bench, name);
  await assertNoLeaks(turn?.marker ?? 'no turn');
  return [row.end_reason, turn?.end_cause, turn?.outcome, turn?.tree_empty];
}

/** How long the first turn took: what is seen only by the slow sweep takes longer than 8 s. */
function lastingOf(bench: Bench, name: string): number {
  const [turn] = turnsOf(bench, name);
  return (turn?.ended_at ?? Number.POSITIVE_INFINITY) - (turn?.started_at ?? 0);
}

const hang = (...steps: unknown[]) => ({ turns: [[...steps, { daemon: 60_000 }, 'hang']] });

test('no first event in time: the turn is ended and the session is a zombie (O-53)', async () => {
  const mute = { program: 'sh', base_args: ['-c', 'cat >/dev/null; sleep 60'], event_format: 'ndjson' };
  const bench = timed({ first_event_ms: 700 }, { harness_runners: { mute } });
  await bench.run(['sling', '--harness', 'mute', '--name', 'mute', 'go']);
  expect(await ended(bench, 'mute', 'zombie')).toEqual(['first_event', 'first_event', 'stalled', 1]);
}, 60_000);

test('silence between events ends a turn, silence of an open tool call does not (O-53)', async () => {
  const bench = timed({ between_events_ms: 800 });
  await rehearse(bench, 'building', { turns: [[{ tool: { tool: 'Bash', ms: 2_500 } }, { say: 'built' }]] });
  await rehearse(bench, 'silent', hang({ say: 'hi' }));
  expect(await ended(bench, 'silent', 'zombie')).toEqual(['silent', 'silent', 'stalled', 1]);
  await untilState(bench, 'building', 'completed');
}, 60_000);

test('an open tool call has its own limit (O-53)', async () => {
  const bench = timed({ tool_ms: 800 });
  await rehearse(bench, 'stuck', { turns: [[{ tool: { tool: 'Bash', ms: 60_000 } }]] });
  expect(await ended(bench, 'stuck', 'zombie')).toEqual(['silent', 'silent', 'stalled', 1]);
}, 60_000);

test('a turn that is quiet is called stalled, speaks and is at work again; for too long it is ended (MODEL §2.7)', async () => {
  const watchdog = { interval_ms: 150, stale_ms: 600, zombie_ms: 8_000, nudge_interval_ms: 60_000 };
  const bench = timed({}, { watchdog });
  await rehearse(bench, 'gone', hang({ say: 'hm' }));
  await rehearse(bench, 'pausing', { turns: [[{ say: 'hm' }, { sleep: 3_000 }, { say: 'aha' }]] });
  await untilState(bench, 'pausing', 'stalled');
  expect(await ended(bench, 'gone', 'zombie')).toEqual(['stuck', 'stuck', 'stalled', 1]);
  await untilState(bench, 'pausing', 'completed');
  const { state_log } = await bench.json<{ state_log: { event: string }[] }>(['show', 'pausing']);
  expect(state_log.map(({ event }) => event)).toEqual([
    'sling',
    'claim_first',
    'first_event',
    'stall',
    'progress',
    'complete',
  ]);
}, 60_000);

test('alive after its result: ended after the grace, and a success all the same (fault 33)', async () => {
  const bench = timed({ after_result_ms: 700 });
  await rehearse(bench, 'lingers', { turns: [[{ say: 'done' }, 'linger']] });
  expect(await ended(bench, 'lingers', 'completed')).toEqual(['lingering', 'lingering', 'completed', 1]);
  expect(lastingOf(bench, 'lingers')).toBeLessThan(8_000);
}, 60_000);

test('output closed and the process alive: silence decides, not the end of the stream (fault 34)', async () => {
  const runner = { program: CLOSES, event_format: 'text' };
  const bench = timed({ between_events_ms: 800 }, { harness_runners: { closes: runner } });
  await bench.run(['sling', '--harness', 'closes', '--name', 'closes', 'go']);
  expect(await ended(bench, 'closes', 'zombie')).toEqual(['silent', 'silent', 'stalled', 1]);
}, 60_000);

test("the session's own time limit fails it, however busy it is (O-53)", async () => {
  const bench = timed({});
  const busy = Array.from({ length: 40 }, (_, i) => [{ say: `step ${i}` }, { sleep: 100 }]).flat();
  await rehearse(bench, 'slow', { turns: [busy] }, ['--timeout', '900ms']);
  expect(await ended(bench, 'slow', 'failed')).toEqual(['timeout', 'timeout', 'timed_out', 1]);
  expect(sessionOf(bench, 'slow').attempt).toBe(1);
}, 60_000);

test('a log that grows beyond its bound ends the turn (H-80)', async () => {
  const bench = timed({});
  const flood = { turns: [[{ say: 'hi' }, { flood: { events: 3_000, bytes: 1_000 } }, 'hang']] };
  const small = timed({ max_log_bytes: 1_000_000 });
  await rehearse(bench, 'allowed', { turns: [[{ flood: { events: 3_000, bytes: 1_000 } }, { say: 'ok' }]] });
  await rehearse(small, 'flood', flood);
  expect(await ended(small, 'flood', 'zombie')).toEqual(['log_limit', 'log_limit', 'stalled', 1]);
  expect(lastingOf(small, 'flood')).toBeLessThan(8_000);
  await untilState(bench, 'allowed', 'completed');
}, 60_000);
