import { AppError } from '../model/error.ts';
import { asideFrom } from './aside.ts';
import { DURABLE } from './durable.ts';
import { checkCommitIds, mergeBases } from './merge-base.ts';
import { type GitOptions, type GitResult, git, gitFailed, judgedOverrides } from './run.ts';

const TIMEOUT_MS = 600_000;
const MAX_MESSAGES = 16_384;

export interface MergeConflict {
  /** Relative to the root. Bytes that are no UTF-8 are shown as U+FFFD. */
  path: string;
  /** Git's own word: `content`, `add/add`, `modify/delete`, `rename/delete`, `submodule`, `binary`, … */
  kind: string;
}

export interface MergePrediction {
  /** Id of the merged tree; null when there are conflicts. */
  tree: string | null;
  /** Ordered by path, each path once. */
  conflicts: MergeConflict[];
  /** What git says about the merge, for people; at most 16 KiB. */
  messages: string;
}

/**
 * What `git merge theirs` on a clean checkout of `ours` would come to (full ids), without any checkout. Nothing in the
 * repository changes: new objects are thrown away, unless `keep_objects` asks for them to be written (each synced).
 * Errors: those of `mergeBases` (`no_common_ancestor`, `commit_not_found`, …), `git` and `gitFailed` (`disk_full`, …).
 */
export async function predictMerge(
  repo_root: string,
  ours: string,
  theirs: string,
  options: { keep_objects?: boolean } = {},
): Promise<MergePrediction> {
  return (await mergeTrees(repo_root, ours, theirs, options)).prediction;
}

/** `predictMerge`, and the merge bases that it had to look up. */
export async function mergeTrees(
  repo_root: string,
  ours: string,
  theirs: string,
  options: { keep_objects?: boolean } = {},
): Promise<{ prediction: MergePrediction; bases: string[] }> {
  checkCommitIds(ours, theirs);
  return asideFrom(
    repo_root,
    async (place, empty) => {
      // In the repository itself git checks whose it is.
      const [bases, judged] = await Promise.all([mergeBases(repo_root, ours, theirs), judgedOverrides(place)]);
      const how = { timeout_ms: TIMEOUT_MS, settings: DURABLE, judged };
      const merge = (at: GitOptions) => git(['merge-tree', '--write-tree', '-z', '--messages', ours, theirs], at);
      // Most repositories have no attributes: both at once, and once more if this one has.
      const [plain, has_attributes] = await Promise.all([
        merge({ ...empty, ...how }),
        layOutAttributes(ours, { ...place, ...how }),
      ]);
      return { bases, prediction: readMerge(has_attributes ? await merge({ ...place, ...how }) : plain) };
    },
    options,
  );
}

/**
 * The trees that git's merges of these pairs of commits (full ids) give, from one process and by the rules of `predictMerge`;
 * null from the first one on that does not merge. All by the attributes of one commit: those of each `ours` must be the same.
 * No object stays. Whose repository it is is not asked: the caller has done something in it before. Errors: as `predictMerge`.
 */
export async function mergedTrees(
  repo_root: string,
  attributes_of: string,
  pairs: readonly (readonly [ours: string, theirs: string])[],
): Promise<(string | null)[]> {
  checkCommitIds(attributes_of, ...pairs.flat());
  const result = await asideFrom(repo_root, async (place) => {
    const how = { ...place, timeout_ms: TIMEOUT_MS, judged: await judgedOverrides(place) };
    await layOutAttributes(attributes_of, how);
    const stdin = pairs.map(([ours, theirs]) => `${ours} ${theirs}\n`).join('');
    return git(['merge-tree', '--write-tree', '--stdin', '-z', '--no-messages'], { ...how, stdin });
  });
  if (result.code !== 0) throw gitFailed('merge the trees', result);
  // A clean one is `1`, its tree, and nothing.
  const parts = result.stdout.split('\0');
  const bad = pairs.findIndex((_, at) => parts[3 * at] !== '1' || parts[3 * at + 2] !== '');
  return pairs.map((_, at) => (bad >= 0 && at >= bad ? null : (parts[3 * at + 1] ?? null)));
}

/** Git takes the attributes (`merge=union`, `-merge`) from the working tree: these are the ones of `ours`. Whether any. */
async function layOutAttributes(ours: string, options: GitOptions): Promise<boolean> {
  const args = ['checkout', '--quiet', ours, '--', ':(top,glob)**/.gitattributes'];
  const result = await git(args, options);
  if (result.code === 0) return true;
  if (result.stderr.includes('did not match any file')) return false;
  throw gitFailed('read attributes', result);
}

/** Parses the NUL-separated output: the tree; per conflicted stage one entry; nothing; then the messages. */
function readMerge(result: GitResult): MergePrediction {
  const { code, stdout } = result;
  if (code !== 0 && code !== 1) throw gitFailed('merge two trees', result);
  if (result.truncated) throw new AppError('failed', 'output_too_large', 'git says too much about one merge');
  const parts = stdout.split('\0');
  const tree = parts[0] ?? '';
  const kinds = new Map<string, string>();
  let at = 1;
  for (; parts[at]; at += 1) {
    const entry = parts[at] ?? '';
    kinds.set(entry.slice(entry.indexOf('\t') + 1), '');
  }
  const messages = readMessages(parts, at + 1);
  for (const { path, type, text } of messages) judgeMessage(kinds, path, type, text);
  const conflicts = [...kinds].map(([path, kind]) => ({ path, kind: kind || 'content' }));
  return {
    tree: code === 0 ? tree : null,
    conflicts: code === 0 ? [] : conflicts.sort((a, b) => (a.path < b.path ? -1 : 1)),
    messages: messages
      .map(({ text }) => text)
      .join('')
      .slice(0, MAX_MESSAGES),
  };
}

interface Message {
  path: string;
  type: string;
  text: string;
}

/** `<number of paths> <paths…> <type> <text>`, over and over. */
function readMessages(parts: readonly string[], from: number): Message[] {
  const messages: Message[] = [];
  for (let at = from; at < parts.length; ) {
    const paths = Number(parts[at]);
    const type = parts[at + paths + 1];
    const text = parts[at + paths + 2];
    if (!Number.isInteger(paths) || type === undefined || text === undefined) break;
    messages.push({ path: parts[at + 1] ?? '', type, text });
    at += paths + 3;
  }
  return messages;
}

/** The first word about a path says most: others are followed by `content`. */
function judgeMessage(kinds: Map<string, string>, path: string, type: string, text: string): void {
  if (!type.startsWith('CONFLICT')) return;
  const word = /^CONFLICT \(([^)]*)\)/.exec(text)?.[1] ?? /\(([^)]*)\)/.exec(type)?.[1] ?? '';
  if (!kinds.get(path)) kinds.set(path, word);
}
