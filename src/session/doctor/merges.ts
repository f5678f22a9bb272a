import { checkoutOf } from '../../git/common-dir.ts';
import { DESK } from '../../git/plain-merges.ts';
import { resolveCommit } from '../../git/repository.ts';
import { type Diagnosis, fine, warning } from '../../model/finding.ts';
import { homePaths } from '../../model/home.ts';
import type { MergeRow } from '../../model/merge.ts';
import { lockOfMerge, MERGE_NAME, mergeLockPath, mergeTrialDir } from '../../model/merge-place.ts';
import { quoted } from '../../model/shell.ts';
import { mergedRepositories, openMerges } from '../../store/merge.ts';
import type { Store } from '../../store/store.ts';
import { isDirectory, listFiles } from '../../sys/directory.ts';
import { isFlocked } from '../../sys/flock.ts';
import { type DoctorDeps, someOf } from './deps.ts';

/** What merges left that were killed: attempts nobody is at, checkouts for their gates, a ref that is never there for long. */
export async function mergeFindings({ home }: Pick<DoctorDeps, 'home'>, store: Store): Promise<Diagnosis[]> {
  const dead = await deadAttempts(home, store);
  const found = [...judgeAttempts(dead), ...strayTrials(home, dead), ...(await strayDesks(store))];
  return found.length > 0 ? found : [fine('merges', 'none was cut short')];
}

/** Open, while nobody has the lock of their target. */
async function deadAttempts(home: string, store: Store): Promise<MergeRow[]> {
  const free = (await openMerges(store, null)).filter(
    ({ repo_root, target }) => !isFlocked(mergeLockPath(home, repo_root, target)),
  );
  if (free.length === 0) return [];
  // One that has just come to its end has let go of its lock after it closed the row.
  const open = new Set((await openMerges(store, null)).map(({ seq }) => seq));
  return free.filter(({ seq }) => open.has(seq));
}

function judgeAttempts(dead: readonly MergeRow[]): Diagnosis[] {
  const places = new Map<string, MergeRow[]>();
  for (const row of dead) {
    const key = JSON.stringify([row.repo_root, row.target]);
    places.set(key, [...(places.get(key) ?? []), row]);
  }
  return [...places.values()].flatMap((rows) => {
    const [first] = rows;
    if (first === undefined) return [];
    const { repo_root, target } = first;
    const what = `merging ${someOf(rows.map(({ branch }) => branch))} into ${target} of ${repo_root} was cut short`;
    const why = 'The next merge in that repository settles it first. This one merges what is ready there as well:';
    return warning('merges', what, `${why}\ndrover merge --queue --project ${quoted(repo_root)}`);
  });
}

/** Those of dead attempts go with them. */
function strayTrials(home: string, dead: readonly MergeRow[]): Diagnosis[] {
  const root = homePaths.merges(home);
  const told = new Set(dead.map(({ repo_root, target }) => mergeTrialDir(home, repo_root, target)));
  return listFiles(root).flatMap((name) => {
    const dir = `${root}/${name}`;
    const lock = lockOfMerge(home, name);
    // Twice: one that ends takes its directory away before it lets go of its lock, and another may begin.
    if (!MERGE_NAME.test(name) || told.has(dir) || isFlocked(lock) || !isDirectory(dir) || isFlocked(lock)) return [];
    const tree = `${dir}/tree`;
    const checkout = checkoutOf(tree);
    const common = quoted(checkout?.common_dir ?? '');
    // Git's own note first: it is locked, and forgotten once the directory is gone.
    const [unlock, forget] = [`git -C ${common} worktree unlock ${quoted(tree)}`, `git -C ${common} worktree prune`];
    const isKnown = checkout?.root === tree;
    const commands = isKnown ? [unlock, `rm -r ${quoted(dir)}`, forget] : [`rm -r ${quoted(dir)}`];
    const hint = ['No merge is at work there. When no process of a gate is, either:', ...commands].join('\n');
    return warning('merges', `${dir} is left over from a merge that was killed`, hint);
  });
}

async function strayDesks(store: Store): Promise<Diagnosis[]> {
  const found: Diagnosis[] = [];
  for (const repo_root of await mergedRepositories(store)) {
    if (!isDirectory(repo_root) || (await resolveCommit(repo_root, DESK)) === null) continue;
    const hint = `Harmless; it only keeps commits from being collected:\ngit -C ${quoted(repo_root)} update-ref -d ${DESK}`;
    found.push(warning('merges', `${repo_root} has a ref ${DESK}, left over from a merge that was killed`, hint));
  }
  return found;
}
