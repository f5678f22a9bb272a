/** One row of `halts`: a person's emergency stop, which stands until `lifted_at`. Times are wall milliseconds. */
export interface HaltRow {
  seq: number;
  at: number;
  /** Who said so. */
  halted_by: string;
  reason: string;
  lifted_at: number | null;
  lifted_by: string | null;
}

/** What a halt that stands took, until it is lifted (`halted`). */
export const HALTED_KINDS = ['session', 'plan'] as const;
