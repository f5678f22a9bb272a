/**
 * The one queue in front of every write transaction of a home (ARCHITECTURE §3): a kernel lock that is free again when
 * its holder dies. `tryEnter` never waits; the returned function leaves.
 */
export interface Gate {
  tryEnter(): (() => void) | null;
  /** Does anybody wait that found the gate closed? Whoever writes without a pause asks, and lets them in. */
  isWanted?(): boolean;
}
