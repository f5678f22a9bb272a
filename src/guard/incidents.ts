import { AppError } from '../model/error.ts';
import type { IncidentRow } from '../model/incident.ts';
import { parseToolEvent, type ToolEvent } from '../model/tool-event.ts';
import { resume } from '../session/control.ts';
import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';
import { demandReach } from '../session/reach.ts';
import { demand, demandPerson } from '../session/rights.ts';
import { type Imported, importActivity } from '../store/activity-import.ts';
import { resolveIncident } from '../store/incident-end.ts';
import { listIncidents } from '../store/incident-list.ts';
import { getSession } from '../store/session.ts';
import { realNames } from '../sys/real-name.ts';

const MAX_WORDS = 4_096;

export interface ResolveRequest {
  incident: IncidentRow;
  /** How it was settled, in words. */
  resolution: string;
  /** Id of the session whose change stands. */
  keep: string | null;
  /** Put back whom it held. */
  resume: boolean;
}

export interface Resolved {
  incident: IncidentRow;
  /** False: it was resolved before, and stays so. */
  changed: boolean;
  /** Name of the session that was put back to work. */
  resumed: string | null;
  /** Why whom it held could not be put back now, although the incident is resolved; null: it could, or nobody asked. */
  not_resumed: AppError | null;
}

/**
 * Settles an incident by somebody's word: a person, or a session whose role may stop others, that reaches
 * whom the incident holds (or who was first), and that is none of the two.
 * With `resume` whom it held goes on; refused before anything is written when another incident holds it as well.
 * Throws `usage` (2) for words that are none or too many, `not_allowed`, `out_of_reach` and `incident_open` (3).
 */
export async function resolve(deps: Deps, caller: Caller, request: ResolveRequest): Promise<Resolved> {
  const { incident, resolution, keep } = request;
  await checkJudge(deps, caller, incident);
  if (resolution.trim() === '' || resolution.length > MAX_WORDS)
    throw new AppError('usage', 'usage', `The resolution wants 1 to ${MAX_WORDS} characters.`);
  const held = incident.paused_session_id;
  if (request.resume && held !== null) await checkFree(deps, incident, held);
  const word = { id: incident.id, resolution, keep, by: caller.name, now: deps.clock.now() };
  const settled = await resolveIncident(deps.store, word);
  const back = { resumed: null, not_resumed: null };
  const after = request.resume && held !== null ? await putBack(deps, caller, held, resolution) : back;
  return { incident: settled ?? incident, changed: settled !== null, ...after };
}

async function checkJudge(
  deps: Deps,
  caller: Caller,
  { first_session_id, second_session_id, paused_session_id }: IncidentRow,
): Promise<void> {
  demand(deps, caller, 'stop');
  if (caller.session === null) return;
  if (![first_session_id, second_session_id].includes(caller.session.id)) {
    const judged = await getSession(deps.store, paused_session_id ?? first_session_id);
    return demandReach(deps, caller, 'stop', judged === null ? [] : [judged]);
  }
  throw new AppError('refused', 'not_allowed', 'A session may not settle a conflict it is one of the two of.', {
    hint: 'Ask your parent or the operator by mail.',
    preserved: 'nothing was changed',
  });
}

async function checkFree(deps: Deps, { id, repo_root }: IncidentRow, held: string): Promise<void> {
  const open = await listIncidents(deps.store, { repo_root, is_open: true, session_id: held });
  const others = open.filter((row) => row.id !== id && row.paused_session_id === held);
  if (others.length === 0) return;
  throw new AppError('refused', 'incident_open', `It is held by ${others.length} more: settle those as well.`, {
    hint: 'Resolve the others first, or this one without --resume.',
    unsafe_condition: `open as well: ${others.map((row) => row.key).join(', ')}`,
    preserved: 'nothing was changed',
    recovery_commands: others.slice(0, 5).map((row) => `drover incident show ${row.id}`),
  });
}

/** Only whom the conflict parked: what else holds it is another matter. */
async function putBack(
  deps: Deps,
  caller: Caller,
  id: string,
  resolution: string,
): Promise<Pick<Resolved, 'resumed' | 'not_resumed'>> {
  const row = await getSession(deps.store, id);
  if (row === null || row.state !== 'parked' || row.parked_reason !== 'conflict')
    return { resumed: null, not_resumed: null };
  try {
    const { changed } = await resume(deps, caller, row, { text: `The conflict is settled: ${resolution}` });
    return { resumed: changed ? row.name : null, not_resumed: null };
  } catch (error) {
    if (!(error instanceof AppError) || error.kind !== 'refused') throw error;
    return { resumed: null, not_resumed: error };
  }
}

export interface ImportCounts extends Imported {
  blank: number;
  malformed: number;
}

/** Lines that are stored in one transaction. */
const CHUNK = 500;

/**
 * Imports a log of tool events, one JSON object per line (E-142): blank and malformed lines, ids that are known and sessions
 * that are not are skipped and counted. A person's matter: what it says may hold others back. Throws `not_allowed` (3).
 */
export async function importEvents(deps: Deps, caller: Caller, text: string): Promise<ImportCounts> {
  demandPerson(caller, 'import what sessions did');
  const counts = {
    blank: 0,
    malformed: 0,
    imported: 0,
    files: 0,
    duplicates: 0,
    unknown_sessions: 0,
    without_files: 0,
  };
  let events: ToolEvent[] = [];
  const flush = async () => {
    const done = await importActivity(deps.store, events, realNames());
    for (const key of ['imported', 'files', 'duplicates', 'unknown_sessions', 'without_files'] as const)
      counts[key] += done[key];
    events = [];
  };
  for (const line of text.split('\n')) {
    const event = line.trim() === '' ? null : parseToolEvent(line);
    if (event !== null) events.push(event);
    else if (line.trim() === '') counts.blank += 1;
    else counts.malformed += 1;
    if (events.length === CHUNK) await flush();
  }
  // What follows the last newline is no line.
  if (text === '' || text.endsWith('\n')) counts.blank -= 1;
  await flush();
  return counts;
}
