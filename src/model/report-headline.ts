import type { PlanRow } from './plan.ts';
import { countSteps } from './plan-count.ts';
import type { Counts, ReportVerdict } from './report.ts';
import type { ReportRows } from './report-rows.ts';
import { isTerminal } from './session.ts';

/** Steps that are work, or of a run without a plan its sessions, by what became of them. */
export function countsOf({ plan, steps, sessions }: Pick<ReportRows, 'plan' | 'steps' | 'sessions'>): Counts {
  if (plan !== null) {
    const { counts, dropped } = countSteps(steps);
    const { merging, running, ...rest } = counts;
    return { of: 'steps', ...rest, running: running + merging, dropped };
  }
  const none = { total: 0, done: 0, failed: 0, skipped: 0, cancelled: 0, parked: 0, running: 0, pending: 0 };
  const counts: Counts = { of: 'sessions', ...none, dropped: 0 };
  for (const { state } of sessions) {
    counts.total += 1;
    if (state === 'completed') counts.done += 1;
    else if (state === 'stopped') counts.cancelled += 1;
    else if (isTerminal(state)) counts.failed += 1;
    else if (state === 'parked') counts.parked += 1;
    else counts[state === 'queued' ? 'pending' : 'running'] += 1;
  }
  return counts;
}

/**
 * The one word for a run. What has ended is done only if nothing of it failed, was stopped or cancelled; `waits` says
 * that everything that is left waits for a person.
 */
export function verdictOf(rows: Pick<ReportRows, 'plan' | 'run'>, counts: Counts, waits: boolean): ReportVerdict {
  const { plan, run } = rows;
  const bad = counts.failed + counts.cancelled;
  if (plan !== null) {
    if (plan.ended_at === null) return waits ? 'parked' : 'running';
    return plan.state === 'completed' && bad === 0 ? 'done' : 'failed';
  }
  const live = counts.total - counts.done - bad;
  if (live > 0) return waits ? 'parked' : 'running';
  if (counts.total === 0 && run.status === 'active') return 'running';
  return bad > 0 || run.status === 'failed' || counts.done === 0 ? 'failed' : 'done';
}

const WORDS: Record<ReportVerdict, string> = { done: 'Done', failed: 'FAILED', parked: 'PARKED', running: 'Running' };

/** One sentence from counts alone: what went wrong comes first. */
export function headlineOf(
  verdict: ReportVerdict,
  counts: Counts,
  { plan, is_halted, merged }: { plan: PlanRow | null; is_halted: boolean; merged: number },
): string {
  const { of, total, done } = counts;
  const unit = total === 1 ? of.slice(0, -1) : of;
  const parts = [
    part(counts.failed, 'failed'),
    part(counts.parked, 'parked'),
    part(counts.cancelled, of === 'steps' ? 'cancelled' : 'stopped'),
    // Of a plan that is parked nothing is at work: what has begun waits for an answer.
    part(counts.running, verdict === 'parked' ? 'waiting' : 'running'),
    part(done, 'done'),
    part(counts.skipped, 'skipped'),
    part(counts.pending, 'not started'),
  ].filter((each) => each !== '');
  const why = is_halted ? 'everything is halted until drover resume --all' : whyOf(plan);
  const head = `${WORDS[verdict]}${why === '' ? '' : `, ${why}`}:`;
  const tail = `${merged === 0 ? '' : `; ${merged} merged`}${droppedText(counts.dropped)}`;
  if (total === 0) return `${head} nothing was done, there ${of === 'steps' ? 'were no steps' : 'was no session'}.`;
  if (verdict === 'done' && done === total) return `${head} ${total === 1 ? '' : 'all '}${total} ${unit} done${tail}.`;
  const nothing = done === 0 && (verdict === 'done' || verdict === 'failed') ? 'nothing was done; ' : '';
  const [first = '', ...rest] = parts;
  const [count = '', ...words] = first.split(' ');
  return `${head} ${nothing}${count} of ${total} ${unit} ${words.join(' ')}${rest.map((each) => `, ${each}`).join('')}${tail}.`;
}

/** What nobody worked on is said where all else is said to be done. */
export function droppedText(dropped: number): string {
  if (dropped === 0) return '';
  return `; ${dropped} ${dropped === 1 ? 'item' : 'items'} beyond the cap ${dropped === 1 ? 'was' : 'were'} not worked on`;
}

function part(count: number, word: string): string {
  return count === 0 ? '' : `${count} ${word}`;
}

/** What the word alone does not say. */
function whyOf(plan: PlanRow | null): string {
  if (plan === null) return '';
  if (plan.state === 'cancelled') return 'cancelled';
  if (plan.state === 'paused') return 'paused by a person';
  if (plan.stopping !== null) return `${plan.ended_at === null ? 'stopping' : 'stopped'} early (${plan.stopping})`;
  return '';
}
