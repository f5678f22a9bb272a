import { CronExpressionParser } from 'cron-parser';
import { AppError } from '../model/error.ts';
import type { Occurrences } from '../model/schedule.ts';
import { instantOf, isZone, wallAt } from '../model/window.ts';

const FIRST_YEAR = 1970;
const LAST_YEAR = 2199;
/** What cron-parser says of a day that no month has; the expression is well formed and nothing will come of it. */
const NO_SUCH_DAY = 'Invalid explicit day of month definition';

/**
 * The instants of a cron expression in an IANA zone (E-055, E-056, CX-36): minute hour day month weekday, with seconds
 * before them as the sixth field and a filter for years behind them as the seventh. Weekdays as in Unix: 0 or 7 is
 * Sunday. A time that the clock jumps over fires at the end of the gap, one that comes twice fires the first time.
 *
 * Throws `cron_invalid`, `cron_without_future`, `zone_unknown` (2).
 */
export function parseCron(expression: string, zone: string, now: number): Occurrences {
  const text = expression.trim();
  const fields = text === '' ? [] : text.split(/\s+/);
  if (fields.length < 5 || fields.length > 7) {
    throw invalid(`invalid cron expression \`${text}\`: expected 5, 6, or 7 fields but found ${fields.length}`);
  }
  if (!isZone(zone)) {
    throw new AppError('usage', 'zone_unknown', `There is no time zone called ${JSON.stringify(zone)}.`, {
      hint: 'Use an IANA name such as UTC or Europe/Berlin.',
      preserved: 'nothing was stored',
    });
  }
  const years = fields.length === 7 ? yearsOf(fields[6] ?? '*', text) : null;
  const pattern = fields.slice(0, 6).join(' ');
  check(pattern, text, zone, now);
  const next = (after: number): number | null =>
    years === null ? nextOf(pattern, zone, after) : nextInYears(pattern, zone, after, years);
  if (next(now) === null) throw withoutFuture(text);
  return { next };
}

function invalid(message: string, reason?: string): AppError {
  return new AppError('usage', 'cron_invalid', message, {
    hint: reason ?? 'Five fields: minute hour day month weekday, for example `30 2 * * 1-5`.',
    preserved: 'nothing was stored',
  });
}

function withoutFuture(text: string): AppError {
  return new AppError('usage', 'cron_without_future', `cron expression \`${text}\` did not yield a future run time`, {
    hint: '`drover schedule preview` shows the next times of an expression.',
    preserved: 'nothing was stored',
  });
}

function check(pattern: string, text: string, zone: string, now: number): void {
  // H is drawn anew whenever it is read: the same schedule would have other times in every process.
  if (/(^|[\s,/-])H/.test(pattern)) throw invalid(`invalid cron expression \`${text}\``, 'H is not supported.');
  try {
    CronExpressionParser.parse(pattern, { tz: zone, currentDate: now });
  } catch (error) {
    const reason = messageOf(error);
    if (reason === NO_SUCH_DAY) throw withoutFuture(text);
    throw invalid(`invalid cron expression \`${text}\``, `${reason}.`);
  }
}

function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  throw error;
}

/** The first instant after `after`; null when the parser finds none. */
function nextOf(pattern: string, zone: string, after: number): number | null {
  try {
    return CronExpressionParser.parse(pattern, { tz: zone, currentDate: after }).next().getTime();
  } catch (error) {
    // It was parsed before: all that is left to fail is the search.
    messageOf(error);
    return null;
  }
}

function nextInYears(pattern: string, zone: string, after: number, years: ReadonlySet<number>): number | null {
  const yearAt = (at: number) => new Date(wallAt(zone, at)).getUTCFullYear();
  let from = after;
  for (let year = Math.max(FIRST_YEAR, yearAt(after)); year <= LAST_YEAR; year++) {
    if (!years.has(year)) continue;
    from = Math.max(from, instantOf(zone, Date.UTC(year, 0, 1)) - 1);
    const found = nextOf(pattern, zone, from);
    if (found === null) return null;
    if (years.has(yearAt(found))) return found;
    year = Math.max(year, yearAt(found) - 1);
  }
  return null;
}

/** `*`, `2030`, `2030-2035`, `2030-2040/2`, and lists of these. */
function yearsOf(field: string, text: string): Set<number> {
  const years = new Set<number>();
  for (const part of field.split(',')) {
    const match = /^(?:\*|(\d{4})(?:-(\d{4}))?)(?:\/(\d{1,3}))?$/.exec(part);
    const from = match?.[1] === undefined ? FIRST_YEAR : Number(match[1]);
    const isOpen = match?.[1] === undefined || (match[2] === undefined && match[3] !== undefined);
    const to = isOpen ? LAST_YEAR : Number(match?.[2] ?? from);
    const step = Number(match?.[3] ?? 1);
    if (match === null || from < FIRST_YEAR || to > LAST_YEAR || from > to || step < 1) {
      throw invalid(`invalid cron expression \`${text}\``, `The year ${JSON.stringify(part)} is not one of 1970-2199.`);
    }
    for (let year = from; year <= to; year += step) years.add(year);
  }
  return years;
}

/** The next times of an expression, for a person to look at. */
export function preview(occurrences: Occurrences, now: number, count: number): number[] {
  const times: number[] = [];
  for (let at = occurrences.next(now); at !== null && times.length < count; at = occurrences.next(at)) times.push(at);
  return times;
}
