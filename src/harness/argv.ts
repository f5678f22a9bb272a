import { AppError } from '../model/error.ts';
import type { TurnSpec } from '../model/harness.ts';
import { NO_TOOLS } from '../model/role.ts';

/** Linux refuses an argument of 128 KiB, its NUL included; the error it gives does not say which one. */
const MAX_ARGUMENT_BYTES = 131_071;

/** The arguments as they are. Throws `argument_unusable` for one with a NUL or one too long for the system. */
export function checkedArgs(args: string[]): string[] {
  for (const [index, arg] of args.entries()) {
    const flag = args[index - 1] ?? arg.slice(0, 40);
    if (arg.includes('\0')) throw unusable(flag, 'holds a NUL character');
    if (arg.length > MAX_ARGUMENT_BYTES / 4 && Buffer.byteLength(arg) > MAX_ARGUMENT_BYTES) {
      throw unusable(flag, `is longer than ${MAX_ARGUMENT_BYTES} bytes`);
    }
  }
  return args;
}

function unusable(flag: string, why: string): AppError {
  return new AppError('usage', 'argument_unusable', `The value after "${flag}" ${why}.`, {
    hint: 'Shorten it in the profile or the runner, or put it into the task.',
  });
}

/** `[flag, value]`, or nothing when either is missing or the value is blank. */
export function option(flag: string | null, value: string | number | null | undefined): string[] {
  if (flag === null || value === null || value === undefined) return [];
  const text = String(value);
  return text.trim() === '' ? [] : [flag, text];
}

/** The flag once per value. */
export function eachOption(flag: string | null, values: string[]): string[] {
  return values.flatMap((value) => option(flag, value));
}

/** The flag with all values joined by commas. */
export function listOption(flag: string | null, values: string[]): string[] {
  return option(flag, values.join(','));
}

/** What a session is called in the harness's own lists (E-027, E-029, E-031). */
export function sessionLabel(session_id: string): string {
  return `drover-${session_id}`;
}

/** The role grants no tool at all. */
export function isToolless({ tools }: Pick<TurnSpec, 'tools'>): boolean {
  return tools.length === 1 && tools[0] === NO_TOOLS;
}
