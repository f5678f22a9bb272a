/**
 * Seconds that nobody else on the machine sleeps, as they stand in a command line: what sleeps them is of this test, and
 * not of another run of it beside this one.
 */
export function ownSeconds(): string {
  const last = 1 + Math.floor(Math.random() * 9);
  return `${60 + Math.floor(Math.random() * 30)}.${String(Math.floor(Math.random() * 100)).padStart(2, '0')}${last}`;
}
