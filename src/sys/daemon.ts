import { closeSync, openSync } from 'node:fs';
import { systemError } from './errno.ts';

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
}): Daemon {
  let fd: number;
  try {
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
    });
    child.unref();
    return { pid: child.pid, hasExited: () => child.exitCode !== null || child.signalCode !== null };
  } catch (error) {
    throw systemError(error, `start ${input.command[0]}`);
  } finally {
    closeSync(fd);
  }
}
