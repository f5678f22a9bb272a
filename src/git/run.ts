import { homedir } from 'node:os';
import { AppError, type ErrorKind } from '../model/error.ts';
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
  stdin?: string | Uint8Array;
  /** What `judgedOverrides` said a moment ago about this very place: saves reading the configuration once more. */
  judged?: ReadonlyMap<string, string>;
  /** Ours for this command, stronger than any configuration. */
  settings?: readonly (readonly [key: string, value: string])[];
  /** What the command takes instead of the repository's own. Absolute paths. */
  instead?: {
    git_dir?: string;
    work_tree?: string;
    index_file?: string;
    /** New objects go to `dir`; those of the repository are read from `alternate`. */
    objects?: { dir: string; alternate: string };
  };
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
  if (!needsNamedOverrides(args[0])) return start(commandArguments(args), options, new Map());
  if (options.judged !== undefined) return start(commandArguments(args), options, options.judged);
  const listing = await listConfig(options);
  // A configuration that git cannot read stops the command itself for the same reason.
  if (listing.code !== 0) return { ...listing, stdout: '' };
  return start(commandArguments(args), options, judgeConfig(listing));
}

/**
 * What has to be overruled in the configuration at a place, for the few commands of one operation there that follow at
 * once: somebody who rewrites it in between is not held off. Errors: those of `git`, `gitFailed`.
 */
export async function judgedOverrides(options: GitOptions): Promise<ReadonlyMap<string, string>> {
  const listing = await listConfig(options);
  if (listing.code !== 0) throw gitFailed(`read the configuration at ${options.cwd}`, listing);
  return judgeConfig(listing);
}

function listConfig(options: GitOptions): Promise<GitResult> {
  return start(['config', '--list', '--show-scope', '--name-only', '-z'], options, new Map());
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
  { cwd, timeout_ms = TIMEOUT_MS, stdin, settings = [], instead }: GitOptions,
  overrides: ReadonlyMap<string, string>,
): Promise<GitResult> {
  const ours = settings.flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  const result = await runProgram('git', [...globalOptions(), ...ours, ...args], {
    cwd,
    env: { ...gitEnvironment(homedir(), overrides), ...places(instead) },
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

function places({ git_dir, work_tree, index_file, objects }: GitOptions['instead'] = {}): Record<string, string> {
  return {
    ...(git_dir === undefined ? {} : { GIT_DIR: git_dir }),
    ...(work_tree === undefined ? {} : { GIT_WORK_TREE: work_tree }),
    ...(index_file === undefined ? {} : { GIT_INDEX_FILE: index_file }),
    ...(objects === undefined
      ? {}
      : {
          GIT_OBJECT_DIRECTORY: objects.dir,
          // A list with colons between; in quotes a path may have any in it.
          GIT_ALTERNATE_OBJECT_DIRECTORIES: `"${objects.alternate.replace(/["\\]/g, String.raw`\$&`)}"`,
        }),
  };
}

const STDERR_TAIL = 2_000;

/** What git says in an error about the machine or the place, with a way out. */
const MEANING: readonly [pattern: RegExp, kind: ErrorKind, code: string, hint: string][] = [
  // The second half are writes to a file that could be opened: git drops the reason.
  [
    /No space left on device|Disk quota exceeded|Out of diskspace|couldn't write|unable to write file/,
    'unavailable',
    'disk_full',
    'Free some disk space.',
  ],
  [/Read-only file system/, 'refused', 'read_only_filesystem', 'Make the place of the repository writable.'],
  [
    /Permission denied|insufficient permission/,
    'refused',
    'permission_denied',
    'Check owner and mode of the repository.',
  ],
  [
    /unable to create directory for/,
    'refused',
    'repository_not_writable',
    'Check owner, mode and free space of the repository.',
  ],
  [/not a git repository/, 'not_found', 'repository_not_found', 'Name a directory inside a git repository.'],
];

/**
 * A command that failed: `unavailable` / `disk_full`; `refused` / `read_only_filesystem`, `permission_denied`,
 * `repository_not_writable`; `not_found` / `repository_not_found`; or, for no reason we have a word for, `failed` /
 * `git_failed`. With the end of its stderr.
 */
export function gitFailed(what: string, { code: exit_code, stderr }: GitResult): AppError {
  const tail = stderr.trim().slice(-STDERR_TAIL);
  const complaints = tail.split('\n').filter((line) => /^(?:fatal|error): /.test(line));
  const meant = MEANING.find(([pattern]) => complaints.some((line) => pattern.test(line)));
  const [, kind, code, hint] = meant ?? [null, 'failed', 'git_failed', null];
  const words = tail.split('\n').at(-1) || `exit code ${exit_code}`;
  return new AppError(kind, code, `git cannot ${what}: ${words}`, {
    ...(hint === null ? {} : { hint }),
    data: { exit_code, stderr: tail },
  });
}

/** Standard output of a command that has to succeed. Errors: those of `git` and `gitFailed`. */
export async function gitOutput(what: string, args: readonly string[], options: GitOptions): Promise<string> {
  const result = await git(args, options);
  if (result.code !== 0) throw gitFailed(what, result);
  return result.stdout;
}
