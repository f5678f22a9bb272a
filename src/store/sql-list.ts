/** `'a','b'` for an IN list. Only for constants of the model, never for data. */
export function sqlList(words: readonly string[]): string {
  return words.map((word) => `'${word}'`).join(',');
}
