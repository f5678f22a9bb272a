import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { systemClock } from '../sys/clock.ts';
import { isFlocked } from '../sys/flock.ts';
import { signal } from '../sys/identity.ts';
import { readPidLock } from '../sys/pid-file.ts';

/** A kill of its own may be under way; then it is killed: it is crash-only like everything here. */
const POLITE_MS = 9_000;
const WAIT_MS = 12_000;

/**
 * Ends the watchdog of this home, known by its lock and proven by pid, start time and boot id. Its pid, or null when none
 * runs. Throws `watchdog_stuck` (69).
 */
export async function endWatchdog(home: string): Promise<number | null> {
  const path = homePaths.lock(home, 'watchdog');
  const start = systemClock.monotonic();
  let ended: number | null = null;
  let asked: string | null = null;
  while (isFlocked(path)) {
    const { pid, start_time, boot_id } = readPidLock(path) ?? {};
    const waited = systemClock.monotonic() - start;
    if (pid != null && start_time && boot_id && (asked !== start_time || waited > POLITE_MS)) {
      signal({ pid, start_time, boot_id }, waited > POLITE_MS ? 'SIGKILL' : 'SIGTERM');
      // One that is stopped hears nothing before it goes on.
      signal({ pid, start_time, boot_id }, 'SIGCONT');
      asked = start_time;
      ended = pid;
    }
    if (waited > WAIT_MS) {
      throw new AppError('unavailable', 'watchdog_stuck', 'The watchdog did not stop.', {
        hint: '`drover ps` shows its pid; it may be killed at any time.',
      });
    }
    await systemClock.sleep(10);
  }
  return ended;
}
