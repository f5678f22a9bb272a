import { AppError } from '../model/error.ts';
import type { HarnessBits } from '../model/harness.ts';

const ESCAPES =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it removes
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\u001b[\]PX^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -~]?/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it removes
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;
const REMINDER_TAG = /<(?=\s*\/?\s*system-reminder\b)/gi;

/**
 * Makes foreign text (mail, a child's output, a pull request) safe to stand inside a prompt as data (CX-39, D-44):
 * it cannot close or forge a `<system-reminder>`, it carries no terminal control sequence and no NUL, and `@path`
 * does not make the CLI read a file. Everything else stays as written. Applying it twice changes nothing more.
 */
export function neutralise(text: string, mentions: HarnessBits['at_mentions']): string {
  return escapeMentions(stripTerminal(text).replace(REMINDER_TAG, '&lt;'), mentions);
}

/** Text without terminal sequences and control characters; every line break becomes `\n`, tabs stay. */
export function stripTerminal(text: string): string {
  return text.replace(ESCAPES, '').replace(/\r\n?/g, '\n').replace(CONTROLS, '');
}

/** Exactly one backslash before every `@` that the CLI would take for a file. */
function escapeMentions(text: string, mentions: HarnessBits['at_mentions']): string {
  if (mentions === 'none') return text;
  if (mentions === 'any') return text.replace(/\\*@/g, '\\@');
  return text.replace(/(?<![\p{L}\p{N}_\\])\\*@/gu, '\\@');
}

const PLAIN_START = /^[\p{L}\p{N}<[("'*]/u;

/**
 * The prompt with a first character that no CLI takes for a command or an option: `/help`, `!ls` and `--version` in
 * first place get a line of ours before them. An empty prompt is a bug of the caller (D-42).
 */
export function framedPrompt(prompt: string): string {
  if (prompt.trim() === '') throw new AppError('bug', 'empty_prompt', 'A turn was started with an empty prompt.');
  return PLAIN_START.test(prompt) ? prompt : `Message:\n${prompt}`;
}
