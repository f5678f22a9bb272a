import type { Deps } from '../session/deps.ts';
import { tellOperator } from '../store/operator-mail.ts';
import type { TickReport } from './watcher.ts';

/** The supervisor reads and settles within a second: after so many looks at the same turn, and so long, it cannot. */
const PATIENCE = { looks: 6, ms: 120_000 };
/** One mail names them all; those that come later wait for the next one. */
const MAIL_EVERY_MS = 3_600_000;
const MAX_NAMES = 10;

interface Waiting {
  name: string;
  turn: number;
  evidence: string;
  looks: number;
  since: number;
  is_told: boolean;
}

/** Turns that only the supervisor can move on, and that wait for it at look after look: a person is told. */
export class Unsettled {
  readonly #deps: Pick<Deps, 'store' | 'clock'>;
  #waiting = new Map<string, Waiting>();
  #told_at = Number.NEGATIVE_INFINITY;

  constructor(deps: Pick<Deps, 'store' | 'clock'>) {
    this.#deps = deps;
  }

  /** After each look. True when the operator was told just now. */
  async tend(report: Pick<TickReport, 'findings' | 'left' | 'failures'>): Promise<boolean> {
    const now = this.#deps.clock.monotonic();
    this.#meet(report, now);
    const ripe = [...this.#waiting.values()].filter(
      ({ looks, since, is_told }) => !is_told && looks >= PATIENCE.looks && now - since >= PATIENCE.ms,
    );
    if (ripe.length === 0 || now - this.#told_at < MAIL_EVERY_MS) return false;
    await tellOperator(this.#deps.store, mailAbout(ripe), this.#deps.clock.now());
    this.#told_at = now;
    for (const each of ripe) each.is_told = true;
    return true;
  }

  #meet({ findings, left, failures }: Pick<TickReport, 'findings' | 'left' | 'failures'>, now: number): void {
    const before = this.#waiting;
    // What a look left out is not settled for that.
    this.#waiting = left === 0 && failures.length === 0 ? new Map() : new Map(before);
    for (const { session_id, name, turn, health, act, evidence } of findings) {
      // Its process is gone; or there is nothing to say of it but that the supervisor has to look.
      const isTheirs = health === 'dead' || (health === 'ok' && act === 'none');
      if (!isTheirs) continue;
      const key = `${session_id}:${turn}`;
      const known = before.get(key) ?? { name, turn, evidence, looks: 0, since: now, is_told: false };
      this.#waiting.set(key, { ...known, evidence, looks: known.looks + 1 });
    }
  }
}

function mailAbout(all: readonly Waiting[]): { subject: string; body: string } {
  const names = all.slice(0, MAX_NAMES).map(({ name, turn, evidence }) => `- ${name}, turn ${turn}: ${evidence}`);
  if (all.length > MAX_NAMES) names.push(`- and ${all.length - MAX_NAMES} more`);
  return {
    subject: all.length === 1 ? 'A turn is not settled' : `${all.length} turns are not settled`,
    body: `The supervisor was told so again and again and did nothing:\n\n${names.join('\n')}\n\nIts log says what keeps it from that; \`drover doctor\` looks for known causes.`,
  };
}
