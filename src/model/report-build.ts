import type { HaltRow } from './halt.ts';
import type { PlanSettings } from './plan.ts';
import { type LiveSession, waitsForPerson } from './plan-stand.ts';
import { REPORT_SCHEMA, type Report, type ReportKill } from './report.ts';
import { countsOf, headlineOf, verdictOf } from './report-headline.ts';
import type { ReportRows } from './report-rows.ts';
import { budgetsOf, spentByModel, spentByPool, spentOf, turnsBySession } from './report-spent.ts';
import { gatesOf, looseSessions, mergesOf, stepsOf } from './report-steps.ts';
import { lostToLimits, spansOf } from './report-time.ts';
import { waitingOf } from './report-waiting.ts';
import type { EndCause, Outcome } from './turn.ts';
import { isSuccess } from './turn.ts';

/**
 * The report of one run: rows → what people want to know in the morning. Pure. It tells facts of the database and nothing
 * else: no session's own account of what it did is part of it.
 */
export function buildReport(rows: ReportRows, now: number): Report {
  const { plan, run, sessions } = rows;
  const turns = turnsBySession(rows.turns);
  const states = Map.groupBy(rows.states, ({ session_id }) => session_id);
  const names = new Map(sessions.map(({ id, name }) => [id, name]));
  const step_of = new Map(rows.step_sessions.map(({ session_id, step_id }) => [session_id, step_id]));
  const gates = gatesOf(rows, names);
  const gatesBySession = Map.groupBy(gates, ({ session_id }) => session_id);
  const spent = spentOf(rows.turns);
  const used = { cost_micros: spent.cost_micros ?? 0, tokens: spent.input_tokens + spent.output_tokens };
  const waiting = waitingOf(rows, states, step_of, used, now);
  const { merged, refused } = mergesOf(rows, names, step_of);
  const counts = countsOf(rows);
  const live = sessions.filter(({ ended_at }) => ended_at === null);
  const isWaiting =
    plan === null
      ? live.every(({ id }) => waiting.some((each) => each.session_id === id && !each.by_itself))
      : waitsForPerson({ ...rows, plan, live: livingOf(rows, step_of) }, now);
  const verdict = verdictOf(rows, counts, isWaiting);
  const started_at = plan?.created_at ?? run.started_at;
  const ended_at = plan === null ? (run.completed_at ?? endOf(rows)) : plan.ended_at;
  const settings = plan === null ? null : (JSON.parse(plan.settings_json) as PlanSettings);
  return {
    ...{
      verdict,
      headline: headlineOf(verdict, counts, { plan, is_halted: isHalted(rows.halt, ended_at), merged: merged.length }),
      schema_version: REPORT_SCHEMA,
    },
    ...{ made_at: now, run: { id: run.id, name: run.name, status: run.status } },
    plan: planPart(plan, settings),
    ...{ started_at, ended_at, took_ms: Math.max(0, (ended_at ?? now) - started_at) },
    ...{ timezone: settings?.window?.timezone ?? 'UTC', counts, waiting },
    steps: stepsOf(rows, turns, gatesBySession, now),
    sessions: looseSessions(sessions, step_of, turns, gatesBySession, now),
    ...{
      merged,
      refused,
      spent,
      spent_by_model: spentByModel(sessions, turns),
      spent_by_pool: spentByPool(sessions, turns),
    },
    budgets: budgetsOf(rows.budgets, sessions, turns, spent, run.name),
    lost_to_limits: lostToLimits(rows, states, now),
    ...logPart(rows),
    bad_turns: badTurns(rows),
    ...{ gates, kills: killsOf(rows, names, step_of), incidents: incidentsOf(rows, names), missed: missedOf(rows) },
    timeline: sessions.map(({ id, name, state }) => ({
      ...{ session_id: id, name, step_id: step_of.get(id) ?? null, state },
      spans: spansOf(states.get(id) ?? [], now),
    })),
  };
}

/** What had ended before the halt has nothing to do with it. */
function isHalted(halt: HaltRow | null, ended_at: number | null): boolean {
  return halt !== null && (ended_at === null || ended_at >= halt.at);
}

/** As the rule that says whether a plan waits wants them. */
function livingOf({ sessions, questions }: ReportRows, step_of: ReadonlyMap<string, string>): LiveSession[] {
  const asking = new Set(questions.map(({ from_id }) => from_id));
  return sessions
    .filter(({ ended_at }) => ended_at === null)
    .map((session) => ({
      ...session,
      step_id: step_of.get(session.id) ?? null,
      is_asking: asking.has(session.id),
    }));
}

/** Of a run that nobody has declared to be over: when its last session ended. */
function endOf({ sessions }: ReportRows): number | null {
  if (sessions.length === 0 || sessions.some(({ ended_at }) => ended_at === null)) return null;
  return sessions.reduce((last, { ended_at }) => Math.max(last, ended_at ?? 0), 0);
}

function planPart(plan: ReportRows['plan'], settings: PlanSettings | null): Report['plan'] {
  if (plan === null || settings === null) return null;
  const { id, name, state, reason, stopping, file, schedule_id, repo_root } = plan;
  const { window, stop_when } = settings;
  return { id, name, state, reason, stopping, file, schedule_id, repo_root, window, stop_when };
}

function logPart({ plan_log }: ReportRows): Pick<Report, 'retries' | 'windows'> {
  const round = new Map<string, number>();
  const retries: Report['retries'] = [];
  for (const { event, step_id, outcome, at } of plan_log) {
    if (event !== 'retry' || step_id === null) continue;
    const next = (round.get(step_id) ?? 1) + 1;
    round.set(step_id, next);
    retries.push({ step_id, round: next, cause: outcome, at });
  }
  const windows = plan_log
    .filter(({ event }) => event === 'window_opened' || event === 'window_closed')
    .map(({ event, at }) => ({ event, at }));
  return { retries, windows };
}

function badTurns({ turns }: ReportRows): Report['bad_turns'] {
  const bad = turns.flatMap(({ outcome }) => (outcome === null || isSuccess(outcome) ? [] : [outcome]));
  return [...Map.groupBy(bad, (outcome) => outcome)]
    .map(([outcome, all]): { outcome: Outcome; turns: number } => ({ outcome, turns: all.length }))
    .sort((a, b) => b.turns - a.turns || a.outcome.localeCompare(b.outcome));
}

/** Ends of a turn that were not the harness' own, nor a person's. */
const OURS: readonly (EndCause | null)[] = ['first_event', 'silent', 'timeout', 'stuck', 'log_limit'];

/** Turns that were ended from outside, each once: by the last verdict that did something, else by its timer. */
function killsOf(
  { verdicts, turns }: ReportRows,
  names: ReadonlyMap<string, string>,
  step_of: ReadonlyMap<string, string>,
): ReportKill[] {
  const key = (row: { session_id: string; turn: number }) => `${row.session_id} ${row.turn}`;
  const byTurn = new Map(verdicts.map((verdict) => [key(verdict), verdict]));
  return turns
    .flatMap((turn): ReportKill[] => {
      const verdict = byTurn.get(key(turn));
      const isActed = verdict !== undefined && (verdict.act !== 'nudge' || turn.end_cause === 'interrupt');
      if (!isActed && !OURS.includes(turn.end_cause)) return [];
      const who = {
        ...{ session_id: turn.session_id, session_name: names.get(turn.session_id) ?? turn.session_id },
        ...{ step_id: step_of.get(turn.session_id) ?? null, turn: turn.turn },
        ...{ end_cause: turn.end_cause, outcome: turn.outcome },
      };
      if (verdict === undefined || !isActed)
        return [
          {
            ...{ ...who, by: 'supervisor', cause: turn.end_cause, act: 'end' },
            ...{ evidence: turn.reason ?? turn.end_cause ?? '', at: turn.ended_at ?? turn.started_at },
          },
        ];
      const { judged_by: by, cause, act, evidence, at } = verdict;
      return [{ ...who, by, cause, act, evidence, at }];
    })
    .sort((a, b) => a.at - b.at);
}

function incidentsOf({ incidents }: ReportRows, names: ReadonlyMap<string, string>): Report['incidents'] {
  const nameOf = (id: string) => names.get(id) ?? id;
  return incidents.map((row) => ({
    ...{ id: row.id, kind: row.kind, path: row.path },
    between: [nameOf(row.first_session_id), nameOf(row.second_session_id)],
    held: row.paused_session_id === null ? null : nameOf(row.paused_session_id),
    ...{ summary: row.summary, resolution: row.resolution, at: row.created_at, resolved_at: row.resolved_at },
  }));
}

function missedOf({ schedule_runs }: ReportRows): Report['missed'] {
  return schedule_runs.map(({ schedule_id, schedule_name, state, reason, due_at, until_at, times }) => ({
    schedule: schedule_name ?? schedule_id,
    ...{ state, reason, due_at, until_at, times },
  }));
}
