import { constants } from 'node:os';
import { join } from 'node:path';
import { AppError, type ErrorKind } from '../model/error.ts';
import { modifiedAt } from './directory.ts';
import { writeAtomic } from './files.ts';
import { isFlocked } from './flock.ts';
import type { ProcessId } from './identity.ts';
import { readTextIfExists } from './read-text.ts';
import type { TurnProcesses } from './tree.ts';

/** The files of one turn (ARCHITECTURE §2, "Turn directory"). Session scoped, like everything below it (E-051). */
export interface TurnFiles {
  prompt: string;
  command: string;
  /** Also the sign of life: locked while the launcher or the harness lives. */
  stdout: string;
  stderr: string;
  pid: string;
  exit: string;
  /** Path of the turn's control group; absent where turns have none. */
  group: string;
  /** What the gate that judges the turn prints, and the secret by which its processes are known. */
  gate_log: string;
  gate_marker: string;
}

export function turnFiles(dir: string): TurnFiles {
  return {
    prompt: join(dir, 'prompt.md'),
    command: join(dir, 'command.json'),
    stdout: join(dir, 'stdout.jsonl'),
    stderr: join(dir, 'stderr.log'),
    pid: join(dir, 'pid.json'),
    exit: join(dir, 'exit.json'),
    group: join(dir, 'cgroup'),
    gate_log: join(dir, 'gate.log'),
    gate_marker: join(dir, 'gate.marker'),
  };
}

/**
 * How the harness ended, as the launcher saw it. Exactly one of `code` and `signal` is set; a harness that exits with
 * 128 + n of its own accord reads as ended by signal n, which is what it means by it. `ended_at` is wall time in ms;
 * `uptime_ms` is the same instant on the clock of process start times.
 */
export interface TurnExit {
  code: number | null;
  signal: string | null;
  ended_at: number;
  uptime_ms: number | null;
}

/** Our records are a line; what is longer was put there by somebody else. */
const MAX_RECORD_BYTES = 8 * 1024;

/** A shell reports the end by signal n as 128 + n. */
const SIGNAL_BASE = 128;
/** Only signals that end a process: Gemini CLI exits with 144, 145 and 147 of its own accord (HTTP status mod 256). */
const FATAL = [
  'HUP',
  'INT',
  'QUIT',
  'ILL',
  'TRAP',
  'ABRT',
  'BUS',
  'FPE',
  'KILL',
  'SEGV',
  'PIPE',
  'ALRM',
  'TERM',
  'XCPU',
  'XFSZ',
  'SYS',
  'USR1',
  'USR2',
];
const SIGNAL_NAMES = new Map(
  Object.entries(constants.signals)
    .filter(([name]) => FATAL.includes(name.slice('SIG'.length)))
    .map(([name, number]) => [number, name]),
);

/** The signal that a shell tells of by this exit code (128 + its number); null when it tells of none. */
export function signalTold(code: number): string | null {
  return SIGNAL_NAMES.get(code - 128) ?? null;
}

const TAMPERED: readonly ErrorKind[] = ['failed', 'refused', 'not_found'];

/** The launcher's identity; null when it was not recorded (yet), or not wholly. */
export function readPid(dir: string): ProcessId | null {
  const record = readObject(turnFiles(dir).pid);
  const { pid, start_time, boot_id } = record ?? {};
  if (typeof pid !== 'number' || !Number.isInteger(pid) || pid <= 0) return null;
  return typeof start_time === 'string' && typeof boot_id === 'string' ? { pid, start_time, boot_id } : null;
}

/** The harness's end; null when it was not recorded: still running (the file is blank), the launcher killed, or the file not yet whole. */
export function readExit(dir: string): TurnExit | null {
  const path = turnFiles(dir).exit;
  const record = readObject(path);
  const { code, uptime } = record ?? {};
  if (typeof code !== 'number' || !Number.isInteger(code)) return null;
  const signal = SIGNAL_NAMES.get(code - SIGNAL_BASE) ?? null;
  const seconds = typeof uptime === 'string' ? Number(uptime) : Number.NaN;
  return {
    code: signal === null ? code : null,
    signal,
    ended_at: Math.round(modifiedAt(path)),
    uptime_ms: Number.isFinite(seconds) ? Math.round(seconds * 1000) : null,
  };
}

/** What the turn directory knows about the turn's processes, for `treeOf` and `killTree`. */
export function turnProcesses(dir: string, marker: string): TurnProcesses {
  return {
    marker,
    launcher: readPid(dir),
    launcher_end_uptime_ms: readExit(dir)?.uptime_ms ?? null,
    group: readGroup(dir),
  };
}

/**
 * Is the launcher, or a harness it left behind, still alive? Needs no pid and cannot be fooled by a reused one. Of a file
 * that the harness has closed to us nobody knows: it counts as held, and the turn's timers run.
 */
export function liveHeld(dir: string): boolean {
  return unlessTampered(() => isFlocked(turnFiles(dir).stdout), true);
}

/** Notes the turn's control group for a supervisor that runs in another one; without the note it looks in its own. */
export function recordGroup(dir: string, group: string): void {
  try {
    writeAtomic(turnFiles(dir).group, group);
  } catch (error) {
    // A full disk must not disown a process that has just been started.
    if (!(error instanceof AppError)) throw error;
  }
}

/** The marker of the gate that was started last for this turn; null when none was. */
export function readGateMarker(dir: string): string | null {
  return unlessTampered(() => readTextIfExists(turnFiles(dir).gate_marker, MAX_RECORD_BYTES), null)?.trim() ?? null;
}

function readGroup(dir: string): string | null {
  return unlessTampered(() => readTextIfExists(turnFiles(dir).group, MAX_RECORD_BYTES), null);
}

function readObject(path: string): Record<string, unknown> | null {
  const text = unlessTampered(() => readTextIfExists(path, MAX_RECORD_BYTES), null);
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/**
 * The harness can write here too: what cannot be read counts as no record, or it could make itself unstoppable with one
 * file. Trouble of our own (no file handles left) is none of its doing and is thrown: it passes.
 */
function unlessTampered<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof AppError && TAMPERED.includes(error.kind)) return otherwise;
    throw error;
  }
}
