import type { IncidentRow } from '../model/incident.ts';
import { MAIL_SUBJECT_LIMIT, OPERATOR, SYSTEM } from '../model/mail.ts';
import { insertDecision } from './decision.ts';
import { holdersOf } from './incident-list.ts';
import { insertMail } from './mail.ts';
import { readSession } from './session.ts';
import type { Store, Tx } from './store.ts';

export interface Word {
  id: string;
  /** How it was settled, in words. */
  resolution: string;
  /** Who says so, by name. */
  by: string;
  /** Id of the session whose change stands; null: nobody said. */
  keep: string | null;
  now: number;
}

/**
 * Somebody's word that an incident is settled (CX-27), with the decision and mail for whoever was held by it. What was
 * written until now counts as settled. Null: somebody was first.
 */
export async function resolveIncident(
  store: Store,
  { id, resolution, by, keep, now }: Word,
): Promise<IncidentRow | null> {
  return store.write((tx) => {
    const row = close(tx, `id = :id`, { id }, `${by}: ${resolution}`, now)[0] ?? null;
    if (row === null) return null;
    const session_id = row.paused_session_id ?? row.second_session_id;
    insertDecision(tx, {
      ...{ session_id, decision: `Resolve conflict on ${row.path}`, reasoning: `${by}: ${resolution}`, at: now },
      alternatives: [row.first_session_id, row.second_session_id].map((each) => `Keep ${each}`),
    });
    for (const reader of readersOf(row, keep)) tellResolved(tx, row, reader, now);
    return row;
  });
}

/** Who was held, and of the two the one whose change does not stand. */
function readersOf(row: IncidentRow, keep: string | null): Set<string> {
  const others = keep === null ? [] : [row.first_session_id, row.second_session_id].filter((id) => id !== keep);
  return new Set([...(row.paused_session_id === null ? [] : [row.paused_session_id]), ...others]);
}

function tellResolved(tx: Tx, { id, path, resolution }: IncidentRow, reader: string, now: number): void {
  const row = readSession(tx, reader);
  if (row === null || row.ended_at !== null) return;
  insertMail(
    tx,
    {
      ...{ from_name: SYSTEM, from_id: null, to_name: row.name, to_id: row.id, type: 'status', priority: 'high' },
      subject: `Settled: ${path}`.slice(0, MAIL_SUBJECT_LIMIT),
      body: `The conflict on ${path} is settled. ${resolution}`,
      payload_json: JSON.stringify({ file: path, incident: id }),
    },
    now,
  );
}

/**
 * Ends every open incident of a session because of what became of it: merged, or its work is gone. For use inside the
 * transaction in which that happens. Whoever leads a session that was held by one is told that it may go on.
 */
export function resolveIncidentsOf(tx: Tx, session_id: string, resolution: string, now: number): IncidentRow[] {
  const ofSession = '(first_session_id = :session_id OR second_session_id = :session_id)';
  const rows = close(tx, ofSession, { session_id }, resolution, now);
  for (const row of rows) tellFree(tx, row, now);
  return rows;
}

function close(tx: Tx, which: string, key: Record<string, string>, resolution: string, now: number): IncidentRow[] {
  return tx.all<IncidentRow>(
    `UPDATE incidents SET resolved_at = :now, updated_at = :now, resolution = :resolution
     WHERE resolved_at IS NULL AND ${which} RETURNING *`,
    { ...key, resolution, now },
  );
}

/** Nothing wakes it by itself: its lead or the operator has to know that it waits for a word only. */
function tellFree(tx: Tx, { path, resolution, paused_session_id }: IncidentRow, now: number): void {
  const held = paused_session_id === null ? null : readSession(tx, paused_session_id);
  if (held === null || held.parked_reason !== 'conflict' || holdersOf(tx, held.id).length > 0) return;
  const parent = held.parent_id === null ? null : readSession(tx, held.parent_id);
  const to = parent === null || parent.ended_at !== null ? { name: OPERATOR, id: null } : parent;
  insertMail(
    tx,
    {
      ...{ from_name: SYSTEM, from_id: null, to_name: to.name, to_id: to.id, type: 'status', priority: 'high' },
      subject: `${held.name} may go on: ${path}`.slice(0, MAIL_SUBJECT_LIMIT),
      body: `The conflict on ${path} is over (${resolution}). ${held.name} stays held until somebody puts it back: drover resume ${held.name}`,
      payload_json: JSON.stringify({ file: path, session: held.id }),
    },
    now,
  );
}

interface Over {
  id: string;
  resolution: string;
}

/** Why an open incident of `s`, one of its two sessions, is over; null while it is not. `o` is the other one. */
const WHY = `CASE
  WHEN s.merged_at >= i.created_at THEN 'merged: ' || s.name
  WHEN s.ended_at IS NOT NULL AND s.branch IS NULL THEN 'ended: ' || s.name
  WHEN s.ended_at IS NOT NULL AND s.worktree_path IS NULL THEN 'its worktree is gone: ' || s.name
  WHEN s.ended_at IS NOT NULL AND (o.ended_at IS NOT NULL OR o.id IS NULL) THEN 'both have ended' END`;

/** A warning stands as long as the work of who wrote can still come in, whatever became of who had reserved the files. */
const OF_WARNING = `CASE
  WHEN s.merged_at >= i.created_at THEN 'merged: ' || s.name
  WHEN s.id <> i.second_session_id OR s.ended_at IS NULL THEN NULL
  WHEN s.branch IS NULL THEN 'ended: ' || s.name
  WHEN s.worktree_path IS NULL THEN 'its worktree is gone: ' || s.name END`;

const OVER = `SELECT i.id, CASE WHEN i.kind = 'reserved' THEN ${OF_WARNING} ELSE ${WHY} END AS resolution
  FROM incidents AS i CROSS JOIN sessions AS s ON s.id IN (i.first_session_id, i.second_session_id)
    LEFT JOIN sessions AS o ON o.id IN (i.first_session_id, i.second_session_id) AND o.id <> s.id
  WHERE i.resolved_at IS NULL AND (s.ended_at IS NOT NULL OR s.merged_at IS NOT NULL)`;

/**
 * Ends the open incidents that are over by what became of their sessions: merged since, gone with its worktree, or, of an
 * overlap, both ended (CX-27). One small read while none is open. Returns what was resolved.
 */
export async function sweepIncidents(store: Store, now: number): Promise<IncidentRow[]> {
  const over = (tx: Tx) => tx.all<Over>(`SELECT * FROM (${OVER}) WHERE resolution IS NOT NULL`);
  if ((await store.read(over)).length === 0) return [];
  return store.write((tx) => {
    // Both of its sessions may be a reason: the first one found is told.
    const rows = over(tx).flatMap(({ id, resolution }) => close(tx, 'id = :id', { id }, resolution, now));
    for (const row of rows) tellFree(tx, row, now);
    return rows;
  });
}
