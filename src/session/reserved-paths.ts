import type { PathReservationRow } from '../model/reservation.ts';
import type { SessionRow } from '../model/session.ts';
import { listPathReservations } from '../store/path-reservation.ts';
import type { Deps } from './deps.ts';

/** A prompt is no list: who wants to know more asks. */
const SHOWN = 12;
const MAX_TEXT = 120;

/** What others have reserved in the session's repository, for its prompt; null when nothing. One read of a small index. */
export async function reservedByOthers(
  { store, clock }: Pick<Deps, 'store' | 'clock'>,
  { id, repo_root }: Pick<SessionRow, 'id' | 'repo_root'>,
): Promise<string | null> {
  const rows = await listPathReservations(store, { repo_root, not_of: id, now: clock.now(), limit: SHOWN + 1 });
  if (rows.length === 0) return null;
  const lines = rows.slice(0, SHOWN).map(reservedLine);
  if (rows.length > SHOWN) lines.push('- … and more: `reservations`');
  return `Others have reserved these files. It is advice: before you change one of them, write to who has it.\n${lines.join('\n')}`;
}

/** One line, safe to show whatever the texts are. */
export function reservedLine({ glob, owner_name, reason }: PathReservationRow): string {
  const why = reason === null ? '' : `: ${oneLine(reason)}`;
  return `- ${oneLine(glob)} by ${oneLine(owner_name)}${why}`;
}

function oneLine(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length <= MAX_TEXT ? line : `${line.slice(0, MAX_TEXT - 1)}…`;
}
