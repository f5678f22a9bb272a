import { homedir } from 'node:os';
import { AppError } from '../model/error.ts';
import { runProgram } from '../sys/run.ts';
import {
  commandArguments,
  conditionalInclude,
  gitEnvironment,
  globalOptions,
  namedOverrides,
  needsNamedOverrides,
  parseConfigKeys,
} from './hardening.ts';

const TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
/** More programs than any honest configuration names; the rest would not fit into an environment. */
const MAX_OVERRIDES = 2_000;

export interface GitOptions {
  /** A directory in the repository or worktree the command is about. */
  cwd: string;
  timeout_ms?: number;
  stdin?: string;
}

export interface GitResult {
  /** Exit code of git; 128 is its "fatal". */
  code: number;
  stdout: string;
  stderr: string;
  /** An output went over 16 MiB and lost its end. */
  truncated: boolean;
}

/**
 * Runs one git command that cannot be made to run anybody else's program (ARCHITECTURE §6). No network, no
 * prompt, no editor, no hooks, no filters; messages in English. A non-zero exit code is a result, not an error.
 *
 * The configuration is read before the command; somebody who rewrites it in between is not held off by this alone.
 * Errors: `failed` / `git_timeout`, `git_killed`; `refused` / `git_config_unsafe`; `usage` / `argument_invalid`;
 * `not_found` / `cwd_not_found`, `program_not_found`.
 */
export async function git(args: readonly string[], options: GitOptions): Promise<GitResult> {
  if (args.some((arg) => arg.includes('\0'))) {
    throw new AppError('usage', 'argument_invalid', 'an argument for git contains a NUL character');
  }
  let overrides = new Map<string, string>();
  if (needsNamedOverrides(args[0])) {
    const listing = await start(['config', '--list', '--show-scope', '--name-only', '-z'], options, overrides);
    // A configuration that git cannot read stops the command itself for the same reason.
    if (listing.code !== 0) return { ...listing, stdout: '' };
    overrides = judgeConfig(listing);
  }
  return start(commandArguments(args), options, overrides);
}

function judgeConfig(listing: GitResult): Map<string, string> {
  const keys = parseConfigKeys(listing.stdout);
  const condition = conditionalInclude(keys);
  if (condition !== null) {
    throw new AppError('refused', 'git_config_unsafe', `the repository's configuration has a conditional include`, {
      hint: 'Move it to your own ~/.gitconfig.',
      unsafe_condition: `${condition} could bring in programs after the configuration was checked`,
      preserved: 'nothing was run or changed',
    });
  }
  const overrides = namedOverrides(keys);
  if (overrides.size > MAX_OVERRIDES || listing.truncated) {
    throw new AppError('refused', 'git_config_unsafe', 'the git configuration names too many programs', {
      unsafe_condition: `${overrides.size} settings would have to be overridden`,
      preserved: 'nothing was run or changed',
    });
  }
  return overrides;
}

async function start(
  args: readonly string[],
  { cwd, timeout_ms = TIMEOUT_MS, stdin }: GitOptions,
  overrides: ReadonlyMap<string, string>,
): Promise<GitResult> {
  const result = await runProgram('git', [...globalOptions(), ...args], {
    cwd,
    env: gitEnvironment(homedir(), overrides),
    timeout_ms,
    max_output_bytes: MAX_OUTPUT_BYTES,
    ...(stdin === undefined ? {} : { stdin }),
  });
  if (result.timed_out) {
    throw new AppError('failed', 'git_timeout', `git ${args[0]} did not end within ${timeout_ms} ms`, {
      data: { cwd },
    });
  }
  if (result.code === null) {
    throw new AppError('failed', 'git_killed', `git ${args[0]} was ended by ${result.signal}`, { data: { cwd } });
  }
  return { code: result.code, stdout: result.stdout, stderr: result.stderr, truncated: result.truncated };
}

const STDERR_TAIL = 2_000;

/** A command that failed for no reason we have a word for: `failed` / `git_failed` with the end of its stderr. */
export function gitFailed(what: string, { code, stderr }: GitResult): AppError {
  const tail = stderr.trim().slice(-STDERR_TAIL);
  return new AppError('failed', 'git_failed', `git cannot ${what}: ${tail.split('\n').at(-1) || `exit code ${code}`}`, {
    data: { exit_code: code, stderr: tail },
  });
}

/** Standard output of a command that has to succeed. Errors: those of `git`, `failed` / `git_failed`. */
export async function gitOutput(what: string, args: readonly string[], options: GitOptions): Promise<string> {
  const result = await git(args, options);
  if (result.code !== 0) throw gitFailed(what, result);
  return result.stdout;
}
