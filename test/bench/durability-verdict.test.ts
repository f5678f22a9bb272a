import { expect, test } from 'bun:test';
import { doubles } from '../../bench/durability/lookout.ts';
import type { Found } from '../../bench/durability/processes.ts';
import { asObject, table } from '../../bench/durability/report.ts';
import {
  illegalMoves,
  judgeKills,
  KILL_FIGURES,
  type KillFacts,
  type KillFigure,
  type LogFact,
  parseWitness,
  type TurnFact,
} from '../../bench/durability/verdict.ts';
import { judgeWatch, type Watched } from '../../bench/durability/watch-verdict.ts';

const turn = (session_id: string, n: number, more: Partial<TurnFact> = {}): TurnFact => ({
  ...{ session_id, turn: n, started_at: 1_000 * n, ended_at: 1_000 * n + 500, outcome: 'completed' },
  ...{ lines: [0, 10], events: [0, 10] },
  ...more,
});

const moved = (seq: number, from_state: string | null, to_state: string, more: Partial<LogFact> = {}): LogFact => ({
  ...{ seq, session_id: 'a', from_state, to_state, event: 'x', turn: 1, at: 100_000 },
  ...more,
});

const LOG = [
  moved(1, null, 'queued', { turn: 0 }),
  moved(2, 'queued', 'booting'),
  moved(3, 'booting', 'working'),
  moved(4, 'working', 'idle'),
  moved(5, 'idle', 'working', { turn: 2 }),
  moved(6, 'working', 'completed', { turn: 2 }),
];

/** A campaign in which nothing went wrong: a task, then mail, read in two turns of one session. */
const GOOD: KillFacts = {
  ...{ tasks: ['tok-t-1'], mails: ['tok-o-1'] },
  witness: parseWitness(
    [
      'start a 1 11 10 5 1000000',
      'read a 1 11 tok-t-1',
      'sent a 1 11 tok-a-1',
      'end a 1 11 ',
      'start a 2 21 20 5 2000000',
      'read a 2 21 tok-o-1 tok-a-1 tok-a-1',
      'end a 2 21 ',
      'start a 3 3',
    ].join('\n'),
  ),
  sessions: [{ id: 'a', name: 's1', state: 'completed', ended_at: 9, recovered_from: null }],
  turns: [turn('a', 1), turn('a', 2)],
  log: LOG,
  leases: [
    { fence: 1, pid: 5, taken_at: 500 },
    { fence: 2, pid: 6, taken_at: 3_000 },
  ],
  ...{ sightings: [], left: [], stale_ms: 1_000 },
};

function red(facts: KillFacts): KillFigure[] {
  const findings = judgeKills(facts);
  return KILL_FIGURES.filter((figure) => findings[figure].length > 0);
}

test('the notes of harnesses: a line cut off by a kill says nothing, a word twice in one prompt is one word', () => {
  expect(GOOD.witness.starts).toEqual([
    { session: 'a', turn: 1, pid: 11, launcher: 10, supervisor: 5, at: 1_000 },
    { session: 'a', turn: 2, pid: 21, launcher: 20, supervisor: 5, at: 2_000 },
  ]);
  expect(GOOD.witness.reads[1]?.tokens).toEqual(['tok-o-1', 'tok-a-1']);
});

test('a campaign without a fault has no red figure', () => {
  expect(red(GOOD)).toEqual([]);
});

const { witness } = GOOD;
const dirty = { outcome: 'lost' };
const OFFENDERS: [string, KillFigure[], Partial<KillFacts>][] = [
  ['a task that no clean turn has read', ['lost_tasks'], { tasks: ['tok-t-1', 'tok-t-2'] }],
  ['mail that no turn has read', ['lost_mail'], { mails: ['tok-o-1', 'tok-o-2'] }],
  ['mail of a session that no turn has read', ['lost_mail'], { witness: { ...witness, sent: ['tok-a-1', 'tok-a-2'] } }],
  ['mail that only a turn which died has read', ['lost_mail'], { turns: [turn('a', 1), turn('a', 2, dirty)] }],
  [
    'mail in two clean turns',
    ['doubled_mail'],
    { witness: { ...witness, reads: [...witness.reads, { session: 'a', turn: 1, tokens: ['tok-o-1'] }] } },
  ],
  [
    'two processes for one turn',
    ['doubled_turns'],
    {
      witness: parseWitness('start a 1 11 10 5 1000000\nstart a 1 12 10 5 1100000\n'),
      tasks: [],
      mails: [],
      turns: [],
    },
  ],
  [
    'a session without an end',
    ['stuck_sessions'],
    { sessions: [{ id: 'a', name: 's1', state: 'idle', ended_at: null, recovered_from: null }] },
  ],
  [
    'a dead session without a successor',
    ['stuck_sessions'],
    { sessions: [{ id: 'a', name: 's1', state: 'zombie', ended_at: 1, recovered_from: null }] },
  ],
  ['a process that is left', ['orphans'], { left: ['77 sleep 600'] }],
  ['two of something at once', ['double_owners'], { sightings: ['two supervisors: 5 and 6'] }],
  [
    'a fence that does not grow',
    ['double_owners'],
    { leases: [...GOOD.leases, { fence: 2, pid: 7, taken_at: 4_000 }] },
  ],
  [
    'a turn started under an old lease',
    ['double_owners'],
    { leases: [GOOD.leases[0], { fence: 2, pid: 6, taken_at: 1_500 }].filter((lease) => lease !== undefined) },
  ],
  ['a line without its event', ['lost_events'], { turns: [turn('a', 1), turn('a', 2, { events: [0] })] }],
  ['an event twice', ['doubled_events'], { turns: [turn('a', 1), turn('a', 2, { events: [0, 10, 10] })] }],
  [
    'a turn called clean whose harness never ended',
    ['false_ends'],
    { witness: { ...witness, ends: witness.ends.slice(1) } },
  ],
  ['a broken chain of states', ['illegal_transitions'], { log: LOG.toSpliced(3, 1) }],
];

test.each(OFFENDERS)('the kill campaign sees %s', (_what, figures, offence) => {
  expect(red({ ...GOOD, ...offence })).toEqual(figures);
});

test('the log is held against the table of states (MODEL §2.2)', () => {
  const first = LOG.slice(0, 3);
  const says = (row: LogFact) => illegalMoves({ log: [...first, row], turns: [turn('a', 1)], stale_ms: 1_000 });
  expect(says(moved(4, 'working', 'stalled', { event: 'stall' }))).toEqual([]);
  expect(says(moved(4, 'working', 'queued'))).toHaveLength(1);
  expect(says(moved(4, 'booting', 'idle'))).toHaveLength(2);
  expect(says(moved(4, 'working', 'idle', { turn: 0 }))).toHaveLength(1);
  expect(says(moved(4, 'working', 'idle', { turn: 3 }))).toHaveLength(1);
  expect(says(moved(4, 'working', 'stalled', { event: 'stall', at: 1_200 }))).toHaveLength(1);
  expect(says(moved(4, null, 'working', { session_id: 'b' }))).toHaveLength(1);
});

const found = (pid: number, kind: Found['kind'], session: string | null, more: Partial<Found> = {}): Found => ({
  identity: { pid, start_time: '1', boot_id: 'b' },
  ...{ kind, command: '', session, turn: session === null ? null : '1', parent: 99, ...more },
});

test('two launchers, two harnesses or two supervisors at once are seen, and a forked child is not taken for one', () => {
  const none = () => false;
  expect(doubles([found(1, 'launcher', 'a'), found(2, 'launcher', 'b'), found(3, 'harness', 'a')], none)).toEqual([]);
  expect(doubles([found(1, 'harness', 'a'), found(2, 'harness', 'a', { parent: 1 })], none)).toEqual([]);
  expect(doubles([found(1, 'launcher', 'a'), found(2, 'launcher', 'a')], none)).toHaveLength(1);
  expect(doubles([found(1, 'harness', 'a'), found(2, 'harness', 'a', { turn: '2' })], none)).toHaveLength(1);
  const two = [found(1, 'supervisor', null), found(2, 'supervisor', null)];
  expect(doubles(two, none)).toEqual([]);
  expect(doubles(two, () => true)).toHaveLength(1);
});

const WELL: Watched = {
  ...{ name: 'w1', shape: 'quick', is_sick: false, allowed_ms: 0, last_at: null, has_ended: true, state: 'completed' },
  ...{ end_causes: [null], outcomes: ['completed'], decided_at: 5 },
};
const ILL: Watched = {
  ...{ ...WELL, shape: 'hang-turn', is_sick: true, allowed_ms: 1_000, last_at: 10_000, has_ended: false },
  ...{ state: 'zombie', end_causes: ['stuck'], outcomes: ['stalled'], decided_at: 11_300 },
};

const NONE = { false_kills: [], missed_hangs: [], detect_ms: [], settle_ms: [], early_ends: [] };

test('the watchdog campaign sees who was ended wrongly, who was not ended, and how late', () => {
  const judge = (sessions: Watched[], from = 0, to = 0) => judgeWatch(sessions, [{ from, to }], 2_000);
  expect(judge([WELL, ILL])).toEqual({ ...NONE, detect_ms: [300] });
  for (const wrong of [{ state: 'zombie' }, { has_ended: false }, { end_causes: ['silent'] }, { outcomes: ['lost'] }]) {
    expect(judge([{ ...WELL, ...wrong }]).false_kills).toHaveLength(1);
  }
  expect(judge([{ ...WELL, outcomes: [] }]).false_kills).toHaveLength(1);
  for (const wrong of [{ decided_at: null }, { last_at: null }, { decided_at: 13_100 }]) {
    expect(judge([{ ...ILL, ...wrong }]).missed_hangs).toHaveLength(1);
  }
  const late = { ...ILL, decided_at: 14_100 };
  expect(judge([late], 10_500, 13_000)).toMatchObject({ missed_hangs: [], detect_ms: [100] });
  expect(judge([late], 11_500, 13_000)).toMatchObject({ missed_hangs: [], detect_ms: [100] });
  expect(judge([late], 12_500, 13_000).missed_hangs).toHaveLength(1);
});

test('times to detect are never negative: an early end is told apart, and so is a harness that was gone by itself', () => {
  const judge = (sessions: Watched[], from = 0, to = 0) => judgeWatch(sessions, [{ from, to }], 2_000);
  const early = judge([{ ...ILL, decided_at: 10_400 }]);
  expect(early).toEqual({ ...NONE, early_ends: [expect.stringContaining('600 ms early')] });
  const gone: Watched = { ...ILL, shape: 'forked', allowed_ms: null, decided_at: 10_250 };
  expect(judge([gone, { ...gone, decided_at: 10_100 }])).toEqual({ ...NONE, settle_ms: [100, 250] });
  expect(judge([{ ...gone, decided_at: 12_300 }]).missed_hangs).toHaveLength(1);
  // A suspension that began when all was decided moves nothing.
  expect(judge([gone], 10_500, 17_000)).toEqual({ ...NONE, settle_ms: [250] });
  expect(judge([gone], 10_240, 17_000)).toEqual({ ...NONE, settle_ms: [250] });
  expect(judge([{ ...gone, decided_at: 17_050 }], 10_100, 17_000)).toEqual({ ...NONE, settle_ms: [50] });
});

test('the table says what its times measure', () => {
  const numbers = { detect_ms_p50: 12, settle_ms_p50: null, early_ends: 0 };
  const text = table(new Map([['watch', { zero: {}, numbers, info: {} }]]), 1);
  expect(text).toMatch(/detect_ms_p50 +12 {2}from overdue to the decision/);
  expect(text).toMatch(/settle_ms_p50 +- {2}from its harness's own end/);
  expect(text).toMatch(/early_ends +0 {2}sick ones ended before they were overdue/);
});

test('a report is good only when every figure with a goal reaches it', () => {
  const whole = { seed: 1, small: true, failures: [] };
  const report = (zero: Record<string, string[]>, numbers: Record<string, number | null>) =>
    asObject(new Map([['kill', { zero, numbers, info: {} }]]), whole);
  expect(report({ lost_mail: [] }, { limit_extra_calls: 1 })).toMatchObject({ ok: true, lost_mail: 0 });
  expect(report({ lost_mail: ['tok-o-1'] }, {})).toMatchObject({ ok: false, lost_mail: 1 });
  expect(report({}, { limit_extra_calls: 2 }).ok).toBe(false);
  expect(asObject(new Map(), { ...whole, failures: ['kill'] }).ok).toBe(false);
});
