import { checkoutOf } from '../../git/common-dir.ts';
import { repairCommand } from '../../git/look.ts';
import type { Config } from '../../model/config.ts';
import { type Diagnosis, fine, problem, warning } from '../../model/finding.ts';
import { homePaths } from '../../model/home.ts';
import { quoted } from '../../model/shell.ts';
import type { Store } from '../../store/store.ts';
import { type SessionTraces, sessionTraces } from '../../store/traces.ts';
import { openTurns } from '../../store/turn.ts';
import { heldSlots } from '../../store/worktree.ts';
import { fileExists, fileSize, isDirectory, listFiles } from '../../sys/directory.ts';
import { ASIDE_PREFIX } from '../../sys/discard.ts';
import { turnFiles } from '../../sys/turn-files.ts';
import { worktreeRoot } from '../worktree.ts';
import { type DoctorDeps, someOf } from './deps.ts';

/** Checkouts and log directories against the rows. Nothing of it is ever removed here: only the command is told. */
export async function traceFindings(deps: DoctorDeps, store: Store, config: Config): Promise<Diagnosis[]> {
  const rows = await sessionTraces(store);
  const worktrees = [
    ...missingWorktrees(rows),
    ...brokenWorktrees(rows),
    ...(await strayWorktrees(deps, store, rows, config)),
  ];
  const logs = [...(await lostLogs(store)), ...strayLogs(deps, rows)];
  return [
    ...(worktrees.length > 0 ? worktrees : [fine('worktrees', 'as the rows say')]),
    ...(logs.length > 0 ? logs : [fine('logs', 'as the rows say')]),
  ];
}

function missingWorktrees(rows: readonly SessionTraces[]): Diagnosis[] {
  return rows.flatMap((row) => {
    const { worktree_path: path, branch, state, name, id } = row;
    if (path === null || state === 'completed' || state === 'zombie' || isDirectory(path)) return [];
    const git = `git -C ${quoted(row.repo_root)} worktree`;
    const again = `${git} prune\n${git} add ${quoted(path)} ${quoted(branch ?? 'HEAD')}`;
    const what = `${name} (${id}, ${state}) works in ${path}, which does not exist`;
    if (row.ended_at === null) return [problem('worktrees', what, `Bring it back from its branch:\n${again}`)];
    return [warning('worktrees', what, `Before it is resumed:\n${again}\nOr let go of it:\ndrover clean ${id}`)];
  });
}

/** Directories that git takes for no worktree of their repository: their `.git` was deleted or damaged. */
function brokenWorktrees(rows: readonly SessionTraces[]): Diagnosis[] {
  const newest = new Map(
    rows.flatMap((row) => (row.worktree_path === null ? [] : [[row.worktree_path, row] as const])),
  );
  return [...newest].flatMap(([path, { name, id, state, repo_root }]) => {
    const home = checkoutOf(repo_root);
    if (home === null || !isDirectory(path)) return [];
    const found = checkoutOf(path);
    if (found?.root === path && found.common_dir === home.common_dir) return [];
    const what = `the worktree of ${name} (${id}, ${state}) has lost its link to ${repo_root}: ${path}`;
    const hint = `It can neither be merged nor removed. Mend it; its files stay as they are:\n${repairCommand(repo_root)}`;
    return [problem('worktrees', what, hint)];
  });
}

/** Checkouts where the template puts them that no slot speaks of. A queued session's has one before it is made. */
async function strayWorktrees(
  deps: DoctorDeps,
  store: Store,
  rows: readonly SessionTraces[],
  config: Config,
): Promise<Diagnosis[]> {
  const root = worktreeRoot(config, deps.home);
  const known = new Set(rows.flatMap((row) => (row.worktree_path === null ? [] : [row.worktree_path])));
  for (const { slot } of await heldSlots(store, null)) known.add(slot.path);
  return placesLike(root, config.worktree.path).flatMap((path) => {
    const checkout = known.has(path) ? null : checkoutOf(path);
    if (checkout?.root !== path) return [];
    const remove = `git -C ${quoted(checkout.common_dir)} worktree remove ${quoted(path)}`;
    const hint = `Look at it, then remove it; git refuses when it has changes:\n${remove}`;
    return [warning('worktrees', `${path} belongs to no session`, hint)];
  });
}

/** Directories below `root` whose names the template could have made: what else is there is none of our business. */
function placesLike(root: string, template: string): string[] {
  return template.split('/').reduce(
    (dirs, part) => {
      const shape = part
        .replace(/[.*+?^$()|[\]\\]/g, '\\$&')
        .replaceAll('{id}', '[a-z0-9]{6}')
        .replaceAll(/\{(?:project|name)\}/g, '[A-Za-z0-9._-]+');
      const name = new RegExp(`^${shape}$`);
      return dirs.flatMap((dir) =>
        listFiles(dir)
          .filter((each) => name.test(each))
          .map((each) => `${dir}/${each}`)
          .filter(isDirectory),
      );
    },
    [root],
  );
}

/** So many commands are told at once. */
const MOST_COMMANDS = 20;

/** Log directories that no row speaks of. */
function strayLogs(deps: DoctorDeps, rows: readonly SessionTraces[]): Diagnosis[] {
  const turns = new Map(rows.map((row) => [row.id, row.turn]));
  const root = homePaths.session(deps.home, '').replace(/\/$/, '');
  const strays: string[] = [];
  const ahead: string[] = [];
  for (const id of listFiles(root)) {
    if (id.startsWith(ASIDE_PREFIX)) continue;
    const newest = turns.get(id);
    if (newest === undefined) strays.push(`${root}/${id}`);
    else {
      const later = listFiles(`${root}/${id}/turns`).filter((turn) => Number(turn) > newest);
      ahead.push(...later.map((turn) => `${root}/${id}/turns/${turn}`).filter((dir) => !isMadeAhead(dir)));
    }
  }
  const found: Diagnosis[] = [];
  if (strays.length > 0) {
    const what = `${strays.length} log directories belong to no session: ${someOf(strays, 3)}`;
    const commands = strays.slice(0, MOST_COMMANDS).map((path) => `rm -r ${quoted(path)}`);
    const why = 'Streams of sessions that the database does not know, as after a restore. When nobody needs them:';
    found.push(warning('logs', what, [why, ...commands].join('\n')));
  }
  if (ahead.length > 0) {
    const hint = 'As after a restore: their streams are read by `jq` or by a person, not by drover.';
    found.push(warning('logs', `turns that the database does not know: ${someOf(ahead, 3)}`, hint));
  }
  return found;
}

/** The directory of a turn that was likely to come and never came: it says nothing. */
function isMadeAhead(dir: string): boolean {
  const paths = isDirectory(dir) ? listFiles(dir).map((name) => `${dir}/${name}`) : [];
  return isDirectory(dir) && paths.every((path) => fileSize(path) === 0 && !isDirectory(path));
}

/** Turns in flight whose process was started and whose files are gone under it. */
async function lostLogs(store: Store): Promise<Diagnosis[]> {
  const gone = (await openTurns(store)).filter(
    ({ turn }) => turn.pid !== null && !fileExists(turnFiles(turn.dir).stdout),
  );
  if (gone.length === 0) return [];
  // A turn that has ended meanwhile may have been cleaned up.
  const open = new Set((await openTurns(store)).map(({ turn }) => turn.marker));
  return gone
    .filter(({ turn }) => open.has(turn.marker))
    .map(({ session, turn }) => {
      const what = `turn ${turn.turn} of ${session.name} (${session.id}) is in flight, and its files in ${turn.dir} are gone`;
      const again = `drover stop ${session.id}\ndrover resume ${session.id}`;
      return problem('logs', what, `What it says from now on is lost, and how it ends as well:\n${again}`);
    });
}
