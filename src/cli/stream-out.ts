import { writeSync } from 'node:fs';
import { systemClock } from '../sys/clock.ts';

/** Nobody reads standard output any more (`drover logs … | head`): the end of the work, not a failure. */
export class ReaderGone extends Error {
  override readonly name = 'ReaderGone';
}

const RETRY_MS = 2;

/**
 * Writes all of it to standard output before it returns, so that a slow reader slows the writer down instead of filling
 * memory. Throws `ReaderGone` when the other end is closed.
 */
export async function writeOut(data: string | Uint8Array): Promise<void> {
  let rest = typeof data === 'string' ? Buffer.from(data) : data;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : '';
      if (code === 'EPIPE') throw new ReaderGone();
      if (code !== 'EAGAIN') throw error;
      await systemClock.sleep(RETRY_MS);
    }
  }
}
