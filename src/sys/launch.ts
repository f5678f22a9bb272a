import { closeSync, constants, lstatSync, openSync, promises, rmSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { AppError } from '../model/error.ts';
import { MARKER_VARIABLE } from '../model/marker.ts';
import { makeGroup, removeGroup } from './cgroup.ts';
import { checkWorkingDirectory, errnoOf, systemError } from './errno.ts';
import { writePrivate } from './files.ts';
import { flockNow } from './flock.ts';
import { identityOf, type ProcessId } from './identity.ts';
import { openOwn, openRegular } from './regular-file.ts';
import { recordGroup, turnFiles } from './turn-files.ts';
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
/** More than `exit.json` can have. */
const END_BYTES = 64;

/**
 * Starts one turn in a session of its own (E-052). Its output goes straight into the turn's files, so it outlives us;
 * `stdout.jsonl` stays locked while the launcher or the harness lives.
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
  let group: string | null = null;
  const opened: number[] = [];
  const keep = (fd: number) => {
    opened.push(fd);
    return fd;
  };
  try {
    const stdout = keep(openOwn(files.stdout, 'append'));
    // Opened once more for the lock: a descriptor of its own stays open when the harness sends its output elsewhere.
    const live = keep(openRegular(files.stdout));
    takeLive(live, turn.dir);
    const stdin = keep(turn.stdin_path === null ? openSync('/dev/null', 'r') : openRegular(turn.stdin_path));
    const stderr = keep(openOwn(files.stderr, 'append'));
    clearRecord(files.pid);
    reserveEnd(files.exit);
    group = makeGroup(turn.env.DROVER_HOME ?? '', turn.marker);
    const child = Bun.spawn(['/bin/sh', LAUNCHER, resolve(turn.dir), '--', program, ...turn.args], {
      cwd: turn.cwd,
      env: { ...turn.env, [MARKER_VARIABLE]: turn.marker },
      stdio: [stdin, stdout, stderr, live],
      detached: true,
      // It is born in there: nothing it starts is ever outside.
      ...(group === null ? {} : { cgroup: group }),
    });
    child.unref();
    // Even a child that is already dead keeps its pid until the event loop collects it, so this always finds it.
    const identity = identityOf(child.pid);
    if (identity === null) throw new AppError('bug', 'child_vanished', `no start time for pid ${child.pid}`);
    recordFor(identity, files.pid);
    if (group !== null) recordGroup(turn.dir, group);
    return { identity, exited: child.exited.then(() => leave(group)) };
  } catch (error) {
    leave(group);
    throw systemError(error, `start ${program}`);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** Most turns leave nothing behind, and then their group is not needed any more. */
function leave(group: string | null): void {
  if (group !== null) removeGroup(group);
}

/**
 * Creates the directory of a turn that is likely to come, and its files, empty, beside everything else; never rejects.
 * They say nothing, and their creation is most of what a start waits for on a busy disk. `launchTurn` needs none of it.
 */
export async function prepareTurn(dir: string): Promise<void> {
  const { prompt, stdout, stderr, pid } = turnFiles(dir);
  try {
    // Not its parents: a session that was removed meanwhile stays removed.
    await promises.mkdir(dir, { mode: 0o700 });
    for (const path of [prompt, stdout, stderr, pid]) await promises.writeFile(path, '', { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if (errnoOf(error) === '') throw error;
  }
}

/** A probe may hold the lock for microseconds; a running turn holds it for good. */
function takeLive(fd: number, dir: string): void {
  for (let left = PROBE_RETRIES; !flockNow(fd); left--) {
    if (left === 0) throw new AppError('refused', 'turn_already_running', `a process of ${dir} is still alive`);
    Bun.sleepSync(1);
  }
}

/**
 * The launcher takes a record that it finds for its own, so an older one must not stand here; nor a pipe or a link, put
 * here by a process of an earlier turn, which would stop whoever writes or lead elsewhere.
 */
function clearRecord(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat !== undefined && !(stat.isFile() && stat.size === 0)) rmSync(path, { recursive: true, force: true });
}

/**
 * Makes the record of the end, blank and longer than any, before it is needed: a disk that is full by then must not turn
 * a turn that ended well into one that vanished. The launcher writes over it. An older record goes.
 */
function reserveEnd(path: string): void {
  writePrivate(path, ' '.repeat(END_BYTES));
}

/**
 * Writes the launcher's record while its shell starts, byte for byte what it would write itself a quarter of a
 * millisecond later. Not a word about a failure: whoever finds the file empty, as after our death, writes it.
 */
function recordFor({ pid, start_time, boot_id }: ProcessId, path: string): void {
  let fd: number | null = null;
  try {
    fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_NONBLOCK | constants.O_NOFOLLOW, 0o600);
    writeSync(fd, `${JSON.stringify({ pid, start_time, boot_id })}\n`);
  } catch (error) {
    if (errnoOf(error) === '') throw error;
  } finally {
    if (fd !== null) closeSync(fd);
  }
}
