import type { SessionRow, SessionState } from '../model/session.ts';
import { age, paint, type Style } from './output.ts';

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

/** Why a session is where it is, in a few words. */
export function reason(row: SessionRow, now: number): string {
  if (row.state === 'parked') {
    const until = row.resume_at === null ? '' : `, resumes in ${age(row.resume_at - now)}`;
    return `${row.parked_reason}${until}`;
  }
  if (row.state === 'idle' && row.next_turn_at !== null) return `retries in ${age(row.next_turn_at - now)}`;
  return row.end_reason === 'ok' ? '' : (row.end_reason ?? '');
}

/** `name: state (reason), turn 2` */
export function describe(row: SessionRow, now: number): string {
  const why = reason(row, now);
  return `${paint('bold', row.name)}: ${paintState(row.state)}${why === '' ? '' : ` (${why})`}, turn ${row.turn}`;
}
