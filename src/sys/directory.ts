import { existsSync, readdirSync, type Stats, statSync } from 'node:fs';
import { errnoOf, systemError } from './errno.ts';

/** Names in a directory, sorted; `[]` when it does not exist. */
export function listFiles(dir: string): string[] {
  try {
    return readdirSync(dir).sort();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw systemError(error, `list ${dir}`);
  }
}

export function fileExists(path: string): boolean {
  return existsSync(path);
}

export function isDirectory(path: string): boolean {
  return statOf(path)?.isDirectory() ?? false;
}

/** 0 when there is no file. */
export function fileSize(path: string): number {
  return statOf(path)?.size ?? 0;
}

/** Which file stands at a path: it changes when another one is put there. 0 when there is no file. */
export function fileNumber(path: string): number {
  return statOf(path)?.ino ?? 0;
}

/** Which file or directory stands at a path, by whatever name it is reached; the same in every process until the next boot. */
export function placeKey(path: string): string {
  const stat = statOf(path);
  return `${(stat?.dev ?? 0).toString(36)}.${(stat?.ino ?? 0).toString(36)}`;
}

/** Modification time in ms, 0 when there is no file. */
export function modifiedAt(path: string): number {
  return statOf(path)?.mtimeMs ?? 0;
}

/** What cannot be reached (a loop of links, a closed directory, a name that is too long) is as good as absent. */
const UNREACHABLE = ['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'ENAMETOOLONG'];

function statOf(path: string): Stats | null {
  try {
    return statSync(path, { throwIfNoEntry: false }) ?? null;
  } catch (error) {
    if (UNREACHABLE.includes(errnoOf(error))) return null;
    throw systemError(error, `look at ${path}`);
  }
}
