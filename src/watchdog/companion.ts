import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import type { Deps } from '../session/deps.ts';
import { tellOperator } from '../store/operator-mail.ts';
import { leaseState } from '../store/turn.ts';
import { hasLiveSessions } from '../store/watched.ts';
import { isFlocked } from '../sys/flock.ts';
import { killOwner, readPidLock } from '../sys/pid-file.ts';
import { ask } from '../sys/socket.ts';
import { KILLS } from './intensity.ts';
import { type Restarter, restarters } from './restarter.ts';

/** What is known of the supervisor; nothing here is an opinion. */
export interface SupervisorFacts {
  holds_lock: boolean;
  /** Its row: taken and not given back means that it did not end in good order. */
  lease: 'taken' | 'released' | 'never';
  /** Sessions live that nobody else would carry on. */
  has_work: boolean;
  /** Questions in a row that it did not answer in time. */
  unanswered: number;
}

/** After so many unanswered questions a hung supervisor is reported, and then ended so that a new one can adopt. */
const PATIENCE = { report: 3, kill: 6 };

/** A supervisor that starts holds its lock before it can be heard: for so long a refused question says nothing. */
const STARTUP_MS = 60_000;
/** Less of its time than this, and a question was refused rather than not answered. */
const WAITED_SHARE = 0.9;

/** `left`: it ended in good order. */
export type SupervisorAct = 'none' | 'start' | 'report' | 'kill' | 'left';

/** What to do about the supervisor, from facts alone. */
export function superviseAct({ holds_lock, lease, has_work, unanswered }: SupervisorFacts): SupervisorAct {
  if (holds_lock) {
    if (unanswered >= PATIENCE.kill) return 'kill';
    return unanswered === PATIENCE.report ? 'report' : 'none';
  }
  if (lease === 'released') return 'left';
  return has_work ? 'start' : 'none';
}

export interface CompanionOptions {
  deps: Deps;
  start_supervisor: () => Promise<void>;
  log: (line: string) => void;
}

/** The watchdog's eye on the supervisor (ARCHITECTURE §2). */
export class Companion {
  readonly #options: CompanionOptions;
  readonly #starter: Restarter;
  readonly #killer: Restarter;
  readonly #lock: string;
  readonly #log_path: string;
  #unanswered = 0;
  #isAsking = false;
  #hasReported = false;

  constructor(options: CompanionOptions) {
    const { deps, log, start_supervisor } = options;
    this.#options = options;
    this.#lock = homePaths.lock(deps.home, 'supervisor');
    this.#log_path = homePaths.log(deps.home, 'supervisor');
    const { starter, killer } = restarters({
      clock: deps.clock,
      start: async () => {
        log('the supervisor is gone, starting another one');
        await start_supervisor();
      },
      kill: async () => this.#kill(),
      tell: (what, body) => this.#tell(what, body),
    });
    this.#starter = starter;
    this.#killer = killer;
  }

  /** Looks once; true when the supervisor has ended in good order. `doubts`: also asks whether it answers at all. */
  async look(doubts: { timeout_ms: number; is_awake: boolean } | null): Promise<boolean> {
    const { deps } = this.#options;
    const holds_lock = isFlocked(this.#lock);
    if (!holds_lock || doubts?.is_awake === false) this.#unanswered = 0;
    if (holds_lock) this.#meet(readPidLock(this.#lock)?.pid ?? 0, doubts);
    const lease = holds_lock ? 'taken' : await leaseState(deps.store);
    const has_work = !holds_lock && (await hasLiveSessions(deps.store));
    const act = superviseAct({ holds_lock, lease, has_work, unanswered: this.#unanswered });
    if (act === 'start') this.#start();
    if (act === 'report') await this.#report();
    if (act === 'kill') await this.#killer.restart();
    return act === 'left';
  }

  async ring(): Promise<void> {
    await ask(homePaths.socket(this.#options.deps.home), 'ring', 1_000);
  }

  /** In the background: it may take many seconds, and a look that comes late would judge nobody. */
  #start(): void {
    this.#starter.restart().catch((error) => {
      if (!(error instanceof AppError)) throw error;
      this.#options.log(`supervisor: ${error.code}: ${error.message}`);
    });
  }

  #meet(pid: number, doubts: { timeout_ms: number } | null): void {
    const held_ms = this.#starter.sawWell(pid);
    if (doubts !== null && !this.#isAsking) this.#ask(pid, held_ms, doubts.timeout_ms);
  }

  /** In the background: an answer that does not come must not hold up a look. */
  #ask(pid: number, held_ms: number, timeout_ms: number): void {
    const { clock, home } = this.#options.deps;
    const asked = clock.monotonic();
    this.#isAsking = true;
    void ask(homePaths.socket(home), 'status', timeout_ms).then((reply) => {
      this.#isAsking = false;
      if (reply !== null) return this.#hear(pid);
      this.#killer.sawUnwell();
      const isRefused = clock.monotonic() - asked < timeout_ms * WAITED_SHARE;
      if (!isRefused || held_ms >= STARTUP_MS) this.#unanswered += 1;
    });
  }

  #hear(pid: number): void {
    this.#unanswered = 0;
    if (this.#killer.sawWell(pid) >= KILLS.within_ms) this.#hasReported = false;
  }

  async #report(): Promise<void> {
    if (this.#hasReported) return;
    const times = `${this.#unanswered} times`;
    this.#options.log(`the supervisor did not answer ${times}`);
    await this.#tell(
      'does not answer',
      `It holds its lock and did not answer ${times} in a row; it is replaced if it stays so.`,
    );
    this.#hasReported = true;
  }

  async #tell(what: string, body: string): Promise<void> {
    const { clock, store } = this.#options.deps;
    const mail = { subject: `The supervisor ${what}`, body: `${body} Its log: ${this.#log_path}` };
    await tellOperator(store, mail, clock.now());
  }

  /** It may be killed at any instruction (ARCHITECTURE §2); its turns go on, and the next one adopts them. */
  #kill(): void {
    this.#unanswered = 0;
    const pid = killOwner(this.#lock);
    const what = pid === null ? 'could not be ended: its lock proves nobody' : `was ended (pid ${pid})`;
    this.#options.log(`the supervisor does not answer and ${what}`);
  }
}
