import type { Clock } from '../model/clock.ts';
import type { TurnRow } from '../model/turn.ts';
import type { Deps } from '../session/deps.ts';
import { launcherOf } from '../session/end-tree.ts';
import type { VerdictDraft } from '../store/verdict.ts';
import { fileSize } from '../sys/directory.ts';
import { isGone } from '../sys/identity.ts';
import { liveHeld, readExit, turnFiles } from '../sys/turn-files.ts';
import { checkTimers, type TimerFacts, type TimerVerdict } from '../watchdog/timers.ts';
import type { RunningTurn } from './running.ts';

/** Asks the machine whether a turn's launcher has ended; learns the identity when the launcher has written it since. */
export function isProcessGone(turn: RunningTurn): boolean {
  turn.identity ??= launcherOf(turn.row);
  return turn.identity !== null ? isGone(turn.identity) : !liveHeld(turn.row.dir);
}

/** What is known of a turn right now, as facts for its timers. `closely` also measures its files. */
function factsOf(turn: RunningTurn, look: { closely: boolean; awake_since: number }): TimerFacts {
  const { row } = turn;
  return {
    process: turn.gone ? 'gone' : 'alive',
    started_at: row.started_at,
    first_event_at: row.first_event_at,
    last_event_at: row.last_event_at,
    result_at: row.result_at,
    tools_open: row.tools_open,
    end_cause: row.end_cause,
    timeout_ms: row.allowed_ms ?? turn.session.timeout_ms,
    early_first_event: turn.harness?.bits.early_first_event ?? false,
    log_bytes: look.closely ? logBytes(row.dir) : 0,
    awake_since: look.awake_since,
  };
}

/** What the timers say of a turn. */
export async function judge(
  deps: Pick<Deps, 'config_for'>,
  turn: RunningTurn,
  look: { closely: boolean; awake_since: number; now: number },
): Promise<TimerVerdict> {
  return checkTimers(factsOf(turn, look), await deps.config_for(turn.session.repo_root), look.now);
}

/** The verdict by which a timer ends a turn, with all it takes to judge it again. */
export async function recordOf(
  deps: Pick<Deps, 'config_for'>,
  turn: RunningTurn,
  by: { awake_since: number; verdict: TimerVerdict; now: number },
): Promise<VerdictDraft> {
  const { health, cause, evidence } = by.verdict;
  const { turn: limits } = await deps.config_for(turn.session.repo_root);
  return {
    ...{
      session_id: turn.key,
      turn: turn.row.turn,
      judged_by: 'supervisor',
      tier: 0,
      health,
      cause,
      act: 'end',
      level: 0,
    },
    ...{ evidence, at: by.now, limits_json: JSON.stringify({ turn: limits }) },
    facts_json: JSON.stringify(factsOf(turn, { closely: true, awake_since: by.awake_since })),
  };
}

function logBytes(dir: string): number {
  const { stdout, stderr } = turnFiles(dir);
  return fileSize(stdout) + fileSize(stderr);
}

/** How long a launcher is waited for that has heard nothing from its starter, and will not any more. */
const ORPHAN_LOOKS = 50;
const ORPHAN_MS = 20;

/**
 * A claim whose harness never ran: no identity, no output, and nobody holds the turn's lock (race-free, by flock). A
 * launcher whose starter died before it was told to go on holds the lock as well, for the moment it takes to notice.
 */
export async function wasNeverStarted(clock: Clock, row: TurnRow): Promise<boolean> {
  for (let looks = 1; ; looks++) {
    // Asked first: of what had ended by then, every record stands.
    const isHeld = liveHeld(row.dir);
    if (!isSilent(row) || launcherOf(row) !== null) return false;
    if (!isHeld || looks === ORPHAN_LOOKS) return !isHeld;
    await clock.sleep(ORPHAN_MS);
  }
}

function isSilent({ dir }: TurnRow): boolean {
  return fileSize(turnFiles(dir).stdout) === 0 && readExit(dir) === null;
}
