import { checkoutOf } from '../../git/common-dir.ts';
import type { Config } from '../../model/config.ts';
import { type Diagnosis, fine, problem, warning } from '../../model/finding.ts';
import { homePaths } from '../../model/home.ts';
import type { Store } from '../../store/store.ts';
import { type SessionTraces, sessionTraces } from '../../store/traces.ts';
import { isDirectory, listFiles } from '../../sys/directory.ts';
import { ASIDE_PREFIX } from '../../sys/discard.ts';
import { type DoctorDeps, someOf } from './deps.ts';

/** Checkouts and log directories against the rows. Nothing of it is ever removed here: only the command is told. */
export async function traceFindings(deps: DoctorDeps, store: Store, config: Config): Promise<Diagnosis[]> {
  const rows = await sessionTraces(store);
  const worktrees = [...missingWorktrees(rows), ...strayWorktrees(deps, rows, config)];
  const logs = strayLogs(deps, rows);
  return [
    ...(worktrees.length > 0 ? worktrees : [fine('worktrees', 'as the rows say')]),
    ...(logs.length > 0 ? logs : [fine('logs', 'as the rows say')]),
  ];
}

function missingWorktrees(rows: readonly SessionTraces[]): Diagnosis[] {
  return rows.flatMap((row) => {
    const { worktree_path: path, branch, state, name, id } = row;
    if (path === null || state === 'completed' || state === 'zombie' || isDirectory(path)) return [];
    const again = `git -C ${row.repo_root} worktree prune\ngit -C ${row.repo_root} worktree add ${path} ${branch ?? 'HEAD'}`;
    const what = `${name} (${id}, ${state}) works in ${path}, which does not exist`;
    if (row.ended_at === null) return [problem('worktrees', what, `Bring it back from its branch:\n${again}`)];
    return [warning('worktrees', what, `Before it is resumed:\n${again}\nOr let go of it:\ndrover clean ${id}`)];
  });
}

/** Checkouts under the root that no session has. A queued session's is made before its row says so. */
function strayWorktrees(deps: DoctorDeps, rows: readonly SessionTraces[], config: Config): Diagnosis[] {
  const root = config.worktree.root ?? `${deps.home}/worktrees`;
  const known = new Set(rows.flatMap((row) => (row.worktree_path === null ? [] : [row.worktree_path])));
  for (const row of rows) if (row.ended_at === null) known.add(homePaths.worktree(root, row.project, row.id));
  return listFiles(root).flatMap((name) => {
    const path = `${root}/${name}`;
    if (known.has(path) || !/-[a-z0-9]{6}$/.test(name) || !isDirectory(path)) return [];
    const checkout = checkoutOf(path);
    if (checkout?.root !== path) return [];
    const hint = `Look at it, then remove it; git refuses when it has changes:\ngit -C ${checkout.common_dir} worktree remove ${path}`;
    return [warning('worktrees', `${path} belongs to no session`, hint)];
  });
}

function strayLogs(deps: DoctorDeps, rows: readonly SessionTraces[]): Diagnosis[] {
  const turns = new Map(rows.map((row) => [row.id, row.turn]));
  const root = homePaths.session(deps.home, '').replace(/\/$/, '');
  const strays: string[] = [];
  const ahead: string[] = [];
  for (const id of listFiles(root)) {
    if (id.startsWith(ASIDE_PREFIX)) continue;
    const newest = turns.get(id);
    if (newest === undefined) strays.push(`${root}/${id}`);
    else
      for (const turn of listFiles(`${root}/${id}/turns`))
        if (Number(turn) > newest) ahead.push(`${root}/${id}/turns/${turn}`);
  }
  return [
    ...(strays.length === 0
      ? []
      : [
          warning(
            'logs',
            `${strays.length} log directories belong to no session: ${someOf(strays, 3)}`,
            `Streams of sessions that the database does not know, as after a restore. When nobody needs them:\nrm -r ${strays[0]}`,
          ),
        ]),
    ...(ahead.length === 0
      ? []
      : [
          warning(
            'logs',
            `turns that the database does not know: ${someOf(ahead, 3)}`,
            'As after a restore: their streams are read by `jq` or by a person, not by drover.',
          ),
        ]),
  ];
}
