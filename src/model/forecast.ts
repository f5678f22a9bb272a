import type { ExpandedStep } from './plan.ts';
import { longestPath } from './plan-graph.ts';

/** A session of the past, as far as it says what a step like it will take. */
export interface PastSession {
  plan_name: string | null;
  /** Without the number of a repetition. */
  step_id: string | null;
  harness: string;
  profile_name: string | null;
  role: string;
  /** Null: the harness does not say. */
  cost_micros: number | null;
  took_ms: number;
}

/** With what a step will be started. */
export interface Launch {
  harness: string;
  profile_name: string | null;
  role: string;
  pool: string;
}

/** Whose past speaks for a step: its own in this plan, that of its harness, profile and role, that of its harness. */
const BASES = ['step', 'profile', 'harness'] as const;
export type Basis = (typeof BASES)[number];

/** Median and worst of the past; null: there is none, or it does not say. */
export interface Range {
  median: number | null;
  worst: number | null;
}

export interface StepForecast {
  step_id: string;
  /** Null: no history. */
  basis: Basis | null;
  samples: number;
  /** Sessions when everything succeeds at once, and when every try fails. */
  sessions: { least: number; most: number };
  /** Of one session. */
  cost_micros: Range;
  took_ms: Range;
}

export interface Forecast {
  sessions: { least: number; most: number };
  /** Steps in a row that nothing can shorten, and how long they take. */
  longest_path: { steps: string[]; took_ms: Range };
  /** Of the whole, with as many sessions side by side as the plan allows. */
  took_ms: Range;
  /** Of one try of every step; lists are taken at their bound. `worst` is the worst of every step's past. */
  cost_micros: Range;
  /** Steps that nothing is known of: the sums leave them out. */
  without_history: string[];
  pools: { pool: string; sessions: number }[];
  steps: StepForecast[];
}

/**
 * What a plan will come to, from what similar steps on this machine took (C-12). Pure; `steps` come in the order of
 * `checkPlan`, `launches` says how each one that is not a group would be started.
 */
export function forecast(
  plan: { name: string; concurrency: number; steps: readonly ExpandedStep[] },
  launches: ReadonlyMap<string, Launch>,
  past: readonly PastSession[],
): Forecast {
  const index = indexOf(past);
  const { steps } = plan;
  // A group of a matrix is its members; one of a list has none yet and stands for them.
  const counted = steps.filter(({ kind, foreach }) => kind === 'task' || foreach !== null);
  const own = new Map(counted.map((step) => [step.id, stepForecast(plan.name, step, launches.get(step.id), index)]));
  const at = new Map(steps.map(({ id }, i) => [id, i]));
  const members = Map.groupBy(steps, ({ group_id }) => group_id);
  const needs = steps.map(({ id, foreach, needs: ids }) => {
    const own = (members.get(id) ?? []).map((member) => member.id);
    return [...ids, ...(foreach === null ? [] : [foreach.step]), ...own]
      .map((need) => at.get(need) ?? -1)
      .filter((need) => need >= 0);
  });
  const lasting = (key: keyof Range) => (i: number) => {
    const step = steps[i];
    const one = own.get(step?.id ?? '')?.took_ms[key] ?? 0;
    return one * Math.ceil((step?.foreach?.max ?? 1) / plan.concurrency);
  };
  const median = longestPath(needs, lasting('median'));
  const worst = longestPath(needs, lasting('worst'));
  const all = [...own.values()];
  const known = all.filter(({ basis }) => basis !== null);
  const total = (of: 'cost_micros' | 'took_ms', key: keyof Range) => {
    const told = known.filter((each) => each[of][key] !== null);
    return told.length === 0 ? null : told.reduce((sum, each) => sum + (each[of][key] ?? 0) * each.sessions.least, 0);
  };
  const spread = (key: keyof Range, path: number) => {
    const sum = total('took_ms', key);
    return sum === null ? null : Math.max(path, Math.ceil(sum / plan.concurrency));
  };
  const isKnown = known.length > 0;
  return {
    sessions: { least: sumOf(all, 'least'), most: sumOf(all, 'most') },
    longest_path: {
      steps: (isKnown ? median : longestPath(needs, (i) => (own.has(steps[i]?.id ?? '') ? 1 : 0))).path.flatMap((i) => {
        const id = steps[i]?.id;
        return id !== undefined && own.has(id) ? [id] : [];
      }),
      took_ms: { median: isKnown ? median.length : null, worst: isKnown ? worst.length : null },
    },
    took_ms: { median: spread('median', median.length), worst: spread('worst', worst.length) },
    cost_micros: { median: total('cost_micros', 'median'), worst: total('cost_micros', 'worst') },
    without_history: all.filter(({ basis }) => basis === null).map(({ step_id }) => step_id),
    pools: poolsOf(all, launches),
    steps: all,
  };
}

function sumOf(all: readonly StepForecast[], key: 'least' | 'most'): number {
  return all.reduce((sum, { sessions }) => sum + sessions[key], 0);
}

function poolsOf(all: readonly StepForecast[], launches: ReadonlyMap<string, Launch>): Forecast['pools'] {
  const pools = new Map<string, number>();
  for (const { step_id, sessions } of all) {
    const pool = launches.get(step_id)?.pool;
    if (pool !== undefined) pools.set(pool, (pools.get(pool) ?? 0) + sessions.least);
  }
  return [...pools].map(([pool, sessions]) => ({ pool, sessions })).sort((a, b) => (a.pool < b.pool ? -1 : 1));
}

type Index = ReadonlyMap<string, PastSession[]>;
const KEYS: Record<
  Basis,
  (plan: string, step: string, of: Pick<Launch, 'harness' | 'profile_name' | 'role'>) => string
> = {
  step: (plan, step) => JSON.stringify(['step', plan, step]),
  profile: (_plan, _step, { harness, profile_name, role }) => JSON.stringify(['profile', harness, profile_name, role]),
  harness: (_plan, _step, { harness }) => JSON.stringify(['harness', harness]),
};

function indexOf(past: readonly PastSession[]): Index {
  const index = new Map<string, PastSession[]>();
  for (const session of past) {
    for (const basis of BASES) {
      if (basis === 'step' && (session.plan_name === null || session.step_id === null)) continue;
      const key = KEYS[basis](session.plan_name ?? '', session.step_id ?? '', session);
      const list = index.get(key);
      if (list === undefined) index.set(key, [session]);
      else list.push(session);
    }
  }
  return index;
}

function stepForecast(plan_name: string, step: ExpandedStep, launch: Launch | undefined, index: Index): StepForecast {
  const least = step.attempts * (step.foreach?.max ?? 1);
  const sessions = { least, most: least * (step.retry.max + 1) };
  for (const basis of launch === undefined ? [] : BASES) {
    const found = launch && index.get(KEYS[basis](plan_name, step.group_id ?? step.id, launch));
    if (found === undefined) continue;
    const costs = found.flatMap(({ cost_micros }) => (cost_micros === null ? [] : [cost_micros]));
    const took_ms = rangeOf(found.map((session) => session.took_ms));
    return { step_id: step.id, basis, samples: found.length, sessions, cost_micros: rangeOf(costs), took_ms };
  }
  const none = { median: null, worst: null };
  return { step_id: step.id, basis: null, samples: 0, sessions, cost_micros: none, took_ms: none };
}

function rangeOf(values: readonly number[]): Range {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.slice(Math.ceil(sorted.length / 2) - 1, Math.floor(sorted.length / 2) + 1);
  if (middle.length === 0) return { median: null, worst: null };
  return {
    median: Math.round(middle.reduce((sum, each) => sum + each, 0) / middle.length),
    worst: sorted.at(-1) ?? null,
  };
}
