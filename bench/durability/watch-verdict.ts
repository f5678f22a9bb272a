/** What one session of the watchdog campaign was, and what became of it. Times are wall milliseconds. */
export interface Watched {
  name: string;
  shape: string;
  is_sick: boolean;
  /** How long its harness may be silent after its last sign; null: the harness is gone then, and nothing has to be waited for. */
  allowed_ms: number | null;
  /** Its harness's last sign of life; null: it never came so far. */
  last_at: number | null;
  /** Its harness came to its end. */
  has_ended: boolean;
  state: string;
  /** What drover ended its turns with, null for those that ended by themselves. */
  end_causes: readonly (string | null)[];
  outcomes: readonly (string | null)[];
  /** The first decision to end its first turn, or that turn's end; of a harness that is gone, the latter. null: neither. */
  decided_at: number | null;
}

/** Drover's processes did not run in this time. */
export interface Suspension {
  from: number;
  to: number;
}

export interface WatchFindings {
  /** Healthy sessions that drover ended, or that did not come to a clean end. */
  false_kills: string[];
  /** Sick ones that were not ended in time. */
  missed_hangs: string[];
  /** From the instant a session was overdue to the decision, sorted, never negative. */
  detect_ms: number[];
  /** From the end of a harness that was gone by itself to the end of its turn, sorted, never negative. */
  settle_ms: number[];
  /** Sick ones that were ended before they were overdue: in neither of the times. */
  early_ends: string[];
}

const CLEAN = ['completed', 'handed_off'];

/** Pure. `margin_ms`: so much later than it should, a hang counts as missed. */
export function judgeWatch(
  sessions: readonly Watched[],
  suspensions: readonly Suspension[],
  margin_ms: number,
): WatchFindings {
  const findings: WatchFindings = { false_kills: [], missed_hangs: [], detect_ms: [], settle_ms: [], early_ends: [] };
  for (const each of sessions) {
    const story = `${each.name} (${each.shape}): ${each.state}, ${each.end_causes.join(' ')} ${each.outcomes.join(' ')}`;
    if (!each.is_sick) {
      if (!isUntouched(each)) findings.false_kills.push(story);
      continue;
    }
    if (each.last_at === null || each.decided_at === null) {
      findings.missed_hangs.push(story);
      continue;
    }
    const late = Math.round(each.decided_at - dueAt(each.last_at, each.allowed_ms ?? 0, each.decided_at, suspensions));
    if (late < 0) findings.early_ends.push(`${story}, ${-late} ms early`);
    else (each.allowed_ms === null ? findings.settle_ms : findings.detect_ms).push(late);
    if (late > margin_ms) findings.missed_hangs.push(`${story}, ${late} ms late`);
  }
  for (const times of [findings.detect_ms, findings.settle_ms]) times.sort((a, b) => a - b);
  return findings;
}

function isUntouched(each: Watched): boolean {
  const isClean = each.outcomes.length > 0 && each.outcomes.every((outcome) => CLEAN.includes(outcome ?? ''));
  return each.has_ended && each.state === 'completed' && isClean && each.end_causes.every((cause) => cause === null);
}

/** Who is due is looked at within so long, unless drover is suspended just then. */
const LOOK_MS = 1_000;

/**
 * Silence while nobody looked counts for nothing: the time starts anew when drover runs again. What was decided in the
 * first half of a suspension was decided just before it took hold.
 */
function dueAt(last_at: number, allowed_ms: number, decided_at: number, suspensions: readonly Suspension[]): number {
  let due = last_at + allowed_ms;
  for (const { from, to } of suspensions)
    if (from < due + LOOK_MS && to > last_at && decided_at > (from + to) / 2) due = Math.max(due, to + allowed_ms);
  return due;
}
