import { afterAll, beforeAll, beforeEach, expect } from 'bun:test';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { MailRow } from '../../src/model/mail.ts';
import type { SessionRow } from '../../src/model/session.ts';
import type { TurnRow } from '../../src/model/turn.ts';
import { type Bench, droverBench, writeConfig } from '../support/drover.ts';
import { HARNESS_MODELS, type HarnessHome, makeHarnessHome } from '../support/harness-home.ts';
import { type HarnessId, installHarnesses } from '../support/harness-install.ts';
import { assertNoLeaks, leaksOf } from '../support/leaks.ts';
import { Script, type Step } from '../support/model/scenario.ts';
import { type ModelServer, type RecordedRequest, startModelServer, type TurnRequest } from '../support/model-server.ts';

/** An installation from an empty cache: about a gigabyte. */
const INSTALL_LIMIT_MS = 16 * 60_000;
const RUN_LIMIT_MS = 60_000;
/** More model calls than all tests of one file make. */
const CALLS = 2_000;

/** What `drover show --json` says; instants are ISO texts there. */
export interface Shown {
  session: Omit<SessionRow, 'resume_at'> & { resume_at: string | null };
  turns: Omit<TurnRow, 'marker'>[];
  mail: (Omit<MailRow, 'read_at'> & { direction: 'in' | 'out'; read_at: string | null })[];
  state_log: { from_state: string | null; to_state: string; reason: string | null }[];
}

export interface LoggedEvent {
  type: string;
  turn: number | null;
  data: Record<string, unknown>;
}

/** Short enough for a test and long enough for a loaded machine; the tests of timers set their own. */
const BASE_CONFIG = {
  turn: { backoff_ms: '1s', sigkill_delay_ms: '500ms' },
  profiles: {
    // What each CLI understands as "look, do not touch".
    careful: { permission_mode: 'default', allowed_tools: ['Read'] },
    'read-only': { permission_mode: 'read-only' },
    plan: { permission_mode: 'plan' },
  },
};

/**
 * One real CLI, driven through the real `bin/drover` and a supervisor of its own, in an environment made from nothing
 * whose only model is a script on loopback. Made before the first test of a file and taken down after the last; a
 * process that is then left fails the file.
 */
export class RealHarness {
  readonly id: HarnessId;
  #bench: Bench | null = null;
  #home: HarnessHome | null = null;
  #server: ModelServer | null = null;
  #script = new Script({ steps: [] });
  #from = 0;
  #names = 0;

  constructor(id: HarnessId) {
    this.id = id;
  }

  /** Registers the hooks of the test file. `env` is added to the user's environment. */
  static forThisFile(id: HarnessId, env: Record<string, string> = {}): RealHarness {
    const real = new RealHarness(id);
    beforeAll(() => real.#start(env), INSTALL_LIMIT_MS);
    beforeEach(() => {
      real.play([]);
      real.configure({});
    });
    afterAll(() => real.#end());
    return real;
  }

  async #start(env: Record<string, string>): Promise<void> {
    const { bin_dir } = await installHarnesses();
    this.#server = await startModelServer({
      steps: Array.from({ length: CALLS }, () => (request) => this.#script.take(request).step),
    });
    this.#home = makeHarnessHome(this.#server.url, bin_dir, [this.id]);
    this.#bench = droverBench({ root: this.home, env: { ...this.#home.env, ...env, HOME: this.home } });
    for (const [key, value] of Object.entries({ 'user.name': 'Scratch', 'user.email': 'scratch@localhost' })) {
      this.bench.git('config', key, value);
    }
  }

  async #end(): Promise<void> {
    await this.#bench?.down();
    await this.#server?.stop();
    if (this.#home === null) return;
    try {
      await assertNoLeaks(this.home, 5_000);
    } finally {
      for (const { pid } of leaksOf(this.home)) process.kill(pid, 'SIGKILL');
      this.#home.remove();
    }
  }

  get bench(): Bench {
    if (this.#bench === null) throw new Error(`${this.id} is not set up`);
    return this.#bench;
  }

  /** The scratch home; its path is in the environment of everything that belongs to this file. */
  get home(): string {
    return this.#home?.home ?? '';
  }

  get env(): Record<string, string> {
    return this.bench.env;
  }

  /** What the model says from now on; requests before this do not count any more. */
  play(steps: Step[]): void {
    this.#script = new Script({ steps, default_text: 'Nothing is left in the script.' });
    this.#from = this.#server?.requests.length ?? 0;
  }

  /** Every HTTP request since `play`. */
  get requests(): RecordedRequest[] {
    return this.#server?.requests.slice(this.#from) ?? [];
  }

  /** Requests for a model answer since `play`, in order. */
  get asked(): TurnRequest[] {
    return this.#server?.turns().filter((turn) => turn.index >= this.#from) ?? [];
  }

  /** Settings of the user over the suite's own; the supervisor takes them up by itself. */
  configure(change: { turn?: Record<string, unknown>; [key: string]: unknown }): void {
    writeConfig(this.home, { ...BASE_CONFIG, ...change, turn: { ...BASE_CONFIG.turn, ...change.turn } });
  }

  /** Writes a file of the user (path below the home). */
  writeHome(path: string, content: string): string {
    const full = join(this.home, path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, content);
    return full;
  }

  /** A text that nothing but the file it stands in contains. */
  fresh(prefix: string): string {
    this.#names += 1;
    return `${prefix}-${this.id}-${this.#names}`;
  }

  /** Slings `task`, given on standard input, to a new session and returns its name. */
  async sling(task: string, ...options: string[]): Promise<string> {
    const name = this.fresh('s');
    const args = ['sling', '-', '--harness', this.id, '--model', HARNESS_MODELS[this.id], '--name', name, ...options];
    const ran = await this.bench.run(args, { stdin: task });
    if (ran.code !== 0) throw new Error(`sling: exit ${ran.code}\n${ran.stdout}\n${ran.stderr}`);
    return name;
  }

  async show(name: string): Promise<Shown> {
    return this.bench.json<Record<string, unknown>>(this.#ofAnyRepository('show', name)) as unknown as Promise<Shown>;
  }

  /** From outside of every repository a name means whoever has it. */
  #ofAnyRepository(verb: string, name: string): string[] {
    return ['--project', this.bench.home, verb, name];
  }

  /** Waits until the session is over (or parked) and returns everything about it; fails with its log after a minute. */
  async over(name: string): Promise<Shown> {
    const wait = this.bench.run([...this.#ofAnyRepository('wait', name), '--quiet']);
    const isOver = await Promise.race([wait.then(() => true), Bun.sleep(RUN_LIMIT_MS).then(() => false)]);
    if (!isOver) throw new Error(`not over within ${RUN_LIMIT_MS} ms\n${await this.story(name)}`);
    return this.show(name);
  }

  /** Waits until `done` holds of what `drover show` says; fails with the session's log after a minute. */
  async when(name: string, done: (shown: Shown) => boolean): Promise<Shown> {
    const end = performance.now() + RUN_LIMIT_MS;
    for (;;) {
      const shown = await this.show(name);
      if (done(shown)) return shown;
      if (performance.now() > end) throw new Error(`waited in vain\n${await this.story(name)}`);
      // Every look is a process; the CLI under test needs the machine more.
      await Bun.sleep(150);
    }
  }

  /** What a person would need to see why a test failed. */
  async story(name: string): Promise<string> {
    const shown = await this.show(name);
    const turns = shown.turns.map((turn) => {
      const read = (file: string) => readFileSync(join(turn.dir, file), 'utf8').slice(-1500);
      return `turn ${turn.turn}: ${turn.outcome} (${turn.reason})\n${read('stdout.jsonl')}\n${read('stderr.log')}`;
    });
    const log = readFileSync(join(this.bench.drover_home, 'run/supervisor.log'), 'utf8').slice(-1500);
    const asked = this.requests.map((request) => `${request.method} ${request.path} ${request.outcome}`);
    return [`${name}: ${shown.session.state} (${shown.session.end_reason})`, ...turns, log, ...asked].join('\n');
  }

  /** Fails, with the whole story, unless the session is in `state` and its last turn ended as `outcome`. */
  async expectEnd(shown: Shown, state: string, outcome: string): Promise<void> {
    const last = shown.turns.at(-1);
    if (shown.session.state === state && last?.outcome === outcome) return;
    const story = await this.story(shown.session.id);
    expect(`${shown.session.state} by ${last?.outcome}\n${story}`).toBe(`${state} by ${outcome}`);
  }

  async events(name: string): Promise<LoggedEvent[]> {
    const ran = await this.bench.run([...this.#ofAnyRepository('logs', name), '--json']);
    return ran.stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
      .map((row) => ({ type: row.type, turn: row.turn, data: JSON.parse(row.data_json) }));
  }

  /** All texts of a request: system prompt and conversation. */
  said(request: TurnRequest | undefined): string {
    if (request === undefined) throw new Error('the model was not asked');
    return [request.model.system_text, ...request.model.texts.map((part) => part.text)].join('\n');
  }

  /** The part of a request that is the newest prompt of drover, as the model got it. */
  prompt(request: TurnRequest | undefined): string {
    const found = request?.model.texts.findLast(
      (part) => part.role === 'user' && part.text.startsWith('[drover] session'),
    );
    if (!found) throw new Error(`no prompt of ours begins with our line: ${this.said(request).slice(0, 2000)}`);
    return found.text;
  }

  /** Living processes of a session, by the variable that all descendants of its CLI inherit. */
  processesOf(session_id: string): { pid: number; command: string }[] {
    return leaksOf(`DROVER_SESSION_ID=${session_id}`);
  }
}

/** A tool call in words of no harness. */
export const shell = (command: string): Step => ({
  kind: 'tools',
  text: 'I run it.',
  calls: [{ verb: 'shell', command }],
});
export const say = (text: string): Step => ({ kind: 'text', text });
export const mcp = (tool: string, args: Record<string, unknown>): Step => ({
  kind: 'tools',
  text: 'I report.',
  calls: [{ verb: 'mcp', server: 'drover', tool, args }],
});
