import { AppError } from '../model/error.ts';
import type { PlanView } from '../model/plan-view.ts';
import { checkPlanFile, planInvalid } from '../plan/draft.ts';
import { standingHalt } from '../store/halted.ts';
import { findPlan, listPlanLog } from '../store/plan.ts';
import { listPlanSummaries } from '../store/plan-list.ts';
import { planView } from '../store/plan-view.ts';
import type { Store } from '../store/store.ts';
import { systemClock } from '../sys/clock.ts';
import type { Context } from './context.ts';
import { jsonLine, paint, safe } from './output.ts';
import { groundDeps } from './plan-check.ts';
import { isPlanFile, readPlanSource } from './plan-file.ts';
import { nodesOf, planLines, type StepNode, stepNodes } from './plan-lines.ts';
import { personWaits } from './plan-waits.ts';
import { haltLine } from './render-halt.ts';
import { planTable, progressLine, stepTable, summary } from './render-plan.ts';
import { graphMermaid, graphText } from './render-plan-graph.ts';
import { graphSvg } from './render-plan-svg.ts';
import { printWhole } from './stream-out.ts';

/** How a graph can be drawn. */
export type GraphForm = 'text' | 'mermaid' | 'svg';

const LISTED = 20;
const LISTED_ALL = 1_000;

/** `plan list`: of this repository, those that are open first among the newest. */
export async function planList(context: Context, isAll: boolean): Promise<void> {
  const store = await context.reader();
  const repo_root = isAll ? null : await context.repoRoot();
  const limit = isAll ? LISTED_ALL : LISTED;
  const found = store === null ? [] : await listPlanSummaries(store, { repo_root, limit });
  if (context.globals.json)
    return printWhole(
      jsonLine({
        plans: found.map(({ settings_json, ...plan }) => ({ ...plan, settings: JSON.parse(settings_json) })),
      }),
    );
  if (found.length === 0) return printWhole('no plans; `drover plan run FILE` starts one');
  await printWhole(planTable(found, systemClock.now()));
}

/** `plan show`: a stored plan, or the graph of a file. Throws `plan_not_found` (4), and of a file what `plan check` throws. */
export async function planShow(
  context: Context,
  word: string,
  options: { graph?: GraphForm | undefined; var: Record<string, string> },
): Promise<void> {
  if (options.graph !== undefined) return drawn(context, word, options.graph, options.var);
  const store = await openPlans(context, word);
  const view = await viewOf(store, word);
  const now = systemClock.now();
  const lines = planLines(view, now);
  const waiting = await personWaits(store, view.plan.run_id, now);
  const halt = await standingHalt(store);
  const { settings_json, ...plan } = view.plan;
  if (context.globals.json) {
    const log = await listPlanLog(store, plan.id);
    const { steps, ...totals } = lines;
    const { budget, sessions } = view;
    const stored = { ...plan, settings: JSON.parse(settings_json) };
    return printWhole(jsonLine({ halt, plan: stored, ...totals, steps, sessions, budget, waiting, log }));
  }
  const where = [plan.file === null ? '' : safe(plan.file), safe(plan.repo_root)].filter(Boolean).join('  in ');
  const parts = [
    ...(halt === null ? [] : [haltLine(halt, now)]),
    `${plan.id}  ${paint('dim', where)}`,
    progressLine(lines, (plan.ended_at ?? now) - plan.created_at),
    stepTable(lines.steps, now, null),
    summary(view.plan, lines, waiting, now),
  ];
  await printWhole(parts.join('\n'));
}

async function drawn(
  context: Context,
  word: string,
  form: GraphForm,
  variables: Record<string, string>,
): Promise<void> {
  const { name, nodes } = isPlanFile(context.cwd, word)
    ? await fileGraph(context, word, variables)
    : await storedGraph(context, word);
  if (context.globals.json) return printWhole(jsonLine({ name, nodes }));
  const text = form === 'svg' ? graphSvg(name, nodes) : form === 'mermaid' ? graphMermaid(nodes) : graphText(nodes);
  await printWhole(text);
}

async function storedGraph(context: Context, word: string): Promise<{ name: string; nodes: StepNode[] }> {
  const { plan, steps } = await viewOf(await openPlans(context, word), word);
  return { name: plan.name, nodes: nodesOf(steps) };
}

async function fileGraph(
  context: Context,
  word: string,
  variables: Record<string, string>,
): Promise<{ name: string; nodes: StepNode[] }> {
  const { text } = await readPlanSource(context.cwd, word);
  const { plan, issues } = await checkPlanFile(groundDeps(context), { text, cwd: context.cwd, variables });
  if (plan === null) throw planInvalid(word === '-' ? null : word, issues);
  return { name: plan.settings.name, nodes: stepNodes(plan.steps) };
}

async function openPlans(context: Context, word: string): Promise<Store> {
  const store = await context.reader();
  if (store !== null) return store;
  throw new AppError('not_found', 'plan_not_found', `Plan not found: ${word}`, {
    hint: 'Nothing was ever stored here.',
  });
}

async function viewOf(store: Store, word: string): Promise<PlanView> {
  const { id } = await findPlan(store, word);
  const view = await planView(store, id);
  if (view === null) throw new Error(`the plan ${id} was found and is gone`);
  return view;
}
