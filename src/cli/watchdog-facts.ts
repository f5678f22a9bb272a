import { homePaths } from '../model/home.ts';
import type { TickRow } from '../model/verdict.ts';
import { isFlocked } from '../sys/flock.ts';
import { residentBytes } from '../sys/memory.ts';
import { lastSignOf, readPidLock, silentSince } from '../sys/pid-file.ts';
import { age, megabytes, paint } from './output.ts';

/** The watchdog of this home. `silent`: it holds the lock and gives no sign of life. `last_report` is of its last look that found or did something. */
export interface WatchdogFacts {
  state: 'up' | 'silent' | 'down';
  pid: number | null;
  /** Its last sign of life; null when none is up. */
  seen_at: number | null;
  rss_bytes: number;
  log: string;
  last_report: { at: number; findings: number; failures: number } | null;
}

export function watchdogOf(home: string, tick: TickRow | null, now: number): WatchdogFacts {
  const path = homePaths.lock(home, 'watchdog');
  const isUp = isFlocked(path);
  const pid = isUp ? (readPidLock(path)?.pid ?? null) : null;
  return {
    state: !isUp ? 'down' : silentSince(path, now) === null ? 'up' : 'silent',
    pid,
    seen_at: isUp ? lastSignOf(path) : null,
    rss_bytes: pid === null ? 0 : residentBytes(pid),
    log: homePaths.log(home, 'watchdog'),
    last_report: tick === null ? null : reported(tick),
  };
}

function reported({ at, report_json }: TickRow): WatchdogFacts['last_report'] {
  const { findings, failures } = JSON.parse(report_json) as { findings: unknown[]; failures: unknown[] };
  return { at, findings: findings.length, failures: failures.length };
}

export function watchdogLine({ state, pid, seen_at, rss_bytes, log, last_report }: WatchdogFacts, now: number): string {
  if (state === 'down') return 'watchdog: none is up';
  if (state === 'silent')
    return paint('yellow', `watchdog: pid ${pid ?? '?'} ${silentText(seen_at ?? now, now)}; see ${log}`);
  const last = last_report === null ? '' : `, last findings ${age(now - last_report.at)} ago (${last_report.findings})`;
  return `watchdog: pid ${pid ?? '?'}, ${megabytes(rss_bytes)}${last}, log ${log}`;
}

/** For people, after the watchdog's name. */
function silentText(since: number, now: number): string {
  return `silent since ${new Date(since).toISOString()} (${age(now - since)})`;
}
