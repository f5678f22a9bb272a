/**
 * `npm run bench:durability [-- --small] [-- --json]`: does drover lose, double, forget or wrongly end anything, whatever
 * dies? Kill campaign, watchdog campaign, limit campaign; one table, or one object with `--json`.
 *
 *   --small          a reduced run, under a minute
 *   --json           one object on standard output
 *   --only NAME      kill, watch or limit; may be repeated
 *   --seed N         victims and instants, as far as real processes allow (default: random, printed)
 *   --sessions N     sessions of the kill campaign
 *   --kills N
 *   --minutes N      no new kill after so long
 *   --package DIR    another checkout of drover
 *   --keep           leave the homes behind
 *
 * `detect_ms_*` is the time from the instant a sick session was overdue by its threshold to drover's decision to end it;
 * `settle_ms_*` that from the end of a harness that died or went away by itself to the end of its turn. Neither is ever
 * negative: who was ended before it was overdue counts in `early_ends`, not in the times.
 *
 * Exit codes: 0 · 1 when a figure is not 0 where 0 is the goal, or a campaign could not run · 2 for wrong arguments.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { exitCodeOf, parsed, wholeNumber, wrongUse } from './arguments.ts';
import { displacedRounds } from './displaced.ts';
import { closeHomes } from './home.ts';
import { killCampaign } from './kill.ts';
import { limitCampaign } from './limit.ts';
import { asObject, type Report, table } from './report.ts';
import { watchCampaign } from './watch.ts';

const ROOT = resolve(import.meta.dir, '../..');
const CAMPAIGNS = ['kill', 'watch', 'limit'];

interface Options {
  isSmall: boolean;
  seed: number;
  sessions: number;
  kills: number;
  cap_ms: number;
  package_dir: string;
  keep: boolean;
}

const say = (line: string) => console.error(line);

const RUNS: Record<string, (options: Options) => Promise<Report>> = {
  kill: async ({ isSmall, ...options }) => {
    const rounds = displacedRounds({ ...options, say });
    const kills = killCampaign({ ...options, max_live: isSmall ? 8 : 24, say });
    await Promise.allSettled([rounds, kills]);
    const [late, { findings, info }] = [await rounds, await kills];
    for (const [figure, cases] of Object.entries(late)) findings[figure as keyof typeof findings].push(...cases);
    return { zero: findings, numbers: {}, info };
  },
  watch: (options) => watchCampaign({ ...options, say }),
  limit: limits,
};

async function limits({ isSmall, seed, package_dir }: Options): Promise<Report> {
  const figures = await limitCampaign({ sessions: isSmall ? 8 : 50, seed, package_dir });
  const { limit_extra_calls, doubled_turns, unfinished, attempts_spent, ...info } = figures;
  const counted = { limit_doubled_turns: doubled_turns, limit_unfinished: unfinished };
  const numbers = { limit_extra_calls, ...counted, limit_attempts_spent: attempts_spent };
  return { zero: {}, numbers, info };
}

/** Throws `usage` (2). */
function readOptions() {
  const { values } = parsed(() =>
    parseArgs({
      options: {
        ...{ small: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } },
        ...{ only: { type: 'string', multiple: true }, seed: { type: 'string' }, sessions: { type: 'string' } },
        ...{ kills: { type: 'string' }, minutes: { type: 'string', default: '15' } },
        ...{ package: { type: 'string', default: ROOT }, keep: { type: 'boolean', default: false } },
      },
    }),
  );
  const isSmall = values.small;
  const minutes = wholeNumber('--minutes', values.minutes, 1);
  const options: Options = {
    isSmall,
    seed: wholeNumber('--seed', values.seed ?? String(Math.floor(Math.random() * 1e9)), 0),
    sessions: wholeNumber('--sessions', values.sessions ?? (isSmall ? '12' : '200'), 1),
    kills: wholeNumber('--kills', values.kills ?? (isSmall ? '40' : '2000'), 0),
    cap_ms: isSmall ? 15_000 : minutes * 60_000,
    package_dir: resolve(values.package),
    keep: values.keep,
  };
  if (!existsSync(join(options.package_dir, 'package.json')))
    throw wrongUse(`--package: there is no checkout in ${options.package_dir}`);
  const names = values.only ?? CAMPAIGNS;
  const unknown = names.find((name) => !Object.hasOwn(RUNS, name));
  if (unknown !== undefined) throw wrongUse(`no campaign ${JSON.stringify(unknown)} (${CAMPAIGNS.join(', ')})`);
  return { options, isJson: values.json, names };
}

async function main(): Promise<number> {
  const { options, isJson, names } = readOptions();
  const reports = new Map<string, Report>();
  say(`bench:durability: seed ${options.seed}`);
  const failures: string[] = [];
  const run = async (name: string) => {
    say(`bench:durability: ${name} …`);
    try {
      const report = await RUNS[name]?.(options);
      if (report !== undefined) reports.set(name, report);
    } catch (error) {
      failures.push(name);
      say(`bench:durability: ${name} could not run: ${error instanceof Error ? error.stack : String(error)}`);
    }
  };
  // What mostly waits goes on beside the kills; the healthy and the sick have the machine to themselves.
  const beside = options.isSmall ? names.filter((name) => name !== 'watch') : [];
  await Promise.all(beside.map(run));
  for (const name of names) if (!beside.includes(name)) await run(name);
  const object = asObject(reports, { seed: options.seed, small: options.isSmall, failures });
  await closeHomes();
  await Bun.write(Bun.stdout, `${isJson ? JSON.stringify(object) : table(reports, options.seed)}\n`);
  return object.ok ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void closeHomes().finally(() => process.exit(130)));
}
process.exit(await exitCodeOf('bench:durability', main));
