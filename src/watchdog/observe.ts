import type { Config } from '../model/config.ts';
import { launcherOf } from '../session/end.ts';
import { recentCalls } from '../session/tool-calls.ts';
import type { Traits } from '../session/traits.ts';
import { workMark } from '../session/work-mark.ts';
import type { Store } from '../store/store.ts';
import { type CloseRow, closeRow, type Glance } from '../store/watched.ts';
import { fileSize, modifiedAt } from '../sys/directory.ts';
import { isGone } from '../sys/identity.ts';
import { sampleTrees, type TreeSample } from '../sys/sample.ts';
import { liveHeld, readExit, turnFiles } from '../sys/turn-files.ts';
import type { WatchFacts } from './judge.ts';
import type { Remembered, Work } from './memory.ts';
import { callsNeeded, isLoop, repetitionOf } from './repetition.ts';

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
    child_event_at: null,
    awaits_answer: false,
    ending_since: known.ending_since,
    repetition: known.repetition,
    unchanged_tokens: known.unchanged_tokens,
    processes: null,
    rss_bytes: null,
    cpu_ms: null,
    cpu_over_ms: null,
  };
}

/** Are there so many new events that they might hold a loop, or one more round of a known one? */
export function wantsCalls(glance: Glance, known: Remembered, loop_repeats: number): boolean {
  const calls = known.repetition === null ? loop_repeats : 1;
  return glance.events - known.events_seen >= calls * EVENTS_PER_CALL;
}

export function wantsWork(glance: Glance, known: Remembered): boolean {
  return glance.output_tokens - known.tokens_seen >= TOKENS_PER_LOOK;
}

/** One turn looked at closely; its facts beside what else its acts need. */
export interface Seen {
  facts: WatchFacts;
  close: CloseRow;
}

export interface Look {
  known: Remembered;
  /** Looks at its worktree in the background; false: not now. */
  at_work: (close: CloseRow) => boolean;
  config: Config;
  now: number;
}

/**
 * What only the machine, the turn's files and the rest of the store can tell. Updates what is remembered. `null`: the turn
 * is over.
 */
export async function lookClosely(store: Store, glance: Glance, quick: WatchFacts, look: Look): Promise<Seen | null> {
  const { known, config, now } = look;
  const close = await closeRow(store, glance);
  if (close === null) return null;
  const { turn } = close;
  known.ending_since = turn.end_cause === null ? null : (known.ending_since ?? now);
  known.on_ladder = close.escalated_at !== null;
  if (wantsCalls(glance, known, config.watchdog.loop_repeats)) {
    known.repetition = await repetitionIn(store, turn, config.watchdog.loop_repeats);
    known.events_seen = glance.events;
  }
  if (wantsWork(glance, known) && look.at_work(close)) known.tokens_seen = glance.output_tokens;
  const files = turnFiles(turn.dir);
  const size = fileSize(files.stdout);
  const facts: WatchFacts = {
    ...quick,
    process: processOf(close),
    state: close.state,
    first_event_at: turn.first_event_at,
    last_event_at: turn.last_event_at,
    result_at: turn.result_at,
    tools_open: turn.tools_open,
    end_cause: turn.end_cause,
    log_bytes: size + fileSize(files.stderr),
    written_at: size > turn.stdout_offset ? Math.floor(modifiedAt(files.stdout)) : null,
    child_event_at: close.child_event_at,
    awaits_answer: close.awaits_answer,
    ending_since: known.ending_since,
    repetition: known.repetition,
    unchanged_tokens: known.unchanged_tokens,
  };
  return { facts, close };
}

/** `unknown`: nobody has recorded whose process it is, and nobody holds its lock: it may only just be starting. */
function processOf({ turn }: CloseRow): WatchFacts['process'] {
  if (readExit(turn.dir) !== null) return 'gone';
  const launcher = launcherOf(turn);
  if (launcher !== null) return isGone(launcher) ? 'gone' : 'alive';
  return liveHeld(turn.dir) ? 'alive' : 'unknown';
}

async function repetitionIn(store: Store, turn: CloseRow['turn'], loop_repeats: number) {
  const count = callsNeeded(loop_repeats);
  const rough = repetitionOf(await recentCalls(store, turn, { count, exact: false }));
  if (!isLoop(rough, loop_repeats)) return rough;
  return repetitionOf(await recentCalls(store, turn, { count, exact: true }));
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
export function addUsage(seen: readonly { at: Seen; known: Remembered }[], now: number): void {
  const launchers = seen.flatMap(({ at }) => launcherOf(at.close.turn) ?? []);
  const samples: Map<number, TreeSample> = sampleTrees(launchers);
  for (const { at, known } of seen) {
    const sample = samples.get(launcherOf(at.close.turn)?.pid ?? 0);
    if (sample === undefined) continue;
    const before = known.cpu;
    known.cpu = { ms: sample.cpu_ms, at: now };
    const { processes, rss_bytes } = sample;
    const cpu_ms = before === null ? null : Math.max(0, sample.cpu_ms - before.ms);
    at.facts = { ...at.facts, processes, rss_bytes, cpu_ms, cpu_over_ms: before === null ? null : now - before.at };
  }
}
