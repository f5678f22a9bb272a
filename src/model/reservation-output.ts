import type { ReservationRow } from './reservation.ts';
import type { ActorChainNode, AgentReservationOutput } from './reservation-schema.ts';

/** A row as the agents' interface shows it (HC-03); `token` is the text that is shown once, else null (CX-44). */
export function reservationOutput(row: ReservationRow, token: string | null): AgentReservationOutput {
  return {
    session_id: row.session_id,
    reservation_token: token,
    thread: row.thread,
    anchor_state: row.anchor_commit,
    anchor_root: row.anchor_tree,
    status: row.status,
    path: row.path,
    task: row.attach_reason,
    provider: row.provider,
    model: row.model,
    harness: row.harness,
    thinking_level: row.thinking_level,
    probe_source: row.probe_source,
    probe_confidence: row.probe_confidence,
  };
}

/** A link of the chain of actors (H-53). */
export function chainNode(row: ReservationRow): ActorChainNode {
  const { session_id, native_actor_key, native_parent_actor_key, thread, status, provider, model, harness } = row;
  return { session_id, native_actor_key, native_parent_actor_key, thread, status, provider, model, harness };
}
