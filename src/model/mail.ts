/** Mail types: semantic, protocol, and those drover itself writes (O-29). */
export const MAIL_TYPES = [
  'status',
  'question',
  'result',
  'error',
  'worker_done',
  'worker_died',
  'merge_ready',
  'merged',
  'merge_failed',
  'escalation',
  'conflict',
  'health_check',
  'dispatch',
  'assign',
  'task_handoff',
  'decision_gate',
  'answer',
  'task',
  'nudge',
  'reminder',
] as const;
export type MailType = (typeof MAIL_TYPES)[number];

/** Types that only drover writes; a person or an agent may not forge them. */
export const RESERVED_MAIL_TYPES: readonly MailType[] = ['worker_died', 'task', 'reminder'];

export const PRIORITIES = ['low', 'normal', 'high', 'critical'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** `urgent` is accepted for `critical` (CX-17); anything else is null. */
export function parsePriority(text: string): Priority | null {
  const word = text.toLowerCase();
  if (word === 'urgent') return 'critical';
  return (PRIORITIES as readonly string[]).includes(word) ? (word as Priority) : null;
}

/** Addresses that are not sessions. */
export const OPERATOR = 'operator';
export const SYSTEM = 'drover';

export const MAIL_BODY_LIMIT = 256 * 1024;
export const MAIL_SUBJECT_LIMIT = 512;
export const TASK_LIMIT = 1024 * 1024;

export interface MailRow {
  seq: number;
  id: string;
  from_name: string;
  from_id: string | null;
  to_name: string;
  to_id: string | null;
  type: MailType;
  priority: Priority;
  subject: string;
  body: string;
  payload_json: string | null;
  thread_id: string;
  reply_to: string | null;
  sent_in_turn: number | null;
  created_at: number;
  /** The turn whose prompt carries it; null while waiting. Confirmed by `read_at`. */
  delivered_turn: number | null;
  deliveries: number;
  read_at: number | null;
}

/** A child's end, waiting for its parent's next prompt (D-33…D-45). */
export interface NotificationRow {
  seq: number;
  parent_id: string;
  child_id: string;
  child_name: string;
  death_no: number;
  is_failed: number;
  body: string;
  created_at: number;
  delivered_turn: number | null;
  delivered_at: number | null;
}

/** The same nudge again within this time is one nudge (O-75). */
export const NUDGE_DEBOUNCE_MS = 500;
