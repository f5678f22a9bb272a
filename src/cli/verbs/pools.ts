import type { Command } from 'commander';
import { changePool } from '../../guard/pools.ts';
import { knownHarnesses } from '../../harness/registry.ts';
import { parseDuration } from '../../model/duration.ts';
import { AppError } from '../../model/error.ts';
import type { PoolWord } from '../../model/pool.ts';
import { quoted } from '../../model/shell.ts';
import { loadConfig } from '../../session/config.ts';
import type { Deps } from '../../session/deps.ts';
import { callerOf } from '../../session/identity.ts';
import { isPoolKnown, type PoolUse, poolUses } from '../../store/pool.ts';
import { systemClock } from '../../sys/clock.ts';
import type { Context } from '../context.ts';
import { paint, printJson, safe, table } from '../output.ts';
import { poolText } from '../render-pool.ts';
import { examples, type Verb } from '../verb.ts';
import { wake } from '../wake.ts';

/** What of a pool a person's word changes. */
const KEPT = ['state', 'retry_at', 'opens_at', 'evidence'] as const;

interface BlockOptions {
  for?: string;
  until?: string;
  reason: string;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    const named = (name: string, description: string) =>
      command.command(name).description(description).argument('<pool>', 'name of the pool');
    command
      .command('list', { isDefault: true })
      .description('pools: what holds them, until when, and whom')
      .action(() => list(context));
    named('block', 'start nothing of it; what stands longer is kept')
      .option('--for <duration>', 'go on by itself after this, e.g. 30m, 5h')
      .option('--until <instant>', 'go on by itself then, e.g. 2026-01-31T08:00:00Z')
      .option('--reason <text>', 'kept with the pool', 'operator')
      .action((name: string, options: BlockOptions) => block(context, name, options));
    named('release', 'open it; its parked sessions follow one by one').action((name: string) =>
      change(context, name, { type: 'release' }),
    );
    named('off', 'switch its guard off: every session waits for itself').action((name: string) =>
      change(context, name, { type: 'off' }),
    );
    named('on', 'switch its guard on again').action((name: string) => change(context, name, { type: 'on' }));
    examples(command, [
      'drover pools',
      'drover pools block claude --for 2h --reason "the day is mine"',
      'drover pools release claude',
      'drover pools off codex',
    ]);
    command.addHelpText(
      'after',
      '\nExit codes: 0 ok, 2 usage, 3 not for sessions, or a block while its guard is off, 4 no such pool.',
    );
  },
};

async function list(context: Context): Promise<void> {
  const store = await context.reader();
  const now = systemClock.now();
  const pools = store === null ? [] : await poolUses(store, now);
  if (context.globals.json) return printJson({ pools });
  if (pools.length === 0) return console.log('no pools; the first session of a harness makes one');
  const header = ['POOL', 'STATE', 'LIVE', 'PARKED', 'WHY'].map((cell) => paint('dim', cell));
  console.log(table([header, ...pools.map((pool) => row(pool, now))]));
}

function row(pool: PoolUse, now: number): string[] {
  const state = pool.state === 'open' || pool.state === 'off' ? pool.state : paint('yellow', pool.state);
  const probe = pool.probe_name === null ? '' : `${safe(pool.probe_name)} goes first; `;
  const counts = [String(pool.live_count), String(pool.parked_count)];
  return [paint('bold', safe(pool.name)), state, ...counts, `${probe}${poolText(pool, now)}`];
}

async function block(context: Context, name: string, options: BlockOptions): Promise<void> {
  if (options.for !== undefined && options.until !== undefined)
    throw new AppError('usage', 'usage', 'Give either --for or --until.');
  const opens_at = options.until === undefined ? afterNow(options.for) : instant(options.until);
  await change(context, name, { type: 'block', opens_at, text: options.reason });
}

/** A longer one is a slip of the pen, and beyond some there is no date for it. */
const LONGEST_MS = 366 * 86_400_000;

function afterNow(text: string | undefined): number | null {
  if (text === undefined) return null;
  const ms = parseDuration(text);
  if (ms > LONGEST_MS) throw tooLong(text);
  if (ms > 0) return systemClock.now() + ms;
  throw new AppError(
    'usage',
    'usage',
    `Not a duration: ${JSON.stringify(text)}. Use 90s, 45m, 2h, 1d, at most a year.`,
  );
}

function instant(text: string): number {
  const at = Date.parse(text);
  const now = systemClock.now();
  if (at - now > LONGEST_MS) throw tooLong(text);
  if (at > now) return at;
  const what = Number.isNaN(at) ? 'Not an instant' : 'Not in the future';
  throw new AppError('usage', 'usage', `${what}: ${JSON.stringify(text)}. Use 2026-01-31T08:00:00Z.`);
}

function tooLong(text: string): AppError {
  return new AppError('usage', 'usage', `That is more than a year: ${JSON.stringify(text)}.`, {
    hint: 'Without --for and --until it stands until it is released.',
  });
}

/**
 * The settings know more pools than the rows do, but a pool that is known without them is not refused because of them:
 * what a mail tells people to type has to work. Throws `config_invalid` (2) when only they could know it.
 */
async function poolNames(context: Context, { store, env }: Deps, name: string): Promise<string[]> {
  const builtIn = knownHarnesses({});
  if (builtIn.includes(name) || (await isPoolKnown(store, name))) return builtIn;
  const config = await loadConfig(env, await context.repoRoot());
  const profiles = Object.values(config.profiles).flatMap(({ pool }) => pool ?? []);
  return [...knownHarnesses(config.harness_runners), ...profiles];
}

async function change(context: Context, name: string, word: PoolWord): Promise<void> {
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const configured = await poolNames(context, deps, name);
  const { before, after } = await changePool(deps, caller, { name, word, configured });
  const changed = KEPT.some((key) => before[key] !== after[key]);
  if (changed) await wake(deps);
  if (context.globals.json) return printJson({ pool: after, prev: before.state, changed });
  const why = poolText(after, systemClock.now());
  const move = changed ? `${before.state} → ${after.state}` : `already ${after.state}`;
  console.log(`${safe(name)}: ${move}${why && ` (${why})`}`);
  if (word.type === 'block' && word.opens_at !== after.opens_at)
    console.log(
      `what held it before lasts longer; to make it shorter: drover pools release ${quoted(name)}, then block it`,
    );
}
