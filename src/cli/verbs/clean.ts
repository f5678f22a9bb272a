import type { Command } from 'commander';
import { parseDuration } from '../../model/duration.ts';
import { AppError } from '../../model/error.ts';
import { type SessionRow, TERMINAL_STATES } from '../../model/session.ts';
import { type Cleaned, clean } from '../../session/clean.ts';
import { callerOf } from '../../session/identity.ts';
import { demandNames, demandReach } from '../../session/reach.ts';
import { demand } from '../../session/rights.ts';
import { ignoredText } from '../../session/worktree-clean.ts';
import { listSessions } from '../../store/session.ts';
import type { Store } from '../../store/store.ts';
import type { Context } from '../context.ts';
import { paint, printJson, safe, table } from '../output.ts';
import { lookUp } from '../sessions.ts';
import { examples, type Verb } from '../verb.ts';

interface Options {
  all?: boolean;
  dryRun?: boolean;
  olderThan?: number;
}

const RETENTION = '7d';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .argument('[session...]', 'ended sessions, whatever their age (default: all old ones of this repository)')
      .option('--dry-run', 'show what would go, remove nothing')
      .option(
        '--older-than <duration>',
        `only sessions that ended longer ago (default: ${RETENTION}; 0s for sessions given by name)`,
        duration,
      )
      .option('--all', 'every repository')
      .action((wanted: string[], options: Options) => run(context, wanted, options));
    examples(command, ['drover clean --dry-run', 'drover clean --older-than 2d', 'drover clean build-1']);
    command.addHelpText(
      'after',
      `
Removes log directories, and worktrees whose commits are all on another branch, with their own branch. Keeps what is
dirty, unmerged or in use, and all rows, events and mail. A session that died counts as completed afterwards.
Exit codes: 0 ok (also when things were kept), 2 usage, 3 a session given by name is live, 4 no such session.`,
    );
  },
};

/** A bare number would be milliseconds: too easy a way to lose everything. */
function duration(text: string): number {
  const value = /^\d+(s|m|h|d)$/.test(text) ? parseDuration(text) : Number.NaN;
  if (Number.isFinite(value)) return value;
  throw new AppError('usage', 'usage', `Not a duration: ${JSON.stringify(text)}. Use 12h, 7d, 0s.`);
}

async function run(context: Context, wanted: string[], options: Options): Promise<void> {
  const dry_run = options.dryRun === true;
  if ((await context.reader()) === null) return report(context, [], dry_run);
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'stop');
  demandNames(caller, wanted);
  const is_named = wanted.length > 0;
  const rows = is_named
    ? await named(context, deps.store, wanted)
    : await ended(context, deps.store, options.all === true);
  if (is_named) await demandReach(deps, caller, 'stop', rows);
  const older_than_ms = options.olderThan ?? (is_named ? 0 : parseDuration(RETENTION));
  report(context, await clean(deps, { rows, is_named, older_than_ms, dry_run }), dry_run);
}

async function named(context: Context, store: Store, wanted: string[]): Promise<SessionRow[]> {
  const rows = new Map<string, SessionRow>();
  for (const word of wanted) {
    const row = await lookUp(context, store, word);
    rows.set(row.id, row);
  }
  return [...rows.values()];
}

async function ended(context: Context, store: Store, all: boolean): Promise<SessionRow[]> {
  const repo_root = all ? null : await context.repoRoot();
  if (!all && repo_root === null) {
    throw new AppError('usage', 'not_a_repository', `Not inside a git repository: ${context.cwd}`, {
      hint: 'Go into one, name sessions, or use --all for every repository.',
      preserved: 'nothing was removed',
    });
  }
  return (await listSessions(store, { repo_root, states: TERMINAL_STATES, limit: 1_000_000 })).reverse();
}

function report(context: Context, cleaned: readonly Cleaned[], dry_run: boolean): void {
  const bytes = cleaned.flatMap((one) => one.removed).reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
  const worth = cleaned.filter((one) => one.removed.length + one.kept.length > 0);
  if (context.globals.json) {
    printJson({ dry_run, bytes, sessions: worth });
    return;
  }
  const rows = worth.flatMap((one) => linesOf(one, dry_run));
  if (rows.length > 0) console.log(table(rows));
  const young = worth.filter((one) => one.kept.some((kept) => kept.is_young)).length;
  if (young > 0)
    console.log(
      paint(
        'dim',
        `${young} ended ${young === 1 ? 'session is' : 'sessions are'} too young and kept; --older-than sets the age`,
      ),
    );
  if (rows.length === 0) console.log(young > 0 ? 'nothing else to remove' : 'nothing to remove');
  else
    console.log(
      paint('dim', `${size(bytes)} of logs ${dry_run ? 'would be freed; nothing was removed (dry run)' : 'freed'}`),
    );
}

function linesOf(one: Cleaned, dry_run: boolean): string[][] {
  const name = paint('bold', safe(one.name));
  const gone = one.removed.map(({ part, what, bytes, ignored }) => [
    name,
    part === 'state' ? (dry_run ? 'would change' : 'changed') : dry_run ? 'would remove' : 'removed',
    part,
    safe(what) +
      (bytes === null ? '' : `  ${size(bytes)}`) +
      (ignored === undefined ? '' : `  with ${safe(ignoredText(ignored))}`),
  ]);
  const kept = one.kept
    .filter((each) => !each.is_young)
    .map(({ part, what, why }) => [
      name,
      paint('yellow', dry_run ? 'would keep' : 'kept'),
      part,
      `${part === 'session' ? '' : `${safe(what)}: `}${safe(why)}`,
    ]);
  return [...gone, ...kept];
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1_048_576) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1_048_576).toFixed(1)} MiB`;
}
