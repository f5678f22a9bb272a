import { appendFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Dice } from '../durability/dice.ts';
import type { CampaignHome, Ran } from '../durability/home.ts';
import type { Ledger } from '../durability/operator.ts';
import { slay } from '../durability/processes.ts';
import { gitText } from './repository.ts';

/** Exit code of a program that SIGKILL ended. */
const KILLED = 137;
/** What nobody may ever see: a defect of drover's, or a verb that does not know what it was asked. */
const BUGS = [70, 2];

interface Session {
  id: string;
  name: string;
  state: string;
}

export interface OperatorOptions {
  /** Sessions that are alive at the same time. */
  live: number;
  /** Sessions at most. */
  sessions: number;
  /** They come one after the other over this time, unless there are always new ones. */
  duration_ms: number;
}

/**
 * Somebody who keeps a number of sessions at work on one repository, merges all the time, settles what is in the way, and
 * writes lines of her own on the target branch. Any verb of hers may be killed.
 */
export class LinesOperator {
  readonly ledger: Ledger = { tasks: [], mails: [], cut: 0, verbs: 0, bugs: [] };
  /** How the verbs ended, by verb, exit code and error. */
  readonly codes: Record<string, number> = {};
  rebased = 0;
  slung = 0;
  readonly #home: CampaignHome;
  readonly #dice: Dice;
  readonly #options: OperatorOptions;
  #own = 0;
  /** Sessions that the last run of the queue could not merge because of what they are. */
  #waiting: readonly string[] = [];
  readonly #start = performance.now();

  constructor(home: CampaignHome, dice: Dice, options: OperatorOptions) {
    this.#home = home;
    this.#dice = dice;
    this.#options = options;
  }

  /** One session more, if there is room. Every third stays on and takes mail; the others are done when they say so. */
  async sling(cut_ms?: number): Promise<boolean> {
    const { live, sessions, duration_ms } = this.#options;
    const due = live / 2 + (sessions * (performance.now() - this.#start)) / duration_ms;
    if (this.slung >= Math.min(sessions, due)) return false;
    if (this.#rows('SELECT 1 FROM sessions WHERE ended_at IS NULL').length >= live) return false;
    // Who only waits to be merged takes a place as well, or the queue would grow without end.
    if (this.#rows(UNMERGED).length >= 2 * live) return false;
    const name = `l${this.slung}`;
    const role = this.slung % 3 === 0 ? 'monitor' : 'builder';
    this.slung += 1;
    await this.verb(
      ['sling', '--harness', 'lines', '--role', role, '--worktree', '--name', name, '--quiet', 'Write lines'],
      cut_ms,
    );
    return true;
  }

  /** The queue; now and then also of those that have ended in another way than completed, or a rebase instead. */
  merge(cut_ms?: number): Promise<Ran> {
    const one = this.#dice.roll(4) === 0 ? this.#dice.pick(this.#ended()) : null;
    if (one !== null) return this.verb(['rebase', one.id, '--json'], cut_ms);
    return this.verb(['merge', '--queue', ...(this.#dice.roll(4) === 0 ? ['--all-ended'] : []), '--json'], cut_ms);
  }

  /** Whatever is to be done: one of the chores at random. */
  async act(cut_ms?: number): Promise<void> {
    const chores = [
      () => this.merge(cut_ms),
      () => this.write(),
      ...this.chores(true).map((chore) => () => this.verb(chore, cut_ms)),
    ];
    await this.#dice.pick(chores)?.();
  }

  /** What waits for a person. With `more`, also what keeps the sessions busy. */
  chores(more: boolean): string[][] {
    const parked = this.#rows<Session>(
      `SELECT id, name, state FROM sessions AS s WHERE state = 'parked'
         AND NOT EXISTS (SELECT 1 FROM incidents WHERE paused_session_id = s.id AND resolved_at IS NULL)`,
    );
    return [
      ...this.#incidents().map((id) => ['incident', 'resolve', id, 'both go on', '--quiet']),
      ...parked.map(({ id }) => ['resume', id, '--text', SETTLE, '--quiet']),
      ...this.#dead().map(({ id, state }) => [state === 'zombie' ? 'recover' : 'resume', id, '--quiet']),
      ...this.#stuck().map(({ id }) => ['recover', id, '--text', SETTLE, '--quiet']),
      ...this.#stopped().map(({ id }) => ['merge', id, '--json']),
      ...(more ? this.#monitors().map((each) => this.#busy(each)) : []),
    ];
  }

  /** A line of her own, committed on the target in her checkout; now and then she takes her time. */
  async write(): Promise<void> {
    const token = this.leave(this.#home.repo, `src/f${1 + this.#dice.roll(3)}.txt`);
    if (this.#dice.roll(2) === 0) await Bun.sleep(this.#dice.roll(400));
    try {
      gitText(this.#home, ['commit', '-q', '-a', '-m', 'a line of her own']);
      this.#note(`committed person 0 - ${token}`);
    } catch (error) {
      // Somebody has the index: it goes with the next one.
      this.#note(`put off: ${error instanceof Error ? error.message.split('\n')[0] : ''}`);
    }
  }

  /** A line of hers in a file of some checkout, and nothing more; its token. */
  leave(checkout: string, file: string): string {
    const token = `ln-person-0-${process.pid}-${this.#own}`;
    this.#own += 1;
    mkdirSync(dirname(join(checkout, file)), { recursive: true });
    appendFileSync(join(checkout, file), `${token} of the person\n`);
    this.#note(`wrote person 0 ${token} ${file}`);
    return token;
  }

  async verb(args: string[], cut_ms?: number): Promise<Ran> {
    this.ledger.verbs += 1;
    const running = this.#home.start(args);
    if (cut_ms !== undefined) {
      await Promise.race([Bun.sleep(cut_ms), running.ended]);
      // Half the time what it has started dies with it, as when the machine does.
      const children = this.#dice.roll(2) === 0 ? this.#home.processes() : [];
      running.kill();
      for (const { identity, parent } of children) if (parent === running.pid) slay(identity);
    }
    const ran = await running.ended;
    const key = `${args[0]} ${ran.code} ${ran.code === 0 ? '' : errorCode(ran)}`.trim();
    this.codes[key] = (this.codes[key] ?? 0) + 1;
    if (ran.code === KILLED) this.ledger.cut += 1;
    if (BUGS.includes(ran.code))
      this.ledger.bugs.push(`${args.join(' ')}: ${(ran.stderr || ran.stdout).slice(0, 400)}`);
    if (args[0] === 'rebase' && ran.code === 0 && !ran.stdout.includes('"already_up_to_date":true')) this.rebased += 1;
    if (args[0] === 'merge' && args[1] === '--queue') this.#learn(ran.stdout);
    return ran;
  }

  /** Mail for more work, mostly; sometimes its day is over, and its branch can be merged. */
  #busy({ id, name }: Session): string[] {
    if (this.#dice.roll(6) === 0) return ['stop', id, '--quiet'];
    return ['mail', 'send', '--to', name, '--subject', 'more', '--body', 'More lines', '--quiet'];
  }

  #monitors(): Session[] {
    return this.#rows("SELECT id, name, state FROM sessions WHERE state = 'idle' AND role = 'monitor'");
  }

  #incidents(): string[] {
    return this.#rows<{ id: string }>('SELECT id FROM incidents WHERE resolved_at IS NULL').map(({ id }) => id);
  }

  #dead(): Session[] {
    return this.#rows(
      `SELECT id, name, state FROM sessions AS s WHERE state IN ('zombie', 'failed') AND ${LAST}
         AND NOT EXISTS (SELECT 1 FROM turns WHERE session_id = s.id AND ended_at IS NULL)`,
    );
  }

  /** Done, but not to be brought together with the target as they are: the queue says so, or what it has stored. */
  #stuck(): Session[] {
    const ended = this.#rows<Session & { held: number }>(
      `SELECT id, name, state, coalesce((SELECT outcome FROM merges WHERE session_id = s.id ORDER BY seq DESC LIMIT 1)
           IN ('conflict', 'gate'), 0) AS held
         FROM sessions AS s WHERE state IN ('completed', 'stopped') AND merged_at IS NULL
         AND worktree_path IS NOT NULL AND ${LAST}`,
    );
    return ended.filter(({ id, held }) => held === 1 || this.#waiting.includes(id));
  }

  #learn(stdout: string): void {
    const answer = queueAnswer(stdout);
    if (answer === null) return;
    this.rebased += answer.rebased.length;
    this.#waiting = answer.waiting;
  }

  #ended(): Session[] {
    return this.#rows(
      `SELECT id, name, state FROM sessions AS s WHERE ended_at IS NOT NULL AND merged_at IS NULL
         AND worktree_path IS NOT NULL AND ${LAST}`,
    );
  }

  /** The queue passes over those that are not completed: they are merged by name, each once. */
  #stopped(): Session[] {
    return this.#rows(
      `SELECT id, name, state FROM sessions AS s WHERE state = 'stopped' AND merged_at IS NULL AND worktree_path IS NOT NULL
         AND ${LAST} AND NOT EXISTS (SELECT 1 FROM merges WHERE session_id = s.id)`,
    );
  }

  #note(line: string): void {
    appendFileSync(join(this.#home.dir, 'ledger'), `${line}\n`);
  }

  #rows<Row = object>(sql: string): Row[] {
    return this.#home.hasTables() ? this.#home.rows<Row>(sql) : [];
  }
}

/** The harness of the campaign knows the word. */
const SETTLE = 'settle-with-main';
const UNMERGED = 'SELECT 1 FROM sessions WHERE worktree_path IS NOT NULL AND merged_at IS NULL';
const LAST = 'NOT EXISTS (SELECT 1 FROM sessions WHERE recovered_from = s.id)';

/** `[live_owner]` of a message for people, `"code": "live_owner"` of one for programs. */
function errorCode({ stdout, stderr }: Ran): string {
  return /\[([a-z_]+)\]/.exec(stderr)?.[1] ?? /"code": ?"([a-z_]+)"/.exec(`${stderr}${stdout}`)?.[1] ?? '';
}

/** What a run of the queue has said, of a verb that came to its end. */
function queueAnswer(stdout: string): { rebased: unknown[]; waiting: string[] } | null {
  try {
    const { rebased, conflicted_session_ids: conflicted, dirty_worktree_ids: dirty } = JSON.parse(stdout);
    if (![rebased, conflicted, dirty].every(Array.isArray)) return null;
    return { rebased, waiting: [...conflicted, ...dirty].map(String) };
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
