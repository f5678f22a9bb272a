import { timingSafeEqual } from 'node:crypto';

/** Whether two hashes are the same, in a time that does not tell how much of them is (CX-44). */
export function isSameHash(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
