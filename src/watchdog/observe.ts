import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import { launcherOf } from '../session/end-tree.ts';
import { type RecentCalls, recentCalls } from '../session/tool-calls.ts';
import type { Traits } from '../session/traits.ts';
import { workMark } from '../session/work-mark.ts';
import type { Store } from '../store/store.ts';
import { type CloseRow, closeRow, type Glance } from '../store/watched.ts';
import { fileSize, modifiedAt } from '../sys/directory.ts';
import { isGone } from '../sys/identity.ts';
import { sampleTrees, type TreeSample } from '../sys/sample.ts';
import { readFrom } from '../sys/tail.ts';
import { liveHeld, readExit, turnFiles } from '../sys/turn-files.ts';
import type { WatchFacts } from './judge.ts';
import type { Remembered, Work } from './memory.ts';
import { callsNeeded, goesOn, isLoop, repetitionOf } from './repetition.ts';

/** Tokens between two looks at a worktree: asking git costs a process. */
const TOKENS_PER_LOOK = 200_000;
/** A tool call is two events: the call and its answer. */
const EVENTS_PER_CALL = 2;

/** What its row tells, and what is remembered: no question to anybody. */
export function quickFacts(glance: Glance, known: Remembered, traits: Traits, awake_since: number): WatchFacts {
  return {
    process: 'unknown',
    state: 'working',
    started_at: glance.started_at,
    first_event_at: glance.first_event_at,
    last_event_at: glance.last_event_at,
    result_at: glance.result_at,
    tools_open: glance.tools_open,
    end_cause: glance.end_cause,
    timeout_ms: known.session.timeout_ms,
    early_first_event: traits.early_first_event,
    log_bytes: 0,
    awake_since,
    is_persistent: traits.is_persistent,
    is_limited: glance.is_limited === 1,
    written_at: null,
    has_unread_lines: false,
    child_event_at: null,
    awaits_answer: false,
    ending_since: known.ending_since,
    gating_since: glance.gating_since,
    repetition: known.repetition,
    unchanged_tokens: known.unchanged_tokens,
    processes: null,
    rss_bytes: null,
    cpu_ms: null,
    cpu_over_ms: null,
  };
}

/** Are there so many new events that they might hold a loop, or one more round of a repetition? A known loop may end with any. */
export function wantsCalls(
  turn: Pick<Glance, 'events'>,
  { repetition, events_seen }: Remembered,
  loop_repeats: number,
) {
  const fresh = turn.events - events_seen;
  if (isLoop(repetition, loop_repeats)) return fresh > 0;
  return fresh >= (repetition === null ? loop_repeats : 1) * EVENTS_PER_CALL;
}

export function wantsWork(glance: Pick<Glance, 'output_tokens'>, known: Remembered): boolean {
  return glance.output_tokens - known.tokens_seen >= TOKENS_PER_LOOK;
}

/** One turn looked at closely; its facts beside what else its acts need. */
export interface Seen {
  facts: WatchFacts;
  close: CloseRow;
  /** The instant its ages count to. A look at many takes its time, and what was said meanwhile is not from the future. */
  now: number;
}

export interface Look {
  known: Remembered;
  /** Looks at its worktree in the background; false: not now. */
  at_work: (close: CloseRow) => boolean;
  config: Config;
  /** The time, and since when nobody has slept: asked after the row was read, for a sleep in between counts as well. */
  pulse: () => { now: number; awake_since: number };
}

/** So much of what nobody has read is looked through for the end of a line. */
const UNREAD_BYTES = 64 * 1024;
/** Characters of text without another call that are an answer, and no remark between two calls. */
const PROSE_CHARS = 1_000;

/**
 * What only the machine, the turn's files and the rest of the store can tell. Updates what is remembered. `null`: the turn
 * is over.
 */
export async function lookClosely(store: Store, glance: Glance, quick: WatchFacts, look: Look): Promise<Seen | null> {
  const { known, config } = look;
  const close = await closeRow(store, glance);
  if (close === null) return null;
  const { turn } = close;
  const output = outputOf(turn);
  const { now, awake_since } = look.pulse();
  known.ending_since = turn.end_cause === null ? null : (known.ending_since ?? now);
  known.on_ladder = close.escalated_at !== null;
  if (wantsCalls(turn, known, config.watchdog.loop_repeats)) {
    Object.assign(known, await repetitionIn(store, turn, config.watchdog.loop_repeats));
    known.events_seen = turn.events;
  }
  if (wantsWork(turn, known) && look.at_work(close)) known.tokens_seen = turn.output_tokens;
  const facts: WatchFacts = {
    ...quick,
    process: processOf(close),
    state: close.state,
    first_event_at: turn.first_event_at,
    last_event_at: turn.last_event_at,
    result_at: turn.result_at,
    tools_open: turn.tools_open,
    end_cause: turn.end_cause,
    ...output,
    awake_since,
    child_event_at: close.child_event_at,
    awaits_answer: close.awaits_answer,
    ending_since: known.ending_since,
    gating_since: turn.gating_since,
    repetition: known.repetition,
    unchanged_tokens: known.unchanged_tokens,
  };
  return { facts, close, now };
}

/** What is on disk, and what of it the supervisor has not read. The end of a line that is still being written is no line. */
function outputOf({ dir, stdout_offset }: CloseRow['turn']) {
  const files = turnFiles(dir);
  const size = fileSize(files.stdout);
  const isUnread = size > stdout_offset;
  return {
    log_bytes: size + fileSize(files.stderr),
    written_at: isUnread ? Math.floor(modifiedAt(files.stdout)) : null,
    has_unread_lines: isUnread && hasLine(files.stdout, stdout_offset, size),
  };
}

function hasLine(path: string, offset: number, size: number): boolean {
  try {
    return readFrom(path, size - 1, 1)[0] === 10 || readFrom(path, offset, UNREAD_BYTES).includes(10);
  } catch (error) {
    // Gone or closed meanwhile: there is nothing that anybody could still read.
    if (error instanceof AppError) return false;
    throw error;
  }
}

/** `unknown`: nobody has recorded whose process it is, and nobody holds its lock: it may only just be starting. */
function processOf({ turn }: CloseRow): WatchFacts['process'] {
  if (readExit(turn.dir) !== null) return 'gone';
  const launcher = launcherOf(turn);
  if (launcher !== null) return isGone(launcher) ? 'gone' : 'alive';
  return liveHeld(turn.dir) ? 'alive' : 'unknown';
}

type Repeating = Pick<Remembered, 'repetition' | 'calls'>;

async function repetitionIn(store: Store, turn: CloseRow['turn'], loop_repeats: number): Promise<Repeating> {
  const count = callsNeeded(loop_repeats);
  const rough = repeating(await recentCalls(store, turn, { count, exact: false }));
  if (!isLoop(rough.repetition, loop_repeats)) return rough;
  return repeating(await recentCalls(store, turn, { count, exact: true }));
}

/** Whoever does something else meanwhile, or has come to write an answer, repeats nothing. */
function repeating({ answered, open, seq, said }: RecentCalls): Repeating {
  const found = repetitionOf(answered.map(({ whole }) => whole));
  const uses = answered.map(({ use }) => use);
  if (found === null || said >= PROSE_CHARS || !goesOn(found, uses, open)) return { repetition: null, calls: null };
  const parts = [...new Set(answered.slice(-found.period).flatMap((call) => call.parts))];
  return { repetition: { ...found, last_at: answered.at(-1)?.answered_at ?? 0 }, calls: { seq, parts } };
}

/** Output tokens of the session since its worktree was last found to have changed; null outside of one. */
export async function unchangedTokens(close: CloseRow, works: Map<string, Work>): Promise<number | null> {
  const id = close.turn.session_id;
  const mark = await workMark(close.working_dir);
  const before = works.get(id);
  if (mark === null) return null;
  if (before?.mark !== mark) works.set(id, { mark, tokens: close.output_tokens });
  return close.output_tokens - (works.get(id)?.tokens ?? close.output_tokens);
}

/** Adds what the trees of these turns use; CPU time counts from the look before. One pass over the machine for all. */
export function addUsage(seen: readonly { at: Seen; known: Remembered }[]): void {
  const launchers = seen.flatMap(({ at }) => launcherOf(at.close.turn) ?? []);
  const samples: Map<number, TreeSample> = sampleTrees(launchers);
  for (const { at, known } of seen) {
    const sample = samples.get(launcherOf(at.close.turn)?.pid ?? 0);
    if (sample === undefined) continue;
    const before = known.cpu;
    known.cpu = { ms: sample.cpu_ms, at: at.now };
    const { processes, rss_bytes } = sample;
    const cpu_ms = before === null ? null : Math.max(0, sample.cpu_ms - before.ms);
    at.facts = { ...at.facts, processes, rss_bytes, cpu_ms, cpu_over_ms: before === null ? null : at.now - before.at };
  }
}
