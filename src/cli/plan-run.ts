import { AppError } from '../model/error.ts';
import { NAME } from '../model/id.ts';
import type { PlanRow } from '../model/plan.ts';
import { draftPlan } from '../plan/draft.ts';
import type { Deps } from '../session/deps.ts';
import { callerOf } from '../session/identity.ts';
import { demandPerson } from '../session/rights.ts';
import { findPlan, insertPlan } from '../store/plan.ts';
import type { Context } from './context.ts';
import { jsonLine, paint, safe } from './output.ts';
import { isPlanFile, readPlanSource, unusedVariables } from './plan-file.ts';
import { followPlan } from './plan-follow.ts';
import { printWhole } from './stream-out.ts';
import { wake } from './wake.ts';

export interface RunOptions {
  var: Record<string, string>;
  name?: string;
  wait?: boolean;
  detach?: boolean;
}

/**
 * `plan run`: a file is checked, stored whole and started; a plan that is stored is looked at again. Either way the
 * supervisor is rung, and the exit code is the plan's. Throws what `draftPlan`, `insertPlan` and `findPlan` throw,
 * `not_allowed` (3) for sessions.
 */
export async function planRun(context: Context, word: string, options: RunOptions): Promise<number> {
  if (options.wait && options.detach) throw new AppError('usage', 'usage', 'Give either --wait or --detach.');
  const isFile = isPlanFile(context.cwd, word);
  if (!isFile) refuseFileOptions(word, options);
  if (!isFile && (await context.reader()) === null) throw neither(word, context.cwd);
  // Before anything is opened: what cannot be read leaves nothing behind, not even a home.
  const source = isFile ? await readPlanSource(context.cwd, word) : null;
  const deps = await context.deps();
  demandPerson(await callerOf(deps), 'run a plan');
  const plan = source === null ? await stored(deps, context, word) : await store(context, deps, source, options);
  if (plan.ended_at === null) await wake(deps);
  if (!options.detach) return followPlan(context, deps.store, plan, { isPatient: options.wait === true });
  const text = context.globals.quiet ? plan.id : detachedText(plan);
  await printWhole(context.globals.json ? jsonLine({ plan }) : text);
  return 0;
}

function detachedText({ id, name, state }: PlanRow): string {
  return `${id}  ${paint('bold', safe(name))}  ${state}\nlook at it: drover plan run ${id}`;
}

function refuseFileOptions(word: string, { var: variables, name }: RunOptions): void {
  if (Object.keys(variables).length === 0 && name === undefined) return;
  throw new AppError('usage', 'usage', `${word} is no file: --var and --name are for a plan that is read from one.`, {
    preserved: 'nothing was stored, nothing was started',
  });
}

async function stored({ store }: Deps, { cwd }: Context, word: string): Promise<PlanRow> {
  try {
    return await findPlan(store, word);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'plan_not_found') throw error;
    throw neither(word, cwd);
  }
}

function neither(word: string, cwd: string): AppError {
  return new AppError('not_found', 'plan_not_found', `There is neither a file nor a plan called ${word}.`, {
    hint: `Looked for the file in ${cwd}; \`drover plan list --all\` shows the plans.`,
    preserved: 'nothing was stored, nothing was started',
  });
}

async function store(
  context: Context,
  deps: Deps,
  source: { text: string; file: string | null },
  { var: variables, name }: RunOptions,
): Promise<PlanRow> {
  const draft = await draftPlan(deps, { ...source, cwd: context.cwd, variables });
  for (const unused of unusedVariables(source.text, variables))
    if (!context.globals.quiet) console.error(paint('yellow', `note: no hole asks for the variable ${safe(unused)}`));
  const settings = name === undefined ? draft.settings : { ...draft.settings, name: checkName(name) };
  return insertPlan(deps.store, { ...draft, settings });
}

function checkName(name: string): string {
  if (NAME.test(name) && name !== 'latest') return name;
  throw new AppError('usage', 'name_invalid', `Not usable as the name of a plan: ${JSON.stringify(name)}`, {
    hint: 'Lowercase letters, digits, dots and dashes, at most 64; not "latest".',
    preserved: 'nothing was stored, nothing was started',
  });
}
