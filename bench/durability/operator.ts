import type { Dice } from './dice.ts';
import type { CampaignHome } from './home.ts';

/** Exit code of a program that SIGKILL ended. */
const KILLED = 137;

/** What drover has acknowledged to the operator: an id on standard output, or exit code 0. */
export interface Ledger {
  tasks: string[];
  mails: string[];
  /** Verbs that were killed before their end. */
  cut: number;
  verbs: number;
  /** What nobody should ever see. */
  bugs: string[];
}

interface Session {
  id: string;
  name: string;
  state: string;
}

/** A person who slings, writes, nudges, looks, and brings the dead back; any verb of hers may be killed. */
export class Operator {
  readonly ledger: Ledger = { tasks: [], mails: [], cut: 0, verbs: 0, bugs: [] };
  readonly #home: CampaignHome;
  readonly #dice: Dice;
  #tasks = 0;
  #letters = 0;

  constructor(home: CampaignHome, dice: Dice) {
    this.#home = home;
    this.#dice = dice;
  }

  get slung(): number {
    return this.#tasks;
  }

  /**
   * One session more. Every third stays on and reads mail. `cut_ms`: kill the verb after that long. A verb that was cut
   * before it said anything has promised nothing.
   */
  async sling(cut_ms?: number): Promise<void> {
    const number = this.#tasks;
    this.#tasks += 1;
    const [token, name] = [`tok-t-${number}`, `s${number}`];
    const role = number % 3 === 0 ? 'monitor' : 'solo';
    const args = ['sling', '--harness', 'fake', '--role', role, '--name', name, '--quiet', `Mend fence ${token}`];
    if (await this.#verb(args, cut_ms)) this.ledger.tasks.push(token);
    if (role === 'monitor') this.#home.addPeer(name);
  }

  async mail(cut_ms?: number): Promise<void> {
    const peer = this.#peer();
    if (peer === null) return this.look(cut_ms);
    const token = `tok-o-${this.#letters}`;
    this.#letters += 1;
    const args = ['mail', 'send', '--to', peer, '--subject', 'news', '--body', token, '--quiet'];
    if (await this.#verb(args, cut_ms)) this.ledger.mails.push(token);
  }

  /** A nudge is mail, but it dies with its session: its word counts only when it is read twice. */
  async nudge(cut_ms?: number): Promise<void> {
    const peer = this.#peer();
    if (peer === null) return this.look(cut_ms);
    this.#letters += 1;
    await this.#verb(['nudge', peer, `tok-n-${this.#letters}`, '--quiet'], cut_ms);
  }

  async look(cut_ms?: number): Promise<void> {
    await this.#verb(['status', '--json'], cut_ms);
  }

  /** Brings back one session that died or failed and has no successor; false when there is none. */
  async revive(cut_ms?: number): Promise<boolean> {
    const dead = this.dead();
    const one = this.#dice.pick(dead);
    if (one === null) return false;
    await this.#verb([one.state === 'zombie' ? 'recover' : 'resume', one.id, '--quiet'], cut_ms);
    return true;
  }

  dead(): Session[] {
    if (!this.#home.hasTables()) return [];
    return this.#home.rows<Session>(
      `SELECT id, name, state FROM sessions AS s WHERE state IN ('zombie', 'failed')
         AND NOT EXISTS (SELECT 1 FROM sessions WHERE recovered_from = s.id)
         AND NOT EXISTS (SELECT 1 FROM turns WHERE session_id = s.id AND ended_at IS NULL)`,
    );
  }

  /** Whatever comes next. */
  async act(cut_ms?: number): Promise<void> {
    const roll = this.#dice.roll(10);
    if (roll < 3 && (await this.revive(cut_ms))) return;
    if (roll < 7) return this.mail(cut_ms);
    if (roll < 9) return this.nudge(cut_ms);
    return this.look(cut_ms);
  }

  #peer(): string | null {
    if (!this.#home.hasTables()) return null;
    const rows = this.#home.rows<Session>(
      "SELECT name FROM sessions WHERE ended_at IS NULL AND role = 'monitor' ORDER BY created_at",
    );
    return this.#dice.pick(rows)?.name ?? null;
  }

  async #verb(args: string[], cut_ms: number | undefined): Promise<boolean> {
    this.ledger.verbs += 1;
    const running = this.#home.start(args);
    if (cut_ms !== undefined) {
      await Promise.race([Bun.sleep(cut_ms), running.ended]);
      running.kill();
    }
    const ran = await running.ended;
    if (ran.code === KILLED) this.ledger.cut += 1;
    if (ran.code === 70) this.ledger.bugs.push(`${args.join(' ')}: ${ran.stderr.slice(0, 400)}`);
    // Who has read the id may count on it, even if the verb died right after saying it.
    return ran.code === 0 || /^(?:agent|mail)-\S+\n/.test(ran.stdout);
  }
}
