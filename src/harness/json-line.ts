/** A parsed JSON object of which nothing is known yet. Read it with the functions below only. */
export type JsonObject = { readonly [key: string]: unknown };

const OPEN = '{'.charCodeAt(0);

/**
 * One line as a JSON object, or `null` when it is anything else (broken, an array, a bare value, nested too deep).
 *
 * Hand guards instead of schemas: every line of every harness passes here, and a schema costs thirty times as much.
 */
export function parseLine(line: string): JsonObject | null {
  const text = line.charCodeAt(0) === 0xfeff ? line.slice(1) : line;
  if (text.charCodeAt(0) !== OPEN && text.trimStart().charCodeAt(0) !== OPEN) return null;
  try {
    return asObject(JSON.parse(text));
  } catch {
    // Malformed or nested deeper than the stack: the caller counts it and the raw line stays on disk.
    return null;
  }
}

export function asObject(value: unknown): JsonObject | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
}

export function objectAt(from: JsonObject, key: string): JsonObject | null {
  return asObject(from[key]);
}

export function listAt(from: JsonObject, key: string): unknown[] {
  const value = from[key];
  return Array.isArray(value) ? value : [];
}

/** The objects in a list; what is none is left out. */
export function objectsAt(from: JsonObject, key: string): JsonObject[] {
  const value = from[key];
  if (!Array.isArray(value)) return [];
  // Nearly always they all are: then it is the list itself.
  for (const each of value) if (asObject(each) === null) return value.filter((one) => asObject(one) !== null);
  return value;
}

export function textAt(from: JsonObject, key: string): string | null {
  const value = from[key];
  return typeof value === 'string' ? value : null;
}

/** A finite number, or `null`. */
export function numberAt(from: JsonObject, key: string): number | null {
  const value = from[key];
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** A count: a whole number from 0 to 2^53 - 1; whatever is not one counts as 0. */
export function countAt(from: JsonObject, key: string): number {
  const value = numberAt(from, key);
  return value === null || value <= 0 ? 0 : Math.min(Math.round(value), Number.MAX_SAFE_INTEGER);
}
