import { writeSync } from 'node:fs';
import { standStill } from '../sys/clock.ts';

const RETRY_MS = 2;

/** Why the first line was not printed that was not; null: all were. */
let failure: unknown = null;

/**
 * From now on `console.log` has written its line when it returns, or it is remembered why not: as it comes, it drops what
 * a full disk does not take and says nothing. After a failure nothing more is printed.
 */
export function watchPrinting(): void {
  console.log = (...parts: unknown[]) => print(`${parts.join(' ')}\n`);
}

/** Null: everything was printed, or nobody reads any more (`drover status | head`), which is no failure. */
export function printFailure(): unknown {
  return isReaderGone(failure) ? null : failure;
}

export function isReaderGone(error: unknown): boolean {
  return codeOf(error) === 'EPIPE';
}

export function isFullPipe(error: unknown): boolean {
  return codeOf(error) === 'EAGAIN';
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : null;
}

function print(text: string): void {
  let rest: Uint8Array = Buffer.from(text);
  while (rest.length > 0 && failure === null) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if (isFullPipe(error)) standStill(RETRY_MS);
      else failure = error;
    }
  }
}
