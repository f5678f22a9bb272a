import { targetTrouble } from '../merge/advance.ts';
import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import { type Forecast, forecast, type PastSession } from '../model/forecast.ts';
import type { ExpandedStep, PlanSettings } from '../model/plan.ts';
import type { PoolRow } from '../model/pool.ts';
import { findPrice } from '../model/usage.ts';
import { checkPlanFile, launchFacts, type PlanFileCheck, planInvalid } from '../plan/draft.ts';
import { type GroundDeps, refuseLaunches } from '../session/ground.ts';
import { type SlingLaunch, targetOf } from '../session/sling.ts';
import { pastSessions } from '../store/history.ts';
import { poolUses } from '../store/pool.ts';
import { systemClock } from '../sys/clock.ts';
import type { Context } from './context.ts';
import { paint, printJson, safe } from './output.ts';
import { readPlanSource, unusedVariables } from './plan-file.ts';
import { forecastText, type Slots } from './render-forecast.ts';

/**
 * `plan check`: everything that is wrong with a file, or what it will come to. Opens no store for writing and starts
 * nothing. Throws `plan_invalid`, `plan_unreadable`, `config_invalid` (2).
 */
export async function planCheck(context: Context, word: string, variables: Record<string, string>): Promise<void> {
  const { text } = await readPlanSource(context.cwd, word);
  const deps = groundDeps(context);
  const check = await checkPlanFile(deps, { text, cwd: context.cwd, variables });
  if (check.plan === null) throw planInvalid(word === '-' ? null : word, check.issues, MOST_TOLD);
  const { settings, steps, launches } = check.plan;
  const { past, pools } = await known(context);
  const slots = slotsOf(check, settings, steps);
  const concurrency = Math.min(slots.concurrency, slots.max_live_sessions, slots.max_worktrees ?? slots.concurrency);
  const coming = forecast({ name: settings.name, concurrency, steps }, launchFacts(launches), past);
  const notes = [
    ...refusedNotes(deps, check),
    ...slotNotes(check, slots, steps),
    ...notesOf(check, text, variables, coming, pools),
    ...(await targetNotes(check, steps)),
  ];
  if (context.globals.json) {
    const launched = Object.fromEntries(launchFacts(launches));
    return printJson({ file: word, plan: settings, steps, launches: launched, forecast: coming, slots, notes });
  }
  console.log(forecastText({ settings, forecast: coming, slots, caps: settings.pools }));
  for (const note of notes) console.error(paint('yellow', `note: ${safe(note)}`));
}

/** Lines of mistakes; a program finds all of them in `error.data`. */
const MOST_TOLD = 500;

/** What a look at a plan needs; nothing of it is a store. */
export function groundDeps({ env, package_dir, globals }: Context): GroundDeps {
  const warn = (text: string) => {
    if (!globals.quiet) console.error(`warning: ${text}`);
  };
  return {
    ...{ env, package_dir },
    config_for: async (root) => (await import('../session/config.ts')).loadConfig(env, root, warn),
  };
}

/** The past of this machine; of a home where nothing was ever stored, nothing. */
async function known(context: Context): Promise<{ past: PastSession[]; pools: PoolRow[] }> {
  const store = await context.reader();
  if (store === null) return { past: [], pools: [] };
  return { past: await pastSessions(store), pools: await poolUses(store, systemClock.now()) };
}

function slotsOf(check: PlanFileCheck, settings: PlanSettings, steps: readonly ExpandedStep[]): Slots {
  const { max_live_sessions, max_worktrees } = check.ground.config;
  return {
    concurrency: settings.concurrency,
    max_live_sessions,
    max_worktrees: withWorktree(check, steps).length > 0 ? max_worktrees : null,
  };
}

/** Steps whose sessions have a worktree each; that of a list stands for its items. */
function withWorktree({ ground }: PlanFileCheck, steps: readonly ExpandedStep[]): ExpandedStep[] {
  return steps.filter(
    (step) => (step.kind === 'task' || step.foreach !== null) && (step.worktree ?? ground.config.worktree.by_default),
  );
}

/** Where worktrees are fewer than sessions that want one at the same time. */
function slotNotes(check: PlanFileCheck, slots: Slots, steps: readonly ExpandedStep[]): string[] {
  const { concurrency, max_live_sessions, max_worktrees: max } = slots;
  if (max === null) return [];
  const own = withWorktree(check, steps);
  const sessions = own.reduce((sum, { attempts, foreach }) => sum + attempts * (foreach?.max ?? 1), 0);
  const most = Math.min(concurrency, max_live_sessions, sessions);
  const notes =
    most > max ? [`slots: up to ${most} worktrees are wanted at a time, max_worktrees is ${max}: the rest waits`] : [];
  for (const { id, attempts } of own)
    if (attempts > max)
      notes.push(
        `slots: the ${attempts} attempts of ${id} keep their worktrees until all are over, max_worktrees is ${max}`,
      );
  return notes;
}

/** Targets into which nothing could be merged now: whoever goes to bed over one finds nothing merged in the morning. */
async function targetNotes({ ground: { place } }: PlanFileCheck, steps: readonly ExpandedStep[]): Promise<string[]> {
  if (place === null) return [];
  const bases = new Set(steps.flatMap(({ merge, base }) => (merge === 'queue' ? [base ?? undefined] : [])));
  const targets = new Set(await Promise.all([...bases].map((base) => targetOf(place, base))));
  const troubles = await Promise.all(
    [...targets].map((target) => (target === null ? null : targetTrouble(place.main_root, target))),
  );
  return troubles.flatMap((trouble) =>
    trouble === null
      ? []
      : `${trouble.message}: until that is mended, no step is merged there. ${trouble.details.hint}`,
  );
}

/** What is no mistake of the file and still worth a look before one goes to bed. */
function notesOf(
  { ground, plan }: PlanFileCheck,
  text: string,
  variables: Record<string, string>,
  coming: Forecast,
  pools: readonly PoolRow[],
): string[] {
  const notes = unusedVariables(text, variables).map((name) => `no hole asks for the variable ${name}`);
  if (ground.refusal instanceof AppError) notes.push(`${ground.refusal.message} \`plan run\` will refuse it here.`);
  const asked = new Set(coming.pools.map(({ pool }) => pool));
  for (const { name, state } of pools)
    if (asked.has(name) && (state === 'blocked' || state === 'probing')) notes.push(`the pool ${name} is ${state} now`);
  for (const name of Object.keys(plan?.settings.pools ?? {}))
    if (!asked.has(name)) notes.push(`no step uses the pool ${name} that the plan caps`);
  if (plan !== null && plan.settings.stop_when.quota_left !== null) notes.push(...quotaNotes(plan.launches.values()));
  if (plan !== null) notes.push(...twinNotes(plan.steps));
  const cost = coming.cost_micros.worst;
  const bound = plan?.settings.budget?.cost_micros ?? null;
  if (cost !== null && bound !== null && cost > bound) notes.push('at its worst it costs more than its budget');
  return [...notes, ...priceNotes(ground.config.prices, plan)];
}

/** Harnesses that nothing can be started with here, e.g. because they are not installed. */
function refusedNotes(deps: GroundDeps, { ground: { place, config }, plan }: PlanFileCheck): string[] {
  const harnesses = new Map([...(plan?.launches.values() ?? [])].map(({ harness }) => [harness.id, harness]));
  return [...harnesses.values()].flatMap((harness) => {
    try {
      if (place !== null) refuseLaunches(deps, config, place, [{ harness }]);
      return [];
    } catch (error) {
      if (!(error instanceof AppError) || error.kind !== 'refused') throw error;
      return [`${error.message} \`plan run\` will refuse it here.`];
    }
  });
}

/**
 * Bounds in dollars over sessions of which nobody knows what they cost: these count as nothing, so that the bound cannot
 * hold. A model that only the harness will name may still have a price.
 */
function priceNotes(prices: Config['prices'], plan: PlanFileCheck['plan']): string[] {
  if (plan === null) return [];
  const { budget, stop_when } = plan.settings;
  const bounds = [
    ...(budget?.cost_micros == null ? [] : ['budget.usd']),
    ...(stop_when.cost_micros === null ? [] : ['stop_when.usd']),
  ];
  const unknown = new Map<string, string[]>();
  for (const step of plan.steps) {
    const launch = plan.launches.get(step.id);
    if (launch === undefined || (bounds.length === 0 && step.budget?.cost_micros == null)) continue;
    const model = launch.profile?.model ?? null;
    if (launch.harness.bits.cost_reported || findPrice(prices, [model]) !== null) continue;
    const who = model === null ? launch.harness.id : `${launch.harness.id} with ${model}`;
    unknown.set(who, [...(unknown.get(who) ?? []), step.id]);
  }
  return [...unknown].map(([who, ids]) => {
    const steps = `${ids.slice(0, 5).join(', ')}${ids.length > 5 ? ` and ${ids.length - 5} more` : ''}`;
    const what = bounds.length === 0 ? 'their budgets in dollars' : bounds.join(' and ');
    return `nobody knows what ${who} costs (${steps}): ${what} cannot hold; set its price in the config, or bound tokens`;
  });
}

/** A bound on something that is not told before it is over is one that a person should know about. */
function quotaNotes(launches: Iterable<SlingLaunch>): string[] {
  const silent = new Set([...launches].flatMap(({ harness }) => (harness.bits.limit_event ? [] : [harness.id])));
  return [...silent].map(
    (id) => `stop_when.quota_left: ${id} does not tell what is left of its quota; it counts once a usage limit is hit`,
  );
}

/** Entries of a matrix that stand there twice do the same work twice. */
function twinNotes(steps: readonly ExpandedStep[]): string[] {
  const members = Map.groupBy(
    steps.filter(({ group_id }) => group_id !== null),
    ({ group_id }) => group_id,
  );
  return [...members].flatMap(([id, all]) => {
    const apart = new Set(all.map(({ values }) => JSON.stringify(values))).size;
    return apart === all.length ? [] : [`the matrix of ${id} has the same combination more than once`];
  });
}
