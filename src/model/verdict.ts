/** What the watchdog thinks of a turn in flight; computed from facts, stored with them (ARCHITECTURE §3). */
export const HEALTHS = ['ok', 'late', 'stuck', 'dead', 'looping', 'lingering'] as const;
export type Health = (typeof HEALTHS)[number];

/**
 * What was done about it. The four steps of the ladder (O-69), and `end`: a timer of the turn's own ran out, or it
 * outgrew a cap. By a second opinion also `extend`: more time, and `restart`: the turn ended for a new one. `none`: only the
 * verdict changed.
 */
export const WATCH_ACTS = ['none', 'note', 'nudge', 'triage', 'extend', 'restart', 'terminate', 'end'] as const;
export type WatchAct = (typeof WATCH_ACTS)[number];

/** One row of `verdicts`: enough to judge the same facts again. */
export interface VerdictRow {
  seq: number;
  session_id: string;
  turn: number;
  judged_by: 'supervisor' | 'watchdog';
  /** 0 mechanical, 1 triage, 2 patrol. */
  tier: number;
  health: Health;
  cause: string | null;
  act: WatchAct;
  /** Step of the ladder after the act. */
  level: number;
  /** One sentence for people. */
  evidence: string;
  /** The facts that were judged, JSON. */
  facts_json: string;
  /** The thresholds they were judged by, JSON. */
  limits_json: string;
  /** The session that was asked for a second opinion: of the act `triage`, and of the one act that followed its answer. */
  triage_id: string | null;
  at: number;
}

/** One row of `ticks`: the report of one look at the fleet that found or did something. */
export interface TickRow {
  seq: number;
  at: number;
  took_ms: number;
  /** Turns in flight. */
  watched: number;
  report_json: string;
}
