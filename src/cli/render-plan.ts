import type { PlanLogRow, PlanState } from '../model/plan.ts';
import type { StepState } from '../model/plan-step.ts';
import type { Waiting } from '../model/report.ts';
import { droppedText } from '../model/report-headline.ts';
import type { PlanSummary } from '../store/plan-list.ts';
import { age, clip, dollars, paint, type Style, safe, table, tokens } from './output.ts';
import { failureText, type PlanLines, type StepLine } from './plan-lines.ts';
import { waitsText } from './plan-waits.ts';

const STEP_STYLES: Record<StepState, Style> = {
  ...{ pending: 'dim', running: 'cyan', parked: 'yellow', merging: 'cyan' },
  ...{ done: 'green', failed: 'red', skipped: 'dim', cancelled: 'magenta' },
};
const PLAN_STYLES: Record<PlanState, Style> = {
  ...{ active: 'cyan', paused: 'yellow', parked: 'yellow', completed: 'green', failed: 'red', cancelled: 'magenta' },
};

export function paintPlanState(state: PlanState): string {
  return paint(PLAN_STYLES[state], state);
}

/** Time it has run, `-` before that. */
function took({ started_at, ended_at }: StepLine, now: number): string {
  return started_at === null ? '-' : age((ended_at ?? now) - started_at);
}

/** Money where somebody has said it, else tokens. */
function spent({ cost_micros, tokens: count }: { cost_micros: number | null; tokens: number }): string {
  return cost_micros === null && count > 0 ? `${tokens(count)} tok` : dollars(cost_micros);
}

/** One line per step: name, state, time, cost, why. `width`: columns of the terminal; null: as long as it gets. */
export function stepTable(steps: readonly StepLine[], now: number, width: number | null): string {
  const named = ({ kind, id }: StepLine) => (kind === 'group' ? `[${id}]` : id);
  const names = Math.min(
    42,
    steps.reduce((most, step) => Math.max(most, named(step).length), 4),
  );
  return steps
    .map((step) => {
      const name = named(step).slice(0, names);
      const facts = `${took(step, now).padStart(5)} ${spent(step).padStart(10)}`;
      const used = names + 11 + 16 + 2;
      const why = clip(step.why, width === null ? 160 : Math.max(0, width - used));
      return `${name.padEnd(names)} ${paint(STEP_STYLES[step.state], step.state.padEnd(9))} ${facts}  ${why}`.trimEnd();
    })
    .join('\n');
}

const BAR = 24;

/** `[########........] 4/8 steps  1 failed, 2 running   $0.1200  45s` */
export function progressLine({ counts, ...sums }: PlanLines, elapsed_ms: number): string {
  const over = counts.done + counts.failed + counts.skipped + counts.cancelled;
  const full = counts.total === 0 ? 0 : Math.floor((over / counts.total) * BAR);
  const bar = `[${'#'.repeat(full)}${'.'.repeat(BAR - full)}]`;
  const parts = (['failed', 'parked', 'running', 'merging', 'skipped', 'cancelled'] as const).flatMap((state) =>
    counts[state] > 0 ? [paint(STEP_STYLES[state], `${counts[state]} ${state}`)] : [],
  );
  return `${bar} ${over}/${counts.total} ${counts.total === 1 ? 'step' : 'steps'}  ${parts.join(', ')}${parts.length > 0 ? '  ' : ''}${spent(sums)}  ${age(elapsed_ms)}`;
}

const ORDER: Record<StepState, number> = {
  ...{ parked: 0, running: 0, merging: 0, failed: 1, pending: 2, cancelled: 3, done: 3, skipped: 3 },
};

/** As many steps as there is room for, what is going on first; in the order of the plan. */
export function shownSteps(steps: readonly StepLine[], room: number): { shown: StepLine[]; hidden: number } {
  if (steps.length <= room) return { shown: [...steps], hidden: 0 };
  const wanted = steps
    .map((step, at) => ({ step, at }))
    .sort((a, b) => ORDER[a.step.state] - ORDER[b.step.state] || a.at - b.at)
    .slice(0, Math.max(1, room - 1))
    .sort((a, b) => a.at - b.at);
  return { shown: wanted.map(({ step }) => step), hidden: steps.length - wanted.length };
}

/** One change as a line without a terminal: time since the plan began, whom, what, and why. */
export function changeLine(row: PlanLogRow, step: StepLine | undefined, created_at: number): string {
  const since = `+${age(row.at - created_at)}`.padStart(6);
  const who = row.step_id === null ? paint('bold', 'plan') : safe(row.step_id);
  const style = Object.hasOwn(STEP_STYLES, row.event) ? STEP_STYLES[row.event as StepState] : null;
  const event = row.event.replaceAll('_', ' ');
  const words = failureText(row.outcome, row.detail);
  const isOver = step !== undefined && step.ended_at !== null && step.started_at !== null && step.ended_at <= row.at;
  const facts = isOver ? `${took(step, row.at)}, ${spent(step)}` : '';
  const rest = [facts, clip(words, 160)].filter((word) => word !== '').join('  ');
  return `${since}  ${who}: ${style === null ? event : paint(style, event)}${rest === '' ? '' : `  ${rest}`}`;
}

/** The last word about a plan: what became of it, and what moves on what waits. */
export function summary(
  plan: {
    id: string;
    name: string;
    state: PlanState;
    reason: string | null;
    created_at: number;
    ended_at: number | null;
  },
  lines: PlanLines,
  waits: readonly Waiting[],
  now: number,
): string {
  const { counts } = lines;
  const parts = (
    ['done', 'failed', 'parked', 'running', 'merging', 'pending', 'skipped', 'cancelled'] as const
  ).flatMap((state) => (counts[state] > 0 ? [`${counts[state]} ${state}`] : []));
  const why = plan.reason === null ? '' : ` (${safe(plan.reason)})`;
  const facts = `${parts.join(', ')}${droppedText(lines.dropped)}; ${spent(lines)}, ${age((plan.ended_at ?? now) - plan.created_at)}`;
  const head = `${paint('bold', safe(plan.name))}: ${paintPlanState(plan.state)}${why}: ${facts}`;
  const failed = lines.steps
    .filter(({ state, why }) => state === 'failed' && !why.startsWith('group'))
    .slice(0, 20)
    .map(({ id, why }) => `  ${paint('red', 'failed')} ${safe(id)}  ${clip(why, 160)}`);
  const report = plan.ended_at === null ? [] : [`  report: drover report ${plan.id}`];
  return [head, ...failed, ...waitsText(waits), ...report].join('\n');
}

export function planTable(plans: readonly PlanSummary[], now: number): string {
  const header = ['ID', 'NAME', 'STATE', 'STEPS', 'FAILED', 'COST', 'STARTED', 'WHY'].map((cell) => paint('dim', cell));
  const rows = plans.map((plan) => [
    plan.id,
    paint('bold', safe(plan.name)),
    paintPlanState(plan.state),
    `${plan.done_count}/${plan.step_count}`,
    plan.failed_count === 0 ? '-' : paint('red', String(plan.failed_count)),
    dollars(plan.cost_micros),
    `${age(now - plan.created_at)} ago`,
    clip(plan.reason ?? '', 60),
  ]);
  return table([header, ...rows]);
}
