import type { PlanLogRow, PlanRow } from '../model/plan.ts';
import type { PlanView } from '../model/plan-view.ts';
import type { Waiting } from '../model/report.ts';
import type { Context } from './context.ts';
import { jsonLine, paint, safe } from './output.ts';
import type { PlanLines, StepLine } from './plan-lines.ts';
import { changeLine, paintPlanState, progressLine, shownSteps, stepTable, summary } from './render-plan.ts';
import { writeOut } from './stream-out.ts';

/** A plan as it was seen at one instant, and what has happened since the look before. */
export interface Look {
  news: PlanLogRow[];
  view: PlanView;
  lines: PlanLines;
  now: number;
}

/** Where a plan is shown. Its methods throw `ReaderGone` when nobody looks any more. */
export interface Screen {
  show(look: Look): Promise<void>;
  end(look: Look, waits: readonly Waiting[], code: number): Promise<void>;
  detached(plan: PlanRow): Promise<void>;
}

/** One object per change, a table that is drawn anew, or one line per change. */
export function screenFor(context: Context): Screen {
  if (context.globals.json) return new JsonScreen();
  return process.stdout.isTTY ? new LiveScreen() : new PlainScreen(context.globals.quiet);
}

function detachedText({ id }: PlanRow): string {
  return `detached; the plan goes on. Look again: drover plan run ${id}   End it: drover plan cancel ${id}`;
}

class PlainScreen implements Screen {
  readonly #isQuiet: boolean;
  #isFirst = true;

  constructor(isQuiet: boolean) {
    this.#isQuiet = isQuiet;
  }

  async show({ news, view, lines }: Look): Promise<void> {
    if (this.#isQuiet) return;
    const { plan } = view;
    const head = this.#isFirst
      ? [
          `${plan.id}  ${paint('bold', safe(plan.name))}  ${lines.counts.total} ${lines.counts.total === 1 ? 'step' : 'steps'}`,
        ]
      : [];
    this.#isFirst = false;
    const steps = new Map<string, StepLine>(lines.steps.map((step) => [step.id, step]));
    const told = news.map((row) => changeLine(row, steps.get(row.step_id ?? ''), plan.created_at));
    if (head.length + told.length > 0) await writeOut(`${[...head, ...told].join('\n')}\n`);
  }

  async end({ view, lines, now }: Look, waits: readonly Waiting[]): Promise<void> {
    await writeOut(`${summary(view.plan, lines, waits, now)}\n`);
  }

  async detached(plan: PlanRow): Promise<void> {
    console.error(detachedText(plan));
  }
}

const LEAST_ROWS = 5;

/** Draws over what it has drawn before, and only when something differs. */
class LiveScreen implements Screen {
  #drawn: string[] = [];

  async show({ view, lines, now }: Look): Promise<void> {
    const width = Math.max(20, process.stdout.columns || 80);
    const room = Math.max(LEAST_ROWS, process.stdout.rows || 24) - 4;
    const { plan } = view;
    const { shown, hidden } = shownSteps(lines.steps, room);
    const frame = [
      `${paint('bold', safe(plan.name))}  ${paintPlanState(plan.state)}  ${paint('dim', `${plan.id}  Ctrl-C detaches`)}`,
      ...stepTable(shown, now, width).split('\n'),
      ...(hidden === 0 ? [] : [paint('dim', `… and ${hidden} more`)]),
      progressLine(lines, (plan.ended_at ?? now) - plan.created_at),
    ];
    await this.#draw(frame.map((line) => cut(line, width)));
  }

  async #draw(frame: string[]): Promise<void> {
    const before = this.#drawn;
    if (frame.join('\n') === before.join('\n')) return;
    const up = before.length === 0 ? '' : `\x1b[${before.length}A\r`;
    const lines = frame.map((line, i) => (line === before[i] ? '\n' : `\x1b[2K${line}\n`));
    // One write, so that no half of it is ever seen; what is left of a longer frame before is cleared.
    await writeOut(`${up}${lines.join('')}\x1b[J`);
    this.#drawn = frame;
  }

  async end({ view, lines, now }: Look, waits: readonly Waiting[]): Promise<void> {
    await writeOut(`${summary(view.plan, lines, waits, now)}\n`);
  }

  async detached(plan: PlanRow): Promise<void> {
    // The terminal has just echoed ^C.
    await writeOut(`\r\x1b[2K${detachedText(plan)}\n`);
  }
}

/** A line that is too long would take two rows, and the next frame would begin in the wrong one. */
function cut(line: string, width: number): string {
  return Bun.stringWidth(line) < width ? line : Bun.sliceAnsi(line, 0, width - 1);
}

class JsonScreen implements Screen {
  #isFirst = true;

  async show({ news, view, lines }: Look): Promise<void> {
    const { id, name, run_id, state, repo_root, file, created_at } = view.plan;
    const steps = new Map<string, StepLine>(lines.steps.map((step) => [step.id, step]));
    const out = news.map((row) => jsonLine(changeOf(row, steps.get(row.step_id ?? ''))));
    if (this.#isFirst) {
      const plan = { id, name, run_id, state, repo_root, file, created_at };
      out.unshift(jsonLine({ event: 'follow', plan, step_count: lines.counts.total }));
    }
    this.#isFirst = false;
    if (out.length > 0) await writeOut(`${out.join('\n')}\n`);
  }

  async end({ view, lines }: Look, waits: readonly Waiting[], exit_code: number): Promise<void> {
    const { settings_json: _settings, ...plan } = view.plan;
    const { steps, ...totals } = lines;
    await writeOut(`${jsonLine({ event: 'end', exit_code, plan, ...totals, steps, waiting: waits })}\n`);
  }

  async detached({ id }: PlanRow): Promise<void> {
    await writeOut(`${jsonLine({ event: 'detached', exit_code: 130, plan: { id } })}\n`);
  }
}

function changeOf(row: PlanLogRow, step: StepLine | undefined): Record<string, unknown> {
  const { seq, plan_id, step_id, event, outcome, detail, at } = row;
  const what = { event: step_id === null ? 'plan' : 'step', change: event, seq, plan_id };
  if (step_id === null) return { ...what, outcome, detail, at };
  const { state, round, session, cost_micros, tokens, started_at, ended_at } = step ?? {};
  return {
    ...{ ...what, step_id, outcome, detail, at, state, round, session_id: session?.id ?? null, cost_micros, tokens },
    took_ms: started_at == null || ended_at == null ? null : ended_at - started_at,
  };
}
