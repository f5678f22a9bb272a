import { allowEnvironment, BASE_ENV_ALLOW } from '../harness/environment.ts';
import type { Config, HookName } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { MARKER_VARIABLE } from '../model/marker.ts';
import type { SessionRow } from '../model/session.ts';
import { recordEvent } from '../store/worktree.ts';
import { makeGroup } from '../sys/cgroup.ts';
import { isDirectory } from '../sys/directory.ts';
import { privateDir, writePrivate } from '../sys/files.ts';
import { readTextIfExists } from '../sys/read-text.ts';
import { runProgram } from '../sys/run.ts';
import type { Deps } from './deps.ts';
import { newCommandMarker } from './identity.ts';

/** Per stream; the rest of what a hook says is dropped. */
const MAX_OUTPUT_BYTES = 64 * 1024;
const TAIL = 2_000;

export interface HookRun {
  hook: HookName;
  ok: boolean;
  code: number | null;
  signal: string | null;
  timed_out: boolean;
  took_ms: number;
  /** Processes that it had left behind, and that were ended. */
  left_over: number;
  /** End of what it printed; all that is kept is in the session's directory. */
  output: string;
}

/** Runs the hook and leaves a record of its exit code that survives whoever waits for it. */
const RECORDING =
  '/bin/sh -c "$1"; code=$?; printf "%s %s\\n" "$2" "$code" >"$3.new" && mv "$3.new" "$3"; exit "$code"';

/**
 * Runs one of the shell commands that a person or a trusted repository hung on a worktree's life: through `/bin/sh -c`, in
 * the worktree, without a terminal, without the session's token and without any credential of a provider: like a gate, it
 * may look at drover's state and change nothing. When its time is over its whole process tree is ended; what outlives it
 * is ended as well, wherever it has gone, and counted. Every run is an event of the session; the output is in
 * `sessions/<id>/hooks/<hook>.log`. Null: there is no such hook, or no directory to run it in.
 * Throws `repository_untrusted` (3). A failure is a result: what follows from it is the caller's to say.
 */
export async function runHook(
  deps: Deps,
  hook: HookName,
  session: SessionRow,
  path: string,
  record?: string,
): Promise<HookRun | null> {
  const config = await deps.config_for(session.repo_root);
  refuseUntrustedHooks(config, session.repo_root);
  const command = config.worktree.hooks[hook];
  if (command === null || !isDirectory(path)) return null;
  const dir = privateDir(hooksDir(deps, session.id));
  const marker = await newCommandMarker(deps, 'hook');
  const start = deps.clock.monotonic();
  const args =
    record === undefined ? [command] : [RECORDING, 'sh', command, record, recordPath(deps, session.id, hook)];
  const ran = await runProgram('/bin/sh', ['-c', ...args], {
    cwd: path,
    env: { ...hookEnvironment(deps, session, path), [MARKER_VARIABLE]: marker },
    ...{ marker, group: makeGroup(deps.home, marker, 'hook') },
    timeout_ms: config.worktree.hook_timeout_ms,
    max_output_bytes: MAX_OUTPUT_BYTES,
  });
  const said = `${ran.stdout}${ran.stderr}`;
  writePrivate(`${dir}/${hook}.log`, said);
  const run: HookRun = {
    hook,
    ok: ran.code === 0 && !ran.timed_out,
    code: ran.code,
    signal: ran.signal,
    timed_out: ran.timed_out,
    left_over: ran.left_over,
    took_ms: Math.round(deps.clock.monotonic() - start),
    output: said.trim().slice(-TAIL),
  };
  const level = run.ok ? 'info' : 'warning';
  await recordEvent(deps.store, {
    ...{ session_id: session.id, turn: session.turn || null, type: 'hook', level },
    ...{ data: run, at: deps.clock.now() },
  });
  return run;
}

/** A hook that must succeed. Throws `hook_failed` (1) with how it ended and the end of its output. */
export async function mustRunHook(
  deps: Deps,
  hook: HookName,
  session: SessionRow,
  path: string,
  record?: string,
): Promise<void> {
  const run = await runHook(deps, hook, session, path, record);
  if (run === null || run.ok) return;
  const last = run.output.split('\n').at(-1) ?? '';
  throw new AppError('failed', 'hook_failed', `the hook ${hook} ${howItEnded(run)}${last === '' ? '' : `: ${last}`}`, {
    hint: `Its output is in ${hooksDir(deps, session.id)}/${hook}.log; the command is worktree.hooks.${hook} of the config.`,
    data: { ...run },
  });
}

export function howItEnded({ timed_out, code, signal, took_ms }: HookRun): string {
  if (timed_out) return `was ended after ${took_ms} ms`;
  return code === null ? `was ended by ${signal}` : `failed with exit code ${code}`;
}

/** Whether the run with this record has come to a good end, also when nobody saw it. */
export function hasSucceeded(deps: Pick<Deps, 'home'>, session_id: string, hook: HookName, record: string): boolean {
  return readTextIfExists(recordPath(deps, session_id, hook)) === `${record} 0\n`;
}

function hooksDir({ home }: Pick<Deps, 'home'>, session_id: string): string {
  return `${homePaths.session(home, session_id)}/hooks`;
}

function recordPath(deps: Pick<Deps, 'home'>, session_id: string, hook: HookName): string {
  return `${hooksDir(deps, session_id)}/${hook}.exit`;
}

/** What a person's own command needs to know of the session it runs for: no token of it, no credential of a provider. */
export function hookEnvironment(deps: Pick<Deps, 'env'>, session: SessionRow, path: string): Record<string, string> {
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    ...allowEnvironment(deps.env, BASE_ENV_ALLOW),
    GIT_TERMINAL_PROMPT: '0',
    DROVER_SESSION_ID: session.id,
    DROVER_SESSION_NAME: session.name,
    DROVER_WORKTREE: path,
    DROVER_REPO: session.repo_root,
    DROVER_BRANCH: session.branch ?? '',
  };
}

/**
 * Refuses to go on without hooks that a repository wants and may not have: half of what its owners expect would be
 * missing, and nobody would know. Throws `repository_untrusted` (3).
 */
export function refuseUntrustedHooks(config: Config, repo_root: string): void {
  const keys = (config.untrusted_keys ?? []).filter((key) => key.startsWith('worktree.hooks.'));
  if (keys.length === 0) return;
  throw new AppError(
    'refused',
    'repository_untrusted',
    `${repo_root}/.drover/config.yaml names commands for its worktrees: ${keys.join(', ')}`,
    {
      hint: `Read them; then add ${repo_root} to trusted_repositories in your own config, or work without a worktree.`,
      unsafe_condition: 'commands of a repository that you do not trust would run on this machine',
      preserved: 'nothing was started',
    },
  );
}
