import { constants, lstatSync, mkdirSync, promises, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, systemError } from './errno.ts';

type Handle = promises.FileHandle;

const CHUNK = 1024 * 1024;
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

/**
 * Its size in bytes when it was copied. `there`: something has the name already. `elsewhere`: a link on the way would lead
 * out of its root. `no_file`: a link, a pipe, a directory, or gone. `too_large`: it has more than `max_bytes`.
 */
export type Copied = number | 'there' | 'elsewhere' | 'no_file' | 'too_large';

/**
 * Copies a regular file to a place where nothing is, with its mode; missing directories are made. No link is followed on
 * either side: the roots are real paths, `name` is a relative path below both. Does not block the event loop.
 * Errors: see `systemError`; a file that could not be copied whole is taken away again.
 */
export async function copyNew(from_root: string, to_root: string, name: string, max_bytes: number): Promise<Copied> {
  const [from, to] = [`${from_root}/${name}`, `${to_root}/${name}`];
  if (!staysBelow(from_root, name) || !staysBelow(to_root, name)) return 'elsewhere';
  try {
    if (lstatSync(to, { throwIfNoEntry: false }) !== undefined) return 'there';
    if (!lstatSync(from, { throwIfNoEntry: false })?.isFile()) return 'no_file';
    const source = await promises.open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      const stat = await source.stat();
      if (!stat.isFile()) return 'no_file';
      if (stat.size > max_bytes) return 'too_large';
      mkdirSync(dirname(to), { recursive: true });
      return await pourInto(source, to, stat.mode & 0o777, max_bytes);
    } finally {
      await source.close();
    }
  } catch (error) {
    throw systemError(error, `copy ${from} to ${to}`);
  }
}

async function pourInto(source: Handle, to: string, mode: number, max_bytes: number): Promise<Copied> {
  const target = await promises.open(to, 'wx', 0o600);
  let bytes = 0;
  try {
    const chunk = Buffer.allocUnsafe(CHUNK);
    for (;;) {
      const { bytesRead } = await source.read(chunk, 0, CHUNK, bytes);
      if (bytesRead === 0) break;
      if (bytes + bytesRead > max_bytes) throw new Error('it grows while it is read');
      for (let done = 0; done < bytesRead; )
        done += (await target.write(chunk, done, bytesRead - done, bytes + done)).bytesWritten;
      bytes += bytesRead;
    }
    await target.chmod(mode);
    return bytes;
  } catch (error) {
    await promises.rm(to, { force: true });
    throw error;
  } finally {
    await target.close();
  }
}

/** Whether `name` is where it says it is: no link on the way to it, as far as that exists. `root` is a real path. */
export function staysBelow(root: string, name: string): boolean {
  return !name.split('/').includes('..') && isPlain(dirname(`${root}/${name}`));
}

function isPlain(dir: string): boolean {
  for (let at = dir; ; at = dirname(at)) {
    try {
      return realpathSync(at) === at;
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || at === dirname(at)) return false;
      // A link to nowhere is no place that does not exist yet.
      if (lstatSync(at, { throwIfNoEntry: false }) !== undefined) return false;
    }
  }
}
