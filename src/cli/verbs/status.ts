import { basename } from 'node:path';
import type { Command } from 'commander';
import { mainRootOf } from '../../git/common-dir.ts';
import type { IncidentRow } from '../../model/incident.ts';
import type { MergeRow } from '../../model/merge.ts';
import type { PoolRow } from '../../model/pool.ts';
import { LIVE_STATES, type SessionRow } from '../../model/session.ts';
import type { WorktreeWait } from '../../session/worktree-wait.ts';
import { standingHalt } from '../../store/halted.ts';
import { listSessions, type SessionFilter } from '../../store/session.ts';
import type { Store } from '../../store/store.ts';
import { systemClock } from '../../sys/clock.ts';
import { wholeNumber } from '../amount.ts';
import type { Context } from '../context.ts';
import { HealthDesk } from '../health.ts';
import { age, clip, dollars, paint, printJson, table, tokens } from '../output.ts';
import { haltLine } from '../render-halt.ts';
import { gateText, paintState, reason, waitText } from '../render-session.ts';
import { printReserved, reservedFiles } from '../reserved-files.ts';
import { examples, exitCodes, type Verb } from '../verb.ts';
import { waitsOf } from '../worktree-waits.ts';

interface Options {
  all?: boolean;
  watch?: boolean;
  limit?: number;
}

const RECENT = 20;

/** What the table shows; `--json` has everything. */
const SHOWN = [
  ...([
    'id',
    'name',
    'state',
    'harness',
    'turn',
    'task',
    'repo_root',
    'branch',
    'worktree_path',
    'input_tokens',
    'output_tokens',
    'cost_micros',
  ] as const),
  ...(['parked_reason', 'parked_pool', 'resume_at', 'next_turn_at', 'end_reason'] as const),
  ...(['created_at', 'updated_at', 'last_activity_at', 'ended_at'] as const),
] satisfies (keyof SessionRow)[];
type Shown = Pick<SessionRow, (typeof SHOWN)[number]>;

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .option('--all', 'all repositories, and every ended session')
      .option('--watch', 'stay and show every change')
      .option('--limit <n>', 'at most this many rows', wholeNumber('--limit'))
      .action((options: Options) => run(context, options));
    examples(command, ['drover status', 'drover status --all --json', 'drover status --watch']);
    exitCodes(command, '0 ok, also when there is nothing to show, 2 usage.');
  },
  plain: (words, context) => (words.length === 0 ? run(context, {}) : null),
};

async function run(context: Context, options: Options): Promise<void> {
  const store = await context.reader();
  const repo_root = options.all ? null : mainRootOf(context.cwd);
  const columns = context.globals.json ? undefined : SHOWN;
  const list = async (filter: SessionFilter): Promise<Shown[]> =>
    store === null ? [] : listSessions(store, { repo_root, ...filter }, columns);
  const desk = new HealthDesk(context, store);
  const show = async () => print({ context, store, desk }, await pick(list, options), options);
  await show();
  if (!options.watch || store === null) return;
  const { changes } = await import('../follow.ts');
  const waiter = changes(context.home, store);
  for (;;) {
    await waiter.next();
    await show();
  }
}

/** Live sessions and the most recent ended ones; everything with `--all`. */
async function pick(list: (filter: SessionFilter) => Promise<Shown[]>, options: Options): Promise<Shown[]> {
  if (options.all || options.limit) return list({ limit: options.limit ?? 100_000 });
  const live = await list({ states: LIVE_STATES });
  const recent = await list({ limit: RECENT });
  const ids = new Set(live.map((row) => row.id));
  return [...live, ...recent.filter((row) => !ids.has(row.id))].sort((a, b) => b.created_at - a.created_at);
}

/** Only when one holds a session; with `--json` always. Pools that are open hold nobody. */
async function poolsOf(store: Store | null, rows: readonly Shown[], isJson: boolean): Promise<PoolRow[]> {
  if (store === null || !(isJson || rows.some((row) => row.parked_pool !== null))) return [];
  const { listPools } = await import('../../store/pool.ts');
  return listPools(store);
}

/** One read of an index that is empty while nothing is open. */
async function incidentsOf(store: Store | null, repo_root: string | null): Promise<IncidentRow[]> {
  if (store === null) return [];
  const { listIncidents } = await import('../../store/incident-list.ts');
  return listIncidents(store, { repo_root, is_open: true });
}

/** Of ended ones whose branch is there still: what keeps their work out of its target. */
async function heldOf(store: Store | null, rows: readonly Shown[]): Promise<Map<string, MergeRow>> {
  const ids = rows.flatMap((row) => (row.ended_at === null || row.worktree_path === null ? [] : [row.id]));
  if (store === null || ids.length === 0) return new Map();
  const { heldMerges } = await import('../../store/merge-held.ts');
  return heldMerges(store, ids);
}

function heldOr(held: MergeRow | undefined, other: string): string {
  return held === undefined ? other : `not merged into ${held.target}: ${held.reason}`;
}

function whyNot(row: Shown, held: ReadonlyMap<string, MergeRow>, pools: readonly PoolRow[], now: number): string {
  return heldOr(held.get(row.id), reason(row, now, pools));
}

interface Desk {
  context: Context;
  store: Store | null;
  desk: HealthDesk;
}

const HEADER = ['NAME', 'STATE', 'HEALTH', 'HARNESS', 'TURN', 'LAST EVENT', 'TOKENS', 'COST', 'WHY / TASK'];

async function print({ context, store, desk }: Desk, rows: Shown[], options: Options): Promise<void> {
  const now = systemClock.now();
  const halt = store === null ? null : await standingHalt(store);
  const pools = await poolsOf(store, rows, context.globals.json);
  const repo_root = options.all ? null : mainRootOf(context.cwd);
  const incidents = await incidentsOf(store, repo_root);
  const reserved = await reservedFiles(store, repo_root, now);
  const { healths, gated, supervisor, disk_low, watchdog_silent_since } = await desk.examine(rows, now);
  const waits = await waitsOf(context, store, rows);
  const held = await heldOf(store, rows);
  const waitOf = (row: Shown) => waits.get(row.id) ?? null;
  const healthOf = (row: Shown) => healths.get(row.id) ?? '-';
  const gatedOf = (row: Shown) => gated.get(row.id) ?? null;
  if (context.globals.json) {
    printJson({
      halt,
      supervisor_up: supervisor !== 'down',
      supervisor_silent: supervisor === 'silent',
      watchdog_silent_since_at: watchdog_silent_since,
      disk_low,
      pools,
      incidents: incidents.map(({ prediction_json: _long, ...row }) => row),
      path_reservations: reserved,
      sessions: rows.map((row) => ({
        ...row,
        verdict: healthOf(row),
        gated_at: gatedOf(row),
        worktree_wait: waitOf(row),
        merge_held: heldOr(held.get(row.id), '') || null,
      })),
    });
    return;
  }
  if (halt !== null) console.log(haltLine(halt, now));
  if (store === null || rows.length === 0) {
    console.log('no sessions here yet; `drover sling "…"` starts one');
    return printReserved(reserved, now);
  }
  const header = [...HEADER];
  const telling = tellingApart(rows, options.all === true);
  const lines = rows.map((row) => [
    paint('bold', clip(row.name, 40)),
    ...telling.map(({ of }) => clip(of(row), 40)),
    paintState(row.state),
    healthOf(row),
    clip(row.harness, 30),
    String(row.turn),
    row.last_activity_at === null ? '-' : `${age(now - row.last_activity_at)} ago`,
    tokens(row.input_tokens + row.output_tokens),
    dollars(row.cost_micros),
    clip(whyOf(waitOf(row)) || gateText(gatedOf(row), now) || whyNot(row, held, pools, now) || row.task, 60),
  ]);
  if (options.watch) console.log('');
  header.splice(1, 0, ...telling.map(({ title }) => title));
  console.log(table([header.map((cell) => paint('dim', cell)), ...lines]));
  await printReserved(reserved, now);
  const isLive = rows.some((row) => row.ended_at === null);
  if (incidents.length > 0) warn(`open incidents: ${incidents.length}; see \`drover incident\``);
  if (disk_low) warn('disk low: no new turn starts, see limits.min_free_mb');
  if (isLive && supervisor === 'down') warn('no supervisor is up; `drover up` starts it');
  if (supervisor === 'silent')
    warn(
      'the supervisor does not answer, so nobody knows how they are; `drover down` ends it, `drover up` starts another',
    );
  if (watchdog_silent_since !== null) {
    const silence = age(now - watchdog_silent_since);
    warn(`the watchdog is silent for ${silence}, so nobody knows how they are; see \`drover doctor\``);
  }
}

/** Names return after an end, and in every repository. */
function tellingApart(rows: readonly Shown[], isEverywhere: boolean): { title: string; of: (row: Shown) => string }[] {
  const hasNamesakes = new Set(rows.map(({ name }) => name)).size < rows.length;
  return [
    ...(hasNamesakes || isEverywhere ? [{ title: 'ID', of: ({ id }: Shown) => id.slice(0, ID_LENGTH) }] : []),
    ...(isEverywhere ? [{ title: 'REPOSITORY', of: ({ repo_root }: Shown) => basename(repo_root) }] : []),
  ];
}

/** `agent-` and 40 random bits: a prefix that finds it. */
const ID_LENGTH = 14;

function whyOf(wait: WorktreeWait | null): string {
  return wait === null ? '' : waitText(wait);
}

function warn(text: string): void {
  console.error(paint('yellow', text));
}
