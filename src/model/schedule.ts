/** What is done when the one before has not ended. */
export const OVERLAPS = ['skip', 'queue', 'replace'] as const;
export type Overlap = (typeof OVERLAPS)[number];

/** What is done about times that passed while nobody looked. */
export const CATCH_UPS = ['none', 'latest', 'all'] as const;
export type CatchUp = (typeof CATCH_UPS)[number];

/** `fired`: it has a session or a plan. `waiting`: the one before has to end first. All others started nothing. */
export const SCHEDULE_RUN_STATES = ['fired', 'waiting', 'skipped', 'missed', 'failed'] as const;
export type ScheduleRunState = (typeof SCHEDULE_RUN_STATES)[number];

/** One row of `schedules`. Times are wall milliseconds. */
export interface ScheduleRow {
  id: string;
  name: string;
  cron: string;
  timezone: string;
  /** What it starts: a task, or a plan's file. */
  task: string | null;
  plan_file: string | null;
  /** Values of the plan's plain holes, name → text; null: it has none. */
  variables_json: string | null;
  harness: string | null;
  profile_name: string | null;
  role: string | null;
  worktree: number | null;
  repo_root: string;
  working_dir: string;
  project: string;
  task_group: string;
  overlap: Overlap;
  catch_up: CatchUp;
  /** Of `all`: how many passed times are made up for at once. */
  catch_up_max: number;
  /** Null: it is disabled, or nothing comes any more. */
  next_run_at: number | null;
  last_run_at: number | null;
  last_error: string | null;
  fail_count: number;
  /** After a failure, times before this one are skipped. */
  backoff_until_at: number | null;
  is_enabled: number;
  disabled_reason: string | null;
  created_at: number;
  updated_at: number;
}

/** One row of `schedule_runs`: what became of a due time, or of several that were passed over together. */
export interface ScheduleRunRow {
  seq: number;
  schedule_id: string;
  due_at: number;
  /** The last of the times this row stands for; `due_at` when it is one. */
  until_at: number;
  /** How many times it stands for; null: too many to count. */
  times: number | null;
  state: ScheduleRunState;
  reason: string | null;
  session_id: string | null;
  plan_id: string | null;
  at: number;
}

/** The instants of a schedule. */
export interface Occurrences {
  /** The first one after; null: none. */
  next(after: number): number | null;
}

/** A due time that is later than this was passed over, and not merely noticed a little late. */
const ON_TIME_MS = 60_000;
/** Passed times that are counted one by one. */
const MAX_COUNTED = 200;
/** Of those passed over, that are looked at to find the last ones. */
const MAX_LOOKED_AT = 10_000;
const BACKOFF_MS = 60_000;
const BACKOFF_CAP_MS = 3_600_000;
/** Failures in a row after which a schedule is switched off (CX-35). */
export const MAX_FAILURES = 5;

export interface ScheduleFact {
  schedule: Pick<
    ScheduleRow,
    'id' | 'overlap' | 'catch_up' | 'catch_up_max' | 'next_run_at' | 'backoff_until_at' | 'is_enabled'
  >;
  /** Something it started has not ended. */
  is_running: boolean;
  /** Due times that wait for that end, oldest first. */
  waiting: readonly number[];
  occurrences: Occurrences;
  /** The last halt that was lifted; what was due in it was not carried out then. */
  halted: { from: number; until: number } | null;
}

/** What became of a due time, or of several in a row. */
export interface DueEntry {
  due_at: number;
  until_at: number;
  times: number | null;
  state: 'fired' | 'waiting' | 'skipped' | 'missed';
  reason: string | null;
}

/**
 * What is due for one schedule, as one guarded write: `next_run_at` moves from `was` to `next_run_at`, and every time in
 * between gets its entry, oldest first. `replace`: what it started before is stopped first.
 */
export interface DueDecision {
  schedule_id: string;
  was: number | null;
  next_run_at: number | null;
  entries: DueEntry[];
  /** The due time that waited and is started now. */
  release: number | null;
  replace: boolean;
}

/**
 * Decides for every schedule what its due times come to (E-058…E-060, I9): oldest first, then by id, at most `limit`.
 * Times that were passed over collapse as `catch_up` says, so that after a night's sleep nothing piles up; what overlaps
 * is skipped, waits (one at most) or replaces. Every time gets an entry with its reason. Pure.
 */
export function due(facts: readonly ScheduleFact[], now: number, limit: number): DueDecision[] {
  return facts
    .filter(({ schedule, is_running, waiting }) => {
      const isDue = schedule.next_run_at !== null && schedule.next_run_at <= now;
      return schedule.is_enabled === 1 && (isDue || (waiting.length > 0 && !is_running));
    })
    .sort((a, b) => order(a, b))
    .slice(0, limit)
    .map((fact) => dueOf(fact, now));
}

function order({ schedule: a }: ScheduleFact, { schedule: b }: ScheduleFact): number {
  const [x, y] = [a.next_run_at ?? 0, b.next_run_at ?? 0];
  return x - y || (a.id < b.id ? -1 : 1);
}

function dueOf(fact: ScheduleFact, now: number): DueDecision {
  const { schedule, occurrences, is_running, waiting } = fact;
  const was = schedule.next_run_at;
  const release = is_running || schedule.overlap !== 'queue' ? null : (waiting[0] ?? null);
  const base = { schedule_id: schedule.id, was, release, replace: false };
  if (was === null || was > now) return { ...base, next_run_at: was, entries: [] };
  const { run, missed } = caughtUp(fact, was, now);
  const entries: DueEntry[] = missed.map((span) => ({ ...span, state: 'missed' }));
  const room = new Room(fact, release !== null);
  for (const [i, at] of run.entries()) {
    const { state, reason } = room.place(at, i === run.length - 1);
    const why = reason ?? (inHalt(fact, at) ? 'it was due while everything was halted' : null);
    entries.push({ due_at: at, until_at: at, times: 1, state, reason: why });
  }
  const replace = is_running && entries.some(({ state }) => state === 'fired');
  return { ...base, next_run_at: occurrences.next(now), entries, replace };
}

/** Who may start beside what runs already. */
class Room {
  readonly #schedule: ScheduleFact['schedule'];
  #isBusy: boolean;
  #waiting: number;

  constructor({ schedule, is_running, waiting }: ScheduleFact, isReleasing: boolean) {
    this.#schedule = schedule;
    this.#isBusy = is_running || isReleasing;
    this.#waiting = waiting.length - (isReleasing ? 1 : 0);
  }

  place(at: number, isLast: boolean): Pick<DueEntry, 'state' | 'reason'> {
    const { backoff_until_at, overlap, catch_up, catch_up_max } = this.#schedule;
    if (backoff_until_at !== null && at < backoff_until_at)
      return { state: 'skipped', reason: 'it failed before and waits' };
    if (overlap === 'replace' && !isLast) return { state: 'skipped', reason: 'a later one replaces it' };
    if (!this.#isBusy || overlap === 'replace') {
      this.#isBusy = true;
      return { state: 'fired', reason: null };
    }
    if (overlap !== 'queue') return { state: 'skipped', reason: 'the one before has not ended' };
    if (this.#waiting >= (catch_up === 'all' ? catch_up_max : 1))
      return { state: 'skipped', reason: 'others wait already' };
    this.#waiting += 1;
    return { state: 'waiting', reason: 'the one before has not ended' };
  }
}

/**
 * Of the times from `first` up to `now`, those that are run and those that are written down as missed. Times beyond
 * counting are looked at from their end.
 */
function caughtUp(
  fact: ScheduleFact,
  first: number,
  now: number,
): { run: number[]; missed: Omit<DueEntry, 'state'>[] } {
  const { occurrences, schedule } = fact;
  const { catch_up, catch_up_max } = schedule;
  const early: number[] = [];
  let at: number | null = first;
  for (; at !== null && at <= now && early.length < MAX_COUNTED; at = occurrences.next(at)) early.push(at);
  const isCut = at !== null && at <= now;
  const times = isCut ? lastUpTo(occurrences, first, now, Math.max(1, catch_up_max)) : early;
  const latest = times.at(-1) ?? first;
  let run = now - latest <= ON_TIME_MS && !inHalt(fact, latest) ? [latest] : [];
  if (catch_up === 'latest') run = [latest];
  if (catch_up === 'all') run = times.slice(-Math.max(1, catch_up_max));
  const from = run[0] ?? now + 1;
  if (from === first) return { run, missed: [] };
  const before = early.filter((each) => each < from);
  const until_at = isCut ? Math.min(latest, from - 1) : (before.at(-1) ?? first);
  const wasHalted = inHalt(fact, first) || inHalt(fact, until_at);
  const unseen = wasHalted ? 'everything was halted at that time' : 'nobody was there at that time';
  const reason = run.length === 0 ? unseen : 'passed over: a later one makes up for it';
  return { run, missed: [{ due_at: first, until_at, times: isCut ? null : before.length, reason }] };
}

function inHalt({ halted }: ScheduleFact, at: number): boolean {
  return halted !== null && at >= halted.from && at <= halted.until;
}

/** The last `count` instants up to `now` (or more), without walking through all since `first`: looks further and further back. */
function lastUpTo(occurrences: Occurrences, first: number, now: number, count: number): number[] {
  for (let back = 1_000; ; back *= 2) {
    const from = Math.max(first - 1, now - back);
    const found: number[] = [];
    for (
      let at = occurrences.next(from);
      at !== null && at <= now && found.length < MAX_LOOKED_AT;
      at = occurrences.next(at)
    )
      found.push(at);
    if (found.length >= count || from < first) return found;
  }
}

/** What a failure to start does to a schedule: later and later, and at the fifth in a row it is switched off (CX-35). */
export function afterFailure(
  { fail_count }: Pick<ScheduleRow, 'fail_count'>,
  now: number,
): { fail_count: number; backoff_until_at: number | null; is_enabled: number } {
  const count = fail_count + 1;
  if (count >= MAX_FAILURES) return { fail_count: count, backoff_until_at: null, is_enabled: 0 };
  const wait = Math.min(BACKOFF_CAP_MS, BACKOFF_MS * 4 ** (count - 1));
  return { fail_count: count, backoff_until_at: now + wait, is_enabled: 1 };
}
