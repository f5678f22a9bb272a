import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import type { Harness } from '../../model/harness.ts';
import { loadConfig } from '../../session/config.ts';
import {
  type HarnessFacts,
  type HarnessMachine,
  harnessFacts,
  missingFlags,
  wantedHarnesses,
} from '../../session/harness-check.ts';
import { type Drift, driftOf } from '../../store/drift.ts';
import type { Store } from '../../store/store.ts';
import { isDirectory } from '../../sys/directory.ts';
import type { Context } from '../context.ts';
import { paint, printJson, safe, table } from '../output.ts';
import { examples, exitCode, type Verb } from '../verb.ts';

const RECENT_TURNS = 20;

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .command('list', { isDefault: true })
      .description('known harnesses: installed or not, version, what they can, which credentials are set')
      .action(() => list(context));
    command
      .command('check')
      .description(
        'installed ones: does the version answer, are our flags in its help, did recent turns say anything new',
      )
      .argument('[id...]', 'only these (default: all that are installed)')
      .action(async (ids: string[]) => {
        exitCode.code = await check(context, ids);
      });
    examples(command, ['drover harness list', 'drover harness check', 'drover harness check claude --json']);
    command.addHelpText(
      'after',
      '\nNothing is sent anywhere: only the version and the help of a program are asked for. Exit codes: 0 ok, 1 check\nfound something missing or unknown, 2 no such harness.',
    );
  },
};

async function machineOf(context: Context): Promise<HarnessMachine> {
  const cwd = isDirectory(context.home) ? context.home : '/';
  return { env: context.env, package_dir: context.package_dir, cwd };
}

async function harnessesOf(context: Context, ids: readonly string[]): Promise<Harness[]> {
  const config = await loadConfig(context.env, await context.repoRoot());
  return wantedHarnesses(ids, config.harness_runners);
}

async function list(context: Context): Promise<void> {
  const machine = await machineOf(context);
  const facts = await Promise.all((await harnessesOf(context, [])).map((harness) => harnessFacts(harness, machine)));
  if (context.globals.json) return printJson({ harnesses: facts });
  const header = ['ID', 'VERSION', 'PATH', 'CREDENTIALS', 'CAN'].map((cell) => paint('dim', cell));
  console.log(table([header, ...facts.map(rowOf)]));
}

function rowOf(facts: HarnessFacts): string[] {
  const can = Object.entries(facts.bits).flatMap(([name, value]) => (value === true ? [name] : []));
  return [
    paint('bold', safe(facts.id)),
    facts.is_installed ? safe(facts.version ?? facts.problem ?? '?') : paint('dim', 'not installed'),
    facts.path === null ? paint('dim', safe(facts.install_hint)) : safe(facts.path),
    facts.credentials.join(' ') || '-',
    can.join(' ') || '-',
  ];
}

interface Checked {
  id: string;
  path: string | null;
  version: string | null;
  /** null: the help could not be read, so nothing is known. */
  missing_flags: string[] | null;
  drift: Drift;
  problems: string[];
}

async function check(context: Context, ids: string[]): Promise<number> {
  const machine = await machineOf(context);
  const store = await context.reader();
  const harnesses = await harnessesOf(context, ids);
  const all = await Promise.all(harnesses.map((harness) => checkOne(harness, machine, store, ids.length > 0)));
  const checked = all.filter((one) => one !== null);
  if (checked.length === 0)
    throw new AppError('failed', 'no_harness', 'No harness is installed.', {
      hint: '`drover harness list` shows how to install them.',
    });
  if (context.globals.json) printJson({ checked });
  else for (const one of checked) console.log(render(one));
  return checked.every((one) => one.problems.length === 0) ? 0 : 1;
}

/** null: not installed, and nobody asked for it by name. */
async function checkOne(
  harness: Harness,
  machine: HarnessMachine,
  store: Store | null,
  is_named: boolean,
): Promise<Checked | null> {
  const facts = await harnessFacts(harness, machine);
  if (facts.path === null && !is_named) return null;
  const missing_flags = facts.path === null ? null : await missingFlags(harness, facts.path, machine);
  const none: Drift = { turns: 0, malformed: [], unknown: [] };
  const drift =
    store === null
      ? none
      : await driftOf(store, { harness: harness.id, known: harness.known_events, limit: RECENT_TURNS });
  const { id, path, version } = facts;
  return { id, path, version, missing_flags, drift, problems: problemsOf(facts, missing_flags, drift) };
}

function problemsOf(facts: HarnessFacts, missing_flags: string[] | null, drift: Drift): string[] {
  return [
    ...(facts.path === null ? [`not installed: ${facts.install_hint}`] : []),
    ...(facts.problem === null ? [] : [facts.problem]),
    ...(missing_flags ?? []).map((flag) => `its help does not name ${flag}, which is used`),
    ...drift.unknown.map(
      (one) =>
        `unknown event ${one.name === '' ? '(without a name)' : one.name}, ${one.count} times, e.g. ${one.session_id} turn ${one.turn}`,
    ),
    ...drift.malformed.map((one) => `${one.count} malformed lines in ${one.session_id} turn ${one.turn}`),
  ];
}

function render(one: Checked): string {
  const head =
    `${paint('bold', safe(one.id))}  ${safe(one.version ?? '-')}  ${one.path === null ? '' : safe(one.path)}`.trimEnd();
  const flags = one.missing_flags === null ? 'its help could not be read, flags are unchecked' : 'flags ok';
  const fine = `${flags}, ${one.drift.turns} recent turns ok`;
  if (one.problems.length === 0) return `${head}\n  ${paint('green', fine)}`;
  return [head, ...one.problems.map((problem) => `  ${paint('red', safe(problem))}`)].join('\n');
}
