/**
 * Tokens and money, normalised over all harnesses. Tokens are counts; money is integer micro-dollars.
 * `null` means "the harness does not say", which is not zero (H-17).
 */
export interface Usage {
  input_tokens: number;
  output_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
  reasoning_tokens: number;
  cost_micros: number | null;
}

/**
 * How a harness counts:
 * `add` – this figure is new spending (opencode per step, claude tokens per result);
 * `turn` – the total of this process so far (gemini stats, claude cost);
 * `thread` – the total of the whole conversation over all processes (codex).
 */
export type UsageMode = 'add' | 'turn' | 'thread';

export const TOKEN_KEYS = [
  'input_tokens',
  'output_tokens',
  'cache_read_tokens',
  'cache_write_tokens',
  'reasoning_tokens',
] as const;

export type TokenCounts = Pick<Usage, (typeof TOKEN_KEYS)[number]>;

/** US dollars per million tokens. What is left out of the cache costs as much as other input. */
export interface Price {
  input: number;
  output: number;
  cache_read?: number | undefined;
  cache_write?: number | undefined;
}

/** Micro-dollars from a float of dollars, as harnesses report cost. */
export function dollarsToMicros(dollars: number): number {
  return Math.round(dollars * 1_000_000);
}

/**
 * Micro-dollars from an exact decimal of dollars (`0.25`, `12`, `$3.5`) with at most six decimals; null when it is none,
 * not above zero, or more than a billion.
 */
export function microsOf(text: string): number | null {
  const [, whole = '', fraction = ''] = /^\$?(\d{1,10})(?:\.(\d{1,6}))?$/.exec(text.trim()) ?? [];
  const micros = whole === '' ? 0 : Number(whole) * 1_000_000 + Number(fraction.padEnd(6, '0'));
  return micros > 0 && micros <= 1e15 ? micros : null;
}

/**
 * What tokens cost by a table's price, in micro-dollars: dollars per million tokens are micro-dollars per token.
 * The five counts are disjoint; reasoning is output, and cached input costs what other input does unless the table says.
 */
export function priceOf(tokens: TokenCounts, { input, output, cache_read, cache_write }: Price): number {
  const micros =
    tokens.input_tokens * input +
    (tokens.output_tokens + tokens.reasoning_tokens) * output +
    tokens.cache_read_tokens * (cache_read ?? input) +
    tokens.cache_write_tokens * (cache_write ?? input);
  return Math.min(Math.round(micros), Number.MAX_SAFE_INTEGER);
}

/** The date or word that a provider hangs onto the name of a model. */
const EDITION = /-(?:\d{8}|\d{4}-\d{2}-\d{2}|latest)$/;

/** The price of the first of these names that the table has, with or without its date; null: nobody knows what it costs. */
export function findPrice(prices: Record<string, Price>, models: readonly (string | null)[]): Price | null {
  for (const model of models) {
    for (const name of model === null ? [] : [model, model.replace(EDITION, '')])
      if (Object.hasOwn(prices, name)) return prices[name] ?? null;
  }
  return null;
}
