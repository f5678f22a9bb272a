import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { SessionRow } from '../../src/model/session.ts';
import { beforeRemoval, tempDir } from './temp.ts';

const ROOT = resolve(import.meta.dir, '../..');
export const DROVER = join(ROOT, 'bin/drover');

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

export interface Bench {
  /** The repository commands run in. */
  repo: string;
  home: string;
  drover_home: string;
  env: Record<string, string>;
  run(
    args: string[],
    options?: { stdin?: string | Uint8Array; env?: Record<string, string>; cwd?: string },
  ): Promise<Ran>;
  /** Runs with `--json`, expects exit code `code` (default 0) and returns the parsed object. */
  json<T = Record<string, unknown>>(args: string[], code?: number): Promise<T>;
  session(name: string): Promise<SessionRow & Record<string, unknown>>;
  /** Writes a rehearsal script and returns its path, outside the repository. */
  script(name: string, script: unknown): string;
  /** Polls `session` until `done` holds; fails with the last state after `ms`. */
  until(name: string, done: (row: SessionRow) => boolean, ms?: number): Promise<SessionRow>;
  git(...args: string[]): string;
  down(): Promise<void>;
}

/**
 * A scratch home and repository, and the real `bin/drover` in an environment made from nothing. The supervisor it
 * starts is stopped, with every session, after the test file.
 */
export function droverBench(options: { env?: Record<string, string>; root?: string; config?: unknown } = {}): Bench {
  const dir = tempDir('drover-e2e', options.root);
  const [repo, home, drover_home] = ['repo', 'home', 'state'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [repo, home]) mkdirSync(path);
  const env: Record<string, string> = {
    PATH: process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin',
    HOME: home,
    TERM: 'dumb',
    LANG: 'C.UTF-8',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    ...options.env,
    DROVER_HOME: drover_home,
  };
  if (options.config !== undefined) writeConfig(env.HOME ?? home, options.config);
  const bench = makeBench({ dir, repo, home: env.HOME ?? home, drover_home, env });
  bench.git('init', '-q', '-b', 'main');
  bench.git('-c', 'user.name=test', '-c', 'user.email=test@localhost', 'commit', '-q', '--allow-empty', '-m', 'start');
  beforeRemoval(() => bench.down());
  return bench;
}

/** JSON is YAML: the user's config file of a scratch home, put in place whole: a supervisor may read it at any moment. */
export function writeConfig(home: string, config: unknown): void {
  const path = join(home, '.config/drover/config.yaml');
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, JSON.stringify(config));
  renameSync(`${path}.new`, path);
}

function makeBench(place: {
  dir: string;
  repo: string;
  home: string;
  drover_home: string;
  env: Record<string, string>;
}): Bench {
  const bench: Bench = {
    ...place,
    run: async (args, options = {}) => {
      const child = Bun.spawn([DROVER, ...args], {
        cwd: options.cwd ?? place.repo,
        env: { ...place.env, ...options.env },
        stdin: options.stdin === undefined ? 'ignore' : new Blob([options.stdin as string]),
        stdout: 'pipe',
        stderr: 'pipe',
      });
      const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
      return { code, stdout, stderr };
    },
    json: async (args, code = 0) => {
      const ran = await bench.run([...args, '--json']);
      if (ran.code !== code)
        throw new Error(`drover ${args.join(' ')}: exit ${ran.code}, not ${code}\n${ran.stdout}\n${ran.stderr}`);
      return JSON.parse(ran.stdout);
    },
    session: async (name) =>
      (await bench.json<{ session: SessionRow & Record<string, unknown> }>(['show', name])).session,
    script: (name, script) => {
      const path = join(place.dir, `${name}.json`);
      writeFileSync(path, JSON.stringify(script));
      return path;
    },
    until: async (name, done, ms = 30_000) => {
      const deadline = performance.now() + ms;
      for (;;) {
        const row = await bench.session(name);
        if (done(row)) return row;
        if (performance.now() > deadline) {
          const log = await Bun.file(join(place.drover_home, 'run/supervisor.log'))
            .text()
            .catch(() => '');
          throw new Error(`${name} is still ${row.state} (${row.end_reason}), turn ${row.turn}\n${log}`);
        }
        await Bun.sleep(25);
      }
    },
    git: (...args) => {
      const done = Bun.spawnSync(['git', '-C', place.repo, ...args], { env: place.env });
      if (done.exitCode !== 0) throw new Error(`git ${args.join(' ')}: ${done.stderr}`);
      return done.stdout.toString().trim();
    },
    down: async () => {
      if (!(await Bun.file(join(place.drover_home, 'drover.db')).exists())) return;
      await bench.run(['stop', '--all']);
      await bench.run(['down']);
    },
  };
  return bench;
}
