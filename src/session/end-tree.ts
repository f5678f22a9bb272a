import type { TurnRow } from '../model/turn.ts';
import type { ProcessId } from '../sys/identity.ts';
import { type KillResult, killTree, uptimeMs } from '../sys/tree.ts';
import { readExit, readPid, turnProcesses } from '../sys/turn-files.ts';
import type { Deps } from './deps.ts';

/** The launcher's identity as the row or the turn directory knows it. */
export function launcherOf(turn: Pick<TurnRow, 'pid' | 'pid_start_time' | 'boot_id' | 'dir'>): ProcessId | null {
  if (turn.pid !== null && turn.pid_start_time !== null && turn.boot_id !== null) {
    return { pid: turn.pid, start_time: turn.pid_start_time, boot_id: turn.boot_id };
  }
  return readPid(turn.dir);
}

export interface TreeEnd extends KillResult {
  /** Those of `killed` that the harness had left behind; 0 when it did not end of its own accord. */
  leftovers: number;
}

/** Ends every process of a turn and proves it (ARCHITECTURE §2 "Whose processes are these"). */
export async function endTree(deps: Pick<Deps, 'clock'>, turn: TurnRow, grace_ms: number): Promise<TreeEnd> {
  const launcher = launcherOf(turn);
  const start = uptimeMs();
  const tree = await killTree({ ...turnProcesses(turn.dir, turn.marker), launcher }, { clock: deps.clock, grace_ms });
  // Asked afterwards: the record may just be being written while we begin.
  const ended = readExit(turn.dir)?.uptime_ms ?? null;
  const leftovers =
    ended !== null && ended <= start ? tree.killed.filter(({ pid }) => pid !== launcher?.pid).length : 0;
  return { ...tree, leftovers };
}
