import { homePaths } from '../model/home.ts';
import type { Deps } from '../session/deps.ts';
import { tellOperator } from '../session/tell-operator.ts';
import { leaseState } from '../store/turn.ts';
import { hasLiveSessions } from '../store/watched.ts';
import { isFlocked } from '../sys/flock.ts';
import { signal } from '../sys/identity.ts';
import { readPidLock } from '../sys/pid-file.ts';
import { ask } from '../sys/socket.ts';
import { Restarter } from './restarter.ts';

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
  readonly #restarter: Restarter;
  readonly #lock: string;
  #unanswered = 0;
  #isAsking = false;
  #hasReported = false;

  constructor(options: CompanionOptions) {
    const { deps, log, start_supervisor } = options;
    this.#options = options;
    this.#lock = homePaths.lock(deps.home, 'supervisor');
    this.#restarter = new Restarter({
      clock: deps.clock,
      start: async () => {
        log('the supervisor is gone, starting another one');
        await start_supervisor();
      },
      give_up: () =>
        tellOperator(deps, {
          subject: 'The supervisor does not stay up',
          body: `It ended again and again and is left down for a minute. Its log: ${homePaths.log(deps.home, 'supervisor')}`,
        }),
    });
  }

  /** Looks once; true when the supervisor has ended in good order. `doubts`: also asks whether it answers at all. */
  async look(doubts: { timeout_ms: number; is_awake: boolean } | null): Promise<boolean> {
    const { deps } = this.#options;
    const holds_lock = isFlocked(this.#lock);
    if (!holds_lock || doubts?.is_awake === false) this.#unanswered = 0;
    if (holds_lock && doubts !== null) this.#ask(doubts.timeout_ms);
    const lease = holds_lock ? 'taken' : await leaseState(deps.store);
    const has_work = !holds_lock && (await hasLiveSessions(deps.store));
    const act = superviseAct({ holds_lock, lease, has_work, unanswered: this.#unanswered });
    if (act === 'start') await this.#restarter.restart();
    if (act === 'report') await this.#report();
    if (act === 'kill') this.#kill();
    return act === 'left';
  }

  async ring(): Promise<void> {
    await ask(homePaths.socket(this.#options.deps.home), 'ring', 1_000);
  }

  /** In the background: an answer that does not come must not hold up a look. */
  #ask(timeout_ms: number): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    void ask(homePaths.socket(this.#options.deps.home), 'status', timeout_ms).then((reply) => {
      this.#isAsking = false;
      this.#unanswered = reply === null ? this.#unanswered + 1 : 0;
      if (reply !== null) this.#hasReported = false;
    });
  }

  async #report(): Promise<void> {
    if (this.#hasReported) return;
    this.#hasReported = true;
    const { deps, log } = this.#options;
    log(`the supervisor did not answer ${this.#unanswered} times`);
    await tellOperator(deps, {
      subject: 'The supervisor does not answer',
      body: `It holds its lock and did not answer ${this.#unanswered} times in a row; it is replaced if it stays so. Its log: ${homePaths.log(deps.home, 'supervisor')}`,
    });
  }

  /** It may be killed at any instruction (ARCHITECTURE §2); its turns go on, and the next one adopts them. */
  #kill(): void {
    const id = readPidLock(this.#lock);
    const { pid, start_time, boot_id } = id ?? {};
    if (pid == null || !start_time || !boot_id) return;
    const isSent = signal({ pid, start_time, boot_id }, 'SIGKILL');
    this.#options.log(`the supervisor ${pid} does not answer: ${isSent ? 'ended' : 'could not be ended'}`);
    this.#unanswered = 0;
  }
}
