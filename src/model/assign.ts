import type { SessionRow, SessionState } from './session.ts';

/** Files and the like of one session that a task is compared with. */
export const CONTEXT_LIMIT = 48;
/** States of a session that counts as a delegate: it waits to start, works, or rests (E-085). */
export const DELEGATE_STATES = ['queued', 'booting', 'working', 'idle'] as const satisfies readonly SessionState[];

/** A session that a lead has handed work to before. Times are wall milliseconds. */
export interface DelegateFact {
  id: string;
  name: string;
  harness: string;
  state: SessionState;
  /** Handoffs that no clean turn of it has read; other mail is no backlog (E-093). */
  unread_handoffs: number;
  updated_at: number;
  /** Names, paths, summaries of what it worked on. */
  context: readonly string[];
}

export type AssignAction = 'reused_idle' | 'spawned' | 'reused_active' | 'deferred_saturated';

export interface Assignment {
  action: AssignAction;
  /** Who gets it, or of a deferral who is in the way; null: a new one, or nobody is. */
  delegate: DelegateFact | null;
  /** What the handoff says of it (E-098); null when nothing is handed over. */
  reason: string | null;
  /** Words of the task that the delegate's context has. */
  terms: string[];
}

/** Words of a task that say what it is about: unique, lower-cased, in the order of the text (E-090). */
export function matchTerms(text: string): string[] {
  const words = text.split(/[^A-Za-z0-9_.-]+/).filter((word) => word.length >= 3);
  return [...new Set(words.map((word) => word.toLowerCase()))];
}

/** Those terms that are somewhere in the context (E-091). */
export function matchedTerms(terms: readonly string[], context: readonly string[]): string[] {
  const texts = context.map((text) => text.toLowerCase());
  return terms.filter((term) => texts.some((text) => text.includes(term)));
}

/** Direct delegates for a harness: whoever has its label and could take work some time (E-085, E-086). */
export function delegatesFor(
  children: readonly DelegateFact[],
  is_harness: (label: string) => boolean,
): DelegateFact[] {
  const states: readonly SessionState[] = DELEGATE_STATES;
  return children.filter(({ state, harness }) => states.includes(state) && is_harness(harness));
}

/**
 * Who of a lead's delegates does a task (E-087…E-098): an idle one without backlog, else a new one while there is room,
 * else nobody while an idle one is backed up, else the best active one, unless that has a backlog too. Pure.
 */
export function assign({
  task,
  delegates,
  max_delegates,
}: {
  task: string;
  delegates: readonly DelegateFact[];
  max_delegates: number;
}): Assignment {
  const terms = matchTerms(task);
  const known = delegates.map((delegate) => ({ delegate, terms: matchedTerms(terms, delegate.context) }));
  const idle = known.filter(({ delegate }) => delegate.state === 'idle').sort(byMatch);
  const free = idle.find(({ delegate }) => delegate.unread_handoffs === 0);
  if (free !== undefined) return { action: 'reused_idle', reason: 'reused idle delegate', ...free };
  if (delegates.length < max_delegates) return spawn('spawned new delegate');
  const [backedUp] = idle;
  if (backedUp !== undefined) return { action: 'deferred_saturated', reason: null, ...backedUp };
  const [active] = known.sort(byMatchAndBacklog);
  if (active === undefined) return spawn('spawned fallback delegate');
  if (active.delegate.unread_handoffs > 0) return { action: 'deferred_saturated', reason: null, ...active };
  return { action: 'reused_active', reason: 'reused active delegate at capacity', ...active };
}

function spawn(reason: string): Assignment {
  return { action: 'spawned', delegate: null, reason, terms: [] };
}

interface Matched {
  delegate: DelegateFact;
  terms: string[];
}

/** The best match, then whoever was heard of longest ago (E-089). */
function byMatch(a: Matched, b: Matched): number {
  return b.terms.length - a.terms.length || byAge(a, b);
}

/** With the smaller backlog in between (E-097). */
function byMatchAndBacklog(a: Matched, b: Matched): number {
  const backlog = a.delegate.unread_handoffs - b.delegate.unread_handoffs;
  return b.terms.length - a.terms.length || backlog || byAge(a, b);
}

function byAge({ delegate: a }: Matched, { delegate: b }: Matched): number {
  return a.updated_at - b.updated_at || (a.id < b.id ? -1 : 1);
}

/** Where a handoff comes from, in words (E-083). */
export function handoffContext(
  lead: Pick<SessionRow, 'id' | 'harness' | 'working_dir' | 'branch' | 'worktree_path'>,
  reason: string,
): string {
  const worktree = lead.worktree_path === null ? '' : ` | worktree ${lead.branch ?? '-'} (${lead.worktree_path})`;
  return `Assigned by ${lead.id} [${lead.harness}] | cwd ${lead.working_dir}${worktree} | ${reason}`;
}

/** What an assignment would be, for a person to look at (E-099). */
export interface AssignmentPreview {
  session_id: string | null;
  action: AssignAction;
  delegate_state: SessionState | null;
  handoff_backlog: number;
  graph_match_terms: string[];
}

/** A spawn has no session yet; a deferral names who is in the way. */
export function previewOf({ action, delegate, terms }: Assignment): AssignmentPreview {
  return {
    session_id: delegate?.id ?? null,
    action,
    delegate_state: delegate?.state ?? null,
    handoff_backlog: delegate?.unread_handoffs ?? 0,
    graph_match_terms: terms,
  };
}
