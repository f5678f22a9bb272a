import { type Config, DEFAULT_CONFIG } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import { homePaths, projectConfigPath, userConfigPath } from '../model/home.ts';
import { isInFlight, type SessionRow } from '../model/session.ts';
import type { Health } from '../model/verdict.ts';
import type { Deps } from '../session/deps.ts';
import type { Store } from '../store/store.ts';
import type { latestVerdicts } from '../store/verdict.ts';
import { systemClock } from '../sys/clock.ts';
import { liveness } from '../sys/identity.ts';
import { readPidLock, silentSince } from '../sys/pid-file.ts';
import { readTextIfExists } from '../sys/read-text.ts';
import type { Context } from './context.ts';

/** An answer that takes longer is none: a busy supervisor says a word within milliseconds. */
const ANSWER_MS = 2_000;

type Columns = 'id' | 'state' | 'turn' | 'repo_root' | 'ended_at' | 'last_activity_at' | 'updated_at';
type Row = Pick<SessionRow, Columns>;

/** In words, for one row of a list. */
type HealthWord = Health | 'held' | 'unknown' | '-';

/** How sessions are, and who says so. */
interface Examined {
  /** By session id. */
  healths: Map<string, HealthWord>;
  /** Since when a gate judges the turns of those that it judges; wall ms by session id. */
  gated: Map<string, number>;
  /** `silent`: it does not answer. Asked only when something is in flight or queued. */
  supervisor: 'up' | 'silent' | 'down';
  disk_low: boolean;
  /** Wall ms; null: no watchdog is up, or it gives signs of life, or nothing is in flight. */
  watchdog_silent_since: number | null;
}

type Judged = Awaited<ReturnType<typeof latestVerdicts>>;

/** What a person wants to know first: is it well? What costs is loaded and asked only when something is in flight. */
export class HealthDesk {
  readonly #context: Context;
  readonly #store: Store | null;
  #config_for: Deps['config_for'] | null = null;

  constructor(context: Context, store: Store | null) {
    this.#context = context;
    this.#store = store;
  }

  async examine(rows: readonly Row[], now: number): Promise<Examined> {
    const { home, globals } = this.#context;
    const flying = rows.filter((row) => isInFlight(row.state));
    const isAsked = globals.json || rows.some((row) => row.ended_at === null);
    const isUp = isAsked && isAlive(home, 'supervisor');
    const isBusy = flying.length > 0 || rows.some((row) => row.state === 'queued');
    const answer = isUp && isBusy ? await this.#ask() : {};
    const supervisor = !isUp ? 'down' : answer === null ? 'silent' : 'up';
    const watchdog_silent_since =
      flying.length > 0 && isAlive(home, 'watchdog') ? silentSince(homePaths.lock(home, 'watchdog'), now) : null;
    const isKnown = supervisor === 'up' && watchdog_silent_since === null;
    const judged = isKnown ? await this.#judged(flying) : new Map();
    const gated = await this.#gated(flying);
    const healths = new Map<string, HealthWord>();
    for (const row of rows) {
      const isFlying = isInFlight(row.state);
      const limits = isFlying && isKnown ? await this.#limitsOf(row.repo_root) : DEFAULT_CONFIG.watchdog;
      healths.set(row.id, isFlying && !isKnown ? 'unknown' : healthOf(row, { now, judged, gated, limits }));
    }
    return { healths, gated, supervisor, disk_low: answer?.disk_low ?? false, watchdog_silent_since };
  }

  /** What the supervisor says of itself; only it knows whether it holds turns back. null: it does not answer. */
  async #ask(): Promise<{ disk_low?: boolean } | null> {
    const { ask } = await import('../sys/socket.ts');
    const reply = await ask(homePaths.socket(this.#context.home), 'status', ANSWER_MS);
    return reply === null ? null : (JSON.parse(reply) as { disk_low?: boolean });
  }

  /** What the watchdog said last. */
  async #judged(flying: readonly Row[]): Promise<Judged> {
    if (this.#store === null || flying.length === 0) return new Map();
    const ids = flying.map((row) => row.id);
    return (await import('../store/verdict.ts')).latestVerdicts(this.#store, ids);
  }

  async #gated(flying: readonly Row[]): Promise<Map<string, number>> {
    if (this.#store === null || flying.length === 0) return new Map();
    const ids = flying.map((row) => row.id);
    return (await import('../store/gate-list.ts')).gatedSince(this.#store, ids);
  }

  /** The thresholds by which its watchdog judges it; broken settings stand aside for the defaults, as they do there. */
  async #limitsOf(repo_root: string): Promise<Config['watchdog']> {
    const { env } = this.#context;
    // The schema costs as much as the rest of the verb.
    if (![userConfigPath(env), projectConfigPath(repo_root)].some(maySetAges)) return DEFAULT_CONFIG.watchdog;
    if (this.#config_for === null) {
      const { cachedConfig } = await import('../session/config-cache.ts');
      this.#config_for = cachedConfig({ clock: systemClock, env, log: () => undefined }).for;
    }
    return (await this.#config_for(repo_root)).watchdog;
  }
}

/** A line outside of comments that names a threshold. */
const AGES = /^(?!\s*#).*(stale|zombie)_ms/m;

/** False: the file is not there, or leaves the thresholds alone, be it well or broken. */
function maySetAges(file: string): boolean {
  try {
    return AGES.test(readTextIfExists(file) ?? '');
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return true;
  }
}

/** By the lock's content, which informs; asking the kernel would load bindings that cost as much as the rest of the verb. */
function isAlive(home: string, name: 'supervisor' | 'watchdog'): boolean {
  return liveness(readPidLock(homePaths.lock(home, name))) === 'alive';
}

/** The watchdog's newest word about this turn, unless it was about silence and something was said since; else by its age. */
function healthOf(
  row: Row,
  about: { now: number; judged: Judged; gated: ReadonlyMap<string, number>; limits: Config['watchdog'] },
): HealthWord {
  const { now, judged, gated, limits } = about;
  if (row.state === 'parked') return 'held';
  if (row.state === 'zombie') return 'dead';
  if (row.ended_at !== null) return '-';
  if (!isInFlight(row.state)) return 'ok';
  const spoken_at = row.last_activity_at ?? row.updated_at;
  const last = judged.get(row.id);
  if (last?.turn === row.turn && last.health !== 'ok' && (last.health === 'looping' || last.at >= spoken_at))
    return last.health;
  // Its harness has ended, and nobody speaks while a gate judges what it has left.
  if (gated.has(row.id)) return 'ok';
  const silence = now - spoken_at;
  if (silence > limits.zombie_ms) return 'stuck';
  return row.state === 'stalled' || silence > limits.stale_ms ? 'late' : 'ok';
}
