import { findHarness, resolveHarnessId } from '../harness/registry.ts';
import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import { newId } from '../model/id.ts';
import { SYSTEM } from '../model/mail.ts';
import type { Sling } from '../store/new-session.ts';
import { privateDir } from '../sys/files.ts';
import { which } from '../sys/which.ts';
import type { Deps } from './deps.ts';
import { loadRole } from './roles.ts';
import { refuseUnsafe } from './safety.ts';

/** A session that drover starts for itself, to look after the others. */
export interface OwnSession {
  name: string;
  role: string;
  harness: string;
  model: string | null;
  task: string;
  /** Its working directory and its "repository": nothing of a repository is loaded there. */
  desk: string;
  max_turns: number | null;
  timeout_ms: number | null;
}

/**
 * What `insertSession` needs for it. Makes its directory and stores nothing.
 * Throws `unknown_harness`, `unknown_role` (2), `harness_not_installed`, `repository_untrusted` (3).
 */
export function ownSession(deps: Deps, config: Config, wanted: OwnSession): Sling {
  const harness = ownHarness(deps, config, wanted.harness);
  const role = loadRole(deps, wanted.role);
  privateDir(wanted.desk);
  refuseUnsafe(harness, config, { dir: wanted.desk, root: wanted.desk, main_root: wanted.desk });
  const { name, task, model, max_turns, timeout_ms, desk } = wanted;
  return {
    draft: {
      ...{ id: newId('agent'), name, role: role.name, harness: harness.id, task, project: 'drover' },
      ...{ task_group: 'watchdog', profile_name: null, profile_json: null, model, repo_root: desk, working_dir: desk },
      ...{
        branch: null,
        base_ref: null,
        base_branch: null,
        parent_id: null,
        depth: 0,
        run_id: null,
        recovered_from: null,
      },
      ...{ native_session_id: null, worktree_path: null, max_turns, timeout_ms, prompt_version: role.version },
      ...{ is_persistent: role.is_persistent ? 1 : 0, pool: harness.id },
    },
    brief: {
      ...{ from_name: SYSTEM, from_id: null, type: 'task', priority: 'normal', subject: 'Your task' },
      ...{ body: task, payload_json: null },
    },
    is_name_chosen: false,
    limits: { max_children: 0 },
    new_id: () => newId('agent'),
    now: deps.clock.now(),
  };
}

function ownHarness(deps: Pick<Deps, 'env' | 'package_dir'>, config: Config, wanted: string) {
  const runners = config.harness_runners;
  const harness = findHarness(resolveHarnessId(wanted, new Set(), runners), runners);
  if (which(harness.program, `${deps.env.PATH ?? ''}:${deps.package_dir}/bin`) !== null) return harness;
  throw new AppError('refused', 'harness_not_installed', `${harness.id} is not installed: no ${harness.program}.`, {
    hint: harness.install_hint,
    preserved: 'nothing was stored',
  });
}
