import { canonicalHarness } from '../harness/registry.ts';

/** Whether two labels name one harness, aliases and all (E-085); of a harness that nobody knows the label itself (E-086). */
export function isSameHarness(one: string, other: string): boolean {
  return canonicalHarness(one) === canonicalHarness(other);
}
