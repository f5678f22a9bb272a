/** What a provider says of its quota before it is used up. */
export interface Quota {
  /** Which of its limits, in the provider's word, e.g. `five_hour`. */
  kind: string;
  /** Share that is left, 0 to 1. */
  share_left: number;
  /** When it is whole again, wall milliseconds; null: it did not say. */
  resets_at: number | null;
}

/** A word without its end is no fact for longer. */
export const QUOTA_LASTS_MS = 5 * 3_600_000;
