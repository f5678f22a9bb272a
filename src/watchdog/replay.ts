import { type Config, DEFAULT_CONFIG } from '../model/config.ts';
import type { Health, VerdictRow, WatchAct } from '../model/verdict.ts';
import type { Recorded } from './act.ts';
import { escalate } from './escalate.ts';
import { judge } from './judge.ts';
import { checkTimers, type TimerFacts } from './timers.ts';

/** What a recorded row says, or would say under other thresholds. */
export interface Opinion {
  health: Health;
  cause: string | null;
  act: WatchAct;
  level: number;
  evidence: string;
}

type Judged = Pick<VerdictRow, 'judged_by' | 'facts_json' | 'limits_json' | 'at'>;

/** Some thresholds; what is absent stays as it was recorded. */
export interface OtherLimits {
  turn?: Partial<Config['turn']> | undefined;
  watchdog?: Partial<Config['watchdog']> | undefined;
  gate?: Partial<Config['gate']> | undefined;
}

/**
 * Judges recorded facts again. Pure: the same record under its own limits gives the same opinion. `null`: a record of
 * something that was measured and not judged by these thresholds, like the memory of a tree.
 */
export function rejudge(record: Judged, other: OtherLimits): Opinion | null {
  const recorded = JSON.parse(record.limits_json) as OtherLimits;
  // A threshold that is younger than the record had its default then.
  const limits = {
    turn: { ...DEFAULT_CONFIG.turn, ...recorded.turn, ...other.turn },
    watchdog: { ...DEFAULT_CONFIG.watchdog, ...recorded.watchdog, ...other.watchdog },
    gate: { ...DEFAULT_CONFIG.gate, ...recorded.gate, ...other.gate },
  } as Pick<Config, 'turn' | 'watchdog' | 'gate'>;
  if (record.judged_by === 'supervisor') {
    const facts = JSON.parse(record.facts_json) as TimerFacts & { killed?: number };
    const { health, cause, act, evidence } = checkTimers(facts, limits, record.at);
    // Of a turn whose process had gone, what it left behind had to be ended.
    const isEnd = act === 'end' || (act === 'settle' && (facts.killed ?? 0) > 0);
    return { health, cause, act: isEnd ? 'end' : 'none', level: 0, evidence };
  }
  const { facts, ...climb } = JSON.parse(record.facts_json) as Partial<Recorded> & Omit<Recorded, 'facts'>;
  if (facts === undefined) return null;
  const verdict = judge(facts, limits, record.at);
  const step = escalate({ ...climb, verdict, facts }, limits.watchdog, record.at);
  return { ...verdict, act: step.act, level: step.level };
}
