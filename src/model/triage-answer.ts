import { z } from 'zod';
import { REASON_LIMIT, TRIAGE_WORDS, type TriageAnswer } from './triage.ts';

const answer = z.object({
  verdict: z
    .string()
    .transform((word) => word.trim().toLowerCase())
    .pipe(z.enum(TRIAGE_WORDS)),
  reason: z
    .string()
    .default('')
    .transform((text) => [...text.replace(/\s+/g, ' ').trim()].slice(0, REASON_LIMIT).join('')),
});

/** Objects that are tried; a model that says more than this has not understood the question. */
const MAX_OBJECTS = 20;

/**
 * The answer in what a model said, with whatever stands around the object. `null`: there is none. Several that differ are
 * none either, because one of them may be a quotation.
 */
export function triageAnswer(text: string): TriageAnswer | null {
  const found = objectsIn(text).flatMap((value) => {
    const parsed = answer.safeParse(value);
    return parsed.success ? [parsed.data] : [];
  });
  const [first] = found;
  return first !== undefined && found.every(({ verdict }) => verdict === first.verdict) ? first : null;
}

/** Every JSON object that stands in the text and in no other. */
function objectsIn(text: string): unknown[] {
  const found: unknown[] = [];
  let at = text.indexOf('{');
  for (let tried = 0; at !== -1 && tried < MAX_OBJECTS; tried += 1) {
    const end = endOfObject(text, at);
    const value = end === -1 ? undefined : parsed(text.slice(at, end));
    if (value !== undefined) found.push(value);
    at = text.indexOf('{', value === undefined ? at + 1 : end);
  }
  return found;
}

/** Behind the brace that closes the one at `start`; -1 when none does. */
function endOfObject(text: string, start: number): number {
  let depth = 0;
  let isInString = false;
  for (let at = start; at < text.length; at += 1) {
    const sign = text[at];
    if (isInString && sign === '\\') at += 1;
    else if (sign === '"') isInString = !isInString;
    else if (!isInString && sign === '{') depth += 1;
    else if (!isInString && sign === '}') {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return -1;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
