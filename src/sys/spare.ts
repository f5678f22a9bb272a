import { promises, renameSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from './errno.ts';
import { prepareTurn } from './launch.ts';

/** As many as are started at once. */
const NAMES = ['1', '2', '3', '4'];
const UNFINISHED = 'unfinished';

/** Where nothing has to be made, as far as this process knows. */
const full = new Set<string>();
const filling = new Map<string, Promise<void>>();

/**
 * Fills up the directories of sessions that may come, each with that of its first turn and the turn's files, all empty:
 * they say nothing. Creating a file can take the better part of a millisecond on a busy disk, and a start would wait for
 * eight. Each is whole or not there; one filler at a time; costs nothing while none was taken. Never rejects.
 */
export function makeSpares(dir: string): Promise<void> {
  const known = filling.get(dir);
  if (known !== undefined) return known;
  if (full.has(dir)) return Promise.resolve();
  // Before it is: what is taken meanwhile is missing afterwards.
  full.add(dir);
  const filled = fill(dir).finally(() => filling.delete(dir));
  filling.set(dir, filled);
  return filled;
}

async function fill(dir: string): Promise<void> {
  const unfinished = join(dir, UNFINISHED);
  try {
    // Not its parents: a home that was removed stays removed.
    const names = await namesIn(dir);
    // Of a filler that was cut off.
    if (names.includes(UNFINISHED)) await promises.rm(unfinished, { recursive: true, force: true });
    for (const name of NAMES.filter((each) => !names.includes(each))) {
      await promises.mkdir(unfinished, { mode: 0o700 });
      await promises.mkdir(join(unfinished, 'turns'), { mode: 0o700 });
      await prepareTurn(join(unfinished, 'turns/1'));
      await promises.rename(unfinished, join(dir, name));
    }
  } catch (error) {
    full.delete(dir);
    if (errnoOf(error) === '') throw error;
  }
}

async function namesIn(dir: string): Promise<string[]> {
  try {
    return await promises.readdir(dir);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    await promises.mkdir(dir, { mode: 0o700 });
    return [];
  }
}

/** Makes a spare one the directory of a session that has none yet; false: there is no spare one, or it has. */
export function takeSpare(dir: string, session_dir: string): boolean {
  const name = NAMES.find((each) => isMoved(join(dir, each), session_dir));
  if (name !== undefined) full.delete(dir);
  return name !== undefined;
}

function isMoved(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (errnoOf(error) === '') throw error;
    return false;
  }
}
