import { AppError } from '../model/error.ts';
import { removeGroup } from './cgroup.ts';
import { systemClock } from './clock.ts';
import { fileExists } from './directory.ts';
import { checkWorkingDirectory, errnoOf, systemError } from './errno.ts';
import { identityOf } from './identity.ts';
import { killTree } from './tree.ts';
import { findProgram } from './which.ts';

export interface RunOptions {
  cwd: string;
  /** The whole environment of the program. */
  env: Record<string, string>;
  stdin?: string | Uint8Array;
  timeout_ms: number;
  /** Per stream; what comes after it is read and dropped. */
  max_output_bytes: number;
  /** Value of `MARKER_VARIABLE` in `env`: whatever of it outlives the program is ended, whether it left its session or not. */
  marker?: string;
  /** Control group of that marker, just made (`makeGroup`), for the program to be born in; it goes when the marker's processes are ended. */
  group?: string | null;
}

export interface RunResult {
  /** Null when the program ended by a signal. */
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
  timed_out: boolean;
  truncated: boolean;
  /** Processes with the marker that had outlived the program. */
  left_over: number;
}

/** After the program's end its pipes are given up when twice this long nothing came: a daemon may hold them for ever. */
const QUIET_MS = 100;
const GRACE_MS = 500;

/**
 * Runs a helper program (git, a version probe) to its end, in a session of its own. After `timeout_ms` its whole
 * process tree is ended. Not for harnesses: those write into files (`launchTurn`).
 * Errors: `not_found` / `program_not_found`, `cwd_not_found`; see also `systemError`. An exit code is no error.
 */
export async function runProgram(program: string, args: string[], options: RunOptions): Promise<RunResult> {
  checkWorkingDirectory(options.cwd);
  const child = start(program, args, options);
  const identity = identityOf(child.pid);
  const stdout = new BoundedOutput(child.stdout, options.max_output_bytes);
  const stderr = new BoundedOutput(child.stderr, options.max_output_bytes);

  const ended = new AbortController();
  const exited = child.exited.then(() => ended.abort());
  await systemClock.sleep(options.timeout_ms, ended.signal);
  const timed_out = !ended.signal.aborted;
  if (timed_out && identity) {
    await killTree({ marker: null, launcher: identity }, { clock: systemClock, grace_ms: GRACE_MS, spare_ms: 0 });
  }
  await exited;
  const left_over = options.marker === undefined ? 0 : await endLeftOver(options.marker);
  await drain([stdout, stderr]);
  return {
    code: child.exitCode,
    signal: child.signalCode === null ? null : String(child.signalCode),
    stdout: stdout.text(),
    stderr: stderr.text(),
    timed_out,
    truncated: stdout.truncated || stderr.truncated,
    left_over,
  };
}

/** Before its pipes are waited for: who holds them may write without end. */
async function endLeftOver(marker: string): Promise<number> {
  const clock = systemClock;
  const tree = await killTree({ marker, launcher: null }, { clock, grace_ms: GRACE_MS, spare_ms: 0 });
  return tree.killed.length + tree.survivors.length;
}

function start(program: string, args: string[], { cwd, env, stdin, group = null }: RunOptions) {
  const path = findProgram(program, cwd, env);
  try {
    return Bun.spawn([path, ...args], {
      cwd,
      env,
      stdin: stdin === undefined ? 'ignore' : Buffer.from(stdin),
      stdout: 'pipe',
      stderr: 'pipe',
      detached: true,
      // Whoever takes away empty groups may have come in between.
      ...(group === null || !fileExists(group) ? {} : { cgroup: group }),
    });
  } catch (error) {
    if (group !== null) removeGroup(group);
    if (errnoOf(error) !== 'ENOENT') throw systemError(error, `start ${program}`);
    throw new AppError('not_found', 'program_not_found', `there is no program ${path}`, { data: { program } });
  }
}

/** Reads on until both streams end, or nothing more has come for a while. */
async function drain(outputs: BoundedOutput[]): Promise<void> {
  const done = new AbortController();
  const all = Promise.all(outputs.map((output) => output.finished)).then(() => done.abort());
  for (let quiet = 0, seen = -1; quiet < 2 && !done.signal.aborted; ) {
    const received = outputs.reduce((sum, output) => sum + output.received, 0);
    quiet = received === seen ? quiet + 1 : 0;
    seen = received;
    if (quiet < 2) await systemClock.sleep(QUIET_MS, done.signal);
  }
  await Promise.all(outputs.map((output) => output.stop()));
  await all;
}

interface ByteReader {
  read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
  cancel(): Promise<void>;
}

/** Reads a stream from the start, so that nothing piles up unread, and keeps its first `limit` bytes. */
class BoundedOutput {
  readonly finished: Promise<void>;
  truncated = false;
  /** Bytes that came, the dropped ones included. */
  received = 0;
  readonly #reader: ByteReader;
  readonly #limit: number;
  #kept: Uint8Array[] = [];

  constructor(stream: ReadableStream<Uint8Array>, limit: number) {
    this.#reader = stream.getReader();
    this.#limit = limit;
    this.finished = this.#read();
  }

  text(): string {
    return Buffer.concat(this.#kept).toString('utf8');
  }

  stop(): Promise<void> {
    return this.#reader.cancel();
  }

  async #read(): Promise<void> {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done || value === undefined) return;
      const room = Math.max(0, this.#limit - this.received);
      this.received += value.length;
      if (value.length > room) this.truncated = true;
      if (room > 0) this.#kept.push(value.subarray(0, room));
    }
  }
}
