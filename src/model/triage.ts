/** What a second opinion may say: more time, a word, a new turn, or the end. */
export const TRIAGE_WORDS = ['extend', 'nudge', 'restart', 'terminate'] as const;

export interface TriageAnswer {
  verdict: (typeof TRIAGE_WORDS)[number];
  /** For the record, and for the session that gets a word; at most `REASON_LIMIT` characters. */
  reason: string;
}

export const REASON_LIMIT = 500;
