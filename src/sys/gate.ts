import { closeSync, openSync } from 'node:fs';
import type { Gate } from '../model/gate.ts';
import { systemError } from './errno.ts';
import { libc } from './ffi.ts';
import { flockNow } from './flock.ts';

const UNLOCK = 8;

/**
 * The gate in front of a home's write transactions: one descriptor, locked and unlocked per use (about 5 µs). Whoever
 * finds it closed holds a shared lock on the file beside it until it gets in: that is how others see that it waits. It
 * decides nothing, so a process that is stopped while it waits costs the others politeness, and nothing else.
 */
export function openWriteGate(path: string): Required<Gate> & { close(): void } {
  const gate = open(path);
  const queue = open(`${path}.queue`);
  let isWaiting = false;
  const unlock = (fd: number) => {
    libc().flock(fd, UNLOCK);
  };
  return {
    tryEnter: () => {
      const isIn = flockNow(gate);
      if (isIn && isWaiting) unlock(queue);
      isWaiting = !isIn && (isWaiting || flockNow(queue, 'shared'));
      return isIn ? () => unlock(gate) : null;
    },
    isWanted: () => {
      if (isWaiting || !flockNow(queue)) return true;
      unlock(queue);
      return false;
    },
    close: () => {
      closeSync(gate);
      closeSync(queue);
    },
  };
}

function open(path: string): number {
  try {
    return openSync(path, 'a+', 0o600);
  } catch (error) {
    throw systemError(error, `open ${path}`);
  }
}
