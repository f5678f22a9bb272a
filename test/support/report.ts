import type { PlanRow } from '../../src/model/plan.ts';
import type { StepRow, StepSessionRow } from '../../src/model/plan-step.ts';
import type { ReportRows, ReportSessionRow, ReportStateRow, ReportTurnRow } from '../../src/model/report-rows.ts';
import type { SessionState } from '../../src/model/session.ts';

/** 2026-01-30 22:00 UTC, and minutes after it. */
export const EVENING = Date.UTC(2026, 0, 30, 22);
export const min = (n: number) => EVENING + n * 60_000;

export function planRow(more: Partial<PlanRow> = {}): PlanRow {
  const settings = {
    ...{ name: 'night', concurrency: 4, pools: {}, budget: null, window: null, on_failure: 'continue', report: null },
    stop_when: { failed_steps: null, cost_micros: null, quota_left: null },
  };
  return {
    ...{ id: 'plan-a', name: 'night', run_id: 'run-a', repo_root: '/farm', working_dir: '/farm', file: 'night.yaml' },
    ...{ schedule_id: null, settings_json: JSON.stringify(settings), state: 'completed', reason: null, stopping: null },
    ...{ is_window_open: null, created_at: EVENING, updated_at: min(480), ended_at: min(480), reported_at: null },
    ...more,
  };
}

export function stepRow(step_id: string, more: Partial<StepRow> = {}): StepRow {
  return {
    ...{
      plan_id: 'plan-a',
      step_id,
      position: 0,
      child_no: 0,
      kind: 'task',
      group_id: null,
      spec_json: '{}',
      pool: 'p',
    },
    ...{ state: 'done', outcome: null, reason: null, round: 1, not_before_at: null, session_id: null },
    ...{ outputs_json: null, dropped: 0, started_at: EVENING, ended_at: min(60), ...more },
  };
}

export function tryRow(step_id: string, session_id: string, more: Partial<StepSessionRow> = {}): StepSessionRow {
  return {
    ...{ plan_id: 'plan-a', step_id, round: 1, slot: 1, session_id, diff_lines: null, archived_at: null },
    ...{ created_at: EVENING, ...more },
  };
}

export function sessionRow(id: string, more: Partial<ReportSessionRow> = {}): ReportSessionRow {
  const state = more.state ?? 'completed';
  const isOver = ['completed', 'failed', 'stopped', 'zombie'].includes(state);
  return {
    ...{ id, name: id, role: 'builder', harness: 'rehearsal', task: 't', model: 'big', profile_json: null, pool: 'p' },
    ...{ repo_root: '/farm', branch: `drover/${id}`, base_branch: 'main', worktree_path: null, state },
    ...{ end_reason: isOver ? 'ok' : null, parked_reason: null, parked_evidence: null, parked_pool: null },
    ...{
      said_model: null,
      resume_at: null,
      parent_id: null,
      next_turn_at: null,
      turn: 1,
      merged_commit: null,
      merged_at: null,
      created_at: EVENING,
      updated_at: min(60),
    },
    ...{ ended_at: isOver ? min(60) : null, ...more },
  };
}

export function turnRow(session_id: string, more: Partial<ReportTurnRow> = {}): ReportTurnRow {
  return {
    ...{ session_id, turn: 1, started_at: EVENING, ended_at: min(60), outcome: 'completed', reason: 'ok' },
    ...{ end_cause: null, input_tokens: 1_000, output_tokens: 100, cache_read_tokens: 0, cache_write_tokens: 0 },
    ...{ cost_micros: 100_000, is_cost_estimated: 0, ...more },
  };
}

/** Minutes and states of one session, e.g. `[0, 'queued'], [1, 'working']`; a third word is the reason of a `park`. */
export function stateRows(session_id: string, lines: [number, SessionState, string?][]): ReportStateRow[] {
  return lines.map(([at, to_state, reason]) => ({
    ...{ session_id, to_state, event: to_state === 'parked' ? 'park' : to_state, reason: reason ?? null, at: min(at) },
  }));
}

/** A run about which nothing is known but that it is over. */
export function rowsOf(more: Partial<ReportRows> = {}): ReportRows {
  return {
    run: { id: 'run-a', name: 'night', status: 'completed', started_at: EVENING, completed_at: min(480) },
    ...{ plan: planRow(), steps: [], step_sessions: [], plan_log: [], sessions: [], turns: [], states: [], merges: [] },
    ...{
      halt: null,
      incidents: [],
      gates: [],
      verdicts: [],
      questions: [],
      schedule_runs: [],
      budgets: [],
      pools: [],
      ...more,
    },
  };
}

type Merge = ReportRows['merges'][number];

export function mergeRow(session_id: string, more: Partial<Merge> = {}): Merge {
  return {
    ...{
      seq: 1,
      session_id,
      repo_root: '/farm',
      branch: `drover/${session_id}`,
      target: 'main',
      head: 'a',
      base_head: 'b',
    },
    ...{ started_at: min(60), ended_at: min(61), outcome: 'merged', merged_commit: 'c0ffee1234567890', reason: null },
    ...{ missing_json: null, ...more },
  };
}

/** A night in which one step was merged after a red gate and a limit, one failed twice, one was skipped, one is held. */
export function badNight(): ReportRows {
  const gate = { turn: 1, round: 1, command: 'npm test', started_at: min(20), ended_at: min(21) };
  return rowsOf({
    run: { id: 'run-a', name: 'night', status: 'failed', started_at: EVENING, completed_at: min(480) },
    plan: planRow({ state: 'failed', reason: '1 steps failed' }),
    steps: [
      stepRow('parse', { session_id: 'parse-1', ended_at: min(120) }),
      stepRow('types', { state: 'failed', outcome: 'stalled', reason: 'silent', round: 2, ended_at: min(200) }),
      stepRow('docs', { state: 'skipped', outcome: 'need_failed', started_at: null, ended_at: min(200) }),
    ],
    step_sessions: [tryRow('parse', 'parse-1'), tryRow('types', 'types-1'), tryRow('types', 'types-2', { round: 2 })],
    plan_log: [
      { seq: 1, plan_id: 'plan-a', step_id: null, event: 'window_opened', outcome: null, detail: null, at: EVENING },
      { seq: 2, plan_id: 'plan-a', step_id: 'types', event: 'retry', outcome: 'stalled', detail: null, at: min(100) },
    ],
    sessions: [
      sessionRow('parse-1', { merged_commit: 'c0ffee1234567890', ended_at: min(118) }),
      sessionRow('types-1', { state: 'zombie', end_reason: 'stuck', ended_at: min(100), model: null }),
      sessionRow('types-2', { state: 'zombie', end_reason: 'silent', ended_at: min(200), model: null, pool: 'q' }),
    ],
    ...turnsAndStates(),
    merges: [mergeRow('parse-1', { ended_at: min(119) })],
    gates: [
      { ...gate, session_id: 'parse-1', verdict: 'red', reason: 'exit code 1', output: 'not ok\n3 tests failed\n' },
      { ...gate, session_id: 'parse-1', turn: 3, verdict: 'green', command: null, reason: null, output: '' },
    ],
    verdicts: [
      {
        ...{ session_id: 'types-1', turn: 1, judged_by: 'watchdog', tier: 0, health: 'stuck', cause: 'silent' },
        ...{ act: 'terminate', evidence: 'no event for 15 minutes', at: min(99) },
      },
    ],
    schedule_runs: [
      {
        ...{ seq: 1, schedule_id: 'schedule-a', schedule_name: 'nightly', due_at: min(-1440), until_at: min(-1440) },
        ...{ times: 1, state: 'missed', reason: 'nobody looked', session_id: null, plan_id: null, at: EVENING },
      },
    ],
    budgets: [
      {
        ...{ scope: 'run', key: 'run-a', cost_micros: 5_000_000, tokens: null, alerted_percent: 0, raised_count: 1 },
        ...{ created_at: EVENING, updated_at: EVENING },
      },
    ],
  });
}

function turnsAndStates(): Pick<ReportRows, 'turns' | 'states'> {
  return {
    turns: [
      turnRow('parse-1', { cost_micros: 123_457 }),
      turnRow('parse-1', { turn: 2, outcome: 'limited', reason: 'usage_limit', cost_micros: 1, started_at: min(30) }),
      turnRow('parse-1', { turn: 3, cost_micros: 250_000, is_cost_estimated: 1, started_at: min(90) }),
      turnRow('types-1', { outcome: 'stalled', end_cause: 'stuck', cost_micros: null, input_tokens: 5_000 }),
      turnRow('types-2', { outcome: 'stalled', end_cause: 'silent', cost_micros: null, started_at: min(105) }),
    ],
    states: [
      ...stateRows('parse-1', [
        [0, 'queued'],
        [1, 'booting'],
        [2, 'working'],
        [30, 'parked', 'usage_limit'],
        [80, 'parked', 'pool p is open'],
        [90, 'queued'],
        [91, 'working'],
        [118, 'completed'],
      ]),
      ...stateRows('types-1', [
        [0, 'queued'],
        [5, 'working'],
        [100, 'zombie'],
      ]),
      ...stateRows('types-2', [
        [100, 'queued'],
        [105, 'working'],
        [150, 'parked', 'pool q: rate_limit'],
        [160, 'queued'],
        [161, 'working'],
        [200, 'zombie'],
      ]),
    ],
  };
}
