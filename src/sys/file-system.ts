import { readFileSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, systemError } from './errno.ts';

/** The kernel's numbers of file systems that live on another machine, or may. */
const REMOTE = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  [0x01021997, '9P'],
  [0x5346414f, 'AFS'],
  [0x00c36400, 'Ceph'],
  [0x73757245, 'Coda'],
  [0x0bd00bd0, 'Lustre'],
  [0x786f4256, 'a VirtualBox share'],
]);

/** Name of a network file system by its number (`statfs`), null for any other. Locks and shared memory of SQLite are not to be trusted there. */
export function networkFileSystem(type: number): string | null {
  return REMOTE.get(type >>> 0) ?? null;
}

/** The number of the file system that holds `path`, or would once it is created. */
export function fileSystemType(path: string): number {
  try {
    return statfsSync(path).type;
  } catch (error) {
    const parent = dirname(path);
    if (errnoOf(error) === 'ENOENT' && parent !== path) return fileSystemType(parent);
    throw systemError(error, `ask for the file system of ${path}`);
  }
}

/** A setting of the kernel, e.g. `fs/inotify/max_user_watches`; null where there is none. */
export function kernelNumber(name: string): number | null {
  try {
    const value = Number(readFileSync(`/proc/sys/${name}`, 'latin1'));
    return Number.isFinite(value) ? value : null;
  } catch (error) {
    if (['ENOENT', 'EACCES', 'EPERM'].includes(errnoOf(error))) return null;
    throw systemError(error, `read the kernel's ${name}`);
  }
}
