import { workFacts } from '../git/facts.ts';
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
import { endProcesses } from './gate.ts';
import { hookEnvironment } from './hooks.ts';
import { newCommandMarker } from './identity.ts';

const MAX_OUTPUT_BYTES = 64 * 1024;
const TAIL = 2_000;
/** With what `gh` and its like speak for the person, beside what is in their files. */
const FORGE_ENV = ['SSH_AUTH_SOCK', 'GH_TOKEN', 'GH_HOST', 'GITHUB_TOKEN', 'GITLAB_TOKEN', 'GITEA_TOKEN'];

/**
 * Has the person's own command (`merge.pr_command`) push a session's branch and ask for its merge: through `/bin/sh -c` in
 * the worktree, with `DROVER_BRANCH`, `DROVER_BASE_BRANCH` and `DROVER_TASK`. It may run again when we died meanwhile, after
 * the first one's processes are gone; so it has to be one that may. Null: it succeeded; else why not, for people.
 * Errors: those of `workFacts` and `runProgram`.
 */
export async function openPullRequest(deps: Deps, row: SessionRow): Promise<string | null> {
  const config = await deps.config_for(row.repo_root);
  const command = config.merge.pr_command;
  if (command === null) {
    const isUntrusted = config.untrusted_keys?.includes('merge.pr_command') ?? false;
    return isUntrusted
      ? `merge.pr_command of ${row.repo_root}/.drover/config.yaml is not trusted: move it to your own config, or add the repository to trusted_repositories there`
      : 'no command opens pull requests: set merge.pr_command in your config, e.g. git push origin "$DROVER_BRANCH" && gh pr create --fill; then drover plan resume';
  }
  const path = row.worktree_path;
  if (path === null || row.branch === null || !isDirectory(path)) return 'it has no worktree to push from';
  const dirty = (await workFacts(path, null))?.dirty ?? [];
  if (dirty.length > 0) return `its worktree has changes that are not committed: ${dirty.slice(0, 3).join(', ')}`;
  const run = await runCommand(deps, row, path, command, config.worktree.hook_timeout_ms);
  return run.ok
    ? null
    : `merge.pr_command ${run.ended}${run.output === '' ? '' : `: ${run.output.split('\n').at(-1)}`}`;
}

interface CommandRun {
  ok: boolean;
  /** How, in words. */
  ended: string;
  /** Its last words. */
  output: string;
}

async function runCommand(
  deps: Deps,
  row: SessionRow,
  path: string,
  command: string,
  timeout_ms: number,
): Promise<CommandRun> {
  const dir = privateDir(`${homePaths.session(deps.home, row.id)}/hooks`);
  const before = readTextIfExists(`${dir}/pr_command.marker`)?.trim() ?? '';
  if (before.startsWith('hook-')) await endProcesses(deps, before);
  const marker = await newCommandMarker(deps, 'hook');
  writePrivate(`${dir}/pr_command.marker`, `${marker}\n`);
  const start = deps.clock.monotonic();
  const forge = Object.fromEntries(FORGE_ENV.flatMap((name) => (deps.env[name] ? [[name, deps.env[name]]] : [])));
  const ran = await runProgram('/bin/sh', ['-c', command], {
    cwd: path,
    env: {
      ...hookEnvironment(deps, row, path),
      ...forge,
      ...{ DROVER_BASE_BRANCH: row.base_branch ?? '', DROVER_TASK: row.task.slice(0, MAX_OUTPUT_BYTES) },
      [MARKER_VARIABLE]: marker,
    },
    ...{ marker, group: makeGroup(deps.home, marker, 'hook') },
    ...{ timeout_ms, max_output_bytes: MAX_OUTPUT_BYTES },
  });
  const took_ms = Math.round(deps.clock.monotonic() - start);
  const said = `${ran.stdout}${ran.stderr}`;
  writePrivate(`${dir}/pr_command.log`, said);
  const ok = ran.code === 0 && !ran.timed_out;
  const output = said.trim().slice(-TAIL);
  const { code, signal, timed_out, left_over } = ran;
  await recordEvent(deps.store, {
    ...{ session_id: row.id, turn: row.turn || null, type: 'hook', level: ok ? 'info' : 'warning' },
    data: { hook: 'pr_command', ok, code, signal, timed_out, took_ms, left_over, output },
    at: deps.clock.now(),
  });
  const failed = code === null ? `was ended by ${signal}` : `failed with exit code ${code}`;
  return { ok, ended: timed_out ? `was ended after ${took_ms} ms` : failed, output };
}
