/**
 * `npm run bench:lines [-- --small] [-- --json]`: do many sessions in one repository lose a line, whatever dies?
 *
 * Sessions of a fake harness edit an overlapping set of files of one generated repository while the merge queue runs all
 * the time and supervisor, watchdog, launchers, harnesses and verbs are killed at random. Afterwards every line that any
 * commit ever held is looked for: in the target, in an incident or a merge's list of what it left out, under
 * `refs/drover/rescued`, on a branch; what is nowhere and was not taken out by its own author is lost.
 *
 *   --small          a reduced run, under a minute
 *   --json           one object on standard output
 *   --seed N         victims and instants, as far as real processes allow (default: random, printed)
 *   --live N         sessions at the same time (default 24; small: 8)
 *   --sessions N     sessions at most, over the whole time
 *   --seconds N      how long there is work and killing (default 600; small: 16)
 *   --no-kills
 *   --package DIR    another checkout of drover
 *   --keep           leave the home behind
 *
 * Exit codes: 0 · 1 when something is lost or a reservation had two holders, or it could not run · 2 for wrong arguments.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { exitCodeOf, parsed, wholeNumber, wrongUse } from '../durability/arguments.ts';
import { closeHomes } from '../durability/home.ts';
import { type LinesOptions, linesCampaign } from './campaign.ts';
import { asObject, text } from './report.ts';

const ROOT = resolve(import.meta.dir, '../..');
const say = (line: string) => console.error(line);

/** Throws `usage` (2). */
function readOptions(): { options: LinesOptions; isSmall: boolean; isJson: boolean } {
  const { values } = parsed(() =>
    parseArgs({
      options: {
        ...{ small: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } },
        ...{ seed: { type: 'string' }, live: { type: 'string' }, sessions: { type: 'string' } },
        ...{ seconds: { type: 'string' }, 'no-kills': { type: 'boolean', default: false } },
        ...{ package: { type: 'string', default: ROOT }, keep: { type: 'boolean', default: false } },
      },
    }),
  );
  const isSmall = values.small;
  const options: LinesOptions = {
    package_dir: resolve(values.package),
    seed: wholeNumber('--seed', values.seed ?? String(Math.floor(Math.random() * 1e9)), 0),
    live: wholeNumber('--live', values.live ?? (isSmall ? '8' : '24'), 1),
    sessions: wholeNumber('--sessions', values.sessions ?? (isSmall ? '24' : '100000'), 1),
    files: isSmall ? 24 : 36,
    duration_ms: wholeNumber('--seconds', values.seconds ?? (isSmall ? '16' : '600'), 1) * 1_000,
    pace: isSmall ? 1 : 6,
    drain_ms: isSmall ? 8_000 : 60_000,
    kill_every_ms: values['no-kills'] ? null : isSmall ? 700 : 2_000,
    // A run that was cut down by hand may be over before anything is merged.
    must_merge: values.sessions === undefined && values.seconds === undefined,
    keep: values.keep,
    say,
  };
  if (!existsSync(join(options.package_dir, 'package.json')))
    throw wrongUse(`--package: there is no checkout in ${options.package_dir}`);
  return { options, isSmall, isJson: values.json };
}

async function main(): Promise<number> {
  const { options, isSmall, isJson } = readOptions();
  say(`bench:lines: seed ${options.seed}`);
  const report = await linesCampaign(options);
  const object = asObject(report, { seed: options.seed, small: isSmall });
  await Bun.write(Bun.stdout, `${isJson ? JSON.stringify(object) : text(object)}\n`);
  return object.ok ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void closeHomes().finally(() => process.exit(130)));
}
process.exit(await exitCodeOf('bench:lines', main));
