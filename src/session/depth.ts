import { AppError } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';

/** Throws `too_deep` (3). */
export function depthBelow(parent: SessionRow | null, max: number): number {
  const depth = parent === null ? 0 : parent.depth + 1;
  if (depth <= max) return depth;
  throw new AppError('refused', 'too_deep', `This would be level ${depth} of the session tree; the limit is ${max}.`, {
    hint: 'Let a session higher up do it, or raise max_depth in the config.',
    preserved: 'nothing was stored',
  });
}
