import type { ExpandedStep } from './plan.ts';
import { groupSpan } from './plan-count.ts';
import type { ReportGate, ReportMerge, ReportSession, ReportStep } from './report.ts';
import type { ReportRows, ReportSessionRow, ReportTurnRow } from './report-rows.ts';
import { spentOf } from './report-spent.ts';

/** Of what a red gate printed. */
const OUTPUT_LENGTH = 2_000;

type Turns = ReadonlyMap<string, readonly ReportTurnRow[]>;

export function stepsOf(
  rows: ReportRows,
  turns: Turns,
  gates: ReadonlyMap<string, ReportGate[]>,
  now: number,
): ReportStep[] {
  const sessions = new Map(rows.sessions.map((session) => [session.id, session]));
  const tries = Map.groupBy(rows.step_sessions, ({ step_id }) => step_id);
  const members = Map.groupBy(
    rows.steps.filter(({ group_id }) => group_id !== null),
    ({ group_id }) => group_id ?? '',
  );
  return rows.steps.map((step) => {
    const own = tries.get(step.step_id) ?? [];
    const all = step.kind === 'task' ? own : membersIn(members, step.step_id).flatMap((id) => tries.get(id) ?? []);
    const chosen = step.session_id;
    const { state, started_at, ended_at } = groupSpan(step, members.get(step.step_id) ?? []);
    const spec = JSON.parse(step.spec_json) as Partial<ExpandedStep>;
    return {
      ...{ id: step.step_id, kind: step.kind, group_id: step.group_id, state, outcome: step.outcome },
      ...{ reason: step.reason, tries: new Set(own.map(({ round }) => round)).size, dropped: step.dropped },
      ...{ started_at, ended_at },
      took_ms: started_at === null ? null : Math.max(0, (ended_at ?? now) - started_at),
      merge: spec.merge ?? 'none',
      branch: chosen === null ? null : (sessions.get(chosen)?.branch ?? null),
      spent: spentOf(all.flatMap(({ session_id }) => turns.get(session_id) ?? [])),
      sessions: own.flatMap(({ session_id, round, slot }) => {
        const session = sessions.get(session_id);
        if (session === undefined) return [];
        return {
          id: session.id,
          name: session.name,
          round,
          slot,
          state: session.state,
          is_chosen: session.id === chosen,
        };
      }),
      gates: (chosen === null ? own.map(({ session_id }) => session_id) : [chosen]).flatMap((id) =>
        (gates.get(id) ?? []).map(({ verdict }) => verdict),
      ),
      merged_commit: chosen === null ? null : (sessions.get(chosen)?.merged_commit ?? null),
    };
  });
}

/** Ids of the tasks of a group, groups within it followed. */
function membersIn(members: ReadonlyMap<string, ReportRows['steps']>, id: string): string[] {
  return (members.get(id) ?? []).flatMap((step) =>
    step.kind === 'task' ? [step.step_id] : membersIn(members, step.step_id),
  );
}

/** Sessions of the run that belong to no step: those of a plain run, and children. */
export function looseSessions(
  sessions: readonly ReportSessionRow[],
  step_of: ReadonlyMap<string, string>,
  turns: Turns,
  gates: ReadonlyMap<string, ReportGate[]>,
  now: number,
): ReportSession[] {
  return sessions
    .filter(({ id }) => !step_of.has(id))
    .map((session) => ({
      ...{ id: session.id, name: session.name, role: session.role, state: session.state },
      reason: session.state === 'parked' ? session.parked_reason : session.end_reason,
      took_ms: Math.max(0, (session.ended_at ?? now) - session.created_at),
      spent: spentOf(turns.get(session.id) ?? []),
      gates: (gates.get(session.id) ?? []).map(({ verdict }) => verdict),
      merged_commit: session.merged_commit,
    }));
}

/** Every gate behind a turn; of red ones also what they printed last. */
export function gatesOf(rows: ReportRows, names: ReadonlyMap<string, string>): ReportGate[] {
  return rows.gates.map((gate) => ({
    ...{ session_id: gate.session_id, session_name: names.get(gate.session_id) ?? gate.session_id },
    ...{ turn: gate.turn, round: gate.round, verdict: gate.verdict, command: gate.command, reason: gate.reason },
    output: gate.verdict === 'red' ? gate.output.slice(-OUTPUT_LENGTH).toWellFormed() : null,
    ...{ took_ms: Math.max(0, gate.ended_at - gate.started_at), at: gate.ended_at },
  }));
}

/** The last attempt to merge each session: those that are in, and those that are not. */
export function mergesOf(
  rows: ReportRows,
  names: ReadonlyMap<string, string>,
  step_of: ReadonlyMap<string, string>,
): { merged: ReportMerge[]; refused: ReportMerge[] } {
  const last = new Map<string, ReportMerge>();
  for (const row of rows.merges) {
    if (row.outcome === null) continue;
    // To the end, so that the order is that of the attempts that count.
    last.delete(row.session_id);
    last.set(row.session_id, {
      ...{ session_id: row.session_id, session_name: names.get(row.session_id) ?? row.session_id },
      ...{ step_id: step_of.get(row.session_id) ?? null, branch: row.branch, target: row.target },
      ...{ outcome: row.outcome, commit: row.merged_commit, reason: row.reason },
      ...{ missing: missingIn(row.missing_json), at: row.ended_at ?? row.started_at },
    });
  }
  // A merge by other hands, a pull request's for one, leaves its commit and no attempt.
  for (const session of rows.sessions) {
    if (session.merged_commit === null || last.get(session.id)?.outcome === 'merged') continue;
    last.set(session.id, {
      ...{ session_id: session.id, session_name: session.name, step_id: step_of.get(session.id) ?? null },
      ...{ branch: session.branch ?? '', target: session.base_branch ?? '', outcome: 'merged', reason: null },
      ...{ commit: session.merged_commit, missing: [], at: session.merged_at ?? session.updated_at },
    });
  }
  const all = [...last.values()];
  const isIn = ({ outcome }: ReportMerge) => outcome === 'merged' || outcome === 'up_to_date';
  return { merged: all.filter(isIn), refused: all.filter((each) => !isIn(each)) };
}

function missingIn(json: string | null): ReportMerge['missing'] {
  if (json === null) return [];
  const lines = JSON.parse(json) as { path: string; line: string }[];
  return lines.map(({ path, line }) => ({ path, line }));
}
