import type { Profile } from './profile.ts';

/** MODEL §2.1 plus `parked` (ARCHITECTURE §3). */
export const SESSION_STATES = [
  'queued',
  'booting',
  'working',
  'idle',
  'parked',
  'stalled',
  'completed',
  'failed',
  'stopped',
  'zombie',
] as const;
export type SessionState = (typeof SESSION_STATES)[number];

export const LIVE_STATES = ['queued', 'booting', 'working', 'idle', 'parked', 'stalled'] as const;
export const IN_FLIGHT_STATES = ['booting', 'working', 'stalled'] as const;
export const TERMINAL_STATES = ['completed', 'failed', 'stopped', 'zombie'] as const;

export const PARKED_REASONS = [
  'usage_limit',
  'rate_limit',
  'budget',
  'question',
  'gate',
  'conflict',
  'operator',
] as const;
export type ParkedReason = (typeof PARKED_REASONS)[number];

/** Legal predecessors of every state: the `IN (…)` list of the one guarded UPDATE (O-05, MODEL §2.2, I1). */
export const PREDECESSORS: Record<SessionState, readonly SessionState[]> = {
  queued: ['queued', 'parked', 'failed', 'stopped'],
  booting: ['queued'],
  working: ['booting', 'working', 'idle', 'stalled'],
  idle: ['working', 'idle', 'stalled'],
  parked: ['queued', 'booting', 'working', 'idle', 'stalled', 'parked'],
  stalled: ['booting', 'working', 'stalled'],
  completed: ['booting', 'working', 'idle', 'stalled', 'zombie', 'completed'],
  failed: ['queued', 'booting', 'working', 'idle', 'parked', 'stalled', 'failed'],
  stopped: ['queued', 'booting', 'working', 'idle', 'parked', 'stalled', 'stopped'],
  zombie: ['booting', 'working', 'idle', 'stalled', 'zombie'],
};

/** What may happen to a session. `fenced`: the write speaks of one turn and must not touch a later one. */
interface SessionEventRule {
  to: SessionState;
  from: readonly SessionState[];
  fenced: boolean;
}

/**
 * Every named cause of a transition. `from` narrows `PREDECESSORS[to]` to what this cause may do (the actor guard of
 * MODEL §2.2); self transitions that change nothing are left out, so "somebody was first" is visible as a miss.
 */
export const SESSION_EVENTS = {
  claim_first: { to: 'booting', from: ['queued'], fenced: false },
  claim_next: { to: 'working', from: ['idle'], fenced: false },
  first_event: { to: 'working', from: ['booting'], fenced: true },
  stall: { to: 'stalled', from: ['booting', 'working'], fenced: true },
  progress: { to: 'working', from: ['stalled'], fenced: true },
  rest: { to: 'idle', from: ['working', 'stalled'], fenced: true },
  complete: { to: 'completed', from: ['booting', 'working', 'idle', 'stalled'], fenced: true },
  fail: { to: 'failed', from: ['queued', 'booting', 'working', 'idle', 'parked', 'stalled'], fenced: true },
  park: { to: 'parked', from: ['queued', 'booting', 'working', 'idle', 'stalled', 'parked'], fenced: true },
  bury: { to: 'zombie', from: ['booting', 'working', 'idle', 'stalled'], fenced: true },
  pause: { to: 'parked', from: ['queued', 'booting', 'working', 'idle', 'stalled', 'parked'], fenced: false },
  stop: { to: 'stopped', from: ['queued', 'booting', 'working', 'idle', 'parked', 'stalled'], fenced: false },
  resume: { to: 'queued', from: ['parked', 'failed', 'stopped'], fenced: false },
  release: { to: 'queued', from: ['parked'], fenced: false },
  clean: { to: 'completed', from: ['zombie'], fenced: false },
} as const satisfies Record<string, SessionEventRule>;

export type SessionEvent = keyof typeof SESSION_EVENTS;

/** States from which a cause may act: its own list within what the table of states allows. */
export function legalFrom(event: SessionEvent): SessionState[] {
  const rule: SessionEventRule = SESSION_EVENTS[event];
  return PREDECESSORS[rule.to].filter((state) => rule.from.includes(state));
}

export function isTerminal(state: SessionState): boolean {
  return (TERMINAL_STATES as readonly SessionState[]).includes(state);
}

export function isInFlight(state: SessionState): boolean {
  return (IN_FLIGHT_STATES as readonly SessionState[]).includes(state);
}

/** Who caused a write; part of the audit trail. */
export type Actor = 'cli' | 'supervisor' | 'watchdog' | 'session';

/** One row of `sessions`, spelled like its columns. Times are wall milliseconds. */
export interface SessionRow {
  id: string;
  name: string;
  role: string;
  harness: string;
  task: string;
  project: string;
  task_group: string;
  profile_name: string | null;
  profile_json: string | null;
  model: string | null;
  repo_root: string;
  working_dir: string;
  worktree_path: string | null;
  branch: string | null;
  base_ref: string | null;
  base_commit: string | null;
  /** The branch its work is meant for: the one the person was on; null when HEAD was detached. */
  base_branch: string | null;
  /** The commit of the target that has its work, and since when. */
  merged_commit: string | null;
  merged_at: number | null;
  state: SessionState;
  end_reason: string | null;
  parked_reason: ParkedReason | null;
  parked_evidence: string | null;
  resume_at: number | null;
  parent_id: string | null;
  depth: number;
  run_id: string | null;
  /** Its role lives on until it is stopped, as the page said when the session was made (O-49). */
  is_persistent: number;
  recovered_from: string | null;
  native_session_id: string | null;
  /** Number of the newest turn claimed; 0 before the first. It is the fence of every settle. */
  turn: number;
  attempt: number;
  resume_count: number;
  death_no: number;
  is_reminded: number;
  contract_met_at: number | null;
  next_turn_at: number | null;
  interrupt_reason: string | null;
  max_turns: number | null;
  timeout_ms: number | null;
  /** Commands that have to pass before it is completed; null: the repository's own. */
  gate_json: string | null;
  /** Red gates in a row that it was sent back by. */
  gate_round: number;
  token_hash: string | null;
  prompt_version: string | null;
  /** The credential whose limits it shares with others. */
  pool: string;
  /** Set while that pool, and no clock, decides when a parked session goes on. */
  parked_pool: string | null;
  escalation_level: number;
  /** When the ladder took its last step, and because of what. */
  escalated_at: number | null;
  escalation_cause: string | null;
  stalled_since: number | null;
  result_text: string | null;
  input_tokens: number;
  output_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
  reasoning_tokens: number;
  cost_micros: number | null;
  tool_calls: number;
  created_at: number;
  updated_at: number;
  last_activity_at: number | null;
  ended_at: number | null;
}

/** Throws nothing: a snapshot that does not parse counts as none. */
export function profileOf(row: Pick<SessionRow, 'profile_json'>): Profile | null {
  try {
    return row.profile_json === null ? null : (JSON.parse(row.profile_json) as Profile);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Name for a session nobody named: `<role>-<first words of the task>` (O-74), safe as a file and branch part. */
export function nameFor(role: string, task: string): string {
  const words = task
    .toLowerCase()
    .normalize('NFKD')
    .replace(/[^a-z0-9]+/g, '-')
    .split('-')
    .filter((word) => word.length > 0);
  let slug = '';
  for (const word of words) {
    if (slug.length + word.length > 28) break;
    slug += slug === '' ? word : `-${word}`;
  }
  return slug === '' ? `${role}-${(words[0] ?? 'task').slice(0, 28)}` : `${role}-${slug}`;
}

/** Project label default: base name of the repository, else `workspace` (E-003). */
export function projectLabel(repo_root: string, given: string | undefined): string {
  const label = given?.trim();
  if (label) return label;
  return repo_root.split('/').filter(Boolean).at(-1) ?? 'workspace';
}

/** Group label default: the task text itself, trimmed, else `general` (E-003). */
export function groupLabel(task: string, given: string | undefined): string {
  return given?.trim() || task.trim() || 'general';
}
