import type { ExpandedStep, PlanState } from '../model/plan.ts';
import { countSteps, groupSpan, type StepCounts } from '../model/plan-count.ts';
import type { StepRow, StepState } from '../model/plan-step.ts';
import type { PlanView, StepSession } from '../model/plan-view.ts';

/** A step as people look at it. */
export interface StepLine {
  id: string;
  kind: 'task' | 'group';
  state: StepState;
  /** Why it is so, in a few words; empty when there is nothing to say. */
  why: string;
  round: number;
  /** Of all its tries; null: nobody has said. Of a group: of its members. */
  cost_micros: number | null;
  tokens: number;
  started_at: number | null;
  ended_at: number | null;
  /** The session whose work counts, else the newest one. */
  session: Pick<StepSession, 'id' | 'name' | 'state'> | null;
}

export interface PlanLines {
  steps: StepLine[];
  /** Of what is carried out: a group is its members, as soon as it has any. */
  counts: StepCounts;
  /** Items of lists beyond their caps. */
  dropped: number;
  /** Of its whole run, sessions that its steps' sessions have started included. */
  cost_micros: number | null;
  tokens: number;
}

/** What a view of a plan comes to, line by line. Pure. */
export function planLines(view: PlanView, now: number): PlanLines {
  const own = Map.groupBy(view.sessions, ({ step_id }) => step_id);
  const { counts, dropped } = countSteps(view.steps);
  const members = Map.groupBy(view.steps, ({ group_id }) => group_id);
  const groups = new Map<string, { cost_micros: number | null; tokens: number }>();
  const steps = view.steps.map((row) => {
    const sessions = own.get(row.step_id) ?? [];
    const spent = row.kind === 'group' ? (groups.get(row.step_id) ?? spentBy([])) : spentBy(sessions);
    if (row.group_id !== null) groups.set(row.group_id, added(groups.get(row.group_id), spent));
    return lineOf({ ...row, ...groupSpan(row, members.get(row.step_id) ?? []) }, sessions, spent, now);
  });
  return { steps, counts, dropped, ...view.spent };
}

function lineOf(
  row: StepRow,
  sessions: readonly StepSession[],
  spent: { cost_micros: number | null; tokens: number },
  now: number,
): StepLine {
  const session = sessions.find(({ id }) => id === row.session_id) ?? sessions.at(-1) ?? null;
  const { step_id: id, kind, state, round, started_at, ended_at } = row;
  return {
    ...{ id, kind, state, round, started_at, ended_at, ...spent },
    why: whyOf(row, session, now),
    session: session === null ? null : { id: session.id, name: session.name, state: session.state },
  };
}

function spentBy(sessions: readonly StepSession[]): { cost_micros: number | null; tokens: number } {
  let cost_micros: number | null = null;
  let tokens = 0;
  for (const session of sessions) {
    if (session.cost_micros !== null) cost_micros = (cost_micros ?? 0) + session.cost_micros;
    tokens += session.input_tokens + session.output_tokens;
  }
  return { cost_micros, tokens };
}

function added(
  sum: { cost_micros: number | null; tokens: number } | undefined,
  more: { cost_micros: number | null; tokens: number },
): { cost_micros: number | null; tokens: number } {
  if (sum === undefined) return more;
  const cost_micros =
    sum.cost_micros === null && more.cost_micros === null ? null : (sum.cost_micros ?? 0) + (more.cost_micros ?? 0);
  return { cost_micros, tokens: sum.tokens + more.tokens };
}

const SKIPPED: Record<string, string> = {
  need_failed: 'what it needs failed',
  need_skipped: 'what it needs was skipped',
  condition: 'its condition did not come true',
  stopped: 'the plan ended early',
};

/** `gate: npm test: exit 1`; one word where both say the same. */
export function failureText(outcome: string | null, reason: string | null): string {
  return [outcome, reason === outcome ? null : reason].filter((word) => word !== null && word !== '').join(': ');
}

function whyOf(row: StepRow, session: StepSession | null, now: number): string {
  const { state, outcome, reason, round, not_before_at } = row;
  const tries = round > 1 ? `try ${round}` : '';
  if (state === 'failed') return failureText(outcome, reason);
  if (state === 'skipped') return SKIPPED[outcome ?? ''] ?? outcome ?? '';
  if (state === 'parked') return [reason, session?.name].filter(Boolean).join(', ');
  if (state === 'cancelled') return reason ?? '';
  if (state === 'pending' && not_before_at !== null && not_before_at > now)
    return `${outcome ?? 'failed'}, tries again in ${Math.ceil((not_before_at - now) / 1000)}s`;
  const name = session !== null && (state === 'running' || state === 'merging') ? session.name : '';
  return [name, tries, row.dropped > 0 ? `${row.dropped} ${row.dropped === 1 ? 'item' : 'items'} left out` : '']
    .filter(Boolean)
    .join(', ');
}

/** The steps a step waits for, as a graph has them: a group for its members. */
export interface StepNode {
  id: string;
  kind: 'task' | 'group';
  state: StepState;
  needs: string[];
}

/** Nodes by position, from rows. */
export function nodesOf(rows: readonly Pick<StepRow, 'step_id' | 'state' | 'spec_json'>[]): StepNode[] {
  return stepNodes(
    rows.map(({ step_id, state, spec_json }) => ({ ...(JSON.parse(spec_json) as ExpandedStep), id: step_id, state })),
  );
}

/** The same of steps that are not stored. */
export function stepNodes(
  steps: readonly (Pick<ExpandedStep, 'id' | 'kind' | 'needs' | 'foreach' | 'group_id'> & { state?: StepState })[],
): StepNode[] {
  const members = Map.groupBy(steps, ({ group_id }) => group_id);
  return steps.map(({ id, kind, needs, foreach, state = 'pending' }) => {
    const own = kind === 'group' ? (members.get(id) ?? []).map((member) => member.id) : [];
    const waits = own.length > 0 ? own : [...new Set([...needs, ...(foreach === null ? [] : [foreach.step])])];
    return { id, kind, state, needs: waits };
  });
}

/** Of a plan that has ended: 0 all done, 1 some failed or were cancelled; null: it goes on, or waits. */
export function endCode(state: PlanState): number | null {
  if (state === 'completed') return 0;
  return state === 'failed' || state === 'cancelled' ? 1 : null;
}
