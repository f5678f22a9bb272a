import { normalize } from 'node:path';
import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { privateDir, writeAtomic } from '../sys/files.ts';
import { writeBelow } from '../sys/write-below.ts';

/** Writes `reports/<name>` of a home, for its owner alone, in one step. Returns its path. Throws what the file system says. */
export function keepReport(home: string, name: string, text: string): string {
  const path = `${privateDir(homePaths.reports(home))}/${name}`;
  writeAtomic(path, text, 0o600, { sync: true });
  return path;
}

/**
 * Writes a report into a repository, where its plan wants it. Never out of the repository, not into git's own directory,
 * not through a link. Throws `outside_root` (3), `not_a_file` (1), what the file system says.
 */
export function placeReport(repo_root: string, path: string, text: string): void {
  const place = normalize(path);
  if (place.split('/').some((part) => part.toLowerCase() === '.git'))
    throw new AppError('refused', 'outside_root', `${path} is git's own.`, { preserved: 'nothing was written' });
  writeBelow(repo_root, place, text);
}
