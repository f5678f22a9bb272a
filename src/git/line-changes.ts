import { unquotePath } from './quoted-path.ts';

/** How often each line came (positive) or went (negative) between two versions of a file. */
type LineCounts = Map<string, number>;

export interface FileChange {
  /** As git quotes them, so that no two are the same; null where the file does not exist. */
  from: string | null;
  to: string | null;
  from_blob: string;
  to_blob: string;
  is_binary: boolean;
  added: LineCounts;
  removed: LineCounts;
}

/** Parses the raw entries and the patches of one `git diff-tree --raw -p -U0 --no-abbrev --full-index` (not `-z`). */
export function parseChanges(text: string): FileChange[] {
  const lines = text.split('\n');
  const changes: FileChange[] = [];
  let at = 0;
  for (; lines[at]?.startsWith(':'); at += 1) changes.push(...rawChange(lines[at] ?? ''));
  let file = -1;
  while (at < lines.length) {
    const line = lines[at] ?? '';
    at += 1;
    const change = changes[file];
    if (line.startsWith('diff --git ')) file += 1;
    else if (change && line.startsWith('Binary files ')) change.is_binary = true;
    else if (change && line.startsWith('@@ ')) at = readHunk(lines, at, line, change);
  }
  return changes;
}

/** `:<mode> <mode> <blob> <blob> <letter>\t<path>[\t<path>]`. A change of type has two patches: one away, one new. */
function rawChange(line: string): FileChange[] {
  const [facts = '', one = '', two = one] = line.split('\t');
  const [, , from_blob = '', to_blob = '', status = ''] = facts.split(' ');
  const counts = () => ({ is_binary: false, added: new Map(), removed: new Map() });
  const whole = { from: one, to: two, from_blob, to_blob };
  if (status === 'A') return [{ ...whole, from: null, ...counts() }];
  if (status === 'D') return [{ ...whole, to: null, ...counts() }];
  if (status !== 'T') return [{ ...whole, ...counts() }];
  return [
    { ...whole, ...counts() },
    { ...whole, ...counts() },
  ];
}

/** Reads as many lines as the head of the hunk promises: only so a line of the file is never taken for one of git's. */
function readHunk(lines: readonly string[], from: number, head: string, change: FileChange): number {
  const [, away, come] = /^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@/.exec(head) ?? [];
  let left = Number(away ?? 1) + Number(come ?? 1);
  let at = from;
  for (; left > 0 && at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    if (line.startsWith('\\')) continue;
    count(line.startsWith('+') ? change.added : change.removed, line.slice(1), 1);
    left -= 1;
  }
  return at;
}

function count(counts: LineCounts, line: string, by: number): void {
  counts.set(line, (counts.get(line) ?? 0) + by);
}

/** The changes of one side since the merge base, those of the other, and those from the side to the merged tree. */
export interface SideChanges {
  since_base: readonly FileChange[];
  other_since_base: readonly FileChange[];
  to_merged: readonly FileChange[];
}

const BINARY = '(binary file)';

/**
 * The lines that one side has added, but the merged tree no longer has. Per path of the side and per line:
 *
 *   added = how often the side put it in; lost = how often merged has it less than the side; excused = how often the other
 *   side took it out of the same file.
 *
 * Missing are min(added, lost − excused), if positive. A merge without conflict never has any: it holds what the side
 * holds, except what the other side took out. Blank lines do not count. Files are followed through renames. Of a binary
 * file (or one of git's own kinds) the whole content counts as one line.
 */
export function missingOf({ since_base, other_since_base, to_merged }: SideChanges): { path: string; line: string }[] {
  const missing: { path: string; line: string }[] = [];
  for (const change of since_base) {
    const { to } = change;
    if (to === null) continue;
    const onward = to_merged.filter(({ from }) => from === to);
    if (onward.length === 0) continue;
    const others = other_since_base.filter(({ from }) => from !== null && from === change.from);
    const arrival = arrivalOf(onward, others, to_merged);
    if ([change, ...arrival].some(({ is_binary }) => is_binary)) {
      if (!arrival.some(({ to_blob, to: path }) => path !== null && to_blob === change.to_blob)) {
        missing.push({ path: unquotePath(to), line: BINARY });
      }
      continue;
    }
    const excused = others.map(({ removed }) => removed);
    for (const [line, times] of change.added) {
      if (line.trim() === '') continue;
      const lost = sum(arrival, 'removed', line) - sum(arrival, 'added', line);
      const gone = Math.min(times, lost - excused.reduce((total, counts) => total + (counts.get(line) ?? 0), 0));
      for (let i = 0; i < gone; i += 1) missing.push({ path: unquotePath(to), line });
    }
  }
  return missing;
}

/** What became of the file: if git sees no likeness, it may still stand where the other side has moved it to. */
function arrivalOf(
  onward: readonly FileChange[],
  others: readonly FileChange[],
  to_merged: readonly FileChange[],
): FileChange[] {
  const moved = others.map(({ to }) => to);
  const found = to_merged.filter(({ from, to }) => from === null && to !== null && moved.includes(to));
  return onward.every(({ to }) => to === null) ? [...onward, ...found] : [...onward];
}

function sum(changes: readonly FileChange[], what: 'added' | 'removed', line: string): number {
  return changes.reduce((total, change) => total + (change[what].get(line) ?? 0), 0);
}
