import { closeSync, openSync, renameSync } from 'node:fs';
import { fileSize } from './directory.ts';
import { systemError } from './errno.ts';

/** A log beyond this is put aside (one generation) when the next daemon starts. */
const MAX_LOG_BYTES = 16 * 1024 * 1024;

export interface Daemon {
  pid: number;
  hasExited(): boolean;
}

/** Starts a program in a session of its own, output appended to `log`; it survives us and our terminal (E-052). */
export function startDaemon(input: {
  command: string[];
  log: string;
  cwd: string;
  env: Record<string, string>;
  /** A control group to start in; null: ours. */
  group: string | null;
}): Daemon {
  let fd: number;
  try {
    if (fileSize(input.log) > MAX_LOG_BYTES) renameSync(input.log, `${input.log}.1`);
    fd = openSync(input.log, 'a', 0o600);
  } catch (error) {
    throw systemError(error, `open ${input.log}`);
  }
  try {
    const child = Bun.spawn(input.command, {
      cwd: input.cwd,
      env: input.env,
      stdio: ['ignore', fd, fd],
      detached: true,
      ...(input.group === null ? {} : { cgroup: input.group }),
    });
    child.unref();
    return { pid: child.pid, hasExited: () => child.exitCode !== null || child.signalCode !== null };
  } catch (error) {
    throw systemError(error, `start ${input.command[0]}`);
  } finally {
    closeSync(fd);
  }
}
