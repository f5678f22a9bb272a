import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Config } from '../../src/model/config.ts';
import { homePaths } from '../../src/model/home.ts';
import { newId, newSecret } from '../../src/model/id.ts';
import { nameFor, type SessionRow } from '../../src/model/session.ts';
import { loadConfig } from '../../src/session/config.ts';
import type { Deps } from '../../src/session/deps.ts';
import { insertSession, type NewSession } from '../../src/store/new-session.ts';
import { openStore } from '../../src/store/open.ts';
import type { Store } from '../../src/store/store.ts';
import { type Claim, claimTurn, takeLease } from '../../src/store/turn.ts';
import { ring } from '../../src/supervisor/ensure.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { isFlocked } from '../../src/sys/flock.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import { isGone } from '../../src/sys/identity.ts';
import { readPidLock } from '../../src/sys/pid-file.ts';
import { until } from './measure.ts';

export const ROOT = resolve(import.meta.dir, '../..');
export const DROVER = join(ROOT, 'bin/drover');
export const BUN = process.execPath;

/** A home and a repository in a scratch directory, with an environment made from nothing. */
export interface World {
  dir: string;
  repo: string;
  /** DROVER_HOME. */
  home: string;
  env: Record<string, string>;
  deps: Deps;
  store: Store;
  /** Another connection to the same database. */
  open: (durability: 'full' | 'normal') => Promise<Store>;
  /** Starts a supervisor as a child of ours; its pid. */
  supervise: () => Promise<number>;
  /** The pid of the watchdog that the supervisor has started; null while there is none. */
  watchdog: () => number | null;
  close: () => Promise<void>;
}

const open_worlds = new Set<World>();

/** `config` becomes the user's config file; `env` of its runners may name files of the scratch directory. */
export async function openWorld(config: (dir: string) => unknown = () => ({})): Promise<World> {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'drover-bench-')));
  const path = (name: string) => join(dir, name);
  for (const name of ['repo', 'user/.config/drover', 'state/run'])
    mkdirSync(path(name), { recursive: true, mode: 0o700 });
  const [repo, home] = [path('repo'), path('state')];
  const env: Record<string, string> = {
    PATH: process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin',
    HOME: path('user'),
    TERM: 'dumb',
    LANG: 'C.UTF-8',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    DROVER_HOME: home,
  };
  writeFileSync(path('user/.config/drover/config.yaml'), JSON.stringify(config(dir)));
  const author = ['-c', 'user.name=bench', '-c', 'user.email=bench@localhost'];
  for (const args of [
    ['init', '-q'],
    [...author, 'commit', '-q', '--allow-empty', '-m', 'start'],
  ]) {
    const done = Bun.spawnSync(['git', '-C', repo, ...args], { env });
    if (done.exitCode !== 0) throw new Error(`git ${args.join(' ')}: ${done.stderr}`);
  }
  const closers: (() => void)[] = [];
  const open: World['open'] = async (durability) => {
    const gate = openWriteGate(homePaths.gate(home));
    const store = await openStore({ path: homePaths.database(home), durability, clock: systemClock, gate });
    closers.push(() => store.close(), gate.close);
    return store;
  };
  const store = await open('full');
  const settings = await loadConfig(env, repo);
  const config_for = async (): Promise<Config> => settings;
  const deps: Deps = { clock: systemClock, store, home, env, package_dir: ROOT, config_for };
  const supervisors: Bun.Subprocess[] = [];
  const world: World = {
    ...{ dir, repo, home, env, deps, store, open },
    supervise: async () => {
      const child = startSupervisor(world);
      supervisors.push(child);
      await until('the supervisor', async () => ring(home, 'status'));
      return child.pid;
    },
    watchdog: () => watchdogOf(home),
    close: async () => {
      open_worlds.delete(world);
      for (const child of supervisors.splice(0)) {
        child.kill('SIGTERM');
        await child.exited;
      }
      await endWatchdog(home);
      await endTurns(store);
      for (const close of closers.splice(0)) close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  open_worlds.add(world);
  return world;
}

/** Closes what a bench that failed has left open. */
export async function closeWorlds(): Promise<void> {
  for (const world of open_worlds) await world.close();
}

function startSupervisor({ env, dir, repo }: World): Bun.Subprocess {
  const log = Bun.file(join(dir, 'supervisor.log'));
  return Bun.spawn([DROVER, 'up', '--foreground'], { env, cwd: repo, stdio: ['ignore', log, log] });
}

function watchdogOf(home: string): number | null {
  const lock = homePaths.lock(home, 'watchdog');
  return isFlocked(lock) ? (readPidLock(lock)?.pid ?? null) : null;
}

/** It would notice within seconds that the supervisor has gone, and be in the way of the next bench until then. */
async function endWatchdog(home: string): Promise<void> {
  const pid = watchdogOf(home);
  if (pid === null) return;
  process.kill(pid, 'SIGTERM');
  await until('the watchdog to end', () => (watchdogOf(home) === null ? true : null));
}

/** The supervisor leaves running turns alone; here they end with it. Each launcher leads a process group of its own. */
async function endTurns(store: Store): Promise<void> {
  const rows = await store.read((tx) =>
    tx.all<{ pid: number; start_time: string; boot_id: string }>(
      'SELECT pid, pid_start_time AS start_time, boot_id FROM turns WHERE pid IS NOT NULL AND ended_at IS NULL',
    ),
  );
  const alive = rows.filter((id) => !isGone(id));
  for (const { pid } of alive) process.kill(-pid, 'SIGKILL');
  await until('the last turn', () => (alive.every(isGone) ? true : null));
}

/** A queued session with its task as first mail, stored the way `sling` stores it. */
export async function queueSession(world: World, draft: Partial<NewSession>): Promise<SessionRow> {
  const task = draft.task ?? 'count the sheep';
  const role = draft.role ?? 'solo';
  return insertSession(world.store, {
    draft: {
      ...{ id: newId('agent'), name: nameFor(role, task), role, harness: 'stamp', task, project: 'bench' },
      ...{ task_group: 'general', profile_name: null, profile_json: null, model: null, repo_root: world.repo },
      ...{
        working_dir: world.repo,
        branch: null,
        base_ref: null,
        base_branch: null,
        parent_id: null,
        depth: 0,
        run_id: null,
      },
      is_persistent: 0,
      ...{ recovered_from: null, native_session_id: null, worktree_path: null, max_turns: null, timeout_ms: null },
      prompt_version: null,
      pool: draft.harness ?? 'stamp',
      ...draft,
    },
    brief: {
      ...{ from_name: 'operator', from_id: null, type: 'task', priority: 'normal', subject: 'Your task', body: task },
      payload_json: null,
    },
    is_name_chosen: draft.name !== undefined,
    limits: { max_children: 10_000 },
    new_id: () => newId('agent'),
    now: Date.now(),
  });
}

/** A claimed turn whose output is written to `dir` by the caller; no process is started. */
export async function claim(world: World, session_id: string, dir: string): Promise<Claim> {
  const lease_fence = await takeLease(world.store, 'bench', Date.now());
  const claimed = await claimTurn(world.store, {
    ...{ session_id, lease_fence, marker: newSecret(), dir_of: () => dir, token_hash: newSecret() },
    ...{ max_in_flight: 100_000, now: Date.now() },
  });
  if (claimed === null) throw new Error(`nothing to claim for ${session_id}`);
  return claimed;
}

export function runner(program: string, args: string[] = [], env: Record<string, string> = {}) {
  return {
    program: join(ROOT, 'bench/bin', program),
    base_args: args,
    event_format: 'ndjson',
    stdin_prompt: true,
    env,
  };
}
