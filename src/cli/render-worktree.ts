import type { Rescued } from '../git/rescue.ts';
import { branchName } from '../git/worktree.ts';
import { quoted } from '../model/shell.ts';
import { ignoredText } from '../session/worktree-clean.ts';
import type { ListedSlots, ListedWorktree, WorktreesCleaned } from '../session/worktree-slots.ts';
import { clip, paint, safe, table } from './output.ts';
import { paintState } from './render-session.ts';

const COUNTED = { ahead: 20, dirty: 50 };

/** The worktrees as a table, and below it how the slots are taken. */
export function renderWorktrees(worktrees: readonly ListedWorktree[], slots: readonly ListedSlots[]): string {
  if (worktrees.length === 0) return 'no worktrees here; `drover sling --worktree "…"` makes one';
  const header = ['SESSION', 'STATE', 'BRANCH', 'BASE', 'AHEAD', 'CHANGED', 'HEALTH', 'PATH'];
  const rows = worktrees.map((one) => [
    paint('bold', clip(one.name ?? one.session_id, 40)),
    one.state === null ? '-' : paintState(one.state),
    safe(one.branch),
    one.base_commit.slice(0, 10),
    count(one.ahead, COUNTED.ahead),
    count(one.dirty, COUNTED.dirty),
    one.in_progress === null ? paintHealth(one.health) : paint('yellow', `in a ${one.in_progress}`),
    safe(one.path),
  ]);
  const lines = table([header.map((cell) => paint('dim', cell)), ...rows]);
  return [lines, ...slots.map((slot) => slotLine(slot, slots.length > 1))].join('\n');
}

function slotLine({ repo_root, max, held, held_by_ended, waiting }: ListedSlots, isNamed: boolean): string {
  const where = isNamed ? `${safe(repo_root)}: ` : '';
  const ended = held_by_ended === 0 ? '' : `, ${held_by_ended} by ended sessions`;
  const names = waiting.map(({ name }) => safe(name)).join(', ');
  return paint('dim', `${where}${held} of ${max} slots taken${ended}${names === '' ? '' : `; waiting: ${names}`}`);
}

function count(n: number | null, most: number): string {
  if (n === null) return '-';
  return n >= most ? `${n}+` : String(n);
}

function paintHealth(health: string): string {
  const style = health === 'clear' ? 'green' : health === 'in_progress' ? 'cyan' : 'yellow';
  return paint(style, safe(health.replaceAll('_', ' ')));
}

export function renderCleaned({ removed, kept }: WorktreesCleaned, isDry: boolean): string {
  const name = (text: string) => paint('bold', safe(text));
  const done = isDry ? 'would remove' : 'removed';
  const gone = removed.flatMap((one) => [
    [name(one.name), done, 'worktree', safe(one.path)],
    ...(one.ignored.names.length === 0 ? [] : [[name(one.name), done, 'with it', safe(ignoredText(one.ignored))]]),
    ...one.nested.map((path) => [
      name(one.name),
      done,
      'with it',
      `the repository ${safe(path)}, which its remote has`,
    ]),
    ...(one.branch === null ? [] : [[name(one.name), done, 'branch', safe(one.branch)]]),
    ...(one.branch_kept === null ? [] : [[name(one.name), paint('yellow', 'kept'), 'branch', safe(one.branch_kept)]]),
  ]);
  const left = kept
    .filter(({ group }) => group !== 'active')
    .map((one) => [
      name(one.name),
      paint('yellow', isDry ? 'would keep' : 'kept'),
      'worktree',
      `${safe(one.path)}: ${safe(one.why)}`,
    ]);
  const rows = [...gone, ...left];
  const saved = removed.flatMap((one) => (one.saved === null ? [] : savedLines(one.name, one.saved)));
  return rows.length === 0 ? 'nothing to remove' : [table(rows), ...saved].join('\n');
}

function savedLines(name: string, { ref, commit, ignored_ref }: Rescued): string[] {
  const lines = [
    `${paint('bold', safe(name))}: everything is saved in ${ref}`,
    `  commit ${commit}`,
    `  look at it: git show --stat ${quoted(ref)}`,
    `  get it back: git branch ${branchName('', 'rescued', name)} ${quoted(ref)}`,
  ];
  if (ignored_ref !== null)
    lines.push(
      `  what git ignores is in ${ignored_ref}`,
      `  look at it: git ls-tree -r --name-only ${quoted(ignored_ref)}`,
      `  get it back, in the new worktree: git restore --overlay --source=${quoted(ignored_ref)} --worktree -- .`,
    );
  return lines;
}
