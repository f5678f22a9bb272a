import { AppError } from '../model/error.ts';
import { LIVE_STATES, type SessionRow } from '../model/session.ts';
import type { Deps } from '../session/deps.ts';
import type { Ended } from '../store/control.ts';
import { listSessions } from '../store/session.ts';
import type { Context } from './context.ts';
import { lookUp } from './sessions.ts';

/** The sessions a control verb speaks of: named ones, or every live one with `--all` (all repositories). */
export async function targets(
  context: Context,
  deps: Deps,
  wanted: readonly string[],
  all: boolean,
): Promise<SessionRow[]> {
  if (all) return listSessions(deps.store, { states: LIVE_STATES });
  if (wanted.length === 0) throw new AppError('usage', 'usage', 'Name at least one session, or use --all.');
  const rows = new Map<string, SessionRow>();
  for (const word of wanted) {
    const row = await lookUp(context, deps.store, word);
    rows.set(row.id, row);
  }
  return [...rows.values()];
}

/** What happened to one session, for people. */
export function outcomeLine(row: SessionRow, ended: Ended): string {
  const told = `${row.name}: ${ended.changed ? `${ended.prev} → ${ended.row.state}` : `already ${ended.prev}`}`;
  if (ended.taken_up == null) return told;
  const { step_id, plan_name, is_reopened } = ended.taken_up;
  const plan = is_reopened ? `the plan ${plan_name}, which had failed, is open again` : `the plan ${plan_name} goes on`;
  return `${told}; ${plan} with the step ${step_id}`;
}
