import { allowEnvironment, BASE_ENV_ALLOW } from '../harness/environment.ts';
import { MARKER_VARIABLE } from '../model/marker.ts';
import { makeGroup } from '../sys/cgroup.ts';
import { fileSize } from '../sys/directory.ts';
import { tailBytes, writePrivate } from '../sys/files.ts';
import { runProgram } from '../sys/run.ts';
import { killTree } from '../sys/tree.ts';
import { signalTold } from '../sys/turn-files.ts';
import type { Deps } from './deps.ts';

/** End of what the commands printed that is kept. */
const OUTPUT_TAIL_BYTES = 16 * 1024;
const MAX_LOG_BYTES = 256 * 1024 * 1024;
const LOOK_MS = 500;

export interface GateRun {
  /** Lines for `/bin/sh -c`, run in this order until one fails. */
  commands: readonly string[];
  /** The checkout they judge. */
  cwd: string;
  /** For all of them together. */
  timeout_ms: number;
  /** Absolute; written anew. What the commands print, standard output and error in the order they come. */
  log: string;
  /** Of `newCommandMarker`, the secret of this run: its processes are known by it, also to whoever finds them after our death. */
  marker: string;
  /** Ends the run early; it then counts as interrupted. */
  signal?: AbortSignal;
}

export interface GateVerdict {
  /** `interrupted` says nothing about the work. */
  verdict: 'green' | 'red' | 'interrupted';
  /** The command that decided; null when all passed. */
  command: string | null;
  /** In words, for people: `exit code 2`, `not done after 60000 ms`. */
  reason: string | null;
  /** End of the log. */
  output: string;
}

const GREEN: GateVerdict = { verdict: 'green', command: null, reason: null, output: '' };

type GateDeps = Pick<Deps, 'clock' | 'env' | 'home'>;

/**
 * Runs a repository's own checks on a checkout and proves that nothing of them is left: where there can be control groups,
 * each command has one. They get what a shell needs and nothing else: no token of a session, no credential of a provider,
 * no DROVER_HOME. Errors: those of `runProgram`.
 */
export async function runGates(deps: GateDeps, run: GateRun): Promise<GateVerdict> {
  const started = deps.clock.monotonic();
  writePrivate(run.log, '');
  for (const command of run.commands) {
    if (run.signal?.aborted) return { ...GREEN, verdict: 'interrupted', command, reason: 'interrupted' };
    const left = run.timeout_ms - (deps.clock.monotonic() - started);
    const reason = left > 0 ? await runOne(deps, run, command, left) : tooLong(run);
    if (run.signal?.aborted) return { ...GREEN, verdict: 'interrupted', command, reason: 'interrupted' };
    if (reason !== null) return { verdict: 'red', command, reason, output: tailOf(run.log) };
  }
  return GREEN;
}

/** Why the command did not pass, or null. */
async function runOne(deps: GateDeps, run: GateRun, command: string, timeout_ms: number): Promise<string | null> {
  const guard = new Guard(deps, run);
  const program = runProgram('/bin/sh', ['-c', WRAPPER, 'sh', run.log, command], {
    cwd: run.cwd,
    env: gateEnvironment(deps.env, run.marker),
    timeout_ms,
    max_output_bytes: 1_024,
    group: makeGroup(deps.home, run.marker, 'gate'),
  }).finally(() => guard.stop());
  const [result, tooMuch] = await Promise.all([program, guard.watch()]);
  await endProcesses(deps, run.marker);
  if (tooMuch) return `more than ${MAX_LOG_BYTES} bytes of output`;
  if (result.timed_out) return tooLong(run);
  return judge(result.stdout);
}

/**
 * A log that keeps the order of both streams, and a shell that stays: it is what the command sees as its parent, and it
 * says how the command ended.
 */
const WRAPPER = 'exec 3>&1 >>"$1" 2>&1 </dev/null; /bin/sh -c "$2" 3>&-; echo $? >&3';

/** By what the shell around the command said of it. One that was killed says nothing. */
function judge(said: string): string | null {
  const code = /^\d+\n$/.test(said) ? Number(said) : null;
  if (code === null) return 'it ended the shell that ran it';
  const signal = signalTold(code);
  if (signal !== null) return `exit code ${code} (${signal})`;
  return code === 0 ? null : `exit code ${code}`;
}

function tooLong(run: GateRun): string {
  return `not done after ${run.timeout_ms} ms`;
}

/** Ends what a run of this marker left behind: a daemon, or everything after the death of who ran it. */
export async function endProcesses({ clock }: Pick<Deps, 'clock'>, marker: string): Promise<void> {
  await killTree({ marker, launcher: null }, { clock, spare_ms: 0 });
}

/** Looks after a running command: ends it when it is not wanted any more, or writes without end. */
class Guard {
  readonly #deps: Pick<Deps, 'clock'>;
  readonly #run: GateRun;
  readonly #over = new AbortController();
  readonly #stop = () => this.#over.abort();

  constructor(deps: Pick<Deps, 'clock'>, run: GateRun) {
    this.#deps = deps;
    this.#run = run;
    run.signal?.addEventListener('abort', this.#stop, { once: true });
  }

  stop(): void {
    this.#run.signal?.removeEventListener('abort', this.#stop);
    this.#over.abort();
  }

  /** True when the command was ended because of its output. */
  async watch(): Promise<boolean> {
    while (!this.#over.signal.aborted) {
      if (fileSize(this.#run.log) > MAX_LOG_BYTES) {
        await endProcesses(this.#deps, this.#run.marker);
        return true;
      }
      await this.#deps.clock.sleep(LOOK_MS, this.#over.signal);
    }
    if (this.#run.signal?.aborted) await endProcesses(this.#deps, this.#run.marker);
    return false;
  }
}

/**
 * A shell inside of a gate is nobody's: without a token of its own it may read drover's state and change nothing, whoever
 * wrote the code that the gate runs. `callerOf` knows it by the marker; the session's name only says so at once.
 */
function gateEnvironment(env: Record<string, string | undefined>, marker: string): Record<string, string> {
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    ...allowEnvironment(env, BASE_ENV_ALLOW),
    CI: 'true',
    GIT_TERMINAL_PROMPT: '0',
    DROVER_SESSION_ID: 'gate',
    [MARKER_VARIABLE]: marker,
  };
}

function tailOf(log: string): string {
  return tailBytes(log, OUTPUT_TAIL_BYTES)
    .toString('utf8')
    .replace(/^\uFFFD+/, '')
    .trimEnd();
}
