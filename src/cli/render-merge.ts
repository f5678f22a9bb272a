import type { QueueReport } from '../merge/report.ts';
import type { EntryOutcome } from '../merge/run.ts';
import type { MergeQueueEntry } from '../model/merge-queue.ts';
import { clip, paint, safe, table } from './output.ts';

const WORDS: Record<EntryOutcome['outcome'], string> = {
  merged: 'merged into',
  up_to_date: 'was in already:',
  rebased: 'rebased onto',
  conflict: 'conflicts with',
  gate: 'held by its gate, not merged into',
  failed: 'not merged into',
};

const MAX_MISSING = 10;

/** What happened to one session, for people. */
export function outcomeLines(outcome: EntryOutcome): string[] {
  const { name, base_branch, merged_commit, reason, cleaned_worktree, kept, ignored, branch, missing } = outcome;
  const isIn = outcome.outcome === 'merged' || outcome.outcome === 'up_to_date';
  const isGood = isIn || outcome.outcome === 'rebased';
  const what = `${WORDS[outcome.outcome]} ${safe(base_branch)}`;
  const at = merged_commit === null ? '' : ` (${merged_commit.slice(0, 12)})`;
  const lines = [`${paint('bold', safe(name))}: ${paint(isGood ? 'green' : 'yellow', what)}${at}`];
  if (reason !== null) lines.push(`  ${clip(reason, 300)}`);
  if (cleaned_worktree) lines.push(paint('dim', `  worktree and branch ${safe(branch)} removed`));
  if (ignored !== null) lines.push(paint('dim', `  with it ${clip(ignored, 300)}`));
  if (kept !== null) lines.push(`  kept ${clip(kept, 300)}`);
  for (const { side, path, line } of missing.slice(0, MAX_MISSING)) {
    lines.push(paint('yellow', clip(`  missing of ${side}: ${path}: ${line}`, 200)));
  }
  if (missing.length > MAX_MISSING || outcome.missing_truncated) {
    const more = outcome.missing_truncated ? 'and more' : `and ${missing.length - MAX_MISSING} more`;
    lines.push(paint('yellow', `  missing: ${more}; --json has them`));
  }
  if (outcome.output) lines.push(...lastLines(outcome.output).map((line) => paint('dim', `  | ${clip(line, 160)}`)));
  return lines;
}

const OUTPUT_LINES = 12;

function lastLines(output: string): string[] {
  return output.split('\n').slice(-OUTPUT_LINES);
}

/** What a queue came to, or would do. */
export function queueLines(report: QueueReport, dry_run: boolean): string[] {
  const lines = report.outcomes.flatMap(outcomeLines);
  for (const { target, error } of report.refusals) {
    lines.push(paint('red', `refused for ${safe(target)}: ${clip(String(error.message), 300)}`));
  }
  const left = report.entries.map((entry) => entryRow(entry, report.names));
  if (left.length > 0)
    lines.push(table([['', 'SESSION', 'BRANCH', 'INTO', 'NEXT'].map((cell) => paint('dim', cell)), ...left]));
  if (lines.length === 0) lines.push('nothing to merge');
  if (dry_run) lines.push(paint('dim', 'nothing was done (dry run)'));
  return lines;
}

function entryRow(entry: MergeQueueEntry, names: QueueReport['names']): string[] {
  const mark = entry.ready_to_merge ? paint('green', `#${entry.queue_position}`) : paint('yellow', '-');
  const others = entry.blocked_by.filter((blocker) => blocker.session_id !== entry.session_id);
  const conflicts = [...new Set(others.flatMap((blocker) => blocker.conflicts))];
  const where = conflicts.length === 0 ? '' : ` (${conflicts.slice(0, 3).join(', ')})`;
  const next = entry.suggested_action.replace(/\bagent-[a-z2-7]+/g, (id) => names.get(id) ?? id);
  const name = names.get(entry.session_id) ?? entry.session_id;
  return [mark, paint('bold', safe(name)), safe(entry.branch), safe(entry.base_branch), clip(`${next}${where}`, 400)];
}
