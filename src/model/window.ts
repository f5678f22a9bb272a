import type { PlanWindow } from './plan.ts';

const MINUTE = 60_000;
const DAY = 86_400_000;

const formats = new Map<string, Intl.DateTimeFormat>();

/** An IANA name that this machine knows; offsets such as `+02:00` are none, because they know no change of time. */
export function isZone(name: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]*$/.test(name)) return false;
  try {
    formatOf(name);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function formatOf(zone: string): Intl.DateTimeFormat {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      ...{ timeZone: zone, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric' },
      ...{ hour: 'numeric', minute: 'numeric', second: 'numeric' },
    });
    formats.set(zone, format);
  }
  return format;
}

/** What the clock on the wall of `zone` shows at `at`, as if it were UTC, in whole seconds. */
export function wallAt(zone: string, at: number): number {
  const part: Record<string, number> = {};
  for (const { type, value } of formatOf(zone).formatToParts(at)) part[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/**
 * The instant at which the wall of `zone` shows `wall` (as if it were UTC): the first of two when the clock is put back,
 * the end of the gap when the clock is put forward over it.
 */
export function instantOf(zone: string, wall: number): number {
  const offset = (at: number) => wallAt(zone, at) - Math.floor(at / 1000) * 1000;
  const guesses = [wall - offset(wall - DAY), wall - offset(wall + DAY)];
  const right = guesses.filter((at) => wallAt(zone, at) === wall);
  if (right.length > 0) return Math.min(...right);
  // The gap: the first instant at which the wall shows a later time.
  let [low, high] = [Math.min(...guesses) - DAY, Math.max(...guesses) + DAY];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (wallAt(zone, middle) >= wall) high = middle;
    else low = middle;
  }
  return high;
}

/** `HH:MM` in milliseconds after midnight, 24:00 included; null when it is none. */
export function timeOfDay(text: string): number | null {
  const match = /^([01]?\d|2[0-4]):([0-5]\d)$/.exec(text);
  if (match === null) return null;
  const ms = (Number(match[1]) * 60 + Number(match[2])) * MINUTE;
  return ms <= DAY ? ms : null;
}

export interface WindowState {
  is_open: boolean;
  /** When that changes; null: it never opens. */
  changes_at: number | null;
}

/**
 * Is the window open at `now`, and until when? Its ends are instants of a day, so that an hour that comes twice does not
 * open it twice, and a time that does not exist on that day means the end of the gap.
 */
export function windowAt(window: Pick<PlanWindow, 'start' | 'stop' | 'timezone'>, now: number): WindowState {
  const start = timeOfDay(window.start);
  const stop = timeOfDay(window.stop);
  if (start === null || stop === null || start === stop) return { is_open: false, changes_at: null };
  const today = Math.floor(wallAt(window.timezone, now) / DAY) * DAY;
  for (let day = today - DAY; day <= today + 3 * DAY; day += DAY) {
    const opens_at = instantOf(window.timezone, day + start);
    const closes_at = instantOf(window.timezone, day + stop + (stop < start ? DAY : 0));
    if (now >= closes_at || opens_at >= closes_at) continue;
    return now >= opens_at ? { is_open: true, changes_at: closes_at } : { is_open: false, changes_at: opens_at };
  }
  return { is_open: false, changes_at: null };
}
