import { beforeAll, expect, test } from 'bun:test';
import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { TurnRow } from '../../src/model/turn.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { peek, rehearse, sessionOf, turnDir, turnsOf, untilSession, untilState } from '../support/peek.ts';

const SILENT = resolve(import.meta.dir, '../fixtures/bin/works-silently');
const FAULTS = ['none', 'garbage', 'unfinished', 'stderr', 'twice'];

let bench: Bench;

beforeAll(async () => {
  const runner = (fault: string) => ({
    program: SILENT,
    base_args: [fault],
    event_format: 'ndjson',
    ...{ resume_flag: '--resume' },
  });
  bench = droverBench({
    config: {
      max_live_sessions: 3,
      turn: { max_attempts: 1 },
      harness_runners: Object.fromEntries(FAULTS.map((fault) => [fault, runner(fault)])),
    },
  });
  for (const fault of FAULTS) await bench.run(['sling', '--harness', fault, '--name', fault, '--role', 'solo', 'go']);
  for (const fault of FAULTS) await untilState(bench, fault, 'completed');
}, 60_000);

const turnOf = (name: string, turn = 1): TurnRow => {
  const row = turnsOf(bench, name)[turn - 1];
  if (row === undefined) throw new Error(`${name} has no turn ${turn}`);
  return row;
};

test('garbage, NUL, invalid UTF-8 and unknown events are counted and kept, and nothing else (C-03, faults 30, 31)', () => {
  const clean = turnOf('none');
  const turn = turnOf('garbage');
  expect([turn.outcome, turn.result_text]).toEqual(['completed', 'said it']);
  expect(turn.malformed).toBe(6);
  expect(turn.unknown).toBe(1);
  expect(turn.lines - clean.lines).toBe(8);
  const raw = readFileSync(join(turnDir(bench, 'garbage'), 'stdout.jsonl'));
  expect(turn.stdout_offset).toBe(raw.length);
  expect(raw.includes(Buffer.of(0xff, 0xfe))).toBe(true);
}, 60_000);

test('a last line without its newline counts (C-03)', () => {
  expect(readFileSync(join(turnDir(bench, 'unfinished'), 'stdout.jsonl'), 'utf8')).toEndWith('}');
  expect(turnOf('unfinished')).toMatchObject({ outcome: 'completed', result_text: 'said it', malformed: 0 });
}, 60_000);

test('a flood on standard error is kept apart from the stream (fault 37)', () => {
  expect(statSync(join(turnDir(bench, 'stderr'), 'stderr.log')).size).toBe(3_000_000);
  expect(turnOf('stderr')).toMatchObject({ outcome: 'completed', lines: turnOf('none').lines, malformed: 0 });
}, 60_000);

test('of two results the last one counts', () => {
  expect(turnOf('twice')).toMatchObject({ outcome: 'completed', result_text: 'said it' });
}, 60_000);

test('another conversation than the one that was resumed is recorded, and it is the one that goes on (O-55)', async () => {
  const warnings = (name: string) =>
    peek<{ data_json: string }>(bench, "SELECT * FROM events WHERE session_id = :id AND type = 'warning'", {
      id: sessionOf(bench, name).id,
    }).map(({ data_json }) => JSON.parse(data_json));
  const row = sessionOf(bench, 'none');
  expect([row.native_session_id, warnings(row.id)]).toEqual([`native-${row.id}`, []]);
  await bench.run(['recover', 'none']);
  const heir = await untilSession(bench, 'none', (each) => each.id !== row.id && each.state === 'completed');
  const { native_session_before: expected, native_session_after: observed } = turnOf(heir.id);
  expect([expected, observed, heir.native_session_id]).toEqual([
    `native-${row.id}`,
    `native-${heir.id}`,
    `native-${heir.id}`,
  ]);
  expect(warnings(heir.id)).toEqual([{ warning: 'resume_mismatch', expected, observed }]);
}, 60_000);

test('a line of 20 MB is read in one piece, one beyond the bound is counted, and others go on meanwhile (fault 29)', async () => {
  const bound = droverBench({ config: { turn: { max_attempts: 1, max_line_bytes: 1_000_000 } } });
  const script = { turns: [[{ line: 20_000_000 }, { say: 'after it' }]] };
  await Promise.all([rehearse(bench, 'long', script), rehearse(bound, 'long', script)]);
  await rehearse(bench, 'short', { turns: [[{ say: 'me too' }]] });
  await untilState(bench, 'short', 'completed');
  await untilState(bench, 'long', 'completed');
  await untilState(bound, 'long', 'completed');
  const [kept] = turnsOf(bench, 'long');
  const [cut] = turnsOf(bound, 'long');
  expect([kept?.malformed, cut?.malformed]).toEqual([0, 1]);
  expect([kept?.lines, kept?.result_text]).toEqual([cut?.lines ?? 0, 'after it']);
}, 60_000);
