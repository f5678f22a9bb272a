import type { Command } from 'commander';
import { DEFAULT_CONFIG } from '../../model/config.ts';
import { AppError } from '../../model/error.ts';
import { homePaths } from '../../model/home.ts';
import { isInFlight, LIVE_STATES, type SessionRow } from '../../model/session.ts';
import { listSessions } from '../../store/session.ts';
import type { Store } from '../../store/store.ts';
import { systemClock } from '../../sys/clock.ts';
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

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .option('--all', 'all repositories, and every ended session')
      .option('--watch', 'stay and show every change')
      .option('--limit <n>', 'at most this many rows')
      .action((options: Options) => run(context, options));
    examples(command, ['drover status', 'drover status --all --json', 'drover status --watch']);
  },
};

async function run(context: Context, options: Options): Promise<void> {
  const store = await context.reader();
  const repo_root = options.all ? null : await context.repoRoot();
  const show = async () => print(context, store, await pick(store, repo_root, options), options);
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
async function pick(store: Store | null, repo_root: string | null, options: Options): Promise<SessionRow[]> {
  if (store === null) return [];
  if (options.all || options.limit)
    return listSessions(store, { repo_root, limit: limitOf(options.limit ?? '100000') });
  const live = await listSessions(store, { repo_root, states: LIVE_STATES });
  const recent = await listSessions(store, { repo_root, limit: RECENT });
  const ids = new Set(live.map((row) => row.id));
  return [...live, ...recent.filter((row) => !ids.has(row.id))].sort((a, b) => b.created_at - a.created_at);
}

/**
 * What a person wants to know first: is it well? Computed from facts when asked, never stored (ARCHITECTURE §3). The ages
 * are the default thresholds of the watchdog: a read verb loads no settings.
 */
function verdictOf(
  row: SessionRow,
  now: number,
  isUp: boolean,
): 'ok' | 'late' | 'stuck' | 'dead' | 'held' | 'unknown' | '-' {
  if (row.state === 'parked') return 'held';
  if (row.state === 'zombie') return 'dead';
  if (row.ended_at !== null) return '-';
  if (!isInFlight(row.state)) return 'ok';
  if (!isUp) return 'unknown';
  const silence = now - (row.last_activity_at ?? row.updated_at);
  if (silence > DEFAULT_CONFIG.watchdog.zombie_ms) return 'stuck';
  return row.state === 'stalled' || silence > DEFAULT_CONFIG.watchdog.stale_ms ? 'late' : 'ok';
}

/** By the lock's content, which informs; asking the kernel would load bindings that cost as much as the rest of the verb. */
async function isSupervisorUp(home: string): Promise<boolean> {
  const { readPidLock } = await import('../../sys/lock.ts');
  const { liveness } = await import('../../sys/identity.ts');
  return liveness(readPidLock(homePaths.lock(home, 'supervisor'))) === 'alive';
}

async function print(context: Context, store: Store | null, rows: SessionRow[], options: Options): Promise<void> {
  const isAsked = context.globals.json || rows.some((row) => row.ended_at === null);
  const isUp = isAsked && (await isSupervisorUp(context.home));
  if (context.globals.json) {
    printJson({
      supervisor_up: isUp,
      sessions: rows.map((row) => ({ ...row, verdict: verdictOf(row, systemClock.now(), isUp) })),
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
    verdictOf(row, now, isUp),
    row.harness,
    String(row.turn),
    row.last_activity_at === null ? '-' : `${age(now - row.last_activity_at)} ago`,
    tokens(row.input_tokens + row.output_tokens),
    dollars(row.cost_micros),
    clip(reason(row, now) || row.task, 60),
  ]);
  if (options.watch) console.log('');
  console.log(table([header, ...lines]));
  if (isAsked && !isUp) console.error(paint('yellow', 'no supervisor is up; `drover up` starts it'));
}
