import { closeSync, lstatSync, openSync, promises, rmSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { AppError } from '../model/error.ts';
import { MARKER_VARIABLE } from '../model/marker.ts';
import { makeGroup, removeGroup } from './cgroup.ts';
import { checkWorkingDirectory, errnoOf, systemError } from './errno.ts';
import { writePrivate } from './files.ts';
import { flockNow, unlockAndClose } from './flock.ts';
import { bootId, identityOf, type ProcessId } from './identity.ts';
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

/** A launcher that waits for its word. It ends with us, without having run anything, when we end before. */
export interface HeldTurn {
  /** Lets it run the harness; once. Null: it was killed meanwhile, and nothing has run (or `run` or `drop` was called). */
  run(): LaunchedTurn | null;
  /** It ends without having run anything, and the turn can be started anew at once. Does nothing after `run`. */
  drop(): void;
}

const LAUNCHER = resolve(import.meta.dir, 'launcher.sh');
const PROBE_RETRIES = 25;
/** More than `exit.json` can have. */
const END_BYTES = 64;
/** Descriptor 4 of the launcher. */
const GO = 4;

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
  const launched = holdTurn(turn).run();
  if (launched === null)
    throw new AppError('failed', 'launcher_killed', `the launcher of ${turn.dir} was killed at once`);
  return launched;
}

/**
 * All of `launchTurn` but its last step: the launcher's shell gets ready beside what we do next, and the harness is a
 * word away. The file at `stdin_path` may be filled until then. Throws what `launchTurn` throws.
 */
export function holdTurn(turn: TurnLaunch): HeldTurn {
  const program = findProgram(turn.program, turn.cwd, turn.env);
  checkWorkingDirectory(turn.cwd);
  const files = turnFiles(turn.dir);
  let group: string | null = null;
  const opened: number[] = [];
  const keep = (fd: number) => {
    opened.push(fd);
    return fd;
  };
  let live: number | null = null;
  try {
    const stdout = keep(openOwn(files.stdout, 'append'));
    // Opened once more for the lock: a descriptor of its own stays open when the harness sends its output elsewhere.
    live = openRegular(files.stdout);
    takeLive(live, turn.dir);
    const stdin = keep(turn.stdin_path === null ? openSync('/dev/null', 'r') : openRegular(turn.stdin_path));
    const stderr = keep(openOwn(files.stderr, 'append'));
    clearRecord(files.pid);
    reserveEnd(files.exit);
    group = makeGroup(turn.env.DROVER_HOME ?? '', turn.marker);
    const child = Bun.spawn(['/bin/sh', LAUNCHER, resolve(turn.dir), bootId(), '--', program, ...turn.args], {
      cwd: turn.cwd,
      env: { ...turn.env, [MARKER_VARIABLE]: turn.marker },
      stdio: [stdin, stdout, stderr, live, 'pipe'],
      detached: true,
      // It is born in there: nothing it starts is ever outside.
      ...(group === null ? {} : { cgroup: group }),
    });
    child.unref();
    // Even a child that is already dead keeps its pid until the event loop collects it, so this always finds it.
    const identity = identityOf(child.pid);
    if (identity === null) throw new AppError('bug', 'child_vanished', `no start time for pid ${child.pid}`);
    return heldTurn(turn, child, { live, group, identity });
  } catch (error) {
    if (live !== null) unlockAndClose(live);
    leave(group);
    throw systemError(error, `start ${program}`);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

interface Own {
  live: number;
  group: string | null;
  identity: ProcessId;
}

function heldTurn({ dir }: TurnLaunch, child: Bun.Subprocess, { live, group, identity }: Own): HeldTurn {
  const word = child.stdio[GO];
  if (typeof word !== 'number') throw new AppError('bug', 'launcher_deaf', 'there is no way to speak to the launcher');
  const exited = child.exited.then(() => leave(group));
  let isOver = false;
  const drop = () => {
    if (isOver) return null;
    isOver = true;
    closeSync(word);
    // The launcher has it, too, until it has noticed.
    unlockAndClose(live);
    return null;
  };
  const run = () => {
    if (isOver || !tell(word, identity.start_time)) return drop();
    isOver = true;
    closeSync(word);
    closeSync(live);
    if (group !== null) recordGroup(dir, group);
    return { identity, exited };
  };
  return { run, drop };
}

/** False when nobody is there any more to hear it. */
function tell(word: number, start_time: string): boolean {
  try {
    writeSync(word, `${start_time}\n`);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EPIPE' || errnoOf(error) === 'ECONNRESET') return false;
    throw systemError(error, 'speak to the launcher');
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
  const { prompt, stdout, stderr, pid, exit } = turnFiles(dir);
  try {
    // Not its parents: a session that was removed meanwhile stays removed.
    await promises.mkdir(dir, { mode: 0o700 });
    for (const path of [prompt, stdout, stderr, pid, exit])
      await promises.writeFile(path, '', { flag: 'wx', mode: 0o600 });
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
 * The launcher writes its record behind what it finds, so an older one must not stand here; nor a pipe or a link, put
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
