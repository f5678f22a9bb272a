import type { AppError } from '../model/error.ts';
import { isTerminal, type SessionRow } from '../model/session.ts';
import { listEvents } from '../store/event.ts';
import { getSession } from '../store/session.ts';
import type { Store } from '../store/store.ts';
import { systemClock } from '../sys/clock.ts';
import { watchDirectory } from '../sys/tail.ts';
import type { Context } from './context.ts';
import { paint, printJson } from './output.ts';
import { joinPieces, renderEvent } from './render-event.ts';
import { describe } from './render-session.ts';

/** 0 completed, 1 failed or zombie or stopped, 75 parked (ARCHITECTURE §7). */
export function outcomeCode(row: SessionRow): number {
  if (row.state === 'completed') return 0;
  return row.state === 'parked' ? 75 : 1;
}

/** Over for a waiter: ended, held, or resting with nothing to do. */
function isSettled(row: SessionRow): boolean {
  return isTerminal(row.state) || row.state === 'parked';
}

const FALLBACK_MS = 1_000;
const PROGRESS_MS = 15_000;

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
  const seen = new Map(rows.map((row) => [row.id, 0]));
  let current = [...rows];
  let nextProgress = systemClock.monotonic() + PROGRESS_MS;
  const waiter = changes(context.home, store);
  try {
    for (;;) {
      if (options.events) for (const id of seen.keys()) await printNew(context, store, seen, id, rows.length > 1);
      current = await Promise.all(current.map(async (row) => (await getSession(store, row.id)) ?? row));
      const over = current.filter(isSettled);
      if (over.length === current.length || (options.any && over.length > 0)) {
        if (options.events) for (const id of seen.keys()) await printNew(context, store, seen, id, rows.length > 1);
        return report(context, options.any ? over : current);
      }
      if (!context.globals.quiet && systemClock.monotonic() > nextProgress) {
        nextProgress = systemClock.monotonic() + PROGRESS_MS;
        for (const row of current)
          if (!isSettled(row)) console.error(paint('dim', `waiting: ${describe(row, systemClock.now())}`));
      }
      await waiter.next();
    }
  } finally {
    waiter.close();
  }
}

function report(context: Context, rows: readonly SessionRow[]): number {
  if (context.globals.json) printJson({ sessions: rows });
  else {
    for (const row of rows) {
      console.error(describe(row, systemClock.now()));
      if (row.result_text) console.log(row.result_text);
    }
  }
  return Math.max(...rows.map(outcomeCode));
}

async function printNew(
  context: Context,
  store: Store,
  seen: Map<string, number>,
  id: string,
  withName: boolean,
): Promise<void> {
  for (;;) {
    const events = await listEvents(store, { session_id: id, after_seq: seen.get(id) ?? 0, limit: 500 });
    for (const event of joinPieces(events)) {
      const text = renderEvent(event);
      if (text !== null && !context.globals.json) console.error(withName ? `${id.slice(6, 12)} ${text}` : text);
      seen.set(id, event.seq);
    }
    if (events.length < 500) return;
  }
}

/** Resolves soon after another process committed; at the latest after a second. */
export function changes(home: string, store: Store): { next(): Promise<void>; close(): void } {
  let version = store.dataVersion();
  let wake: () => void = () => undefined;
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
      for (;;) {
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
    close: () => watch.close(),
  };
}
