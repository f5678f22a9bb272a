import { join } from 'node:path';
import type { Clock } from '../model/clock.ts';
import { AppError } from '../model/error.ts';
import { aside } from './aside.ts';
import { commitTree } from './commit-tree.ts';
import { DURABLE, syncRepository } from './durable.ts';
import { openWorktree } from './open-worktree.ts';
import { gitPatiently } from './patient.ts';
import { gitFailed, gitOutput } from './run.ts';
import { type WholeTree, writeIgnoredTree, writeWholeTree } from './whole-tree.ts';

const MAX_LEFT_OUT = 20;
const MAX_NUMBER = 1_000;
const PLACE = 'refs/drover/rescued';

export interface Rescued {
  ref: string;
  commit: string;
  /** Ref of a commit with the ignored files that were named, and nothing else; null when none were. */
  ignored_ref: string | null;
  /** What is not in it, at most 20 paths: the `.git` of repositories inside, the files of submodules. */
  left_out: string[];
}

interface Wanted {
  path: string;
  session_id: string;
  /** Paths that git ignores and that are saved as well. */
  ignored?: readonly string[];
  clock: Clock;
}

/**
 * Commits all that is in the worktree, new files included and whatever it is in the middle of, on top of its HEAD, to a
 * new ref `refs/drover/rescued/<session_id>` (or `…-2`, …): none is ever overwritten, but the same content at the same
 * HEAD is not saved twice. What is staged otherwise than it stands in the files is the second parent. Ignored files go to
 * `…/<session_id>-ignored`, so that whoever goes on with the work does not publish them. Neither index, HEAD, branch nor
 * files are touched; no filter runs: what stands in the files is saved. It survives a power loss.
 * Errors: `usage` / `session_id_invalid`; `failed` / `rescue_refs_full`; those of `openWorktree`, `gitFailed`.
 */
export async function rescue({ path, session_id, ignored = [], clock }: Wanted): Promise<Rescued> {
  if (!/^[A-Za-z0-9][\w-]*$/.test(session_id)) {
    throw new AppError('usage', 'session_id_invalid', `not the id of a session: ${JSON.stringify(session_id)}`);
  }
  const worktree = await openWorktree(path);
  const { root, head_commit } = worktree;
  return aside(async (dir) => {
    const whole = await writeWholeTree(worktree, join(dir, 'index'));
    let ignored_ref: string | null = null;
    if (ignored.length > 0) {
      const files = await writeIgnoredTree(worktree, join(dir, 'ignored'), ignored);
      ignored_ref = (await keep(root, `${session_id}-ignored`, null, { files, staged: null }, clock)).ref;
    }
    const { ref, commit } = await keep(root, session_id, head_commit, whole, clock);
    await syncRepository(root);
    return { ref, commit, ignored_ref, left_out: whole.left_out.slice(0, MAX_LEFT_OUT) };
  });
}

type Trees = Pick<WholeTree, 'files' | 'staged'>;

async function keep(root: string, name: string, head: string | null, trees: Trees, clock: Clock): Promise<Saved> {
  return (await sameRescue(root, name, head, trees)) ?? (await writeRescue(root, name, head, trees, clock));
}

type Saved = Pick<Rescued, 'ref' | 'commit'>;

async function writeRescue(
  root: string,
  session_id: string,
  head: string | null,
  { files, staged }: Trees,
  clock: Clock,
): Promise<Saved> {
  const parents = head === null ? [] : [head];
  const index = staged === null ? [] : [await commitTree(root, staged, parents, `drover: staged in ${session_id}\n`)];
  const commit = await commitTree(root, files, [...parents, ...index], `drover: rescued from ${session_id}\n`);
  return { ref: await writeRef(root, session_id, commit, clock), commit };
}

/** What an earlier call, one that was killed perhaps, has saved of exactly this. */
async function sameRescue(
  root: string,
  session_id: string,
  head: string | null,
  { files, staged }: Trees,
): Promise<Saved | null> {
  const format = '--format=%(refname) %(objectname) %(tree) %(parent)';
  const args = ['for-each-ref', format, '--', `${PLACE}/${session_id}`, `${PLACE}/${session_id}-*`];
  for (const line of (await gitOutput('look for rescued work', args, { cwd: root })).split('\n')) {
    const [ref = '', commit = '', tree, ...parents] = line.trim().split(' ');
    if (tree !== files) continue;
    const base = head === null ? [] : [head];
    const index = parents.slice(base.length);
    if (!base.every((parent, i) => parents[i] === parent) || index.length !== (staged === null ? 0 : 1)) continue;
    if (staged !== null && (await treeOf(root, index[0] ?? '')) !== staged) continue;
    return { ref, commit };
  }
  return null;
}

async function treeOf(root: string, commit: string): Promise<string> {
  return (await gitOutput('look at rescued work', ['rev-parse', `${commit}^{tree}`], { cwd: root })).trim();
}

/** Takes the first name that is free, in one step. */
async function writeRef(root: string, session_id: string, commit: string, clock: Clock): Promise<string> {
  const nothing = '0'.repeat(commit.length);
  const listed = await gitOutput('look for rescued work', ['for-each-ref', '--format=%(refname)', PLACE], {
    cwd: root,
  });
  const taken = new Set(listed.split('\n'));
  for (let n = 1; n <= MAX_NUMBER; n += 1) {
    const ref = `${PLACE}/${session_id}${n === 1 ? '' : `-${n}`}`;
    if (taken.has(ref)) continue;
    const args = ['update-ref', '-m', 'drover: rescue', ref, commit, nothing];
    const result = await gitPatiently(args, { cwd: root, settings: DURABLE }, clock);
    if (result.code === 0) return ref;
    const blocking = /'(refs\/[^']*)' exists; cannot create/.exec(result.stderr)?.[1];
    const is_taken = /reference already exists/.test(result.stderr) || blocking?.startsWith(`${ref}/`);
    if (!is_taken) throw gitFailed(`keep what was in ${root}`, result);
  }
  throw new AppError('failed', 'rescue_refs_full', `${session_id} has been rescued ${MAX_NUMBER} times`, {
    hint: `Delete some of ${PLACE}/${session_id}-* with git update-ref -d.`,
    preserved: 'the worktree is untouched',
  });
}
