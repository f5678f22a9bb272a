import { homePaths } from '../../src/model/home.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import type { Dice } from './dice.ts';
import type { CampaignHome } from './home.ts';
import type { Operator } from './operator.ts';
import { lockOwner, slay } from './processes.ts';

export const VICTIMS = ['supervisor', 'supervisor at the gate', 'watchdog', 'launcher', 'harness', 'cli'] as const;
export type Victim = (typeof VICTIMS)[number];

/** Out of a hundred kills; what cannot be found leaves its place to the others. */
const SHARES: Record<Victim, number> = {
  supervisor: 18,
  'supervisor at the gate': 18,
  watchdog: 10,
  launcher: 14,
  harness: 16,
  cli: 24,
};
const CUT_MS = 150;
/** Within this a supervisor that has something to write stands at the closed gate. */
const GATE_MS = 40;

/** Whose verbs are killed in the middle. */
type Interrupted = Pick<Operator, 'act' | 'ledger'>;

/** Kills at random, each victim by its full identity. */
export class Nemesis {
  readonly killed: Record<Victim, number> = {
    ...{ supervisor: 0, 'supervisor at the gate': 0, watchdog: 0, launcher: 0, harness: 0, cli: 0 },
  };
  readonly #home: CampaignHome;
  readonly #dice: Dice;
  readonly #operator: Interrupted;

  constructor(home: CampaignHome, dice: Dice, operator: Interrupted) {
    this.#home = home;
    this.#dice = dice;
    this.#operator = operator;
  }

  get kills(): number {
    return Object.values(this.killed).reduce((sum, n) => sum + n, 0);
  }

  /** One kill; false when the chosen victim was not there. */
  async strike(): Promise<boolean> {
    const victim = this.#choose();
    const hit = await this.#kill(victim);
    if (hit) this.killed[victim] += 1;
    return hit;
  }

  #choose(): Victim {
    let roll = this.#dice.roll(100);
    for (const victim of VICTIMS) {
      if (roll < SHARES[victim]) return victim;
      roll -= SHARES[victim];
    }
    return 'cli';
  }

  async #kill(victim: Victim): Promise<boolean> {
    switch (victim) {
      case 'supervisor':
        return this.#killOwner(victim);
      case 'watchdog':
        return this.#killOwner(victim) || this.#startWatchdog();
      case 'supervisor at the gate':
        return this.#killAtGate();
      case 'launcher':
      case 'harness': {
        const found = this.#home.processes().filter(({ kind }) => kind === victim);
        const one = this.#dice.pick(found);
        return one !== null && slay(one.identity);
      }
      case 'cli': {
        const { cut } = this.#operator.ledger;
        await this.#operator.act(this.#dice.roll(CUT_MS));
        return this.#operator.ledger.cut > cut;
      }
    }
  }

  #killOwner(name: 'supervisor' | 'watchdog'): boolean {
    const owner = lockOwner(homePaths.lock(this.#home.state, name));
    return owner !== null && slay(owner);
  }

  /** Supervisors that live for a moment only start none: then a person does. It is killed another time. */
  async #startWatchdog(): Promise<false> {
    await this.#home.run(['watch', '--background', '--quiet']);
    return false;
  }

  /**
   * Holds the gate in front of all writes for a moment, as a slow verb would, and kills the supervisor meanwhile: it
   * falls between two of its transactions rather than anywhere.
   */
  async #killAtGate(): Promise<boolean> {
    const gate = openWriteGate(homePaths.gate(this.#home.state));
    try {
      let leave = gate.tryEnter();
      for (let tries = 0; leave === null && tries < 200; tries += 1) {
        await Bun.sleep(1);
        leave = gate.tryEnter();
      }
      if (leave === null) return false;
      await Bun.sleep(5 + this.#dice.roll(GATE_MS));
      const hit = this.#killOwner('supervisor');
      leave();
      return hit;
    } finally {
      gate.close();
    }
  }
}
