import type { PathReservationRow } from '../model/reservation.ts';
import { listPathReservations } from '../store/path-reservation.ts';
import type { Store } from '../store/store.ts';

/** Lines of a table of sessions; `drover reservations paths` has them all. */
const SHOWN = 50;

/** Files that somebody wants to be alone with: one look into a small index. */
export async function reservedFiles(
  store: Store | null,
  repo_root: string | null,
  now: number,
): Promise<PathReservationRow[]> {
  return store === null ? [] : listPathReservations(store, { repo_root, now, limit: SHOWN });
}

export async function printReserved(reserved: readonly PathReservationRow[], now: number): Promise<void> {
  if (reserved.length === 0) return;
  const { pathReservationLine } = await import('./render-reservation.ts');
  for (const row of reserved) console.log(`reserved: ${pathReservationLine(row, now)}`);
}
