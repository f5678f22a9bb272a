import { EVENT_TEXT_LIMIT, type HarnessEvent, keptAnswer } from '../model/harness.ts';
import { type JsonObject, textAt } from './json-line.ts';

const NAME_LIMIT = 256;

const CUT_MARK = '…';

/**
 * Text for an event: at most `limit` UTF-16 units, the last of them `…` when something was left out.
 *
 * NUL and lone surrogates become U+FFFD, because not every store and every reader takes them.
 */
export function cutText(text: string, limit = EVENT_TEXT_LIMIT): string {
  const kept = text.length > limit ? text.slice(0, limit - CUT_MARK.length) : text;
  return text.length > limit ? cleaned(kept) + CUT_MARK : cleaned(kept);
}

function cleaned(text: string): string {
  // Looked at before it is changed, because nearly none has to be and a copy of each costs more than all the rest.
  return text.isWellFormed() && !text.includes('\0') ? text : text.toWellFormed().replaceAll('\0', '\ufffd');
}

/** What may be the answer of a turn: whole up to `ANSWER_LIMIT`, clean like other texts. */
export function answerText(text: string): string {
  return cleaned(keptAnswer(text));
}

/** An event as it is shown: what was said is as short as every other text. */
export function shortEvent(event: HarnessEvent): HarnessEvent {
  return event.type === 'text' || event.type === 'result' ? { ...event, text: cutText(event.text) } : event;
}

const MAX_DEPTH = 100;

/** Any JSON value as event text: strings as they are, everything else as JSON; nothing for `null` and `undefined`. */
export function valueText(value: unknown): string {
  if (typeof value === 'string') return cutText(value);
  if (value === null || value === undefined) return '';
  return isDeep(value, MAX_DEPTH) ? '[nested too deep]' : cutText(JSON.stringify(value) ?? '');
}

/** Looked at first, because writing a value that is nested deeper than the stack fails only after seconds. */
function isDeep(value: unknown, left: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return left === 0 || Object.values(value).some((each) => isDeep(each, left - 1));
}

/** A short text (an id, a tool's name, a word), cut to 256 units; `null` when there is none. */
export function nameAt(from: JsonObject, key: string): string | null {
  const text = textAt(from, key);
  return text === null || text === '' ? null : cutText(text, NAME_LIMIT);
}
