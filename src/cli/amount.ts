import { AppError } from '../model/error.ts';
import { microsOf } from '../model/usage.ts';

/** `0.25` or `$3`, exact, as micro-dollars. Throws `usage` (2) for zero, a negative, a seventh decimal and what is no amount. */
export function dollarAmount(option: string): (text: string) => number {
  return (text) => {
    const micros = microsOf(text);
    if (micros !== null) return micros;
    throw new AppError(
      'usage',
      'usage',
      `${option} wants dollars above 0 with at most six decimals, e.g. 2.50, not ${JSON.stringify(text)}.`,
    );
  };
}

/** A count. Throws `usage` (2) for what is no whole number above 0 or has more than 15 digits: SQLite and numbers hold those exactly. */
export function wholeNumber(option: string): (text: string) => number {
  return (text) => {
    const count = /^\d{1,15}$/.test(text) ? Number(text) : 0;
    if (count > 0) return count;
    throw new AppError('usage', 'usage', `${option} wants a whole number above 0, not ${JSON.stringify(text)}.`);
  };
}
