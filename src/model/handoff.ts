import type { Priority } from './mail.ts';
import type { SessionRow } from './session.ts';

/** Who hands a task on, and from where. */
export type HandoffSender = Pick<SessionRow, 'id' | 'name' | 'harness' | 'working_dir' | 'branch' | 'worktree_path'>;

/** The mail that gives a task to another session (E-083): what is wanted in `payload_json`, where it comes from in words. */
export function handoffMail(from: HandoffSender, task: string, reason: string, priority: Priority = 'normal') {
  const context = handoffContext(from, reason);
  return {
    from_name: from.name,
    from_id: from.id,
    type: 'task_handoff' as const,
    priority,
    subject: `Handoff: ${reason}`,
    body: context,
    payload_json: JSON.stringify({ task, context, priority }),
  };
}

function handoffContext({ id, harness, working_dir, branch, worktree_path }: HandoffSender, reason: string): string {
  const worktree = branch === null || worktree_path === null ? '' : ` | worktree ${branch} (${worktree_path})`;
  return `Assigned by ${id} [${harness}] | cwd ${working_dir}${worktree} | ${reason}`;
}
