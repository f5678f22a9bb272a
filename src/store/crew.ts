import { AppError } from '../model/error.ts';
import { type HandoffSender, handoffMail } from '../model/handoff.ts';
import type { SessionRow } from '../model/session.ts';
import { insertMail } from './mail.ts';
import { insertSessionIn, type Sling } from './new-session.ts';
import type { Store, Tx } from './store.ts';

/** Sessions that are started together from one template. */
export interface CrewDraft {
  template: string;
  members: readonly { sling: Sling; task: string; reason: string }[];
  /** Who hands each of them its task; null: the first of them hands to the others. */
  source: HandoffSender | null;
  max_live_sessions: number;
  now: number;
}

export interface Crew {
  created: SessionRow[];
  /** What stopped it; the sessions before it stay (E-078). */
  refusal: AppError | null;
}

/**
 * Stores sessions with their briefs and handoffs in one transaction, so that no death of ours leaves half of them (CX-54,
 * E-076). The first that is refused ends it; those before it are kept.
 *
 * Throws `no_slots` (3) when not all of them have a place beside the sessions that live (E-073); then nothing is stored.
 */
export async function insertCrew(store: Store, draft: CrewDraft): Promise<Crew> {
  return store.write((tx) => {
    checkSlots(tx, draft);
    const created: SessionRow[] = [];
    for (const { sling, task, reason } of draft.members) {
      const row = insertOrRefusal(tx, sling);
      if (row instanceof AppError) return { created, refusal: row };
      const from = draft.source ?? created[0];
      created.push(row);
      if (from === undefined) continue;
      insertMail(tx, { ...handoffMail(from, task, reason), to_id: row.id, to_name: row.name }, draft.now);
    }
    return { created, refusal: null };
  });
}

/** A session is refused before anything of it is written. */
function insertOrRefusal(tx: Tx, sling: Sling): SessionRow | AppError {
  try {
    return insertSessionIn(tx, sling, 'cli');
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
}

function checkSlots(tx: Tx, { template, members, max_live_sessions }: CrewDraft): void {
  const live = tx.get<{ n: number }>('SELECT count(*) AS n FROM sessions WHERE ended_at IS NULL')?.n ?? 0;
  const available = Math.max(0, max_live_sessions - live);
  if (members.length <= available) return;
  throw new AppError(
    'refused',
    'no_slots',
    `template ${template} requires ${members.length} session slots but only ${available} available`,
    {
      hint: 'Wait for sessions to end, stop some, or raise max_live_sessions in the config.',
      preserved: 'nothing was stored',
      recovery_commands: ['drover status'],
      data: { required: members.length, available, max_live_sessions },
    },
  );
}
