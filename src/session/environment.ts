import { allowEnvironment, BASE_ENV_ALLOW, runtimeEnvironment } from '../harness/environment.ts';
import { LOCK_FILE_NAMES, packageManager } from '../harness/package-manager.ts';
import { AppError } from '../model/error.ts';
import type { Harness } from '../model/harness.ts';
import type { Role } from '../model/role.ts';
import { profileOf, type SessionRow } from '../model/session.ts';
import type { TurnRow } from '../model/turn.ts';
import { fileExists } from '../sys/directory.ts';
import { readTextIfExists } from '../sys/read-text.ts';
import type { Deps } from './deps.ts';

export interface EnvironmentInput {
  session: SessionRow;
  turn: TurnRow;
  harness: Harness;
  role: Role;
  token: string;
  /** What the adapter adds for this run; it wins. */
  added: Record<string, string>;
}

/**
 * The whole environment of one turn: an allow-list of ours, what the harness may inherit (its provider's credential),
 * who it works for (E-042…E-049), and the session's token. Nothing else of this machine's environment gets through.
 */
export function turnEnvironment(deps: Deps, input: EnvironmentInput): Record<string, string> {
  const { session, turn, harness, token, added } = input;
  const inherited = allowEnvironment(deps.env, [...BASE_ENV_ALLOW, ...harness.env_allow]);
  const runtime = runtimeEnvironment({
    session_id: session.id,
    harness: session.harness,
    agent_name: session.name,
    working_dir: session.working_dir,
    project_dir: session.working_dir,
    run_id: session.run_id,
    task_id: session.id,
    profile_model: profileOf(session)?.model ?? null,
    package_manager: packageManagerOf(deps, session.working_dir),
    plugin_root: deps.package_dir,
  });
  const bin = `${deps.package_dir}/bin`;
  return {
    ...inherited,
    ...runtime,
    PATH: `${inherited.PATH ?? '/usr/local/bin:/usr/bin:/bin'}:${bin}`,
    DROVER_HOME: deps.home,
    DROVER_BIN: `${bin}/drover`,
    DROVER_TOKEN: token,
    DROVER_TURN: String(turn.turn),
    GIT_TERMINAL_PROMPT: '0',
    ...added,
  };
}

function packageManagerOf(deps: Deps, dir: string) {
  return packageManager({
    env_value: deps.env.CLAUDE_PACKAGE_MANAGER ?? null,
    project_settings: textAt(`${dir}/.claude/package-manager.json`),
    package_json: textAt(`${dir}/package.json`),
    lock_files: new Set(LOCK_FILE_NAMES.filter((file) => fileExists(`${dir}/${file}`))),
    user_settings: deps.env.HOME ? textAt(`${deps.env.HOME}/.claude/package-manager.json`) : null,
  });
}

/** A file that cannot be read is the project's business; the next source is asked (E-049). */
function textAt(path: string): string | null {
  try {
    // Asked first: most projects have none of these, and an error costs more than a look.
    return fileExists(path) ? readTextIfExists(path) : null;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return null;
  }
}
