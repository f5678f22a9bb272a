import type { SessionRow } from '../model/session.ts';
import type { TurnRow } from '../model/turn.ts';
import type { Store } from './store.ts';
import { transition } from './transition.ts';
import { appendVerdict } from './verdict.ts';

/** What the processes of one turn in flight were seen to use. */
export interface UsageSample {
  session_id: string;
  turn: number;
  peak_memory_bytes: number;
  cpu_ms: number;
}

/** What it takes to measure a turn in flight and to judge it. */
export type Measurable = Pick<TurnRow, 'session_id' | 'turn' | 'dir' | 'pid' | 'pid_start_time' | 'boot_id'> &
  Pick<SessionRow, 'name' | 'repo_root'>;

/** The turns in flight, without their long columns: this is asked every few seconds. */
export async function turnsToMeasure(store: Store): Promise<Measurable[]> {
  return store.read((tx) =>
    tx.all<Measurable>(
      `SELECT t.session_id, t.turn, t.dir, t.pid, t.pid_start_time, t.boot_id, s.name, s.repo_root
       FROM turns AS t JOIN sessions AS s ON s.id = t.session_id WHERE t.ended_at IS NULL`,
    ),
  );
}

/** Smaller news are not worth a write. */
const NEWS = { memory_bytes: 1_048_576, cpu_ms: 1_000 };

const IS_NEWS = `session_id = :session_id AND turn = :turn AND ended_at IS NULL
  AND (:peak_memory_bytes > peak_memory_bytes + ${NEWS.memory_bytes} OR :cpu_ms > cpu_ms + ${NEWS.cpu_ms})`;

/**
 * Raises the marks of turns in flight, in one transaction, and in none when nothing has grown by more than 1 MiB or 1 s;
 * they never fall. Turns that have ended stay as they are. Returns how many rows were written.
 */
export async function recordSample(store: Store, samples: readonly UsageSample[]): Promise<number> {
  const news = await store.read((tx) =>
    samples.filter((sample) => tx.get(`SELECT 1 FROM turns WHERE ${IS_NEWS}`, { ...sample }) !== null),
  );
  if (news.length === 0) return 0;
  return store.write((tx) => {
    const raise = `UPDATE turns SET peak_memory_bytes = max(peak_memory_bytes, :peak_memory_bytes),
      cpu_ms = max(cpu_ms, :cpu_ms) WHERE ${IS_NEWS}`;
    return news.reduce((sum, sample) => sum + tx.run(raise, { ...sample }), 0);
  });
}

/**
 * A turn whose processes outgrew the cap: its session is parked (`budget`) and the turn marked to be ended, in one
 * transaction with the verdict and before any signal is sent. It stays parked until a person resumes it; the next turn's
 * brief says why. Returns that sentence; null: the turn is over, or somebody has decided to end it before.
 */
export async function parkForMemory(
  store: Store,
  input: { session_id: string; turn: number; rss_bytes: number; cap_bytes: number; now: number },
): Promise<string | null> {
  const { session_id, turn, rss_bytes, cap_bytes, now } = input;
  const text = `its processes used ${megabytes(rss_bytes)} of memory, limits.memory_mb allows ${megabytes(cap_bytes)}`;
  return store.write((tx) => {
    const open = `session_id = :session_id AND turn = :turn AND ended_at IS NULL AND end_cause IS NULL`;
    if (tx.get(`SELECT 1 FROM turns WHERE ${open}`, { session_id, turn }) === null) return null;
    const moved = transition(tx, {
      ...{ session_id, event: 'park', actor: 'watchdog', reason: text, fence: turn, now },
      set: {
        parked_reason: 'budget',
        parked_evidence: JSON.stringify({ kind: 'memory', text, rss_bytes, cap_bytes }),
        ...{ resume_at: null, parked_pool: null, interrupt_reason: text },
      },
    });
    if (!moved.ok) return null;
    tx.run(
      `UPDATE turns SET end_cause = 'pause', peak_memory_bytes = max(peak_memory_bytes, :rss_bytes) WHERE ${open}`,
      { session_id, turn, rss_bytes },
    );
    appendVerdict(tx, {
      ...{ session_id, turn, judged_by: 'watchdog', tier: 0, health: 'stuck', cause: 'memory', act: 'end' },
      ...{ level: moved.row.escalation_level, evidence: text, at: now },
      facts_json: JSON.stringify({ rss_bytes }),
      limits_json: JSON.stringify({ memory_bytes: cap_bytes }),
    });
    return text;
  });
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_048_576)} MB`;
}
