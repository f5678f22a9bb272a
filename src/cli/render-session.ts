import { type PoolRow, parkedReasonOf } from '../model/pool.ts';
import type { SessionRow, SessionState } from '../model/session.ts';
import type { WorktreeWait } from '../session/worktree-wait.ts';
import { age, paint, type Style, safe } from './output.ts';
import { opensText } from './render-pool.ts';

const STYLES: Record<SessionState, Style> = {
  queued: 'dim',
  booting: 'cyan',
  working: 'cyan',
  idle: 'dim',
  parked: 'yellow',
  stalled: 'yellow',
  completed: 'green',
  failed: 'red',
  stopped: 'magenta',
  zombie: 'red',
};

export function paintState(state: SessionState): string {
  return paint(STYLES[state], state);
}

type Facts = Pick<SessionRow, 'state' | 'parked_reason' | 'parked_pool' | 'resume_at' | 'next_turn_at' | 'end_reason'>;

/** Why a session is where it is, in a few words. `pools`: of those that hold one, to say until when. */
export function reason(row: Facts, now: number, pools: readonly PoolRow[] = []): string {
  if (row.state === 'parked') {
    const pool = pools.find(({ name }) => name === row.parked_pool);
    if (pool !== undefined && pool.blocked_at !== null)
      return `${parkedReasonOf(pool.reason)}, pool ${safe(pool.name)} ${opensText(pool, now)}`;
    if (pool !== undefined) return `${row.parked_reason}, pool ${safe(pool.name)} ${opensText(pool, now)}`;
    if (row.parked_pool !== null) return `${row.parked_reason}, pool ${safe(row.parked_pool)}`;
    const until = row.resume_at === null ? '' : `, resumes in ${age(row.resume_at - now)}`;
    return `${row.parked_reason}${until}`;
  }
  if ((row.state === 'idle' || row.state === 'queued') && row.next_turn_at !== null)
    return `retries in ${age(row.next_turn_at - now)}`;
  return row.end_reason === 'ok' ? '' : (row.end_reason ?? '');
}

/** `2nd in line for a worktree: 6 of 6 taken, 4 by ended sessions` */
export function waitText({ position, max, held, held_by_ended }: WorktreeWait): string {
  const ended = held_by_ended === 0 ? '' : `, ${held_by_ended} by ended sessions`;
  return `waits for a worktree, no. ${position} in line: ${held} of ${max} taken${ended}`;
}

/** `gate, for 12s`: its turn claims to be done and is being judged; nothing when it is not. */
export function gateText(gated_at: number | null, now: number): string {
  return gated_at === null ? '' : `gate, for ${age(now - gated_at)}`;
}

/** `name: state (reason), turn 2` */
export function describe(row: SessionRow, now: number): string {
  const why = reason(row, now);
  return `${paint('bold', row.name)}: ${paintState(row.state)}${why === '' ? '' : ` (${why})`}, turn ${row.turn}`;
}
