import { newId } from '../model/id.ts';
import { OPERATOR } from '../model/mail.ts';
import type { SessionRow } from '../model/session.ts';
import { type Ended, type Nudged, nudgeSession, pauseSession, resumeSession, stopSession } from '../store/control.ts';
import type { MailDraft } from '../store/mail.ts';
import { insertSession } from '../store/new-session.ts';
import { getSession } from '../store/session.ts';
import { startOfDay } from '../sys/day.ts';
import { readPage } from '../sys/read-text.ts';
import { whyNotPause, whyNotRecover, whyNotResume } from './control-checks.ts';
import type { Deps } from './deps.ts';
import { depthBelow } from './depth.ts';
import type { Caller } from './identity.ts';
import { checkTexts } from './mail.ts';
import { ownerProbe } from './owner-probe.ts';

export async function stop(deps: Deps, row: SessionRow, reason = 'operator'): Promise<Ended> {
  return stopSession(deps.store, { session_id: row.id, actor: 'cli', reason, now: deps.clock.now() });
}

/** Only for who goes on with work: the other verbs of control load as little as they can. */
async function heldMerge(deps: Deps, row: SessionRow): Promise<string> {
  return (await import('./held-merge.ts')).heldMergeNote(deps, row);
}

/** Throws `session_ended` (3) when there is nothing to hold. */
export async function pause(deps: Deps, row: SessionRow, reason: string): Promise<Ended> {
  const ended = await pauseSession(deps.store, { session_id: row.id, reason, now: deps.clock.now() });
  if (ended.changed || ended.prev === 'parked') return ended;
  throw whyNotPause(ended.row) ?? new Error(`${row.id} could be paused`);
}

function draft(
  caller: Caller,
  type: 'nudge' | 'task',
  subject: string,
  body: string,
): Omit<MailDraft, 'to_id' | 'to_name'> {
  // A recovered task may be as long as a task; what somebody says now has the length of a mail.
  if (type === 'nudge') checkTexts({ subject, body });
  return {
    from_name: caller.name,
    from_id: caller.session?.id ?? null,
    type,
    priority: 'high',
    subject,
    body,
    payload_json: null,
  };
}

/**
 * Puts a parked, failed or stopped session back into the queue; a queued one is left alone (E-146, CX-04). `force`: in
 * spite of an open incident that holds it (CX-27).
 * Throws `cannot_resume` (3) with the right verb for every other state, `incident_open` and `budget_spent` (3).
 */
export async function resume(
  deps: Deps,
  caller: Caller,
  row: SessionRow,
  { text, force = false }: { text?: string | undefined; force?: boolean },
): Promise<Ended> {
  const now = deps.clock.now();
  const held = await heldMerge(deps, row);
  const ended = await resumeSession(deps.store, {
    session_id: row.id,
    brief: draft(caller, 'nudge', 'You are resumed', `${text ?? template(deps, 'resume').trim()}${held}`),
    interrupt_reason:
      row.state === 'parked' ? `parked: ${parkedWhy(row)}` : `${row.state}: ${row.end_reason ?? 'unknown'}`,
    always_brief: text !== undefined || held !== '',
    force,
    probe: ownerProbe(now),
    day: startOfDay(now),
    now,
  });
  if (ended.changed || ended.prev === 'queued') return ended;
  throw whyNotResume(ended.row) ?? new Error(`${row.id} could be resumed`);
}

/** Kinds of evidence that have words of ours for whoever goes on. */
const TOLD: ReadonlySet<unknown> = new Set(['memory', 'conflict', 'budget']);

/** The reason, and what its evidence says in words: who goes on should know what to avoid. */
function parkedWhy({ parked_reason, parked_evidence }: SessionRow): string {
  const evidence: unknown = parked_evidence === null ? null : JSON.parse(parked_evidence);
  const isTold = evidence instanceof Object && 'kind' in evidence && TOLD.has(evidence.kind);
  return isTold && 'text' in evidence ? `${parked_reason}: ${evidence.text}` : `${parked_reason}`;
}

/**
 * A new session that takes over the place, settings and conversation of one that ended. The old row stays as it is. It
 * reports to whom the old one reported, as long as that lives, and counts among its children; one that a session recovers is
 * its child. Throws `still_live`, `turn_still_ending`, `taken_over`, `live_owner`, `too_many_children`, `too_deep` (3), and
 * `mail_*` (2) for its text.
 */
export async function recover(
  deps: Deps,
  caller: Caller,
  row: SessionRow,
  text: string | undefined,
): Promise<SessionRow> {
  const reason = whyNotRecover(row);
  if (reason !== null) throw reason;
  if (text !== undefined) checkTexts({ subject: '', body: text });
  const config = await deps.config_for(row.repo_root);
  const what = `${text ?? template(deps, 'recover').trim()}${await heldMerge(deps, row)}`;
  const body = `${what}\n\nThe task:\n${row.task}`;
  const { id: _id, name: _name, ...inherited } = row;
  const parent = caller.session ?? (await liveParent(deps, row));
  const depth = depthBelow(parent, config.max_depth);
  return insertSession(deps.store, {
    draft: {
      ...inherited,
      id: newId('agent'),
      name: row.name,
      parent_id: parent?.id ?? null,
      depth,
      recovered_from: row.id,
    },
    brief: draft(caller, 'task', 'Recover your task', body),
    is_name_chosen: false,
    limits: { max_children: config.max_children },
    new_id: () => newId('agent'),
    probe: ownerProbe(deps.clock.now()),
    now: deps.clock.now(),
  });
}

async function liveParent({ store }: Deps, { parent_id }: SessionRow): Promise<SessionRow | null> {
  const parent = parent_id === null ? null : await getSession(store, parent_id);
  return parent?.ended_at === null ? parent : null;
}

/** Mail whose only purpose is to cause a turn (C-09, O-75). Throws `recipient_ended` (3). */
export async function nudge(
  deps: Deps,
  caller: Caller,
  row: SessionRow,
  request: { text?: string | undefined; interrupt: boolean },
): Promise<Nudged> {
  const body = request.text?.trim() || template(deps, 'nudge').trim();
  return nudgeSession(deps.store, {
    session_id: row.id,
    draft: { ...draft(caller, 'nudge', 'Nudge', body), priority: caller.name === OPERATOR ? 'high' : 'normal' },
    interrupt: request.interrupt,
    now: deps.clock.now(),
  });
}

/** One of our own texts; missing means a broken installation, which is a bug. */
export function template(deps: Pick<Deps, 'package_dir'>, name: string): string {
  const text = readPage(`${deps.package_dir}/templates/${name}.md`);
  if (text === null) throw new Error(`the template ${name}.md is missing from ${deps.package_dir}`);
  return text;
}
