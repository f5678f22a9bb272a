import type { SessionState } from '../model/session.ts';
import { ageOf } from './timers.ts';

const ENDED: readonly SessionState[] = ['failed', 'stopped', 'zombie'];

/** What becomes of an open question, from its answer's session alone. */
export function questionState(
  { session, asked_at }: { session: { state: SessionState } | null; asked_at: number },
  limits: { timeout_ms: number; awake_since: number },
  now: number,
): 'answered' | 'waiting' | 'silent' {
  if (session?.state === 'completed') return 'answered';
  const isLate = ageOf(asked_at, limits.awake_since, now) > limits.timeout_ms;
  const isOver = session === null || ENDED.includes(session.state) || session.state === 'parked';
  return isOver || isLate ? 'silent' : 'waiting';
}
