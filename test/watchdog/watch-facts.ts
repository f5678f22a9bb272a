import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import type { Climb } from '../../src/watchdog/escalate.ts';
import type { WatchFacts } from '../../src/watchdog/judge.ts';

export const START = 1_000_000_000_000;
export const { turn, watchdog } = DEFAULT_CONFIG;

/** A turn that spoke at the start and is well. */
export function factsOf(over: Partial<WatchFacts> = {}): WatchFacts {
  return {
    ...{ process: 'alive', state: 'working', started_at: START, first_event_at: START, last_event_at: START },
    ...{ result_at: null, tools_open: 0, end_cause: null, timeout_ms: null, early_first_event: true, log_bytes: 0 },
    ...{ awake_since: START, is_persistent: false, is_limited: false, written_at: null, child_event_at: null },
    has_unread_lines: false,
    ...{ awaits_answer: false, ending_since: null, repetition: null, unchanged_tokens: null, processes: null },
    ...{ rss_bytes: null, cpu_ms: null, cpu_over_ms: null },
    ...over,
  };
}

/** A silent turn that is on no ladder yet, with a harness that can go on after an interruption. */
export function climbOf(over: Partial<Climb> = {}): Climb {
  return {
    rung: { escalation_level: 0, escalated_at: null, escalation_cause: null },
    verdict: { health: 'late', cause: 'silent', act: 'climb', evidence: 'silent' },
    facts: factsOf(),
    can_resume: true,
    triage: 'none',
    ...over,
  };
}

export const rung = (escalation_level: number, escalated_at: number | null = START, escalation_cause = 'silent') => ({
  escalation_level,
  escalated_at,
  escalation_cause: escalated_at === null ? null : escalation_cause,
});
