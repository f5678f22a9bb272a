import { Database } from 'bun:sqlite';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { signal } from '../../src/sys/identity.ts';
import { CAMPAIGN_VARIABLE, type Found, processesOf } from './processes.ts';

const BIN = resolve(import.meta.dir, '../bin');

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** A verb that runs: `ended` never rejects. */
export interface Running {
  pid: number;
  kill(): void;
  ended: Promise<Ran>;
}

const homes = new Set<CampaignHome>();

/** Ends and removes everything that is still open. */
export async function closeHomes(): Promise<void> {
  for (const home of homes) await home.close();
}

/** A scratch home and repository for the drover of `package_dir`, with an environment made from nothing. */
export class CampaignHome {
  readonly package_dir: string;
  readonly dir: string;
  readonly repo: string;
  /** DROVER_HOME. */
  readonly state: string;
  readonly env: Record<string, string>;
  /** Every process that ever comes out of this home carries it in `CAMPAIGN_VARIABLE`. */
  readonly id: string;
  readonly #drover: string;
  #db: Database | null = null;

  constructor(package_dir: string, config: (home: CampaignHome) => unknown) {
    this.package_dir = package_dir;
    this.dir = realpathSync(mkdtempSync(join(tmpdir(), 'drover-campaign-')));
    this.repo = join(this.dir, 'repo');
    this.state = join(this.dir, 'state');
    this.id = this.dir;
    this.#drover = join(package_dir, 'bin/drover');
    const user = join(this.dir, 'user');
    for (const path of [this.repo, join(user, '.config/drover')]) mkdirSync(path, { recursive: true });
    this.env = {
      PATH: process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin',
      HOME: user,
      TERM: 'dumb',
      LANG: 'C.UTF-8',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_CONFIG_NOSYSTEM: '1',
      DROVER_HOME: this.state,
      [CAMPAIGN_VARIABLE]: this.id,
    };
    homes.add(this);
    writeFileSync(join(user, '.config/drover/config.yaml'), JSON.stringify(config(this)));
    for (const name of ['witness', 'peers']) writeFileSync(join(this.dir, name), '');
    const author = ['-c', 'user.name=campaign', '-c', 'user.email=campaign@localhost'];
    for (const args of [
      ['init', '-q'],
      [...author, 'commit', '-q', '--allow-empty', '-m', 'start'],
    ]) {
      const done = Bun.spawnSync(['git', '-C', this.repo, ...args], { env: this.env });
      if (done.exitCode !== 0) throw new Error(`git ${args.join(' ')}: ${done.stderr}`);
    }
  }

  /** A harness of the campaign's as the config wants it. */
  runner(program: string, args: string[] = [], env: Record<string, string> = {}) {
    return {
      program: join(BIN, program),
      base_args: args,
      event_format: 'ndjson',
      stdin_prompt: true,
      env: { CAMPAIGN_DIR: this.dir, [CAMPAIGN_VARIABLE]: this.id, ...env },
    };
  }

  start(args: string[]): Running {
    const child = Bun.spawn([this.#drover, ...args], {
      ...{ cwd: this.repo, env: this.env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
    });
    const ended = Promise.all([child.stdout.text(), child.stderr.text(), child.exited]).then(
      ([stdout, stderr, code]) => ({ code, stdout, stderr }),
    );
    return { pid: child.pid, kill: () => child.kill('SIGKILL'), ended };
  }

  run(args: string[]): Promise<Ran> {
    return this.start(args).ended;
  }

  /**
   * Takes drover down. A supervisor of a verb that was killed, or one that was begun on purpose, may come up only now: until it
   * has its lock, nobody hears, and while it is being started, it has no name.
   */
  async down(): Promise<void> {
    const end = performance.now() + 20_000;
    let quiet = 0;
    await this.run(['down', '--quiet']);
    while (quiet < 10 && performance.now() < end) {
      const left = this.processes().filter(({ session }) => session === null);
      if (left.some(({ kind }) => kind === 'supervisor')) await this.run(['down', '--quiet']);
      quiet = left.length === 0 ? quiet + 1 : 0;
      await Bun.sleep(50);
    }
  }

  /** Rows of the database, read past the program; none while there is no database. */
  rows<Row>(sql: string, params: Record<string, string | number> = {}): Row[] {
    const path = homePaths.database(this.state);
    if (this.#db === null) {
      if (!existsSync(path)) return [];
      this.#db = new Database(path, { readonly: true, strict: true });
      this.#db.run('PRAGMA busy_timeout = 5000');
    }
    return this.#db.query(sql).all(params) as Row[];
  }

  /** Has the database its tables? Until then `rows` of one of them throws. */
  hasTables(): boolean {
    return this.rows("SELECT 1 FROM sqlite_schema WHERE name = 'leases'").length > 0;
  }

  witness(): string {
    return readFileSync(join(this.dir, 'witness'), 'utf8');
  }

  /** Makes an empty file that the harnesses look for. */
  flag(name: string): void {
    appendFileSync(join(this.dir, name), '');
  }

  addPeer(name: string): void {
    appendFileSync(join(this.dir, 'peers'), `${name}\n`);
  }

  processes(): Found[] {
    return processesOf(this.id);
  }

  log(): string {
    const path = homePaths.log(this.state, 'supervisor');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** Ends whatever is left, whoever it is, and removes all of it. */
  async close(keep = false): Promise<void> {
    homes.delete(this);
    this.#db?.close();
    this.#db = null;
    for (let round = 0; round < 100; round += 1) {
      const left = this.processes();
      if (left.length === 0) break;
      for (const { identity } of left) signal(identity, 'SIGKILL');
      await Bun.sleep(10);
    }
    if (!keep) rmSync(this.dir, { recursive: true, force: true });
  }
}
