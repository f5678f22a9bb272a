import type { WatchAct } from '../model/verdict.ts';
import type { TickReport } from '../watchdog/watcher.ts';
import { megabytes, paint, type Style, safe, table } from './output.ts';

const STYLES: Record<string, Style> = { ok: 'green', late: 'yellow', lingering: 'yellow' };

function paintHealth(health: string): string {
  return paint(STYLES[health] ?? 'red', health);
}

/** `stuck`, `looping (repetition)`: the cause where it says more than the verdict. */
export function healthText(health: string, cause: string | null): string {
  return cause === null || cause === health ? paintHealth(health) : `${paintHealth(health)} (${safe(cause)})`;
}

/** What was done, with the step of the ladder where there is one. */
export function actText(act: WatchAct, level: number): string {
  if (act === 'none') return '-';
  return act === 'end' ? 'end' : `${act} (step ${level})`;
}

/** One look for people. */
export function renderReport(report: TickReport, is_watched: boolean): string {
  const { watched, looked, left, took_ms, disk_free_bytes, findings, failures } = report;
  const disk = disk_free_bytes === null ? '' : `, ${megabytes(disk_free_bytes)} of disk left`;
  const lines = [
    `${watched} turns in flight, ${looked} looked at closely${left > 0 ? `, ${left} left for the next look` : ''}, ${took_ms} ms${disk}`,
  ];
  const actor = is_watched
    ? 'a watchdog is at work and acts on its own'
    : 'no watchdog is at work: `drover watch` acts';
  lines.push(paint('dim', `this was only a look; ${actor}`));
  if (findings.length === 0) lines.push('all are well');
  else {
    const header = ['NAME', 'TURN', 'HEALTH', 'WOULD', 'EVIDENCE'].map((cell) => paint('dim', cell));
    const rows = findings.map((found) => [
      paint('bold', safe(found.name)),
      String(found.turn),
      healthText(found.health, found.cause),
      actText(found.act, found.level),
      safe(found.evidence),
    ]);
    lines.push('', table([header, ...rows]));
  }
  for (const failure of failures) lines.push(paint('red', `failed: ${safe(failure)}`));
  return lines.join('\n');
}
