import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { isDirectory, listFiles } from '../sys/directory.ts';
import { privateDir, privateFile, writePrivate } from '../sys/files.ts';
import { readTextIfExists } from '../sys/read-text.ts';

/**
 * Makes DROVER_HOME (0700) with its database file (0600). An existing directory that holds other things is refused rather
 * than closed to everybody else. Throws `home_not_ours` (2) and `home_unwritable` (69).
 */
export function makeHome(home: string): void {
  try {
    const names = listFiles(home);
    if (names.length > 0 && !names.includes('run')) throw notOurs(home);
    privateDir(home);
    privateDir(homePaths.run(home));
    privateFile(homePaths.database(home));
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'usage') throw error;
    throw new AppError('unavailable', 'home_unwritable', `DROVER_HOME cannot be used: ${error.message}`, {
      hint: `Make ${home} writable for you, or set DROVER_HOME to another directory.`,
      preserved: 'nothing was stored',
    });
  }
}

function notOurs(home: string): AppError {
  return new AppError('usage', 'home_not_ours', `${home} is no home of drover and not empty.`, {
    hint: 'Set DROVER_HOME to a directory of its own, e.g. a new one inside it.',
    preserved: 'nothing was changed',
  });
}

/**
 * `drover down` leaves a mark, the wall time in ms, before it ends anybody. What was asked to start before that and comes
 * up late, and what starts by itself, finds it and leaves; a person's next verb takes it back. Nothing is made where there is
 * no home. Errors: see `systemError`.
 */
export function markDown(home: string, now: number): void {
  if (isDirectory(homePaths.run(home))) writePrivate(homePaths.down(home), `${now}\n`);
}

/** Somebody wants a supervisor again: the mark is empty. Errors: see `systemError`. */
export function unmarkDown(home: string): void {
  if (readTextIfExists(homePaths.down(home))) writePrivate(homePaths.down(home), '');
}

/**
 * Is one that was asked for at `asked_at` (wall ms; null: by nobody) not wanted any more? To be asked behind the lock of who
 * asks: then `down` sees the lock, or we see its mark.
 */
export function isTakenDown(home: string, asked_at: number | null): boolean {
  const text = readTextIfExists(homePaths.down(home));
  if (!text) return false;
  const at = Number.parseInt(text, 10);
  return asked_at === null || !(at < asked_at);
}
