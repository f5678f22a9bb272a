import { incidentKey, inOrder, type Overlap, overlapsOf, resolutionOf, type Touch } from '../model/conflict.ts';
import { newId } from '../model/id.ts';
import type { ConflictStrategy, IncidentRow } from '../model/incident.ts';
import { MAIL_SUBJECT_LIMIT, OPERATOR, SYSTEM } from '../model/mail.ts';
import type { PathReservationRow } from '../model/reservation.ts';
import { globMatches } from '../model/reservation-glob.ts';
import type { SessionRow } from '../model/session.ts';
import { insertDecision } from './decision.ts';
import { hasOpenIncident, settledAt } from './incident-list.ts';
import { insertMail } from './mail.ts';
import { openPathReservations } from './path-reservation.ts';
import { readSession } from './session.ts';
import type { Store, Tx } from './store.ts';
import { transition } from './transition.ts';

export interface ConflictSettings {
  strategy: ConflictStrategy;
  notify_lead: boolean;
}

interface Judging {
  /** All of one repository. */
  repo_root: string;
  writes: readonly Touch[];
  settings: ConflictSettings;
  now: number;
}

export interface Judged {
  created: IncidentRow[];
  /** Ids of the sessions that were held, each once (E-134). */
  paused: string[];
}

/**
 * Judges new writes of live sessions (E-127…E-137, I14): every overlap that nobody knows yet becomes an incident, and only
 * then the loser is held, its turn marked to be ended, both sides told and the decision noted, all in one transaction. A
 * write to what somebody else has reserved becomes a warning that holds nobody. Costs small reads alone while there is
 * nothing to judge.
 */
export async function judgeWrites(store: Store, input: Judging): Promise<Judged> {
  const isDue = await store.read((tx) => dueOverlaps(tx, input).length > 0 || trespassesOf(tx, input).length > 0);
  if (!isDue) return { created: [], paused: [] };
  return store.write((tx) => {
    const judged: Judged = { created: [], paused: [] };
    for (const overlap of dueOverlaps(tx, input)) settleOverlap(tx, overlap, input, judged);
    for (const trespass of trespassesOf(tx, input)) warn(tx, trespass, input, judged);
    return judged;
  });
}

/** Whose changes can be in somebody's way: who lives and is not held already, and only what is not merged yet. */
const COUNTS = `s.ended_at IS NULL AND NOT (s.state = 'parked' AND s.parked_reason = 'conflict')
  AND (s.merged_at IS NULL OR a.at > s.merged_at)`;

/**
 * Overlaps on the paths of `writes` that are not open yet, by time. Resolving one settles all that was written before: it
 * comes up again only when both have written the path again.
 */
function dueOverlaps(tx: Tx, { repo_root, writes }: Judging): Overlap[] {
  const paths = [...new Set(writes.map(({ path }) => path))];
  const touches = tx.all<Touch>(
    `SELECT a.session_id, a.repo_root, a.path, a.action, max(a.at) AS at
     FROM json_each(:paths) AS p CROSS JOIN file_activity AS a CROSS JOIN sessions AS s ON s.id = a.session_id
     WHERE a.repo_root = :repo_root AND a.path = p.value AND a.action <> 'read' AND ${COUNTS}
     GROUP BY a.session_id, a.path`,
    { repo_root, paths: JSON.stringify(paths) },
  );
  return overlapsOf(touches)
    .filter(({ key, earlier, later }) => {
      const of = { repo_root, kind: 'overlap' as const, key };
      if (hasOpenIncident(tx, of)) return false;
      const settled = settledAt(tx, of);
      return settled === null || (earlier.at > settled && later.at > settled);
    })
    .sort((a, b) => a.later.at - b.later.at || a.earlier.at - b.earlier.at || (a.key < b.key ? -1 : 1));
}

function settleOverlap(tx: Tx, overlap: Overlap, { settings, now }: Judging, judged: Judged): void {
  const { active, paused, summary } = resolutionOf(settings.strategy, overlap);
  // Nobody waits for one that waits itself.
  if (judged.paused.includes(active)) return;
  const [winner, loser] = [readSession(tx, active), readSession(tx, paused)];
  if (winner === null || loser === null) return;
  const { earlier, later, path, key, repo_root } = overlap;
  const [first, second] = inOrder(earlier.session_id, later.session_id);
  const actionOf = (id: string) => (id === earlier.session_id ? earlier.action : later.action);
  const incident = insertIncident(tx, {
    ...{ id: newId('incident'), key, repo_root, kind: 'overlap', path, summary, strategy: settings.strategy },
    ...{ first_session_id: first, second_session_id: second },
    ...{ first_action: actionOf(first), second_action: actionOf(second) },
    ...{ active_session_id: active, paused_session_id: paused, created_at: now },
  });
  if (incident === null) return;
  judged.created.push(incident);
  if (hold(tx, loser, { incident, winner, now })) judged.paused.push(paused);
  tellBoth(tx, { incident, winner, loser }, settings, now);
  insertDecision(tx, {
    ...{ session_id: paused, decision: `Pause work due to conflict on ${path}`, reasoning: summary, at: now },
    alternatives: [`Keep ${active} active`, 'Continue concurrently'],
  });
}

type NewIncident = Omit<IncidentRow, 'prediction_json' | 'updated_at' | 'resolved_at' | 'resolution'>;

/** Null when the key is open: whoever opened it has done what goes with it (I14). */
function insertIncident(tx: Tx, row: NewIncident): IncidentRow | null {
  return tx.get<IncidentRow>(
    `INSERT INTO incidents (id, key, repo_root, kind, path, first_session_id, second_session_id, first_action, second_action,
                            active_session_id, paused_session_id, strategy, summary, created_at, updated_at)
     VALUES (:id, :key, :repo_root, :kind, :path, :first_session_id, :second_session_id, :first_action, :second_action,
             :active_session_id, :paused_session_id, :strategy, :summary, :created_at, :created_at)
     ON CONFLICT (repo_root, kind, key) WHERE resolved_at IS NULL DO NOTHING RETURNING *`,
    { ...row },
  );
}

/**
 * Parks the loser before its turn in flight is ended (MODEL §2.5); its worktree stays as it is. False when it is held already
 * by somebody's word: that stands, and the open incident keeps it from going on as well.
 */
function hold(
  tx: Tx,
  { id, turn, state, resume_at, parked_pool }: SessionRow,
  { incident, winner, now }: { incident: IncidentRow; winner: SessionRow; now: number },
): boolean {
  if (state === 'parked' && resume_at === null && parked_pool === null) return false;
  const { path, summary } = incident;
  const evidence = { kind: 'conflict', incident: incident.id, path, with: winner.id, text: summary, from: state };
  const moved = transition(tx, {
    ...{ session_id: id, event: 'park', actor: 'supervisor', reason: summary, fence: turn, now },
    set: {
      ...{ parked_reason: 'conflict', parked_evidence: JSON.stringify(evidence), interrupt_reason: summary },
      ...{ resume_at: null, parked_pool: null },
    },
  });
  if (!moved.ok) return false;
  tx.run("UPDATE turns SET end_cause = coalesce(end_cause, 'pause') WHERE session_id = :id AND ended_at IS NULL", {
    id,
  });
  return true;
}

interface Parties {
  incident: IncidentRow;
  winner: SessionRow;
  loser: SessionRow;
}

/** The loser reads it when it goes on (E-135); its lead, or the operator when nobody leads it, is asked to decide (E-136). */
function tellBoth(tx: Tx, { incident, winner, loser }: Parties, { notify_lead }: ConflictSettings, now: number): void {
  const { id, path, summary } = incident;
  const subject = `Conflict on ${path}`.slice(0, MAIL_SUBJECT_LIMIT);
  const mail = (from: SessionRow, to: { id: string | null; name: string }, description: string, advice: string) =>
    insertMail(
      tx,
      {
        ...{
          from_name: from.name,
          from_id: from.id,
          to_name: to.name,
          to_id: to.id,
          type: 'conflict',
          priority: 'high',
        },
        ...{ subject, body: `${description}\n\n${advice}` },
        payload_json: JSON.stringify({ file: path, description, incident: id }),
      },
      now,
    );
  mail(winner, loser, summary, adviceFor(winner, path));
  const lead = notify_lead ? leadOf(tx, loser, winner) : null;
  if (lead !== null) mail(loser, lead, `${summary} | delegate ${loser.id} paused`, adviceForLead(incident, loser));
}

function adviceFor(winner: SessionRow, path: string): string {
  return [
    `${winner.name} has changed ${path} as well, so you were held. Nothing of your work was touched.`,
    'Before you change that file again, look at what the other has made of it, and keep to your own part.',
  ].join(' ');
}

function adviceForLead({ id }: IncidentRow, loser: SessionRow): string {
  return [
    `See both changes and what a merge would give: drover incident show ${id}`,
    `Settle it and let ${loser.name} go on: drover incident resolve ${id} "<how>" --resume`,
  ].join('\n');
}

/** Who gave it its work: the newest handoff's sender, else the parent. Null when that is one of the two itself. */
function leadOf(tx: Tx, loser: SessionRow, winner: SessionRow): { id: string | null; name: string } | null {
  const handoff = tx.get<{ from_id: string }>(
    `SELECT from_id FROM mail WHERE to_id = :id AND type = 'task_handoff' AND from_id IS NOT NULL ORDER BY seq DESC LIMIT 1`,
    { id: loser.id },
  );
  const lead = handoff?.from_id ?? loser.parent_id;
  if (lead === loser.id || lead === winner.id) return null;
  const row = lead === null ? null : readSession(tx, lead);
  // Mail to one that has ended would wait unseen.
  return row === null || row.ended_at !== null ? { id: null, name: OPERATOR } : row;
}

interface Trespass {
  write: Touch;
  reservation: PathReservationRow;
  /** Of a person the name. */
  owner: string;
  key: string;
}

/** Writes to what somebody else has reserved, one per path and pair; a resolved one comes up again for a newer wish only. */
function trespassesOf(tx: Tx, { repo_root, writes, now }: Judging): Trespass[] {
  const reservations = openPathReservations(tx, { repo_root, now });
  if (reservations.length === 0) return [];
  const found = new Map<string, Trespass>();
  for (const write of writes) {
    for (const reservation of reservations) {
      const owner = reservation.owner_session_id ?? reservation.owner_name;
      if (owner === write.session_id || reservation.created_at > write.at) continue;
      const key = incidentKey(write.path, owner, write.session_id);
      if (found.has(key) || !globMatches(reservation.glob, write.path)) continue;
      const of = { repo_root, kind: 'reserved' as const, key };
      const settled = settledAt(tx, of);
      if (settled !== null && reservation.created_at <= settled) continue;
      if (!hasOpenIncident(tx, of)) found.set(key, { write, reservation, owner, key });
    }
  }
  return [...found.values()];
}

function warn(tx: Tx, { write, reservation, owner, key }: Trespass, { settings, now }: Judging, judged: Judged): void {
  const writer = readSession(tx, write.session_id);
  if (writer === null || writer.ended_at !== null) return;
  const { path, action, repo_root } = write;
  const told = tx.get(
    `SELECT 1 FROM incidents WHERE first_session_id = :owner AND second_session_id = :writer AND kind = 'reserved' AND resolved_at IS NULL`,
    { owner, writer: writer.id },
  );
  const incident = insertIncident(tx, {
    ...{ id: newId('incident'), key, repo_root, kind: 'reserved', path, strategy: settings.strategy },
    ...{ first_session_id: owner, second_session_id: writer.id, first_action: null, second_action: action },
    summary: `Write to ${path} by ${writer.id}, which ${reservation.owner_name} has reserved (${reservation.glob})`,
    ...{ active_session_id: null, paused_session_id: null, created_at: now },
  });
  if (incident === null) return;
  judged.created.push(incident);
  // One mail for the pair: a pattern may have many files.
  if (told === null) tellTrespass(tx, { incident, reservation, writer }, now);
}

/** Who wrote, and who had reserved it: the other's writes are nothing it would see by itself. */
function tellTrespass(
  tx: Tx,
  { incident, reservation, writer }: { incident: IncidentRow; reservation: PathReservationRow; writer: SessionRow },
  now: number,
): void {
  const { owner_name, owner_session_id, glob, reason } = reservation;
  const { id, path, summary } = incident;
  const mail = (to: { id: string | null; name: string }, advice: string) =>
    insertMail(
      tx,
      {
        ...{ from_name: SYSTEM, from_id: null, to_name: to.name, to_id: to.id, type: 'conflict', priority: 'normal' },
        ...{ subject: `Reserved: ${path}`.slice(0, MAIL_SUBJECT_LIMIT), body: `${summary}\n\n${advice}` },
        payload_json: JSON.stringify({ file: path, description: summary, incident: id }),
      },
      now,
    );
  const why = reason === null ? '' : ` (${reason})`;
  mail(
    writer,
    `${owner_name} has reserved ${glob}${why}. Nobody is held. Agree with ${owner_name} by mail, or leave these files alone.`,
  );
  const owner = owner_session_id === null ? { id: null, name: OPERATOR } : readSession(tx, owner_session_id);
  if (owner === null || ('ended_at' in owner && owner.ended_at !== null)) return;
  mail(
    owner,
    `You have reserved ${glob}${why}; ${writer.name} was told, and nobody is held. Further files of this pair bring no more mail: drover incident show ${id}`,
  );
}
