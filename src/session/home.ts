import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { listFiles } from '../sys/directory.ts';
import { privateDir, privateFile } from '../sys/files.ts';

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
