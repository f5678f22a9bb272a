import { Argument, type Command } from 'commander';
import { changeBudget, dropBudget, type PutBack, raise } from '../../guard/spending.ts';
import {
  BUDGET_SCOPES,
  type BudgetScope,
  budgetText,
  EVERY_DAY,
  isDaily,
  moneyText,
  raiseCommand,
  spendingText,
} from '../../model/budget.ts';
import { AppError, errorJson } from '../../model/error.ts';
import type { Allowance } from '../../model/plan.ts';
import { loadConfig } from '../../session/config.ts';
import { callerOf } from '../../session/identity.ts';
import type { BudgetKey } from '../../store/budget.ts';
import { type BudgetView, budgetView, budgetViews } from '../../store/budget-list.ts';
import { findRun } from '../../store/run.ts';
import type { Store } from '../../store/store.ts';
import { systemClock } from '../../sys/clock.ts';
import { startOfDay } from '../../sys/day.ts';
import { dollarAmount, wholeNumber } from '../amount.ts';
import type { Context } from '../context.ts';
import { paint, printJson, safe, table } from '../output.ts';
import { lookUp } from '../sessions.ts';
import { examples, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

interface Options {
  usd?: number;
  tokens?: number;
  resume?: boolean;
}

type Act = (scope: BudgetScope, key: string | undefined, options: Options) => Promise<void>;

export const verb: Verb = {
  configure(command: Command, context: Context) {
    const named = (name: string, description: string, act: Act) =>
      command
        .command(name)
        .description(description)
        .addArgument(new Argument('<scope>', 'what is bounded').choices(BUDGET_SCOPES))
        .argument('[key]', 'name or id of the run, profile or session; none for global')
        .action(act);
    const bounded = (name: string, description: string, act: Act) =>
      named(name, description, act)
        .option('--usd <dollars>', 'dollars, e.g. 2.50', dollarAmount('--usd'))
        .option('--tokens <n>', 'tokens in and out together', wholeNumber('--tokens'));
    command
      .command('list', { isDefault: true })
      .description('what is bounded, and how much of it is spent')
      .option('--all', 'also those of ended sessions and runs')
      .action((options: { all?: boolean }) => list(context, options.all === true));
    bounded('set', 'bound what may be spent; a side that is not named has no bound', (...words) =>
      set(context, ...words),
    );
    bounded('raise', 'add to a bound', (...words) => raiseBy(context, ...words)).option(
      '--resume',
      'put back to work whom it has parked',
    );
    named('rm', 'take a bound away; whom it has parked waits for `drover resume`', (scope, key) =>
      remove(context, scope, key),
    );
    examples(command, [
      'drover budget set global --usd 20',
      'drover budget set run nightly --usd 5 --tokens 2000000',
      'drover budget raise session build-1 --usd 0.50 --resume',
      'drover budget rm profile fast',
    ]);
    command.addHelpText(
      'after',
      [
        '\nglobal and profile bound one day each, from midnight to midnight of this machine; run and session all of their time.',
        'What a spent budget covers is parked in the middle of its turn, with its work kept; nothing of it starts.',
        'Exit codes: 0 ok, 2 usage, 3 not for sessions, 4 no such budget, run or session.',
      ].join('\n'),
    );
  },
};

async function list(context: Context, isAll: boolean): Promise<void> {
  const store = await context.reader();
  const day = startOfDay(systemClock.now());
  const views = store === null ? [] : (await budgetViews(store, day)).filter(({ is_over }) => isAll || !is_over);
  if (context.globals.json) return printJson({ day_began_at: day, budgets: views.map(outward) });
  if (views.length === 0) return console.log('no budgets; `drover budget set global --usd 20` bounds every day');
  const header = ['SCOPE', 'NAME', 'SPENT', '%', 'PARKED', ''].map((cell) => paint('dim', cell));
  console.log(table([header, ...views.map(row)]));
}

function row(view: BudgetView): string[] {
  const { budget, spent, percent, name, parked_count } = view;
  const share = `${Math.floor(percent)}`;
  const isSpent = percent >= 100;
  return [
    budget.scope,
    paint('bold', budget.scope === 'global' ? '-' : safe(name)),
    `${spendingText(budget, spent)}${isDaily(budget.scope) ? ' today' : ''}`,
    isSpent ? paint('red', share) : share,
    parked_count === 0 ? '' : paint('yellow', String(parked_count)),
    isSpent ? `${raiseCommand(view)}${parked_count > 0 ? ' --resume' : ''}` : '',
  ];
}

/** One budget for scripts; the flags are those of E-123. */
function outward({ budget, spent, percent, ...view }: BudgetView): Record<string, unknown> {
  const isOver = (bound: number | null, used: number) => bound !== null && used >= bound;
  return {
    ...budget,
    ...view,
    spent,
    percent,
    is_cost_spent: isOver(budget.cost_micros, spent.cost_micros),
    is_token_spent: isOver(budget.tokens, spent.tokens),
  };
}

/** Throws `usage` (2) for a key that is missing or one too many, and what looking it up throws. */
async function keyOf(context: Context, store: Store, scope: BudgetScope, word: string | undefined): Promise<BudgetKey> {
  if (scope === 'global') {
    if (word === undefined) return { scope, key: EVERY_DAY };
    throw new AppError('usage', 'usage', 'global takes no name: it bounds every day.');
  }
  if (word === undefined) throw new AppError('usage', 'usage', `Name the ${scope}: drover budget … ${scope} <name>`);
  if (scope === 'profile') return { scope, key: word };
  const found = scope === 'run' ? await findRun(store, word) : await lookUp(context, store, word);
  return { scope, key: found.id };
}

function allowance({ usd = 0, tokens = 0 }: Options): Allowance {
  if (usd + tokens === 0) throw new AppError('usage', 'usage', 'Give --usd, --tokens or both.');
  return { cost_micros: usd === 0 ? null : usd, tokens: tokens === 0 ? null : tokens };
}

/** What is bounded for a profile that nobody has would bound nothing, unnoticed. */
async function checkProfile(context: Context, { scope, key }: BudgetKey): Promise<void> {
  if (scope !== 'profile') return;
  const { profiles } = await loadConfig(context.env, await context.repoRoot());
  if (Object.hasOwn(profiles, key)) return;
  const known = Object.keys(profiles).sort();
  throw new AppError('usage', 'unknown_profile', `There is no profile called ${key}.`, {
    hint: known.length > 0 ? `Known profiles: ${known.join(', ')}.` : 'No profiles are configured; see `drover init`.',
    preserved: 'nothing was changed',
  });
}

async function set(context: Context, scope: BudgetScope, word: string | undefined, options: Options): Promise<void> {
  const bound = allowance(options);
  const deps = await context.deps();
  const key = await keyOf(context, deps.store, scope, word);
  await checkProfile(context, key);
  await changeBudget(deps, await callerOf(deps), key, bound);
  await wake(deps);
  await answer(context, deps.store, key, null);
}

async function raiseBy(
  context: Context,
  scope: BudgetScope,
  word: string | undefined,
  options: Options,
): Promise<void> {
  const more = allowance(options);
  const deps = await context.deps();
  const key = await keyOf(context, deps.store, scope, word);
  const done = await raise(deps, await callerOf(deps), key, { more, resume: options.resume === true });
  await wake(deps);
  await answer(context, deps.store, key, done);
}

async function answer(context: Context, store: Store, key: BudgetKey, done: PutBack | null): Promise<void> {
  const view = await budgetView(store, key, startOfDay(systemClock.now()));
  if (view === null)
    throw new AppError('not_found', 'budget_not_found', 'Somebody has taken that budget away just now.');
  if (context.globals.json)
    return printJson({
      budget: outward(view),
      ...(done === null ? {} : { resumed: done.resumed, not_resumed: done.not_resumed.map(refusal) }),
    });
  console.log(
    `${safe(budgetText(key.scope, view.name))}: ${boundText(view)}; ${spendingText(view.budget, view.spent)} spent`,
  );
  for (const name of done?.resumed ?? []) console.log(`${name}: parked → queued`);
  for (const { name, error } of done?.not_resumed ?? []) console.log(`${name}: stays parked. ${error.message}`);
  if (view.percent >= 100) console.log(`that is spent: nothing it covers starts before ${raiseCommand(view)}`);
}

function boundText({ budget: { cost_micros, tokens } }: BudgetView): string {
  const sides = [cost_micros === null ? '' : moneyText(cost_micros), tokens === null ? '' : `${tokens} tokens`];
  return sides.filter((side) => side !== '').join(', ');
}

function refusal({ name, error }: PutBack['not_resumed'][number]): Record<string, unknown> {
  return { name, ...errorJson(error) };
}

async function remove(context: Context, scope: BudgetScope, word: string | undefined): Promise<void> {
  const deps = await context.deps();
  const key = await keyOf(context, deps.store, scope, word);
  const view = await budgetView(deps.store, key, startOfDay(systemClock.now()));
  await dropBudget(deps, await callerOf(deps), key);
  await wake(deps);
  if (context.globals.json) return printJson({ removed: view === null ? null : outward(view) });
  console.log(`${safe(budgetText(scope, view?.name ?? key.key))}: taken away`);
  if (view !== null && view.parked_count > 0) console.log(`${view.parked_count} stay parked: drover resume --all`);
}
