import type { Priority } from './mail.ts';

export const DISPATCH_KINDS = ['standard', 'computer_use'] as const;
export type DispatchKind = (typeof DISPATCH_KINDS)[number];

/** `dispatching`: claimed by one process, which is at it. */
export const DISPATCH_STATES = ['pending', 'dispatching', 'dispatched', 'failed'] as const;
export type DispatchState = (typeof DISPATCH_STATES)[number];

/** One row of `dispatch_requests` (E-061, E-062): work asked for from outside. Times are wall milliseconds. */
export interface DispatchRow {
  id: string;
  kind: DispatchKind;
  /** Resolved when it was asked for (CX-37). */
  target_session_id: string | null;
  task: string;
  target_url: string | null;
  priority: Priority;
  harness: string | null;
  profile_name: string | null;
  worktree: number | null;
  project: string;
  task_group: string;
  repo_root: string;
  working_dir: string;
  source: string;
  requester: string | null;
  state: DispatchState;
  /** Who is at it: the fence of the lease it was claimed under. */
  claimed_by: string | null;
  claimed_at: number | null;
  /** `spawned`, `reused_idle`, `reused_active`, `spawned_top_level` (E-069). */
  result_action: string | null;
  result_session_id: string | null;
  error: string | null;
  created_at: number;
  updated_at: number;
}

/** The text of a computer-use task (E-063). */
export function computerUseTask({
  goal,
  url,
  context,
}: {
  goal: string;
  url?: string | undefined;
  context?: string | undefined;
}): string {
  const lines = ['Computer-use task.', `Goal: ${goal.trim()}`];
  if (url?.trim()) lines.push(`Target URL: ${url.trim()}`);
  if (context?.trim()) lines.push(`Context: ${context.trim()}`);
  lines.push(
    'Use the browser and computer tools to reach this goal. Report what blocks you: a login, an approval, something that only the local device can do.',
  );
  return lines.join('\n');
}
