import type { TurnRow } from '../model/turn.ts';
import { launcherOf } from '../session/end.ts';
import { fileSize } from '../sys/directory.ts';
import { isGone } from '../sys/identity.ts';
import { liveHeld, readExit, turnFiles } from '../sys/turn-files.ts';
import type { TurnFacts } from '../watchdog/judge.ts';
import type { RunningTurn } from './running.ts';

/** Asks the machine whether a turn's launcher has ended; learns the identity when the launcher has written it since. */
export function isProcessGone(turn: RunningTurn): boolean {
  turn.identity ??= launcherOf(turn.row);
  return turn.identity !== null ? isGone(turn.identity) : !liveHeld(turn.row.dir);
}

/** What is known of a turn right now, as facts for the judge. `closely` also measures its files. */
export function factsOf(turn: RunningTurn, look: { closely: boolean; awake_since: number }): TurnFacts {
  const { row } = turn;
  return {
    state: turn.isStalled ? 'stalled' : 'working',
    process: turn.gone ? 'gone' : 'alive',
    started_at: row.started_at,
    first_event_at: row.first_event_at,
    last_event_at: row.last_event_at,
    result_at: row.result_at,
    tools_open: row.tools_open,
    end_cause: row.end_cause,
    timeout_ms: turn.session.timeout_ms,
    early_first_event: turn.harness?.bits.early_first_event ?? false,
    is_persistent: turn.is_persistent,
    log_bytes: look.closely ? logBytes(row.dir) : 0,
    awake_since: look.awake_since,
  };
}

function logBytes(dir: string): number {
  const { stdout, stderr } = turnFiles(dir);
  return fileSize(stdout) + fileSize(stderr);
}

/** A claim whose launcher never ran: no identity, no output, and nobody holds the turn's lock (race-free, by flock). */
export function wasNeverStarted(row: TurnRow): boolean {
  const isSilent = fileSize(turnFiles(row.dir).stdout) === 0 && readExit(row.dir) === null;
  return isSilent && launcherOf(row) === null && !liveHeld(row.dir);
}
