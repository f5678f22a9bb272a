import { closeSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { AppError } from '../model/error.ts';
import { MARKER_VARIABLE } from '../model/marker.ts';
import { checkWorkingDirectory, systemError } from './errno.ts';
import { flockNow } from './flock.ts';
import { identityOf, type ProcessId } from './identity.ts';
import { turnFiles } from './turn-files.ts';
import { findProgram } from './which.ts';

export interface TurnLaunch {
  /** The turn directory; it exists and is private. */
  dir: string;
  /** A path, or a name to be looked up on `env.PATH`. */
  program: string;
  args: string[];
  cwd: string;
  /** The whole environment of the harness, beside the marker (and PWD, which the launcher's shell sets). */
  env: Record<string, string>;
  /** A file that becomes stdin; null for an empty stdin. */
  stdin_path: string | null;
  marker: string;
}

export interface LaunchedTurn {
  /** The launcher: leader of the turn's own session, parent of the harness. */
  identity: ProcessId;
  /** Resolves when the launcher has ended (never rejects); how the harness ended is in `exit.json`. */
  exited: Promise<void>;
}

const LAUNCHER = resolve(import.meta.dir, 'launcher.sh');
const PROBE_RETRIES = 25;

/**
 * Starts one turn in a session of its own (E-052). Its output goes straight into the turn's files, so it outlives us;
 * `live.lock` stays locked while the launcher or the harness lives.
 *
 * A harness that cannot be executed ends the turn with code 127 or 126 and a line in `stderr.log`. Errors before there
 * is a process: `not_found` / `program_not_found`, `cwd_not_found`, `file_not_found` (stdin) · `refused` /
 * `turn_already_running`, `permission_denied` · `usage` / `arguments_too_long` · `unavailable` / `too_many_open_files`,
 * `too_many_processes`.
 */
export function launchTurn(turn: TurnLaunch): LaunchedTurn {
  const program = findProgram(turn.program, turn.cwd, turn.env);
  checkWorkingDirectory(turn.cwd);
  const files = turnFiles(turn.dir);
  const opened: number[] = [];
  const open = (path: string, flags: string) => {
    const fd = openSync(path, flags, 0o600);
    opened.push(fd);
    return fd;
  };
  try {
    const live = open(files.live, 'a+');
    takeLive(live, turn.dir);
    const stdin = open(turn.stdin_path ?? '/dev/null', 'r');
    const stdout = open(files.stdout, 'a');
    const stderr = open(files.stderr, 'a');
    const child = Bun.spawn(['/bin/sh', LAUNCHER, resolve(turn.dir), '--', program, ...turn.args], {
      cwd: turn.cwd,
      env: { ...turn.env, [MARKER_VARIABLE]: turn.marker },
      stdio: [stdin, stdout, stderr, live],
      detached: true,
    });
    child.unref();
    // Even a child that is already dead keeps its pid until the event loop collects it, so this always finds it.
    const identity = identityOf(child.pid);
    if (identity === null) throw new AppError('bug', 'child_vanished', `no start time for pid ${child.pid}`);
    return { identity, exited: child.exited.then(() => undefined) };
  } catch (error) {
    throw systemError(error, `start ${program}`);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** A probe may hold the lock for microseconds; a running turn holds it for good. */
function takeLive(fd: number, dir: string): void {
  for (let left = PROBE_RETRIES; !flockNow(fd); left--) {
    if (left === 0) throw new AppError('refused', 'turn_already_running', `a process of ${dir} is still alive`);
    Bun.sleepSync(1);
  }
}
