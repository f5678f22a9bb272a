import type { Config } from '../model/config.ts';
import type { TriageAnswer } from '../model/triage.ts';
import type { WatchAct } from '../model/verdict.ts';
import type { Rung } from '../store/watched.ts';
import type { WatchFacts, WatchVerdict } from './judge.ts';
import { ageOf } from './timers.ts';

/** The steps of the ladder (O-69). A session's `escalation_level` is the step it took last. */
const LADDER = ['note', 'nudge', 'triage', 'terminate'] as const;
export const TRIAGE = 2;
const TERMINATE = 3;
/** Work without a change of the tree may be thinking: a word, but never an end. */
const LAST_STEP: Record<string, number> = { no_change: 1 };

export interface Climb {
  /** `escalated_at` null: it is on no ladder. */
  rung: Rung;
  verdict: WatchVerdict;
  facts: Pick<WatchFacts, 'awaits_answer' | 'awake_since' | 'cpu_ms' | 'cpu_over_ms' | 'first_event_at' | 'repetition'>;
  /** The harness can go on with the conversation after an interruption. */
  can_resume: boolean;
  /** `none`: nobody can be asked, or nobody answered. `open`: somebody can. `asked`: the answer may still come. */
  triage: 'none' | 'open' | 'asked' | TriageAnswer;
}

export interface Step {
  act: WatchAct;
  /** The rung after the act. */
  level: number;
  /** A nudge that ends the turn in flight; otherwise it is mail for the next one. */
  interrupt: boolean;
  /** `set`: the ladder stands on `level` from now on. `reset`: it is left. */
  ladder: 'keep' | 'set' | 'reset';
  /** It is what a second opinion said. */
  by_triage: boolean;
}

/** The tree used more of one core than this share: it may well be at work without a word. */
const BUSY_SHARE = 0.05;

/**
 * The next step about one turn, from its verdict and its rung: one step per interval and cause, up to the highest that is
 * allowed (O-27, O-35, O-69, O-70). Silence beyond all patience skips the ladder; a question that waits for an answer
 * suspends it, and a loop climbs only while it goes on. The ladder is left when the turn has been well for longer than it would take to be found late again.
 */
export function escalate(climb: Climb, config: Config['watchdog'], now: number): Step {
  const { rung, verdict, facts } = climb;
  const keep: Step = { act: 'none', level: rung.escalation_level, interrupt: false, ladder: 'keep', by_triage: false };
  if (verdict.act === 'end') return { ...keep, act: 'end' };
  if (verdict.act === 'none' || verdict.act === 'ring') {
    return isCalm(climb, config, now) ? { ...keep, level: 0, ladder: 'reset' } : keep;
  }
  if (facts.awaits_answer) return keep;
  if (verdict.act === 'terminate') return { ...keep, act: 'terminate', level: TERMINATE, ladder: 'set' };
  if (rung.escalated_at === null || rung.escalation_cause !== verdict.cause) {
    return { ...keep, act: 'note', level: 0, ladder: 'set' };
  }
  const waited = ageOf(rung.escalated_at, facts.awake_since, now);
  const isHere = rung.escalation_level === TRIAGE && typeof climb.triage === 'object';
  if (rung.escalation_level === TRIAGE && climb.triage === 'asked') return keep;
  if (verdict.cause === 'repetition' && !goesRound(facts, waited, now)) return keep;
  if (waited <= config.nudge_interval_ms && !isHere) return keep;
  return isHere ? byTriage(climb, config, keep) : nextStep(climb, config, keep);
}

/** One more round since the last step: what was held against it before is no reason for the next one. */
function goesRound({ repetition, awake_since }: Climb['facts'], waited: number, now: number): boolean {
  return repetition !== null && ageOf(repetition.last_at, awake_since, now) < waited;
}

function isCalm({ rung, verdict, facts }: Climb, config: Config['watchdog'], now: number): boolean {
  if (verdict.health !== 'ok' || verdict.act !== 'none' || rung.escalated_at === null || facts.first_event_at === null)
    return false;
  // From the first word after the step: until then it was not well, it was starting.
  const since = Math.max(rung.escalated_at, facts.first_event_at);
  return ageOf(since, facts.awake_since, now) > config.stale_ms + config.nudge_interval_ms;
}

function nextStep(climb: Climb, config: Config['watchdog'], keep: Step): Step {
  const highest = Math.min(config.max_escalation_level, LAST_STEP[climb.verdict.cause ?? ''] ?? TERMINATE);
  let level = climb.rung.escalation_level + 1;
  if (level === TRIAGE && climb.triage !== 'open') level = TERMINATE;
  const act = LADDER[level];
  if (level > highest || act === undefined) return keep;
  return { ...keep, act, level, interrupt: act === 'nudge' && mayInterrupt(climb), ladder: 'set' };
}

function byTriage(climb: Climb, config: Config['watchdog'], keep: Step): Step {
  const said: Step = { ...keep, ladder: 'set', level: TRIAGE, by_triage: true };
  switch (typeof climb.triage === 'object' ? climb.triage.verdict : 'terminate') {
    case 'terminate':
      return config.max_escalation_level < TERMINATE ? keep : { ...said, act: 'terminate', level: TERMINATE };
    case 'nudge':
      return { ...said, act: 'nudge', interrupt: mayInterrupt(climb) };
    case 'restart':
      return { ...said, act: 'restart', interrupt: true };
    case 'extend':
      // One rung down: after another interval somebody is asked again, as long as the budget for asking lasts.
      return { ...said, act: 'extend', level: TRIAGE - 1 };
  }
}

/** A silent tree that computes is left alone; a loop is what keeps it busy. */
function mayInterrupt({ can_resume, verdict, facts }: Climb): boolean {
  const isBusy = (facts.cpu_ms ?? 0) > BUSY_SHARE * (facts.cpu_over_ms ?? Number.POSITIVE_INFINITY);
  return can_resume && verdict.cause !== 'no_change' && (verdict.cause !== 'silent' || !isBusy);
}
