import type { Command } from 'commander';
import { AT_ONCE, type Patience } from '../merge/lock.ts';
import { parseDuration } from '../model/duration.ts';
import { AppError } from '../model/error.ts';
import { paint, safe } from './output.ts';

const DEFAULT_MS = 600_000;

/** What `--wait` without a time, `--wait 30m`, or nothing at all was given. */
export interface WaitOption {
  wait?: string | true;
}

/** `--wait [duration]` of the verbs that take the lock of a target. */
export function waitOption(command: Command): void {
  command.option(
    '--wait [duration]',
    'while another merge into the same branch runs, wait so long (10m when no time is named) for its end',
  );
}

/** What is waited for is told on standard error, unless `is_quiet`. Throws `usage` (2). */
export function patienceOf({ wait }: WaitOption, is_quiet: boolean): Patience {
  if (wait === undefined) return AT_ONCE;
  const onWait = (why: string) => is_quiet || console.error(paint('dim', `waiting: ${safe(why)}`));
  if (wait === true) return { wait_ms: DEFAULT_MS, onWait };
  const wait_ms = /^\d+(s|m|h|d)$/.test(wait) ? parseDuration(wait) : 0;
  if (wait_ms > 0) return { wait_ms, onWait };
  throw new AppError('usage', 'usage', `Not a duration: ${JSON.stringify(wait)}. Use 90s, 45m, 2h.`, {
    hint: 'A session is named before --wait.',
  });
}
