import { AppError } from '../model/error.ts';
import { NAME, newId } from '../model/id.ts';
import { MAIL_SUBJECT_LIMIT, OPERATOR, SYSTEM } from '../model/mail.ts';
import type { SessionRow } from '../model/session.ts';
import { insertMail } from './mail.ts';
import type { Store, Tx } from './store.ts';

/**
 * One row of `runs` with what is derived at read time (O-19, O-20, I16): `agent_count` counts every session of the run,
 * the coordinator included; the coordinator is its newest session of that role.
 */
export interface RunRow {
  id: string;
  name: string;
  status: 'active' | 'completed' | 'failed';
  started_at: number;
  completed_at: number | null;
  /** When somebody was told that its sessions have ended (O-72). */
  notified_at: number | null;
  agent_count: number;
  /** Sessions of it that have not ended. */
  live_count: number;
  coordinator_session_id: string | null;
  coordinator_name: string | null;
}

const COORDINATOR = `(SELECT s.id FROM sessions AS s WHERE s.run_id = runs.id AND s.role = 'coordinator' ORDER BY s.created_at DESC, s.id LIMIT 1)`;

const SELECT_RUN = `SELECT runs.*,
  (SELECT count(*) FROM sessions AS s WHERE s.run_id = runs.id) AS agent_count,
  (SELECT count(*) FROM sessions AS s WHERE s.run_id = runs.id AND s.ended_at IS NULL) AS live_count,
  ${COORDINATOR} AS coordinator_session_id,
  (SELECT c.name FROM sessions AS c WHERE c.id = ${COORDINATOR}) AS coordinator_name
  FROM runs`;

/** A taken id is never reused: another one is made (O-19, H-05). */
function insertRun(tx: Tx, name: string, now: number, new_id: () => string): string {
  for (;;) {
    const made = tx.get<{ id: string }>(
      `INSERT INTO runs (id, name, status, started_at) VALUES (:id, :name, 'active', :now) ON CONFLICT (id) DO NOTHING RETURNING id`,
      { id: new_id(), name, now },
    );
    if (made !== null) return made.id;
  }
}

export function readRun(tx: Tx, id: string): RunRow | null {
  return tx.get<RunRow>(`${SELECT_RUN} WHERE id = :id`, { id });
}

/** The active run that was started last; with `coordinator`, of those whose coordinator has that name (O-23). */
export async function activeRun(store: Store, coordinator?: string): Promise<RunRow | null> {
  return store.read((tx) =>
    coordinator === undefined
      ? tx.get<RunRow>(`${SELECT_RUN} WHERE status = 'active' ORDER BY started_at DESC, id LIMIT 1`)
      : tx.get<RunRow>(
          `SELECT * FROM (${SELECT_RUN} WHERE status = 'active') WHERE coordinator_name = :coordinator ORDER BY started_at DESC, id LIMIT 1`,
          { coordinator },
        ),
  );
}

/** Newest first (O-24). */
export async function listRuns(
  store: Store,
  filter: { status?: RunRow['status']; limit?: number } = {},
): Promise<RunRow[]> {
  const where = filter.status === undefined ? '' : 'WHERE status = :status';
  return store.read((tx) =>
    tx.all<RunRow>(`${SELECT_RUN} ${where} ORDER BY started_at DESC, id LIMIT :limit`, {
      limit: filter.limit ?? 1_000,
      ...(filter.status === undefined ? {} : { status: filter.status }),
    }),
  );
}

/**
 * A run by id, name (the active one before ended ones, then newest), unique id prefix, or `latest`.
 * Throws `run_not_found` (4), `run_ambiguous` (2).
 */
export async function findRun(store: Store, wanted: string): Promise<RunRow> {
  const found = await store.read((tx) => candidates(tx, wanted));
  if (found.length === 1 && found[0]) return found[0];
  if (found.length === 0) {
    throw new AppError('not_found', 'run_not_found', `Run not found: ${wanted}`, {
      hint: '`drover run list` shows all.',
    });
  }
  throw new AppError('usage', 'run_ambiguous', `${wanted} is the beginning of ${found.length} run ids.`, {
    hint: `Give more of it: ${found.map((row) => `${row.id} (${row.name})`).join(', ')}`,
    data: { candidates: found.map((row) => ({ id: row.id, name: row.name, status: row.status })) },
  });
}

function candidates(tx: Tx, wanted: string): RunRow[] {
  if (wanted === 'latest') return tx.all<RunRow>(`${SELECT_RUN} ORDER BY started_at DESC, id LIMIT 1`);
  const exact = readRun(tx, wanted);
  if (exact !== null) return [exact];
  const named = tx.all<RunRow>(
    `${SELECT_RUN} WHERE name = :wanted ORDER BY (status = 'active') DESC, started_at DESC, id LIMIT 1`,
    { wanted },
  );
  if (named.length > 0) return named;
  if (wanted.length < 4 || !/^[a-z0-9-]+$/.test(wanted)) return [];
  const from = wanted.startsWith('run-') ? wanted : `run-${wanted}`;
  return tx.all<RunRow>(`${SELECT_RUN} WHERE id >= :from AND id < :below ORDER BY id LIMIT 10`, {
    from,
    below: `${from}~`,
  });
}

/** Ends an active run; null when it is unknown or was ended before: an ended run keeps its first end (O-25). */
export async function completeRun(
  store: Store,
  input: { id: string; status: 'completed' | 'failed'; now: number },
): Promise<RunRow | null> {
  return store.write((tx) => {
    const changed = tx.run(
      `UPDATE runs SET status = :status, completed_at = :now WHERE id = :id AND status = 'active'`,
      input,
    );
    return changed === 1 ? readRun(tx, input.id) : null;
  });
}

const RUN_ID = /^run-[a-z2-7]{20}$/;

/**
 * The id of the active run that `wanted` (id or name) means; a name that no active run has starts one. For use inside
 * the transaction that stores the run's session, so that a refusal of one leaves nothing of the other.
 * Throws `run_ended` (3), `run_not_found` (4) for an id nobody has, `run_name_invalid` (2).
 */
export function ensureRun(tx: Tx, wanted: string, now: number, new_id: () => string = () => newId('run')): string {
  const known =
    readRun(tx, wanted) ?? tx.get<RunRow>(`${SELECT_RUN} WHERE name = :wanted AND status = 'active'`, { wanted });
  if (known?.status === 'active') return known.id;
  const preserved = 'nothing was stored';
  if (known) {
    const message = `The run ${known.name} (${known.id}) is ${known.status}.`;
    throw new AppError('refused', 'run_ended', message, { hint: 'Give the name of a new run.', preserved });
  }
  if (RUN_ID.test(wanted)) {
    throw new AppError('not_found', 'run_not_found', `Run not found: ${wanted}`, {
      hint: '`drover run list` shows all.',
      preserved,
    });
  }
  checkRunName(wanted);
  return insertRun(tx, wanted, now, new_id);
}

function checkRunName(wanted: string): void {
  if (NAME.test(wanted) && wanted !== 'latest' && !RUN_ID.test(wanted)) return;
  throw new AppError('usage', 'run_name_invalid', `Not usable as the name of a run: ${JSON.stringify(wanted)}`, {
    hint: 'Lowercase letters, digits, dots and dashes, at most 64; not "latest", and not like an id.',
    preserved: 'nothing was stored',
  });
}

/**
 * Starts an empty run (O-82): it stays active until it has had sessions and they have ended.
 * Throws `run_name_invalid` (2), `run_name_taken` (3) while a run of that name is active.
 */
export async function createRun(store: Store, input: { name: string; now: number }): Promise<RunRow> {
  return store.write((tx) => {
    checkRunName(input.name);
    const taken = tx.get<{ id: string }>("SELECT id FROM runs WHERE name = :name AND status = 'active'", {
      name: input.name,
    });
    if (taken !== null) {
      throw new AppError('refused', 'run_name_taken', `A run is already called ${input.name}: ${taken.id}.`, {
        hint: `Add to that one: drover run add ${input.name} SESSION`,
        preserved: 'nothing was stored',
      });
    }
    const made = readRun(
      tx,
      insertRun(tx, input.name, input.now, () => newId('run')),
    );
    if (made === null) throw new Error('a run that was just stored is not there');
    return made;
  });
}

const OF_RUN = 'run_id = :id AND is_persistent = 0';

/**
 * For use inside the transaction in which `ended` became terminal: what that means for its run (O-72, O-82).
 * A persistent session that coordinates nothing never matters.
 */
export function announceRun(tx: Tx, ended: Pick<SessionRow, 'run_id' | 'is_persistent' | 'role'>, now: number): void {
  if (ended.run_id === null || (ended.is_persistent === 1 && ended.role !== 'coordinator')) return;
  settleRun(tx, ended.run_id, now);
}

/** For use inside the transaction that ended a session of the run, or changed which are its own: told first, then closed. */
export function settleRun(tx: Tx, id: string, now: number): void {
  const open = tx.get(
    `SELECT 1 FROM runs WHERE id = :id AND status = 'active'
       AND EXISTS (SELECT 1 FROM sessions WHERE ${OF_RUN})
       AND NOT EXISTS (SELECT 1 FROM sessions WHERE ${OF_RUN} AND ended_at IS NULL)
       AND NOT EXISTS (SELECT 1 FROM plans WHERE run_id = :id)`,
    { id },
  );
  if (open === null) return;
  tellOfRun(tx, id, now);
  closeRun(tx, id, now);
}

/**
 * An active run whose sessions have all ended, persistent ones apart, is over (O-82): `failed` when one of them failed or
 * died and nobody in the run took over from it. A living coordinator holds it open: what it starts next belongs here too.
 */
function closeRun(tx: Tx, id: string, now: number): void {
  tx.run(
    `UPDATE runs SET completed_at = :now, status = CASE WHEN EXISTS (
         SELECT 1 FROM sessions AS s WHERE s.${OF_RUN} AND s.state IN ('failed', 'zombie')
           AND NOT EXISTS (SELECT 1 FROM sessions AS heir WHERE heir.run_id = :id AND heir.recovered_from = s.id))
       THEN 'failed' ELSE 'completed' END
     WHERE id = :id AND status = 'active' AND NOT EXISTS (
       SELECT 1 FROM sessions WHERE run_id = :id AND role = 'coordinator' AND ended_at IS NULL)`,
    { id, now },
  );
}

/**
 * The run's living coordinator, or else the operator, gets one mail. Once per run, whatever is started or resumed in it
 * later: a single guarded write decides (O-72, I17, CX-52). A plan's run is told of by the plan's report.
 */
function tellOfRun(tx: Tx, id: string, now: number): void {
  const run = tx.get<{ id: string; name: string }>(
    'UPDATE runs SET notified_at = :now WHERE id = :id AND notified_at IS NULL RETURNING id, name',
    { id, now },
  );
  if (run === null) return;
  const states = tx.all<{ state: string; n: number }>(
    `SELECT state, count(*) AS n FROM sessions WHERE ${OF_RUN} GROUP BY state`,
    { id: run.id },
  );
  const of = (state: string) => states.find((each) => each.state === state)?.n ?? 0;
  const counts = { completed: of('completed'), zombie: of('zombie'), failed: of('failed'), stopped: of('stopped') };
  const total = states.reduce((sum, { n }) => sum + n, 0);
  const parts = Object.entries(counts).map(([state, n]) => `${n} ${state}`);
  const how = counts.completed === total ? 'have completed' : `have terminated (${parts.join(', ')})`;
  const to = tx.get<{ id: string; name: string }>(
    `SELECT id, name FROM sessions WHERE run_id = :id AND role = 'coordinator' AND ended_at IS NULL
     ORDER BY created_at DESC, id LIMIT 1`,
    { id: run.id },
  );
  insertMail(
    tx,
    {
      ...{ from_name: SYSTEM, from_id: null, to_name: to?.name ?? OPERATOR, to_id: to?.id ?? null },
      ...{ type: 'status', priority: 'normal', payload_json: JSON.stringify({ run: run.id, total, ...counts }) },
      subject: `Run ${run.name}: all sessions ${how}`.slice(0, MAIL_SUBJECT_LIMIT),
      body: `All sessions of the run ${run.name} (${run.id}) ${how}.\n\nWhat they did: drover run show ${run.id}`,
    },
    now,
  );
}
