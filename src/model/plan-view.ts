import { ANSWER_LIMIT, isCutAnswer } from './harness.ts';
import type { MergeOutcome } from './merge.ts';
import type { Allowance, ExpandedStep, PlanRow, PlanSettings } from './plan.ts';
import type { ListFact, PlanFacts, SessionFact, StepFact } from './plan-facts.ts';
import type { FailureCause, StepRow } from './plan-step.ts';
import type { PoolRow } from './pool.ts';
import type { SessionRow } from './session.ts';
import { isTerminal } from './session.ts';
import type { Outcome } from './turn.ts';

/** When to look again at a pool that is being tried. */
const PROBE_MS = 30_000;

/** A session of a step with what decides about it, joined from its rows. */
export type StepSession = Pick<
  SessionRow,
  | 'id'
  | 'name'
  | 'state'
  | 'end_reason'
  | 'parked_reason'
  | 'parked_evidence'
  | 'parked_pool'
  | 'resume_at'
  | 'pool'
  | 'merged_commit'
  | 'cost_micros'
  | 'input_tokens'
  | 'output_tokens'
> & {
  /** Only of those whose list a step waits for. */
  result_text: string | null;
  step_id: string;
  round: number;
  slot: number;
  diff_lines: number | null;
  /** 1: it is in the queue and has no slot for the worktree it asked for. */
  wants_slot: number;
  /** 0: it has had no turn, and no person has asked for one. */
  is_begun: number;
  /** Of its last turn that has ended. */
  outcome: Outcome | null;
  /** Its last attempt to be merged: null while it is under way, absent when there was none. */
  merge: { outcome: MergeOutcome | null; reason: string | null } | null;
};

/** How the slots for worktrees of a repository stand. */
export interface SlotStand {
  held: number;
  /** Of these, such as may be free before a person acts. */
  coming: number;
}

/** What the settings say of worktrees. */
export interface WorktreeSettings {
  max: number;
  by_default: boolean;
}

/** A plan as it stands in the database at one instant. */
export interface PlanView {
  plan: PlanRow;
  /** Of its run, raises included. */
  budget: Allowance | null;
  /** By position. */
  steps: readonly StepRow[];
  /** By step, round, slot. */
  sessions: readonly StepSession[];
  /** Of all sessions of its run, those included that its steps' sessions have started; money null: nobody has said. */
  spent: { cost_micros: number | null; tokens: number };
  /** Of its repository; null: none of its sessions wants one. */
  slots: SlotStand | null;
  /** Pools that let nothing start, or are held by a person. */
  pools: readonly Pick<PoolRow, 'name' | 'state' | 'opens_at' | 'retry_at'>[];
}

/** Facts of a step that follow from these very rows and from nothing else. */
export interface KnownFact {
  row: StepRow;
  sessions: readonly StepSession[];
  fact: StepFact;
}

/**
 * Facts for `advance`, from rows. `specs` holds what was parsed before: a step's spec never changes. `quota_left` is the
 * least share that any provider told of. `worktrees` is asked for only while a session wants a slot. `known` holds facts by
 * step, for rows that come again.
 */
export function factsOf(
  { plan, budget, steps, sessions, pools, slots, spent }: PlanView,
  specs: Map<string, ExpandedStep>,
  quota_left: number | null,
  now: number,
  worktrees: WorktreeSettings | null = null,
  known: Map<string, KnownFact> = new Map(),
): PlanFacts {
  const { name: _name, report: _report, ...settings } = JSON.parse(plan.settings_json) as PlanSettings;
  const shut_pools = new Map<string, number | null>();
  for (const { name, state, opens_at, retry_at } of pools) {
    if (state === 'blocked') shut_pools.set(name, opens_at);
    // One session goes first; nobody can say for how long.
    else if (state === 'probing') shut_pools.set(name, now + PROBE_MS);
    else if (state === 'open' && retry_at !== null && retry_at > now) shut_pools.set(name, retry_at);
  }
  const shortage = shortageOf(slots, worktrees);
  if (shortage !== null) shut_pools.set(NO_SLOT, null);
  const held = new Map(pools.map((pool) => [pool.name, pool]));
  const sessionsOf = Map.groupBy(sessions, ({ step_id }) => step_id);
  const factOf = factMaker({ steps, sessions, specs, shortage, worktrees, pools: held });
  const facts = steps.map((row) => {
    const own = sessionsOf.get(row.step_id) ?? NOBODY;
    // What slots there are decides about every step.
    if (shortage !== null) return factOf(row, own);
    const before = known.get(row.step_id);
    if (before !== undefined && before.row === row && isSame(before.sessions, own)) return before.fact;
    const fact = factOf(row, own);
    // Pools decide about one that is parked, another step about one that waits for its list.
    const isStill = fact.sessions.every(({ state }) => state === 'ended');
    if (isStill && (row.state !== 'pending' || specs.get(row.step_id)?.foreach === null))
      known.set(row.step_id, { row, sessions: own, fact });
    return fact;
  });
  const { state, stopping, is_window_open } = plan;
  return {
    plan: {
      ...settings,
      budget,
      state,
      stopping,
      is_window_open: is_window_open === null ? null : is_window_open === 1,
    },
    spent: { cost_micros: spent.cost_micros ?? 0, tokens: spent.tokens },
    ...{ quota_left, shut_pools, steps: facts },
  };
}

const NOBODY: readonly StepSession[] = [];

function isSame(before: readonly StepSession[], now: readonly StepSession[]): boolean {
  return before.length === now.length && before.every((session, i) => session === now[i]);
}

/** What a step's fact follows from besides its own rows. */
interface Around {
  steps: readonly StepRow[];
  sessions: readonly StepSession[];
  specs: Map<string, ExpandedStep>;
  pools: ReadonlyMap<string, Pick<PoolRow, 'state' | 'opens_at'>>;
  shortage: string | null;
  worktrees: WorktreeSettings | null;
}

function factMaker({ steps, sessions, specs, pools, shortage, worktrees }: Around) {
  // Only steps that wait for a list ask.
  let byStep: Map<string, StepRow> | null = null;
  let answers: Map<string, string | null> | null = null;
  const listOf = (row: StepRow, spec: ExpandedStep): ListFact | null => {
    if (spec.foreach === null || row.state !== 'pending') return null;
    byStep ??= new Map(steps.map((each) => [each.step_id, each]));
    const source = byStep.get(spec.foreach.step);
    if (source?.state !== 'done') return null;
    answers ??= new Map(sessions.map(({ id, result_text }) => [id, result_text]));
    return listFact(answerOf(source, answers), spec);
  };
  return (row: StepRow, all: readonly StepSession[]): StepFact => {
    const spec = specs.get(row.step_id) ?? (JSON.parse(row.spec_json) as ExpandedStep);
    specs.set(row.step_id, spec);
    const own = all.filter(({ round }) => round === row.round).map((one) => sessionFact(one, row, pools, shortage));
    const isHeld = shortage !== null && (spec.worktree ?? worktrees?.by_default) && !own.some(isLive);
    const { step_id: id, kind, group_id, state, round, dropped, outcome, not_before_at, session_id } = row;
    return {
      ...{ id, kind, group_id, state, round, dropped, outcome, not_before_at, session_id },
      ...{ when: spec.when, attempts: spec.attempts, retry: spec.retry, merge: spec.merge },
      pool: isHeld ? NO_SLOT : row.pool,
      needs: spec.foreach === null ? spec.needs : [...new Set([...spec.needs, spec.foreach.step])],
      foreach: kind === 'group' ? (spec.foreach?.step ?? null) : null,
      list: listOf(row, spec),
      sessions: own,
    };
  };
}

/** Steps that could only wait for a worktree are held back as by a pool that is shut; no pool has a name with blanks. */
const NO_SLOT = 'no worktree slot';

/** Null: whoever wants a worktree gets one in time. Else why nobody does before a person acts. */
function shortageOf(slots: SlotStand | null, worktrees: WorktreeSettings | null): string | null {
  if (slots === null || worktrees === null || slots.held - slots.coming < worktrees.max) return null;
  const ways = 'drover worktree list; drover worktree clean; or raise max_worktrees';
  return `${NO_SLOT}: ${slots.held} of ${worktrees.max} are taken (${ways})`;
}

const isLive = ({ state }: SessionFact) => state === 'live';

/** The final answer of a step: its session's, or, of a group, what was kept when it ended. */
function answerOf(step: StepRow, answers: ReadonlyMap<string, string | null>): string {
  if (step.session_id !== null) return answers.get(step.session_id) ?? '';
  const kept = JSON.parse(step.outputs_json ?? '{}') as Record<string, string>;
  return kept.answer ?? '';
}

function sessionFact(
  session: StepSession,
  step: Pick<StepRow, 'state' | 'session_id'>,
  pools: ReadonlyMap<string, Pick<PoolRow, 'state' | 'opens_at'>>,
  shortage: string | null,
): SessionFact {
  const { id, slot, state, parked_reason, diff_lines, end_reason } = session;
  const own = { id, slot, diff_lines, is_begun: session.is_begun === 1 };
  if (shortage !== null && session.wants_slot === 1)
    return { ...own, state: 'parked', waits_for: 'person', reason: shortage, cause: null, merge: 'none' };
  const isEnded = isTerminal(state);
  const waits_for = state === 'parked' ? waitsFor(session, pools) : null;
  const merge = mergeOf(session, step);
  return {
    ...{ ...own, waits_for },
    state: isEnded ? 'ended' : state === 'parked' ? 'parked' : 'live',
    reason: state === 'parked' ? parked_reason : merge === 'refused' ? (session.merge?.reason ?? null) : end_reason,
    cause: isEnded ? causeOf(session) : null,
    merge,
  };
}

function waitsFor(
  { parked_reason, parked_pool, resume_at }: StepSession,
  pools: ReadonlyMap<string, Pick<PoolRow, 'state' | 'opens_at'>>,
): SessionFact['waits_for'] {
  if (parked_reason === 'gate') return 'gate';
  if (resume_at !== null) return 'time';
  if (parked_pool === null) return 'person';
  const pool = pools.get(parked_pool);
  return pool?.state === 'blocked' && pool.opens_at === null ? 'person' : 'time';
}

/** Why an ended session did not succeed; null: it did. A zombie that was only cleaned up has not done its work. */
function causeOf({
  state,
  outcome,
  end_reason,
}: Pick<StepSession, 'state' | 'outcome' | 'end_reason'>): FailureCause | null {
  if (state === 'stopped') return 'stopped';
  // Its last turn went well, and left no time for the next one.
  if (state === 'failed' && end_reason === 'timeout') return 'timed_out';
  if (outcome === 'timed_out' || outcome === 'stalled' || outcome === 'lost') return outcome;
  if (state === 'zombie') return 'lost';
  return state === 'completed' && (outcome === 'completed' || outcome === 'handed_off') ? null : 'failed';
}

/**
 * Of a parked step without an attempt under way: somebody refused before there was one, and a person has to act. One that
 * only its process's death ended refuses nothing.
 */
function mergeOf(
  { id, merged_commit, merge }: StepSession,
  step: Pick<StepRow, 'state' | 'session_id'>,
): SessionFact['merge'] {
  if (merged_commit !== null || merge?.outcome === 'merged' || merge?.outcome === 'up_to_date') return 'merged';
  const isParked = step.state === 'parked' && step.session_id === id;
  if (step.state !== 'merging' && !isParked) return 'none';
  const isCutOff = merge === null || (merge.outcome === 'failed' && merge.reason === 'interrupted');
  if (isCutOff) return isParked ? 'refused' : 'waiting';
  return merge.outcome === null ? 'waiting' : 'refused';
}

function listFact(answer: string, spec: ExpandedStep): ListFact {
  const list = listIn(answer);
  return 'problem' in list ? list : { items: Math.min(list.items.length, spec.foreach?.max ?? 0) };
}

/**
 * The JSON list that an answer ends with: the whole answer, its last fenced block, or its last line that is one. Items
 * come out as texts: a text as it is, anything else as JSON.
 */
export function listIn(answer: string): { items: string[] } | { problem: string } {
  // Half a list may end like a whole one, e.g. with a fenced block of before.
  if (isCutAnswer(answer)) return { problem: `the answer is longer than ${ANSWER_LIMIT} characters and was cut` };
  const lines = answer.split('\n');
  const line = lines.findLast((each) => each.trim().startsWith('['));
  for (const text of [answer, lastFenced(lines), line]) {
    const list = text === undefined ? null : parsed(text);
    if (list !== null) return { items: list.map((item) => (typeof item === 'string' ? item : JSON.stringify(item))) };
  }
  return { problem: answer.trim() === '' ? 'the answer is empty' : 'the answer has no JSON list' };
}

/** Line by line: an answer is long, and may be made to keep a pattern busy for ever. */
function lastFenced(lines: readonly string[]): string | undefined {
  let open: number | null = null;
  let last: string[] | undefined;
  for (const [i, line] of lines.entries()) {
    if (open === null) {
      const end = line.trimEnd();
      const at = end.lastIndexOf('```');
      if (at >= 0 && /^[a-z]*$/.test(end.slice(at + 3))) open = i;
    } else if (line.trimStart().startsWith('```')) {
      last = lines.slice(open + 1, i);
      open = null;
    }
  }
  return last?.join('\n');
}

function parsed(text: string): unknown[] | null {
  try {
    const value: unknown = JSON.parse(text.trim());
    return Array.isArray(value) ? value : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
