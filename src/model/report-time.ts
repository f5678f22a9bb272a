import { LIMITS } from './pool.ts';
import type { LostTime, SpanState, TimelineRow } from './report.ts';
import type { ReportRows, ReportSessionRow, ReportStateRow } from './report-rows.ts';
import { isTerminal, type SessionState } from './session.ts';

const SPANS: Record<SessionState, SpanState | null> = {
  ...{ queued: 'queued', booting: 'working', working: 'working', stalled: 'working', idle: 'idle', parked: 'parked' },
  ...{ completed: null, failed: null, stopped: null, zombie: null },
};

/** Where a session was from when to when: neighbours of one state are one span, and what took no time is none. */
export function spansOf(states: readonly ReportStateRow[], now: number): TimelineRow['spans'] {
  const spans: TimelineRow['spans'] = [];
  states.forEach(({ to_state, at }, i) => {
    const state = SPANS[to_state];
    const to_at = states[i + 1]?.at ?? now;
    if (state === null || to_at <= at) return;
    const last = spans.at(-1);
    if (last?.state === state && last.to_at === at) last.to_at = to_at;
    else spans.push({ state, from_at: at, to_at });
  });
  return spans;
}

interface Wait {
  pool: string;
  /** Null: a step of the plan, before anything was slung for it. */
  session_id: string | null;
  from_at: number;
  to_at: number;
}

/** Times in which a session was held by a limit of a provider. A pool's name in the log goes before the session's own. */
function waitsOf(session: ReportSessionRow, states: readonly ReportStateRow[], now: number): Wait[] {
  const waits: Wait[] = [];
  let before: Wait | null = null;
  states.forEach(({ to_state, event, reason, at }, i) => {
    const to_at = states[i + 1]?.at ?? (isTerminal(session.state) ? at : now);
    const told = to_state === 'parked' && event === 'park' ? limitIn(reason) : null;
    // Its turn has come and others of its pool go first: the limit's time goes on.
    const isTail = to_state === 'parked' && before !== null && reason === `pool ${before.pool} is open`;
    if (told === null && !isTail) {
      before = null;
      return;
    }
    if (before !== null) before.to_at = to_at;
    else {
      before = { pool: told?.pool ?? session.pool, session_id: session.id, from_at: at, to_at };
      waits.push(before);
    }
  });
  return waits.filter(({ from_at, to_at }) => to_at > from_at);
}

const isLimit = (reason: string) => (LIMITS as readonly string[]).includes(reason);

/** `usage_limit`, or `pool NAME: usage_limit`; null: it was no limit. */
function limitIn(reason: string | null): { pool: string | null } | null {
  if (reason === null) return null;
  if (isLimit(reason)) return { pool: null };
  const match = /^pool (.+): (\w+)$/s.exec(reason);
  return match?.[1] !== undefined && isLimit(match[2] ?? '') ? { pool: match[1] } : null;
}

/** Times in which a step that could start was held back because its pool was shut: nobody was there to wait yet. */
function holdsOf({ plan, plan_log }: Pick<ReportRows, 'plan' | 'plan_log'>, now: number): Wait[] {
  const lines = plan_log.filter(({ event }) => event === 'pool_shut' || event === 'pool_open');
  return lines.flatMap(({ event, detail: pool, at }, i): Wait[] => {
    if (event !== 'pool_shut' || pool === null) return [];
    const next = lines.slice(i + 1).find(({ detail }) => detail === pool);
    return [{ pool, session_id: null, from_at: at, to_at: next?.at ?? plan?.ended_at ?? now }];
  });
}

/** Time lost to limits, per pool: the longest first. */
export function lostToLimits(
  rows: Pick<ReportRows, 'sessions' | 'plan' | 'plan_log'>,
  states: ReadonlyMap<string, readonly ReportStateRow[]>,
  now: number,
): LostTime[] {
  const sessions = rows.sessions.flatMap((session) => waitsOf(session, states.get(session.id) ?? [], now));
  const waits = [...sessions, ...holdsOf(rows, now)];
  return [...Map.groupBy(waits, ({ pool }) => pool)]
    .map(([pool, own]) => ({
      pool,
      sessions: new Set(own.flatMap(({ session_id }) => session_id ?? [])).size,
      times: own.length,
      session_ms: own.reduce((sum, { from_at, to_at }) => sum + to_at - from_at, 0),
      wall_ms: covered(own),
    }))
    .sort((a, b) => b.session_ms - a.session_ms || a.pool.localeCompare(b.pool));
}

/** How much time spans cover that may overlap. */
function covered(spans: readonly { from_at: number; to_at: number }[]): number {
  let sum = 0;
  let end = Number.NEGATIVE_INFINITY;
  for (const { from_at, to_at } of spans.toSorted((a, b) => a.from_at - b.from_at)) {
    sum += Math.max(0, to_at - Math.max(from_at, end));
    end = Math.max(end, to_at);
  }
  return sum;
}
