import { homePaths } from '../model/home.ts';
import type { TickRow } from '../model/verdict.ts';
import { isFlocked } from '../sys/flock.ts';
import { residentBytes } from '../sys/memory.ts';
import { readPidLock } from '../sys/pid-file.ts';
import { age, megabytes } from './output.ts';

/** The watchdog of this home; `last_report` is of its last look that found or did something. */
export interface WatchdogFacts {
  state: 'up' | 'down';
  pid: number | null;
  rss_bytes: number;
  log: string;
  last_report: { at: number; findings: number; failures: number } | null;
}

export function watchdogOf(home: string, tick: TickRow | null): WatchdogFacts {
  const path = homePaths.lock(home, 'watchdog');
  const pid = isFlocked(path) ? (readPidLock(path)?.pid ?? null) : null;
  return {
    state: isFlocked(path) ? 'up' : 'down',
    pid,
    rss_bytes: pid === null ? 0 : residentBytes(pid),
    log: homePaths.log(home, 'watchdog'),
    last_report: tick === null ? null : reported(tick),
  };
}

function reported({ at, report_json }: TickRow): WatchdogFacts['last_report'] {
  const { findings, failures } = JSON.parse(report_json) as { findings: unknown[]; failures: unknown[] };
  return { at, findings: findings.length, failures: failures.length };
}

export function watchdogLine({ state, pid, rss_bytes, log, last_report }: WatchdogFacts, now: number): string {
  if (state === 'down') return 'watchdog: none is up';
  const last = last_report === null ? '' : `, last findings ${age(now - last_report.at)} ago (${last_report.findings})`;
  return `watchdog: pid ${pid ?? '?'}, ${megabytes(rss_bytes)}${last}, log ${log}`;
}
