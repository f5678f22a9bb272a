import type { Quota } from '../model/quota.ts';
import { cutText } from './event-text.ts';

/** A share that is left, as a provider told it; null: it is none. More than all was used: nothing is left. */
export function quotaOf(kind: string | null, share_left: number | null, resets_at: number | null): Quota | null {
  if (share_left === null || !Number.isFinite(share_left) || share_left > 1) return null;
  return { kind: cutText(kind ?? '', 64), share_left: Math.max(0, share_left), resets_at };
}
