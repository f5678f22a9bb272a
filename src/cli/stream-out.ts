import { writeSync } from 'node:fs';
import { AppError } from '../model/error.ts';
import { systemClock } from '../sys/clock.ts';
import { isFullPipe, isReaderGone } from './print.ts';

/** Nobody reads standard output any more (`drover logs … | head`): the end of the work, not a failure. */
export class ReaderGone extends Error {
  override readonly name = 'ReaderGone';
}

const RETRY_MS = 2;

/**
 * Writes all of it to standard output before it returns, so that a slow reader slows the writer down instead of filling
 * memory. Throws `ReaderGone` when the other end is closed, `output_failed` (1) when it takes nothing (a full disk).
 */
export async function writeOut(data: string | Uint8Array): Promise<void> {
  let rest = typeof data === 'string' ? Buffer.from(data) : data;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if (isReaderGone(error)) throw new ReaderGone();
      if (!isFullPipe(error)) throw outputFailed(error);
      await systemClock.sleep(RETRY_MS);
    }
  }
}

/** One answer as lines: all of it is written, or the call fails. Without a reader there is nobody to tell. */
export async function printWhole(text: string): Promise<void> {
  try {
    await writeOut(`${text}\n`);
  } catch (error) {
    if (!(error instanceof ReaderGone)) throw error;
  }
}

/** Code of the error that is told on standard error in every form, because standard output takes nothing. */
export const OUTPUT_FAILED = 'output_failed';

export function outputFailed(error: unknown): AppError {
  const reason = error instanceof Error ? error.message : String(error);
  return new AppError('failed', OUTPUT_FAILED, `Standard output could not be written: ${reason}`, {
    hint: 'Is the disk full? What was printed is not all of it; what the verb was to do is done.',
  });
}
