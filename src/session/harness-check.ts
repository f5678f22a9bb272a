import { allowEnvironment, BASE_ENV_ALLOW } from '../harness/environment.ts';
import { findHarness, knownHarnesses } from '../harness/registry.ts';
import { AppError } from '../model/error.ts';
import type { Harness, TurnSpec } from '../model/harness.ts';
import type { HarnessRunner } from '../model/profile.ts';
import { type RunResult, runProgram } from '../sys/run.ts';
import { which } from '../sys/which.ts';

const VERSION_MS = 30_000;
const HELP_MS = 20_000;
const MAX_OUTPUT = 1024 * 1024;

/** What this machine says about one harness. `problem`: why there is no version although the program is there. */
export interface HarnessFacts {
  id: string;
  program: string;
  is_installed: boolean;
  path: string | null;
  version: string | null;
  problem: string | null;
  bits: Harness['bits'];
  /** Names of variables that are set and look like a credential; never their values. */
  credentials: string[];
  install_hint: string;
}

export interface HarnessMachine {
  /** Environment of the caller; a probe gets an allow-listed part of it. */
  env: Record<string, string | undefined>;
  /** Where `bin/` with the scripted harness is. */
  package_dir: string;
  cwd: string;
}

/** The named harnesses, or all that are known. Throws `unknown_harness` (2), `runner_without_program` (2). */
export function wantedHarnesses(ids: readonly string[], runners: Record<string, HarnessRunner>): Harness[] {
  return (ids.length > 0 ? ids : knownHarnesses(runners)).map((id) => findHarness(id, runners));
}

/** Looks for the program and asks for its version. It never fails: what goes wrong is part of the answer. */
export async function harnessFacts(harness: Harness, machine: HarnessMachine): Promise<HarnessFacts> {
  const path = which(harness.program, searchPath(machine));
  const probed = path === null ? { version: null, problem: null } : await versionOf(harness, path, machine);
  return {
    id: harness.id,
    program: harness.program,
    is_installed: path !== null,
    path,
    ...probed,
    bits: harness.bits,
    credentials: credentialsOf(harness, machine.env),
    install_hint: harness.install_hint,
  };
}

function searchPath(machine: HarnessMachine): string {
  return `${machine.env.PATH ?? ''}:${machine.package_dir}/bin`;
}

const CREDENTIAL = /(?:_KEY|_TOKEN|_SECRET|_CREDENTIALS|_PASSWORD|_PROFILE)$|_TOKEN_/;

function credentialsOf(harness: Harness, env: HarnessMachine['env']): string[] {
  const inherited = allowEnvironment(env, harness.env_allow);
  return Object.keys(inherited)
    .filter((name) => CREDENTIAL.test(name) && inherited[name] !== '')
    .sort();
}

async function versionOf(
  harness: Harness,
  path: string,
  machine: HarnessMachine,
): Promise<{ version: string | null; problem: string | null }> {
  const ran = await probe(path, harness.version_args, machine, VERSION_MS);
  if (ran instanceof AppError) return { version: null, problem: ran.message };
  if (ran.timed_out)
    return { version: null, problem: `no answer to ${harness.version_args.join(' ')} within ${VERSION_MS / 1000} s` };
  const line =
    `${ran.stdout}\n${ran.stderr}`
      .split('\n')
      .map((each) => each.trim())
      .find((each) => each !== '') ?? null;
  if (ran.code === 0)
    return { version: line?.slice(0, 100) ?? null, problem: line === null ? 'it prints no version' : null };
  return {
    version: null,
    problem: `${harness.version_args.join(' ')} ended with ${ran.code ?? ran.signal}${line === null ? '' : `: ${line.slice(0, 200)}`}`,
  };
}

/** No credential goes to a probe: neither version nor help needs one. */
async function probe(
  path: string,
  args: string[],
  machine: HarnessMachine,
  timeout_ms: number,
): Promise<RunResult | AppError> {
  const env = {
    ...allowEnvironment(machine.env, BASE_ENV_ALLOW),
    PATH: searchPath(machine),
    TERM: 'dumb',
    NO_COLOR: '1',
  };
  try {
    return await runProgram(path, args, { cwd: machine.cwd, env, timeout_ms, max_output_bytes: MAX_OUTPUT });
  } catch (error) {
    if (error instanceof AppError && error.kind !== 'bug') return error;
    throw error;
  }
}

/** Flags of the adapter that the program's own help does not name; null when the help says nothing usable. */
export async function missingFlags(harness: Harness, path: string, machine: HarnessMachine): Promise<string[] | null> {
  const args = harness.command(SAMPLE).args;
  const firstFlag = args.findIndex((arg) => arg.startsWith('-'));
  const subcommand = args.slice(0, Math.max(0, firstFlag));
  const ran = await probe(path, [...subcommand, '--help'], machine, HELP_MS);
  if (ran instanceof AppError || ran.timed_out || ran.code !== 0) return null;
  const named = new Set(`${ran.stdout}\n${ran.stderr}`.match(/(?<![\w-])--?[A-Za-z][\w-]*/g) ?? []);
  if (named.size < 2) return null;
  return [...new Set(args.filter((arg) => /^--?[A-Za-z][\w-]*$/.test(arg)))].filter((flag) => !named.has(flag));
}

/**
 * A turn that uses everything an adapter has a flag for, but for limits that a CLI may keep out of its help. Values are
 * words that no help has as a flag.
 */
const SAMPLE: TurnSpec = {
  session_id: 'agent-sample',
  session_name: 'sample',
  turn: 2,
  prompt: 'sample',
  prompt_path: '/nonexistent/prompt.md',
  turn_dir: '/nonexistent',
  cwd: '/nonexistent',
  git_common_dir: '/nonexistent/.git',
  tools: [],
  git_dir: '/nonexistent/.git',
  profile: {
    profile_name: 'sample',
    agent: null,
    model: 'sample',
    allowed_tools: ['Read'],
    disallowed_tools: ['Write'],
    permission_mode: 'plan',
    add_dirs: ['/nonexistent/more'],
    max_budget_usd: 1,
    token_budget: null,
    append_system_prompt: 'sample',
    pool: null,
  },
  model: 'sample',
  native_session_id: 'sample',
  max_turns: null,
  mcp: { name: 'drover', command: '/nonexistent/drover', args: ['mcp'], env: {} },
  home: '/nonexistent',
};
