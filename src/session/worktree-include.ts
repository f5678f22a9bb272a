import { git, gitFailed } from '../git/run.ts';
import { AppError } from '../model/error.ts';
import { type Copied, copyNew, staysBelow } from '../sys/copy-file.ts';
import { readTextIfExists } from '../sys/read-text.ts';

const FILE = '.worktreeinclude';
const MAX_PATTERN_BYTES = 64 * 1024;
/** A worktree is for work, not for caches: what goes beyond is left out, and said so. */
const MAX_FILES = 5_000;
const MAX_BYTES = 256 * 1024 * 1024;

/** What was copied into a worktree, and what was not although it was wanted. */
export interface Included {
  files: number;
  bytes: number;
  /** At most ten, with the reason; `more` counts the rest. */
  left_out: { path: string; why: string }[];
  more: number;
}

const WHY: Record<Exclude<Copied, number>, string> = {
  there: 'something is there already',
  elsewhere: 'a link on the way leads elsewhere',
  no_file: 'it is no regular file',
  too_large: `more than ${MAX_BYTES / 1024 / 1024} MiB in all`,
};

/**
 * Copies the files that `.worktreeinclude` of the checkout `from` names into the worktree `to`: gitignore patterns, one
 * per line, as other tools read them. Only untracked files are taken that the worktree's own rules ignore, so that nothing
 * tracked is ever replaced and the worktree does not count as changed. Regular files only, never over a file, never through
 * a link, with their modes. Null when there is no such file. Both are real paths. Errors: `git_failed`,
 * `worktree_include_too_large`, those of `readTextIfExists` and `copyNew`.
 */
export async function copyIncluded(from: string, to: string): Promise<Included | null> {
  if (readTextIfExists(`${from}/${FILE}`, MAX_PATTERN_BYTES) === null) return null;
  const included: Included = { files: 0, bytes: 0, left_out: [], more: 0 };
  const leaveOut = (path: string, why: string) => {
    if (included.left_out.length < 10) included.left_out.push({ path, why });
    else included.more += 1;
  };
  const named = await namedIn(from);
  for (const path of named) if (!staysBelow(to, path)) leaveOut(path, WHY.elsewhere);
  const inside = named.filter((path) => staysBelow(to, path));
  for (const path of await ignoredIn(to, inside)) {
    if (included.files >= MAX_FILES) {
      leaveOut(path, `more than ${MAX_FILES} files`);
      continue;
    }
    const copied = await copyNew(from, to, path, MAX_BYTES - included.bytes);
    if (typeof copied === 'number') {
      included.files += 1;
      included.bytes += copied;
    } else if (copied !== 'there') leaveOut(path, WHY[copied]);
  }
  return included;
}

/** Untracked paths in `root` that its patterns name. What ends with a slash is another repository: not looked into. */
async function namedIn(root: string): Promise<string[]> {
  const list = ['ls-files', '-z', '--others', '--ignored', `--exclude-from=${root}/${FILE}`];
  const named = await git(list, { cwd: root });
  if (named.code !== 0) throw gitFailed(`read ${FILE}`, named);
  if (named.truncated) {
    throw new AppError('failed', 'worktree_include_too_large', `${FILE} names more files than can be listed`, {
      hint: `Name single files or small directories in ${root}/${FILE}.`,
    });
  }
  return pathsOf(named.stdout);
}

/** Those of them that the rules of the worktree ignore, which may be older or newer than those of the checkout. */
async function ignoredIn(root: string, paths: readonly string[]): Promise<string[]> {
  if (paths.length === 0) return [];
  const ignored = await git(['check-ignore', '-z', '--stdin'], { cwd: root, stdin: `${paths.join('\0')}\0` });
  // 1: none of them.
  if (ignored.code > 1) throw gitFailed(`ask which files of ${FILE} are ignored`, ignored);
  return pathsOf(ignored.stdout);
}

function pathsOf(list: string): string[] {
  return list
    .split('\0')
    .filter((path) => path !== '' && !path.endsWith('/'))
    .sort();
}
