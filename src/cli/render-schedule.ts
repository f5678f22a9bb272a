import type { ScheduleRow, ScheduleRunRow } from '../model/schedule.ts';
import { wallAt } from '../model/window.ts';
import { age, clip, instantText, paint, type Style, safe, table } from './output.ts';

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

/** `Sun 2026-03-29 03:00:00`, as the wall of the zone shows it. */
export function wallText(zone: string, at: number): string {
  const wall = new Date(wallAt(zone, at));
  return `${DAYS[wall.getUTCDay()]} ${wall.toISOString().slice(0, 19).replace('T', ' ')}`;
}

function nextText(row: ScheduleRow, now: number): string {
  if (row.is_enabled === 0) return paint('yellow', 'off');
  if (row.next_run_at === null) return paint('dim', 'never again');
  const until = row.next_run_at - now;
  return `${wallText(row.timezone, row.next_run_at)} ${paint('dim', until > 0 ? `in ${age(until)}` : 'due')}`;
}

function why(row: ScheduleRow): string {
  if (row.disabled_reason !== null) return row.disabled_reason;
  return row.last_error === null ? '' : `failed ${row.fail_count} in a row: ${row.last_error}`;
}

export function renderSchedules(rows: readonly ScheduleRow[], now: number): string {
  if (rows.length === 0) return 'no schedules; `drover schedule add --cron "30 2 * * *" "…"` makes one';
  const header = ['NAME', 'CRON', 'ZONE', 'NEXT', 'LAST', 'STARTS / WHY'].map((cell) => paint('dim', cell));
  const lines = rows.map((row) => [
    paint('bold', safe(row.name)),
    safe(row.cron),
    row.timezone,
    nextText(row, now),
    row.last_run_at === null ? '-' : `${age(now - row.last_run_at)} ago`,
    clip(why(row) || startsText(row), 70),
  ]);
  return table([header, ...lines]);
}

function startsText({ plan_file, task }: ScheduleRow): string {
  return plan_file === null ? (task ?? '') : `plan ${plan_file}`;
}

const STYLES: Record<ScheduleRunRow['state'], Style> = {
  ...{ fired: 'green', waiting: 'cyan', skipped: 'yellow', missed: 'yellow', failed: 'red' },
};

export function renderRuns(runs: readonly ScheduleRunRow[], zone: string): string {
  if (runs.length === 0) return 'it has not been due yet';
  const header = ['DUE', 'STATE', 'TIMES', 'STARTED', 'REASON'].map((cell) => paint('dim', cell));
  const lines = runs.map((run) => [
    wallText(zone, run.due_at),
    paint(STYLES[run.state], run.state),
    run.times === null ? 'many' : String(run.times),
    run.session_id ?? run.plan_id ?? '-',
    clip(run.reason ?? '', 90),
  ]);
  return table([header, ...lines]);
}

export function renderSchedule(row: ScheduleRow, runs: readonly ScheduleRunRow[], now: number): string {
  const facts: [string, string][] = [
    ['schedule', `${paint('bold', safe(row.name))}  ${paint('dim', row.id)}`],
    ['cron', `${safe(row.cron)} (${row.timezone})`],
    ['next', nextText(row, now)],
    ['starts', clip(startsText(row), 200)],
    ['in', safe(row.working_dir)],
    ['overlap', row.overlap],
    ['catch-up', row.catch_up === 'all' ? `all, at most ${row.catch_up_max}` : row.catch_up],
  ];
  const settings = [row.harness, row.profile_name, row.role].filter((word) => word !== null);
  const variables = Object.entries(JSON.parse(row.variables_json ?? '{}') as Record<string, string>);
  settings.push(...variables.map(([name, value]) => `${name}=${value}`));
  if (settings.length > 0) facts.push(['with', clip(settings.join(', '), 100)]);
  if (why(row) !== '') facts.push(['why', clip(why(row), 200)]);
  return `${table(facts.map(([key, value]) => [paint('dim', key), value]))}\n\n${renderRuns(runs, row.timezone)}`;
}

/** One of the next times of an expression. */
export interface NextTime {
  at: number;
  local: string;
  remark: string | null;
}

export function renderTimes(
  times: readonly NextTime[],
  { cron, timezone }: { cron: string; timezone: string },
): string {
  const header = [`${safe(cron)}  ${timezone}`, 'UTC'].map((cell) => paint('dim', cell));
  const lines = times.map(({ at, local, remark }) => [local, instantText(at), paint('yellow', remark ?? '')]);
  return table([header, ...lines]);
}
