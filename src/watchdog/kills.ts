import type { Clock } from '../model/clock.ts';
import type { TurnRow } from '../model/turn.ts';
import { endTree } from '../session/end-tree.ts';

/** Each looks through all processes again and again: a few at a time. */
const AT_ONCE = 4;

/**
 * The ends of process trees, in the background: a kill may take seconds, and a look must not outlast its interval. What is
 * cut off with us is ended by the supervisor, which finds the turn marked.
 */
export class Kills {
  readonly #clock: Clock;
  readonly #log: (line: string) => void;
  readonly #waiting: { turn: TurnRow; grace_ms: number }[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #known = new Set<string>();

  constructor(clock: Clock, log: (line: string) => void) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Ends every process of a turn; asked again meanwhile, it is still one end. */
  add(turn: TurnRow, grace_ms: number): void {
    const key = `${turn.session_id}:${turn.turn}`;
    if (this.#known.has(key)) return;
    this.#known.add(key);
    this.#waiting.push({ turn, grace_ms });
    this.#go();
  }

  /** Resolves when everything asked for is done. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #go(): void {
    while (this.#running.size < AT_ONCE) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      const work = this.#end(next.turn, next.grace_ms).finally(() => {
        this.#running.delete(work);
        this.#known.delete(`${next.turn.session_id}:${next.turn.turn}`);
        this.#go();
      });
      this.#running.add(work);
    }
  }

  async #end(turn: TurnRow, grace_ms: number): Promise<void> {
    const what = `${turn.session_id} turn ${turn.turn}`;
    try {
      const tree = await endTree({ clock: this.#clock }, turn, grace_ms);
      const left = tree.survivors.map(({ pid }) => pid).join(', ');
      this.#log(`${what}: ${tree.killed.length} processes ended${tree.proven_empty ? '' : `, NOT gone: ${left}`}`);
    } catch (error) {
      // The supervisor ends it as well; a watchdog that stumbles over one tree must go on watching the others.
      this.#log(`${what}: its processes could not be ended: ${error}`);
    }
  }
}
