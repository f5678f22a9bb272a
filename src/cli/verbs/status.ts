import type { Command } from 'commander';
import { mainRootOf } from '../../git/common-dir.ts';
import { DEFAULT_CONFIG } from '../../model/config.ts';
import { AppError } from '../../model/error.ts';
import { homePaths } from '../../model/home.ts';
import type { PoolRow } from '../../model/pool.ts';
import { isInFlight, LIVE_STATES, type SessionRow } from '../../model/session.ts';
import type { Health } from '../../model/verdict.ts';
import { listSessions, type SessionFilter } from '../../store/session.ts';
import type { Store } from '../../store/store.ts';
import type { latestVerdicts } from '../../store/verdict.ts';
import { systemClock } from '../../sys/clock.ts';
import { liveness } from '../../sys/identity.ts';
import { readPidLock } from '../../sys/pid-file.ts';
import type { Context } from '../context.ts';
import { age, clip, dollars, paint, printJson, table, tokens } from '../output.ts';
import { paintState, reason } from '../render-session.ts';
import { examples, type Verb } from '../verb.ts';

interface Options {
  all?: boolean;
  watch?: boolean;
  limit?: string;
}

const RECENT = 20;

/** What the table shows; `--json` has everything. */
const SHOWN = [
  ...(['id', 'name', 'state', 'harness', 'turn', 'task', 'input_tokens', 'output_tokens', 'cost_micros'] as const),
  ...(['parked_reason', 'parked_pool', 'resume_at', 'next_turn_at', 'end_reason'] as const),
  ...(['created_at', 'updated_at', 'last_activity_at', 'ended_at'] as const),
] satisfies (keyof SessionRow)[];
type Shown = Pick<SessionRow, (typeof SHOWN)[number]>;

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .option('--all', 'all repositories, and every ended session')
      .option('--watch', 'stay and show every change')
      .option('--limit <n>', 'at most this many rows')
      .action((options: Options) => run(context, options));
    examples(command, ['drover status', 'drover status --all --json', 'drover status --watch']);
  },
  plain: (words, context) => (words.length === 0 ? run(context, {}) : null),
};

async function run(context: Context, options: Options): Promise<void> {
  const store = await context.reader();
  const repo_root = options.all ? null : mainRootOf(context.cwd);
  const columns = context.globals.json ? undefined : SHOWN;
  const list = async (filter: SessionFilter): Promise<Shown[]> =>
    store === null ? [] : listSessions(store, { repo_root, ...filter }, columns);
  const show = async () => print(context, store, await pick(list, options), options);
  await show();
  if (!options.watch || store === null) return;
  const { changes } = await import('../follow.ts');
  const waiter = changes(context.home, store);
  for (;;) {
    await waiter.next();
    await show();
  }
}

function limitOf(text: string): number {
  const limit = Number(text);
  if (Number.isInteger(limit) && limit > 0) return limit;
  throw new AppError('usage', 'usage', `--limit wants a whole number above 0, not ${JSON.stringify(text)}.`);
}

/** Live sessions and the most recent ended ones; everything with `--all`. */
async function pick(list: (filter: SessionFilter) => Promise<Shown[]>, options: Options): Promise<Shown[]> {
  if (options.all || options.limit) return list({ limit: limitOf(options.limit ?? '100000') });
  const live = await list({ states: LIVE_STATES });
  const recent = await list({ limit: RECENT });
  const ids = new Set(live.map((row) => row.id));
  return [...live, ...recent.filter((row) => !ids.has(row.id))].sort((a, b) => b.created_at - a.created_at);
}

type Judged = Awaited<ReturnType<typeof latestVerdicts>>;

/** What the watchdog said last; asked only when something is in flight. */
async function judgedOf(store: Store | null, rows: readonly Shown[]): Promise<Judged> {
  const ids = rows.filter((row) => isInFlight(row.state)).map((row) => row.id);
  if (store === null || ids.length === 0) return new Map();
  return (await import('../../store/verdict.ts')).latestVerdicts(store, ids);
}

/**
 * What a person wants to know first: is it well? The watchdog's newest word about this turn, unless it was about silence
 * and something was said since; else computed from ages when asked, by the default thresholds: a read verb loads no
 * settings.
 */
function verdictOf(
  row: Shown,
  { now, isUp, judged }: { now: number; isUp: boolean; judged: Judged },
): Health | 'held' | 'unknown' | '-' {
  if (row.state === 'parked') return 'held';
  if (row.state === 'zombie') return 'dead';
  if (row.ended_at !== null) return '-';
  if (!isInFlight(row.state)) return 'ok';
  if (!isUp) return 'unknown';
  const spoken_at = row.last_activity_at ?? row.updated_at;
  const last = judged.get(row.id);
  if (last?.turn === row.turn && last.health !== 'ok' && (last.health === 'looping' || last.at >= spoken_at))
    return last.health;
  const silence = now - spoken_at;
  if (silence > DEFAULT_CONFIG.watchdog.zombie_ms) return 'stuck';
  return row.state === 'stalled' || silence > DEFAULT_CONFIG.watchdog.stale_ms ? 'late' : 'ok';
}

/** By the lock's content, which informs; asking the kernel would load bindings that cost as much as the rest of the verb. */
function isSupervisorUp(home: string): boolean {
  return liveness(readPidLock(homePaths.lock(home, 'supervisor'))) === 'alive';
}

/** Only the supervisor knows whether it holds turns back; it is asked only when one waits. */
async function isDiskLow(home: string, rows: readonly Shown[]): Promise<boolean> {
  if (!rows.some((row) => row.state === 'queued')) return false;
  const { ring } = await import('../../supervisor/ensure.ts');
  const answer = JSON.parse((await ring(home, 'status')) ?? '{}') as { disk_low?: boolean };
  return answer.disk_low ?? false;
}

/** Only when one holds a session; with `--json` always. Pools that are open hold nobody. */
async function poolsOf(store: Store | null, rows: readonly Shown[], isJson: boolean): Promise<PoolRow[]> {
  if (store === null || !(isJson || rows.some((row) => row.parked_pool !== null))) return [];
  const { listPools } = await import('../../store/pool.ts');
  return listPools(store);
}

async function print(context: Context, store: Store | null, rows: Shown[], options: Options): Promise<void> {
  const isAsked = context.globals.json || rows.some((row) => row.ended_at === null);
  const isUp = isAsked && isSupervisorUp(context.home);
  const disk_low = isUp && (await isDiskLow(context.home, rows));
  const pools = await poolsOf(store, rows, context.globals.json);
  const judged = await judgedOf(store, rows);
  if (context.globals.json) {
    printJson({
      supervisor_up: isUp,
      disk_low,
      pools,
      sessions: rows.map((row) => ({ ...row, verdict: verdictOf(row, { now: systemClock.now(), isUp, judged }) })),
    });
    return;
  }
  if (store === null || rows.length === 0) {
    console.log('no sessions here yet; `drover sling "…"` starts one');
    return;
  }
  const now = systemClock.now();
  const header = ['NAME', 'STATE', 'HEALTH', 'HARNESS', 'TURN', 'LAST EVENT', 'TOKENS', 'COST', 'WHY / TASK'].map(
    (cell) => paint('dim', cell),
  );
  const lines = rows.map((row) => [
    paint('bold', clip(row.name, 40)),
    paintState(row.state),
    verdictOf(row, { now, isUp, judged }),
    row.harness,
    String(row.turn),
    row.last_activity_at === null ? '-' : `${age(now - row.last_activity_at)} ago`,
    tokens(row.input_tokens + row.output_tokens),
    dollars(row.cost_micros),
    clip(reason(row, now, pools) || row.task, 60),
  ]);
  if (options.watch) console.log('');
  console.log(table([header, ...lines]));
  if (disk_low) console.error(paint('yellow', 'disk low: no new turn starts, see limits.min_free_mb'));
  if (isAsked && !isUp) console.error(paint('yellow', 'no supervisor is up; `drover up` starts it'));
}
