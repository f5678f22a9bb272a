import type { AppError } from '../model/error.ts';
import { isTerminal, type SessionRow } from '../model/session.ts';
import { Transcript } from '../session/transcript.ts';
import { listEvents } from '../store/event.ts';
import { restOf } from '../store/rest.ts';
import { getSession } from '../store/session.ts';
import type { Store } from '../store/store.ts';
import { systemClock } from '../sys/clock.ts';
import { watchDirectory } from '../sys/tail.ts';
import type { Context } from './context.ts';
import { paint, printJson, safe } from './output.ts';
import { joinPieces, renderEvent } from './render-event.ts';
import { describe, waitText } from './render-session.ts';
import { waitsOf } from './worktree-waits.ts';

/**
 * What a waiter gets to know about a session (ARCHITECTURE §7), null while there is something to wait for: 0 completed, or
 * at rest with nothing to do; 1 failed, stopped or died; 75 held, or waiting for somebody's answer.
 */
async function outcomeCode(store: Store, row: SessionRow): Promise<number | null> {
  if (row.state === 'completed') return 0;
  if (isTerminal(row.state)) return 1;
  // An interruption before the first event goes round by `parked` for a moment.
  if (row.state === 'parked') return row.parked_reason === 'operator' && row.resume_at !== null ? null : 75;
  if (row.state !== 'idle') return null;
  const rest = await restOf(store, row);
  return rest === 'busy' ? null : rest === 'question' ? 75 : 0;
}

interface Waited {
  row: SessionRow;
  code: number | null;
}

const FALLBACK_MS = 1_000;
const PROGRESS_MS = 15_000;
const GUARD_MS = 2_000;

/**
 * Waits until every session (or `any` of them) is over. Woken by changes of the database's files, with a slow look as
 * fallback; reads only. Returns the worst outcome code.
 */
export async function follow(
  context: Context,
  store: Store,
  rows: readonly SessionRow[],
  options: { any: boolean; events: boolean },
): Promise<number> {
  const watched = rows.map((row) => ({ id: row.id, seen: 0, transcript: new Transcript(store, row, context.env) }));
  let current: Waited[] = rows.map((row) => ({ row, code: null }));
  let nextProgress = systemClock.monotonic() + PROGRESS_MS;
  let nextGuard = systemClock.monotonic() + GUARD_MS;
  const told = new Set<string>();
  const waiter = changes(context.home, store);
  try {
    for (;;) {
      if (options.events) for (const each of watched) await printNew(context, store, each, rows.length > 1);
      current = await Promise.all(current.map(({ row }) => lookAgain(store, row)));
      const over = current.filter(({ code }) => code !== null);
      if (over.length === current.length || (options.any && over.length > 0)) {
        if (options.events) for (const each of watched) await printNew(context, store, each, rows.length > 1);
        return report(context, options.any ? over : current);
      }
      if (!context.globals.quiet) await tellWaits(context, store, current, told);
      if (!context.globals.quiet && systemClock.monotonic() > nextProgress) {
        nextProgress = systemClock.monotonic() + PROGRESS_MS;
        for (const { row, code } of current)
          if (code === null) console.error(paint('dim', `waiting: ${describe(row, systemClock.now())}`));
      }
      await waiter.next();
      if (systemClock.monotonic() > nextGuard) {
        nextGuard = systemClock.monotonic() + GUARD_MS;
        await guard(context);
      }
    }
  } finally {
    waiter.close();
  }
}

/** Says once of each session that it waits for a worktree: that may need somebody who frees one. */
async function tellWaits(context: Context, store: Store, current: readonly Waited[], told: Set<string>): Promise<void> {
  const rows = current.flatMap(({ row, code }) => (code === null && !told.has(row.id) ? [row] : []));
  for (const [id, wait] of await waitsOf(context, store, rows)) {
    told.add(id);
    const name = rows.find((row) => row.id === id)?.name ?? id;
    console.error(paint('yellow', `waiting: ${name} ${waitText(wait)}`));
    console.error(paint('dim', `  ${wait.held_by_ended > 0 ? FREE_ENDED : FREE}`));
  }
}

const FREE = '`drover worktree list` shows who has them; `max_worktrees` of the config says how many there may be';
const FREE_ENDED =
  '`drover merge --queue` merges what is done, `drover worktree clean --all-ended` frees what is merged';

/** Nobody should wait for work that nobody does: a supervisor that is gone is started again. */
export async function guard(context: Context): Promise<void> {
  const [{ isFlocked }, { homePaths }] = await Promise.all([import('../sys/flock.ts'), import('../model/home.ts')]);
  if (isFlocked(homePaths.lock(context.home, 'supervisor'))) return;
  const { ensureSupervisor } = await import('../supervisor/ensure.ts');
  await ensureSupervisor({ clock: systemClock, ...context }).catch((error: AppError) => {
    if (!context.globals.quiet) console.error(paint('yellow', `waiting: ${error.message}`));
  });
}

async function lookAgain(store: Store, before: SessionRow): Promise<Waited> {
  const row = (await getSession(store, before.id)) ?? before;
  return { row, code: await outcomeCode(store, row) };
}

function report(context: Context, waited: readonly Waited[]): number {
  if (context.globals.json) printJson({ sessions: waited.map(({ row }) => row) });
  else {
    for (const { row } of waited) {
      console.error(describe(row, systemClock.now()));
      if (row.result_text) console.log(safe(row.result_text));
    }
  }
  return Math.max(...waited.map(({ code }) => code ?? 0));
}

interface Watched {
  id: string;
  /** The last event that was shown. */
  seen: number;
  transcript: Transcript;
}

async function printNew(context: Context, store: Store, watched: Watched, withName: boolean): Promise<void> {
  for (;;) {
    const events = await listEvents(store, { session_id: watched.id, after_seq: watched.seen, limit: 500 });
    for (const event of joinPieces(await watched.transcript.whole(events))) {
      const text = renderEvent(event);
      const name = withName ? `${watched.id.slice(6, 12)} ` : '';
      if (text !== null && !context.globals.json) console.error(`${name}${text}`);
      watched.seen = event.seq;
    }
    if (events.length < 500) return;
  }
}

/** Resolves soon after another process committed; at the latest after a second. */
export function changes(home: string, store: Store): { next(): Promise<void>; close(): void } {
  let version = store.dataVersion();
  let wake: () => void = () => undefined;
  let isClosed = false;
  const watch = watchDirectory(
    home,
    (name) => {
      if (name === null || name.startsWith('drover.db')) wake();
    },
    // Without file notification the fallback below still sees every change.
    (error: AppError) => console.error(`watching ${home}: ${error.message}`),
  );
  return {
    async next() {
      while (!isClosed) {
        const signal = new AbortController();
        wake = () => signal.abort();
        if (store.dataVersion() !== version) break;
        await systemClock.sleep(FALLBACK_MS, signal.signal);
        // The notification can come before the commit is visible.
        if (store.dataVersion() === version) await systemClock.sleep(4);
        if (store.dataVersion() !== version) break;
        if (!signal.signal.aborted) return;
      }
      version = store.dataVersion();
    },
    // Whoever waits just now is let go: nothing keeps the process alive.
    close: () => {
      isClosed = true;
      watch.close();
      wake();
    },
  };
}
