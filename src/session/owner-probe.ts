import type { ReservationRow } from '../model/reservation.ts';
import { type OwnerLife, ownerLife } from '../model/reservation-machine.ts';
import { liveness } from '../sys/identity.ts';

/** Whether owners live, by their process and their lease, as of `now` (H-30, H-31). Asks the kernel and waits for nothing. */
export function ownerProbe(now: number): (row: ReservationRow) => OwnerLife {
  return (row) => {
    const { pid, pid_start_time: start_time, boot_id } = row;
    return ownerLife(row, liveness({ pid, start_time, boot_id }), now);
  };
}
