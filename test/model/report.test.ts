import { describe, expect, test } from 'bun:test';
import type { PlanState } from '../../src/model/plan.ts';
import type { StepState } from '../../src/model/plan-step.ts';
import { buildReport } from '../../src/model/report-build.ts';
import type { ReportRows, ReportSessionRow } from '../../src/model/report-rows.ts';
import { spentOf } from '../../src/model/report-spent.ts';
import type { SessionState } from '../../src/model/session.ts';
import {
  badNight,
  EVENING,
  mergeRow,
  min,
  planRow,
  rowsOf,
  sessionRow,
  stateRows,
  stepRow,
  tryRow,
  turnRow,
} from '../support/report.ts';

const NOW = min(500);

function lineOf(more: Partial<ReportRows>): [string, string] {
  const { verdict, headline } = buildReport(rowsOf(more), NOW);
  return [verdict, headline];
}

const isOver = (state: StepState) => ['done', 'failed', 'skipped', 'cancelled'].includes(state);
const stepsIn = (...states: StepState[]) =>
  states.map((state, i) => stepRow(`s${i}`, { state, ended_at: isOver(state) ? min(1) : null }));
const open = (state: PlanState, more = {}) => planRow({ state, ended_at: null, ...more });

describe('the first line is honest', () => {
  test.each<[string, Partial<ReportRows>, string, string]>([
    ['all done', { steps: stepsIn('done', 'done') }, 'done', 'Done: all 2 steps done.'],
    ['one', { steps: stepsIn('done') }, 'done', 'Done: 1 step done.'],
    [
      'done with a step that was not needed',
      { steps: stepsIn('done', 'skipped'), sessions: [sessionRow('a')], merges: [mergeRow('a')] },
      'done',
      'Done: 1 of 2 steps done, 1 skipped; 1 merged.',
    ],
    ['nothing was needed', { steps: stepsIn('skipped') }, 'done', 'Done: nothing was done; 1 of 1 step skipped.'],
    [
      'failed comes before what is done',
      { steps: stepsIn('done', 'failed', 'skipped'), plan: planRow({ state: 'failed' }) },
      'failed',
      'FAILED: 1 of 3 steps failed, 1 done, 1 skipped.',
    ],
    [
      'a plan that says it is completed over a failed step has failed',
      { steps: stepsIn('done', 'failed') },
      'failed',
      'FAILED: 1 of 2 steps failed, 1 done.',
    ],
    [
      'a night in which nothing came to pass',
      { steps: stepsIn('failed', 'skipped'), plan: planRow({ state: 'failed' }) },
      'failed',
      'FAILED: nothing was done; 1 of 2 steps failed, 1 skipped.',
    ],
    [
      'stopped early',
      { steps: stepsIn('done', 'skipped'), plan: planRow({ state: 'failed', stopping: 'usd' }) },
      'failed',
      'FAILED, stopped early (usd): 1 of 2 steps done, 1 skipped.',
    ],
    [
      'cancelled',
      { steps: stepsIn('cancelled', 'done'), plan: planRow({ state: 'cancelled' }) },
      'failed',
      'FAILED, cancelled: 1 of 2 steps cancelled, 1 done.',
    ],
    [
      'parked',
      { steps: stepsIn('parked', 'failed', 'done', 'pending'), plan: open('parked', { reason: '1 parked' }) },
      'parked',
      'PARKED: 1 of 4 steps failed, 1 parked, 1 done, 1 not started.',
    ],
    [
      'paused',
      { steps: stepsIn('pending'), plan: open('paused') },
      'parked',
      'PARKED, paused by a person: 1 of 1 step not started.',
    ],
    [
      'running',
      { steps: stepsIn('running', 'merging', 'pending'), plan: open('active') },
      'running',
      'Running: 2 of 3 steps running, 1 not started.',
    ],
    ['no steps', { steps: [] }, 'done', 'Done: nothing was done, there were no steps.'],
  ])('%s', (_what, more, verdict, headline) => {
    expect(lineOf(more)).toEqual([verdict, headline] as [string, string]);
  });

  test('groups are not counted, their members are', () => {
    const steps = [stepRow('g[1]', { group_id: 'g' }), stepRow('g', { kind: 'group' })];
    expect(lineOf({ steps })[1]).toBe('Done: 1 step done.');
  });

  test.each<[StepState, Partial<ReportRows>, string]>([
    ['failed', { plan: planRow({ state: 'failed' }) }, 'FAILED: 1 of 3 steps failed, 2 done.'],
    ['skipped', {}, 'Done: 2 of 3 steps done, 1 skipped.'],
    ['pending', { plan: open('active') }, 'Running: 2 of 3 steps done, 1 not started.'],
    ['cancelled', { plan: planRow({ state: 'cancelled' }) }, 'FAILED, cancelled: 1 of 3 steps cancelled, 2 done.'],
    ['done', {}, 'Done: all 3 steps done.'],
  ])('a group that never got a member is a step that is %s', (state, more, headline) => {
    const steps = [...stepsIn('done', 'done'), stepRow('each', { kind: 'group', state })];
    expect(lineOf({ steps, ...more })[1]).toBe(headline);
  });

  test('a group runs as soon as a member does, and took as long as they did', () => {
    const members = [
      stepRow('g.1', { group_id: 'g', started_at: min(10), ended_at: min(20) }),
      stepRow('g.2', { group_id: 'g', started_at: null, state: 'pending', ended_at: null }),
    ];
    const group = (more = {}) => stepRow('g', { kind: 'group', started_at: null, ended_at: null, ...more });
    const shown = (steps: ReportRows['steps']) => buildReport(rowsOf({ steps }), NOW).steps.at(-1);
    expect(shown([...members, group({ state: 'pending' })])).toMatchObject({
      ...{ state: 'running', started_at: min(10), took_ms: min(500) - min(10) },
    });
    expect(shown([...members, group({ started_at: min(30), ended_at: min(30) })])).toMatchObject({
      ...{ state: 'done', took_ms: min(30) - min(10) },
    });
    expect(shown([group({ state: 'pending' })])).toMatchObject({ state: 'pending', took_ms: null });
  });

  test('items beyond a cap are said where all else is done', () => {
    const group = (dropped: number) => [
      stepRow('each[1]', { group_id: 'each' }),
      stepRow('each', { kind: 'group', dropped }),
    ];
    expect(lineOf({ steps: [...stepsIn('done'), ...group(7)] })).toEqual([
      'done',
      'Done: all 2 steps done; 7 items beyond the cap were not worked on.',
    ]);
    const sessions = [sessionRow('a')];
    expect(lineOf({ steps: group(1), sessions, merges: [mergeRow('a')] })[1]).toBe(
      'Done: 1 step done; 1 merged; 1 item beyond the cap was not worked on.',
    );
    expect(buildReport(rowsOf({ steps: group(7) }), NOW).counts).toMatchObject({ total: 1, dropped: 7 });
  });

  test('PARKED when only a person can act, by the rule that ends `plan run` with 75', () => {
    const steps = stepsIn('running', 'done');
    const questions = [{ id: 'mail-q', from_id: 'ewe', subject: 'Which?', created_at: min(3) }];
    const asks = { plan: open('active'), steps, questions, step_sessions: [tryRow('s0', 'ewe')] };
    const idle = sessionRow('ewe', { state: 'idle' });
    expect(lineOf({ ...asks, sessions: [idle] })).toEqual(['parked', 'PARKED: 1 of 2 steps waiting, 1 done.']);
    expect(lineOf({ ...asks, sessions: [idle], questions: [] })[0]).toBe('running');
    expect(lineOf({ ...asks, sessions: [idle, sessionRow('ram', { state: 'working' })] })[0]).toBe('running');
    // It is answered, and gets its next turn.
    expect(lineOf({ ...asks, sessions: [{ ...idle, next_turn_at: min(501) }] })[0]).toBe('running');
  });

  test('a plan that a person paused is running as long as something of it does', () => {
    const more = { plan: open('paused'), steps: stepsIn('running', 'pending') };
    expect(lineOf({ ...more, sessions: [sessionRow('a', { state: 'working' })] })).toEqual([
      'running',
      'Running, paused by a person: 1 of 2 steps running, 1 not started.',
    ]);
    expect(lineOf({ ...more, sessions: [sessionRow('a', { state: 'parked' })] })[0]).toBe('parked');
  });

  const plain = (...states: SessionState[]): Partial<ReportRows> => ({
    plan: null,
    run: { id: 'run-a', name: 'r', status: 'active', started_at: EVENING, completed_at: null },
    sessions: states.map((state, i) =>
      sessionRow(`s${i}`, { state, parked_reason: state === 'parked' ? 'operator' : null }),
    ),
  });
  test.each<[SessionState[], string, string]>([
    [['completed', 'completed'], 'done', 'Done: all 2 sessions done.'],
    [['completed', 'zombie', 'stopped'], 'failed', 'FAILED: 1 of 3 sessions failed, 1 stopped, 1 done.'],
    [['failed'], 'failed', 'FAILED: nothing was done; 1 of 1 session failed.'],
    [['parked', 'completed'], 'parked', 'PARKED: 1 of 2 sessions parked, 1 done.'],
    [['parked', 'working', 'queued'], 'running', 'Running: 1 of 3 sessions parked, 1 running, 1 not started.'],
    [[], 'running', 'Running: nothing was done, there was no session.'],
  ])('a run without a plan: %p', (states, verdict, headline) => {
    expect(lineOf(plain(...states))).toEqual([verdict, headline] as [string, string]);
  });

  test('a run that was declared over without a session is no success', () => {
    const run = { id: 'run-a', name: 'r', status: 'completed' as const, started_at: EVENING, completed_at: min(1) };
    expect(lineOf({ plan: null, run })).toEqual(['failed', 'FAILED: nothing was done, there was no session.']);
  });

  test('a run whose only session waits for a time is running', () => {
    const more = plain('parked');
    const [session] = more.sessions as ReportSessionRow[];
    const sessions = [{ ...(session as ReportSessionRow), parked_reason: 'rate_limit' as const, resume_at: min(600) }];
    expect(lineOf({ ...more, sessions })[0]).toBe('running');
  });
});

describe('money', () => {
  test('adds up in whole micro-dollars, however many turns', () => {
    const turns = Array.from({ length: 10_000 }, (_, turn) => turnRow('a', { turn, cost_micros: 1 }));
    expect(spentOf(turns)).toMatchObject({ cost_micros: 10_000, turns: 10_000, unpriced_turns: 0 });
    const big = spentOf([turnRow('a', { cost_micros: 2 ** 52 }), turnRow('a', { turn: 2, cost_micros: 1 })]);
    expect(big.cost_micros).toBe(2 ** 52 + 1);
  });

  test('what nobody knows is told apart: tokens only, and how many', () => {
    const known = turnRow('a', { cost_micros: 7 });
    const unknown = turnRow('a', { turn: 2, cost_micros: null });
    const silent = turnRow('a', { turn: 3, cost_micros: null, input_tokens: 0, output_tokens: 0 });
    expect(spentOf([known, unknown, silent])).toMatchObject({
      ...{ cost_micros: 7, unpriced_turns: 1, unpriced_tokens: 1_100, input_tokens: 2_000 },
    });
    expect(spentOf([unknown])).toMatchObject({ cost_micros: null, unpriced_turns: 1 });
    expect(spentOf([silent])).toMatchObject({ cost_micros: 0, unpriced_turns: 0 });
    expect(spentOf([])).toMatchObject({ cost_micros: 0, turns: 0, is_estimated: false });
  });

  test('an estimate anywhere makes the sum one', () => {
    expect(spentOf([turnRow('a'), turnRow('a', { turn: 2, is_cost_estimated: 1 })]).is_estimated).toBe(true);
    expect(spentOf([turnRow('a')]).is_estimated).toBe(false);
  });

  test('per step, per model, per pool: each adds up to the whole', () => {
    const report = buildReport(badNight(), NOW);
    const sum = (parts: readonly { cost_micros: number | null; input_tokens: number; unpriced_turns: number }[]) =>
      parts.reduce<{ cost_micros: number; input_tokens: number; unpriced_turns: number }>(
        (all, part) => ({
          cost_micros: all.cost_micros + (part.cost_micros ?? 0),
          input_tokens: all.input_tokens + part.input_tokens,
          unpriced_turns: all.unpriced_turns + part.unpriced_turns,
        }),
        { cost_micros: 0, input_tokens: 0, unpriced_turns: 0 },
      );
    const whole = { cost_micros: 373_458, input_tokens: 9_000, unpriced_turns: 2 };
    expect(report.spent).toMatchObject(whole);
    for (const parts of [report.spent_by_model, report.spent_by_pool, report.steps.map(({ spent }) => spent)])
      expect(sum(parts)).toEqual(whole);
    expect(report.spent_by_model.map(({ model, cost_micros }) => [model, cost_micros])).toEqual([
      [null, null],
      ['big', 373_458],
    ]);
    expect(report.budgets).toEqual([
      {
        ...{ scope: 'run', name: 'night', cost_micros: 5_000_000, tokens: null, raised_count: 1 },
        ...{ spent_micros: 373_458, spent_tokens: 9_500, unpriced_turns: 2 },
      },
    ]);
  });

  test('the model is what the harness called it, else what was asked for, by the session or its profile', () => {
    const profile_json = '{"model":"small"}';
    const modelOf = (more: Partial<ReportSessionRow>) =>
      buildReport(rowsOf({ sessions: [sessionRow('a', more)], turns: [turnRow('a')] }), NOW).spent_by_model[0]?.model;
    expect(modelOf({ profile_json, said_model: 'big-2026' })).toBe('big-2026');
    expect(modelOf({ profile_json })).toBe('big');
    expect(modelOf({ profile_json, model: null })).toBe('small');
    expect(modelOf({ model: null })).toBe(null);
  });
});

test('a bad night: every section says what its rows say', () => {
  const report = buildReport(badNight(), NOW);
  expect(Object.keys(report).slice(0, 3)).toEqual(['verdict', 'headline', 'schema_version']);
  expect([report.verdict, report.headline]).toEqual([
    'failed',
    'FAILED: 1 of 3 steps failed, 1 done, 1 skipped; 1 merged.',
  ]);
  expect(report.took_ms).toBe(480 * 60_000);
  const steps = report.steps.map(({ id, state, outcome, tries, took_ms, gates, merged_commit, sessions }) => [
    ...[id, state, outcome, tries, took_ms === null ? null : took_ms / 60_000, gates.join('>'), merged_commit],
    sessions.map(({ name, is_chosen }) => `${name}${is_chosen ? '!' : ''}`).join(),
  ]);
  expect(steps).toEqual([
    ['parse', 'done', null, 1, 120, 'red>green', 'c0ffee1234567890', 'parse-1!'],
    ['types', 'failed', 'stalled', 2, 200, '', null, 'types-1,types-2'],
    ['docs', 'skipped', 'need_failed', 0, null, '', null, ''],
  ]);
  expect(report.steps[1]?.spent.cost_micros).toBe(null);
  expect(report.merged.map(({ step_id, branch, target, commit }) => [step_id, branch, target, commit])).toEqual([
    ['parse', 'drover/parse-1', 'main', 'c0ffee1234567890'],
  ]);
  expect(report.lost_to_limits).toEqual([
    { pool: 'p', sessions: 1, times: 1, session_ms: 3_600_000, wall_ms: 3_600_000 },
    { pool: 'q', sessions: 1, times: 1, session_ms: 600_000, wall_ms: 600_000 },
  ]);
  expect(report.retries).toEqual([{ step_id: 'types', round: 2, cause: 'stalled', at: min(100) }]);
  expect(report.bad_turns).toEqual([
    { outcome: 'stalled', turns: 2 },
    { outcome: 'limited', turns: 1 },
  ]);
  expect(report.gates.map(({ verdict, output }) => [verdict, output])).toEqual([
    ['red', 'not ok\n3 tests failed\n'],
    ['green', null],
  ]);
  expect(
    report.kills.map(({ session_name, by, act, evidence, outcome }) => [session_name, by, act, evidence, outcome]),
  ).toEqual([
    ['types-2', 'supervisor', 'end', 'ok', 'stalled'],
    ['types-1', 'watchdog', 'terminate', 'no event for 15 minutes', 'stalled'],
  ]);
  expect(report.missed).toMatchObject([{ schedule: 'nightly', state: 'missed', reason: 'nobody looked', times: 1 }]);
  expect(report.windows).toEqual([{ event: 'window_opened', at: EVENING }]);
  expect([report.waiting, report.refused, report.sessions]).toEqual([[], [], []]);
});

test('the timeline: neighbours of one state are one span, ended sessions have none behind their end', () => {
  const [parse, types] = buildReport(badNight(), NOW).timeline;
  expect(
    parse?.spans.map(({ state, from_at, to_at }) => [state, (from_at - EVENING) / 60_000, (to_at - EVENING) / 60_000]),
  ).toEqual([
    ['queued', 0, 1],
    ['working', 1, 30],
    ['parked', 30, 90],
    ['queued', 90, 91],
    ['working', 91, 118],
  ]);
  expect(types?.spans.at(-1)?.to_at).toBe(min(100));
});

test('time lost to limits: of several at once the clock counts it once; a person is no limit; who still waits counts up to now', () => {
  const sessions = ['a', 'b', 'c', 'd'].map((id) =>
    sessionRow(id, { state: id === 'd' ? 'completed' : 'parked', parked_reason: id === 'd' ? null : 'usage_limit' }),
  );
  const report = buildReport(
    rowsOf({
      sessions,
      states: [
        ...stateRows('a', [[100, 'parked', 'pool p: usage_limit']]),
        ...stateRows('b', [[400, 'parked', 'overloaded']]),
        ...stateRows('c', [[0, 'parked', 'a person said so']]),
        ...stateRows('d', [
          [0, 'parked', 'auth'],
          [50, 'completed'],
        ]),
      ],
    }),
    NOW,
  );
  expect(report.lost_to_limits).toEqual([
    { pool: 'p', sessions: 2, times: 2, session_ms: 500 * 60_000, wall_ms: 400 * 60_000 },
  ]);
});

test('merges: the last attempt counts, lines that are missing are told, a merge by other hands as well', () => {
  const sessions = [
    sessionRow('a', { merged_commit: 'x' }),
    sessionRow('b', { merged_commit: 'y', merged_at: min(3) }),
  ];
  const missing = JSON.stringify([{ path: 'a.ts', side: 'ours', line: 'let x' }]);
  const merges = [
    mergeRow('a', { outcome: 'gate', merged_commit: null }),
    mergeRow('c', { merged_commit: 'z' }),
    mergeRow('a', { seq: 2, merged_commit: 'x', missing_json: missing }),
    mergeRow('a', { seq: 3, outcome: null, ended_at: null }),
  ];
  const report = buildReport(rowsOf({ sessions, merges }), NOW);
  expect(report.merged.map(({ session_name, commit, missing }) => [session_name, commit, missing])).toEqual([
    ['c', 'z', []],
    ['a', 'x', [{ path: 'a.ts', line: 'let x' }]],
    ['b', 'y', []],
  ]);
  expect(report.refused).toEqual([]);
});

test('a nudge that ended a turn is a kill, one that only spoke is none', () => {
  const verdict = {
    ...{ judged_by: 'watchdog' as const, tier: 0, health: 'late' as const, cause: 'silent', act: 'nudge' as const },
    ...{ evidence: 'silent', at: min(5) },
  };
  const report = buildReport(
    rowsOf({
      sessions: [sessionRow('a'), sessionRow('b')],
      turns: [turnRow('a', { end_cause: 'interrupt', outcome: 'cancelled' }), turnRow('b')],
      verdicts: [
        { ...verdict, session_id: 'a', turn: 1 },
        { ...verdict, session_id: 'b', turn: 1 },
      ],
    }),
    NOW,
  );
  expect(report.kills.map(({ session_name }) => session_name)).toEqual(['a']);
});
