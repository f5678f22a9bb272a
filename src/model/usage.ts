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

/** Micro-dollars from a float of dollars, as harnesses report cost. */
export function dollarsToMicros(dollars: number): number {
  return Math.round(dollars * 1_000_000);
}
