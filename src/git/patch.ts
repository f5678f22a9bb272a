import { AppError } from '../model/error.ts';
import { checkCommitIds, mergeBases } from './merge-base.ts';
import { openWorktree } from './open-worktree.ts';
import { git, gitFailed, gitOutput } from './run.ts';

const MAX_LINE = 300;

/**
 * What changed between two commits (full ids), as a unified diff for people: at most `max_lines` lines of at most 300
 * characters, the last one saying how many are missing. Control characters are shown as U+FFFD, so that no file can
 * write to a terminal. Empty without a difference. Errors: `usage` / `commit_invalid`; those of `git`, `gitFailed`.
 */
export async function diffPreview(wanted: {
  repo_root: string;
  from: string;
  to: string;
  path?: string;
  max_lines: number;
}): Promise<string> {
  const { repo_root, from, to, path, max_lines } = wanted;
  checkCommitIds(from, to);
  const paths = path === undefined ? [] : [`:(top,literal)${path}`];
  const args = ['diff-tree', '-r', '-p', '--no-color', '-M', from, to, '--', ...paths];
  const text = await gitOutput('show what changed', args, { cwd: repo_root });
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const shown = lines.slice(0, lines.length > max_lines ? Math.max(0, max_lines - 1) : max_lines).map(safeLine);
  if (shown.length < lines.length && max_lines > 0) shown.push(`… ${lines.length - shown.length} more lines`);
  return shown.join('\n');
}

function safeLine(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what has to go
  const safe = line.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
  return safe.length > MAX_LINE ? `${safe.slice(0, MAX_LINE - 1)}…` : safe;
}

export interface PathChange {
  /** Relative to the root; after a move the new one. Bytes that are no UTF-8 are shown as U+FFFD. */
  path: string;
  action: 'create' | 'modify' | 'delete' | 'move';
  /** Where a moved file was. */
  previous?: string;
}

/**
 * The paths in which two commits (full ids) differ. `since_merge_base`: what `to` did since it left `from`.
 * Errors: `usage` / `commit_invalid`; `refused` / `no_common_ancestor`; `failed` / `too_many_changes`; those of `git`.
 */
export async function changedPaths(wanted: {
  repo_root: string;
  from: string;
  to: string;
  since_merge_base?: boolean;
}): Promise<PathChange[]> {
  const { repo_root, from, to, since_merge_base = false } = wanted;
  checkCommitIds(from, to);
  const start = since_merge_base ? (await mergeBases(repo_root, from, to))[0] : from;
  const args = ['diff-tree', '-r', '--name-status', '-z', '-M', start, to, '--'];
  const result = await git(args, { cwd: repo_root });
  if (result.code !== 0) throw gitFailed('list what changed', result);
  if (result.truncated) throw tooMany(repo_root);
  const parts = result.stdout.split('\0');
  const changes: PathChange[] = [];
  for (let at = 0; parts[at]; ) {
    const letter = parts[at]?.[0] ?? '';
    const path = parts[at + 1] ?? '';
    if (letter === 'R') changes.push({ path: parts[at + 2] ?? '', action: 'move', previous: path });
    else changes.push({ path, action: letter === 'A' ? 'create' : letter === 'D' ? 'delete' : 'modify' });
    at += letter === 'R' || letter === 'C' ? 3 : 2;
  }
  return changes;
}

/**
 * What is not committed in the worktree at `path`: staged, unstaged, unmerged, and new files that are not ignored.
 * Errors: those of `openWorktree`; `failed` / `too_many_changes`; those of `git`.
 */
export async function dirtyChanges(path: string): Promise<PathChange[]> {
  const { root } = await openWorktree(path);
  const args = ['status', '--porcelain', '-z', '--find-renames', '--untracked-files=all'];
  const result = await git(args, { cwd: root });
  if (result.code !== 0) throw gitFailed(`read the status of ${path}`, result);
  if (result.truncated) throw tooMany(path);
  const parts = result.stdout.split('\0');
  const changes: PathChange[] = [];
  for (let at = 0; parts[at]; at += 1) {
    const entry = parts[at] ?? '';
    const change: PathChange = { path: entry.slice(3), action: actionOf(entry.slice(0, 2)) };
    if (/[RC]/.test(entry.slice(0, 2))) {
      at += 1;
      change.previous = parts[at] ?? '';
    }
    changes.push(change);
  }
  return changes;
}

/** The two letters of `git status --porcelain`: index against HEAD, working tree against index. */
function actionOf(letters: string): PathChange['action'] {
  if (/^(?:DD|AU|UD|UA|DU|AA|UU)$/.test(letters)) return 'modify';
  if (letters.includes('D')) return 'delete';
  if (letters.includes('R')) return 'move';
  return letters === '??' || /[AC]/.test(letters) ? 'create' : 'modify';
}

function tooMany(where: string): AppError {
  return new AppError('failed', 'too_many_changes', `more has changed in ${where} than can be listed`, {
    hint: 'Are files in it that belong into .gitignore?',
  });
}
