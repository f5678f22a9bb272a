import { AppError } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';

/** `session_ended`: there is nothing to hold; null: it lives. */
export function whyNotPause(row: SessionRow): AppError | null {
  if (row.ended_at === null) return null;
  return new AppError('refused', 'session_ended', `${row.name} is ${row.state}; there is nothing to pause.`, {
    preserved: 'nothing was changed',
  });
}

/** `cannot_resume` with the right verb; null: it is parked, failed or stopped, or in the queue already. */
export function whyNotResume(row: SessionRow): AppError | null {
  const { id, name, state } = row;
  if (state === 'parked' || state === 'failed' || state === 'stopped' || state === 'queued') return null;
  const refuse = (message: string, hint: string, command: string) =>
    new AppError('refused', 'cannot_resume', message, {
      hint,
      preserved: 'nothing was changed',
      recovery_commands: [command],
    });
  if (state === 'completed') {
    const hint = 'Start a new session that inherits its work.';
    return refuse(`Completed sessions cannot be resumed: ${id}`, hint, `drover recover ${name}`);
  }
  if (state === 'zombie') {
    const hint = 'Start a new session that inherits its worktree and conversation.';
    return refuse(`Session ${id} died; its state cannot be trusted.`, hint, `drover recover ${name}`);
  }
  if (state === 'idle') return refuse(`Session ${id} is idle.`, 'Wake it with a nudge.', `drover nudge ${name}`);
  return refuse(`Session is already running: ${id}`, 'Wait for it, nudge it, or stop it first.', `drover stop ${name}`);
}

/** `still_live`; null: it has ended. */
export function whyNotRecover(row: SessionRow): AppError | null {
  if (row.ended_at !== null) return null;
  return new AppError('refused', 'still_live', `${row.name} is ${row.state}; only an ended session can be recovered.`, {
    hint: 'Stop it first, or nudge it.',
    preserved: 'nothing was stored',
    recovery_commands: [`drover stop ${row.name}`],
  });
}
