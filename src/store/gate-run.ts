import { feedbackOf, type GateFinding, gateEvidence, heldMail } from '../model/gate-run.ts';
import { SYSTEM } from '../model/mail.ts';
import { legalFrom, type SessionRow } from '../model/session.ts';
import type { Settlement } from '../model/settle.ts';
import { appendEvent } from './event.ts';
import { hasInput, insertMail } from './mail.ts';
import { tellOperatorIn } from './operator-mail.ts';
import { readSession } from './session.ts';
import type { Store, Tx } from './store.ts';
import type { SessionPatch } from './transition.ts';

/** What a gate said of a turn, and how often it may say no. */
export interface Judged {
  run: GateFinding;
  max_rounds: number;
}

/** One turn of one session. */
interface TurnKey {
  session_id: string;
  turn: number;
}

/** From now on a gate judges what the turn has left. How many of its gates nobody saw the end of, this one included; 0: the turn is over. */
export async function beginGate(store: Store, key: TurnKey, now: number): Promise<number> {
  return store.write((tx) => {
    const where = 'WHERE session_id = :session_id AND turn = :turn AND ended_at IS NULL';
    tx.run(`UPDATE turns SET gating_since = :now, gates_cut = gates_cut + 1 ${where}`, { ...key, now });
    return tx.get<{ gates_cut: number }>(`SELECT gates_cut FROM turns ${where}`, { ...key })?.gates_cut ?? 0;
  });
}

/** The gate that was begun is over, whatever it said, and we are still there. */
export async function leaveGate(store: Store, key: TurnKey): Promise<void> {
  await store.write((tx) =>
    tx.run('UPDATE turns SET gates_cut = gates_cut - 1 WHERE session_id = :session_id AND turn = :turn', { ...key }),
  );
}

/** Might the turn still complete its session? Not when somebody has stopped or held it, or it has something to read. */
export async function isGateWanted(store: Store, { session_id, turn }: TurnKey): Promise<boolean> {
  return store.read((tx) => {
    const session = readSession(tx, session_id);
    if (session === null || session.turn !== turn || hasInput(tx, session_id)) return false;
    return legalFrom('complete').includes(session.state);
  });
}

/** The verdict for good, with the turn it is about. For use inside the transaction that settles it. */
export function recordGateRun(tx: Tx, session: SessionRow, turn: number, run: GateFinding, now: number): void {
  const round = session.gate_round + 1;
  tx.run(
    `INSERT INTO gate_runs (session_id, turn, round, verdict, command, reason, output, started_at, ended_at)
     VALUES (:session_id, :turn, :round, :verdict, :command, :reason, :output, :started_at, :ended_at)`,
    { session_id: session.id, turn, round, ...run },
  );
  const { verdict, command, reason, started_at, ended_at } = run;
  appendEvent(tx, {
    ...{ session_id: session.id, turn, type: 'gate', level: verdict === 'red' ? 'warning' : 'info', at: now },
    data: { verdict, command, reason, round, took_ms: Math.max(0, ended_at - started_at) },
  });
}

/** What a red gate sets beside the state. */
export function heldByGate({ event, gate_round }: Settlement, judged: Judged | null): SessionPatch {
  if (gate_round === null) return {};
  if (event !== 'park' || judged === null) return { gate_round };
  return { gate_round, parked_evidence: gateEvidence(judged.run, gate_round) };
}

/** The session hears what its gate complained about; when it is held, so does the person in charge. */
export function sendBack(tx: Tx, session: SessionRow, { event, gate_round }: Settlement, judged: Judged, now: number) {
  const round = gate_round ?? 1;
  const { run, max_rounds } = judged;
  insertMail(
    tx,
    {
      ...{ from_name: SYSTEM, from_id: null, to_name: session.name, to_id: session.id },
      ...{ type: 'error', priority: 'high', ...feedbackOf(run, { round, max_rounds }) },
      payload_json: JSON.stringify({ gate: { command: run.command, reason: run.reason, round, max_rounds } }),
    },
    now,
  );
  if (event === 'park') tellOperatorIn(tx, heldMail(session.name, run, round), now);
}

/** Says once per session that a gate its repository names is not run, because nobody has said that it may be. */
export async function noteUntrustedGate(store: Store, session: SessionRow, hint: string, now: number): Promise<void> {
  await store.write((tx) => {
    const said = tx.get(
      `SELECT 1 FROM event_batches WHERE session_id = :id AND events_json LIKE '%"gate_untrusted"%' LIMIT 1`,
      { id: session.id },
    );
    if (said !== null) return;
    appendEvent(tx, {
      ...{ session_id: session.id, turn: session.turn, type: 'warning', level: 'warning', at: now },
      data: { warning: 'gate_untrusted', hint },
    });
  });
}
