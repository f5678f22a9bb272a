import type { Harness, HarnessEvent } from '../model/harness.ts';
import { cutText } from './event-text.ts';
import { stripTerminal } from './untrusted.ts';

export type Exit = Parameters<Harness['at_exit']>[0];

/** A line of standard error that means something. Only looked at after exit codes other than 0, unless `any_end`. */
export interface ExitRule {
  when: RegExp;
  any_end?: true;
  events: (line: string) => HarnessEvent[];
}

/** The turn failed for a reason that the stream did not tell, or told less clearly. */
export function failure(reason: string, text: string): HarnessEvent {
  return { type: 'result', ok: false, reason, text: cutText(text), model_turns: null, denials: [] };
}

/**
 * Events for a process that is gone: the last line that the first fitting rule finds, else the line that looks most
 * like the error. Signals and exit code 0 say nothing by themselves.
 */
export function judgeExit(exit: Exit, rules: ExitRule[]): HarnessEvent[] {
  const lines = errorLines(exit.stderr_tail);
  const failed = exit.code !== null && exit.code !== 0;
  for (const rule of rules) {
    if (!failed && !rule.any_end) continue;
    const line = lines.findLast((each) => rule.when.test(each));
    if (line !== undefined) return rule.events(line);
  }
  if (!failed) return [];
  const line = errorLine(lines);
  if (exit.code === 127 || exit.code === 126)
    return [failure('not_started', line || 'the program could not be started')];
  return line === '' ? [] : [{ type: 'error', message: line, fatal: true }];
}

/** Lines of standard error without colours and blanks, each cut to the length of an event text. */
export function errorLines(stderr_tail: string): string[] {
  return stripTerminal(stderr_tail)
    .split('\n')
    .map((line) => cutText(line.trim()));
}

const SAYS_ERROR = /\b(?:error|fatal|failed|cannot|invalid|refused)\b|Error:/i;
/** Brackets and stack frames at the end of a printed exception. */
const IS_NOISE = /^(?:at |[^\p{L}]*$)/u;

/** The line that says what went wrong: the last that speaks of an error, else the last that says anything. */
export function errorLine(lines: string[]): string {
  const telling = lines.filter((line) => !IS_NOISE.test(line));
  return telling.findLast((line) => SAYS_ERROR.test(line)) ?? telling.at(-1) ?? '';
}
