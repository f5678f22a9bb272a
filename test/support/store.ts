import { afterAll } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Clock } from '../../src/model/clock.ts';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { homePaths } from '../../src/model/home.ts';
import { newId, newSecret } from '../../src/model/id.ts';
import { nameFor, type SessionRow } from '../../src/model/session.ts';
import { loadConfig } from '../../src/session/config.ts';
import type { Deps } from '../../src/session/deps.ts';
import { hashToken } from '../../src/session/identity.ts';
import { ingest } from '../../src/store/ingest.ts';
import { insertSession, type NewSession } from '../../src/store/new-session.ts';
import { openStore } from '../../src/store/open.ts';
import { type Settled, type SettleInput, settleTurn } from '../../src/store/settle.ts';
import type { Store } from '../../src/store/store.ts';
import { type Claim, claimTurn, getTurn, takeLease } from '../../src/store/turn.ts';
import type { VerdictDraft } from '../../src/store/verdict.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import { tempDir } from './temp.ts';

/** The root of this checkout: where `bin/`, `agents/` and `templates/` are. */
export const PACKAGE_DIR = resolve(import.meta.dir, '../..');

/** A real store in a home of its own, and everything a use case needs beside it. */
export interface TestStore {
  store: Store;
  deps: Deps;
  /** Absolute DROVER_HOME. */
  home: string;
  /** The machine's clock; `advance` moves its `now()` (not its timers) forward. */
  clock: TestClock;
  /** Of the sessions that `seedSession` makes: verbs find them by name only from inside of it. */
  repo_root: string;
  /** A second connection to the same database, as another process would have it. */
  second: () => Promise<Store>;
}

export interface TestClock extends Clock {
  advance(ms: number): void;
}

const closers: (() => void)[] = [];

afterAll(() => {
  for (const close of closers.splice(0).reverse()) close();
});

/** Opens a fresh store; closed after the test file. `env` is added to what `deps.env` holds. */
export async function testStore(env: Record<string, string> = {}): Promise<TestStore> {
  const root = tempDir('store');
  const home = join(root, 'drover');
  mkdirSync(homePaths.run(home), { recursive: true, mode: 0o700 });
  const clock = testClock();
  const open = async () => {
    const gate = openWriteGate(homePaths.gate(home));
    const store = await openStore({ path: homePaths.database(home), durability: 'normal', clock, gate });
    closers.push(gate.close, () => store.close());
    return store;
  };
  const store = await open();
  const all = { HOME: root, XDG_CONFIG_HOME: join(root, '.config'), PATH: process.env.PATH, ...env };
  const config_for = (repo_root: string) => loadConfig(all, repo_root);
  return {
    store,
    home,
    clock,
    repo_root: '/farm',
    second: open,
    deps: { clock, store, home, env: all, package_dir: PACKAGE_DIR, config_for },
  };
}

function testClock(): TestClock {
  let ahead = 0;
  return {
    now: () => systemClock.now() + ahead,
    monotonic: systemClock.monotonic,
    sleep: systemClock.sleep,
    advance: (ms) => {
      ahead += ms;
    },
  };
}

/** A queued session with its task as first mail, stored the way `sling` does it. */
export async function seedSession(world: TestStore, draft: Partial<NewSession> = {}): Promise<SessionRow> {
  const task = draft.task ?? 'mend the fence';
  const role = draft.role ?? 'builder';
  return insertSession(world.store, {
    draft: {
      id: newId('agent'),
      name: nameFor(role, task),
      role,
      harness: 'rehearsal',
      task,
      project: 'farm',
      task_group: 'general',
      profile_name: null,
      profile_json: null,
      model: null,
      repo_root: world.repo_root,
      working_dir: world.repo_root,
      branch: null,
      base_ref: null,
      base_branch: null,
      parent_id: null,
      depth: draft.parent_id ? 1 : 0,
      run_id: null,
      is_persistent: 0,
      recovered_from: null,
      native_session_id: null,
      worktree_path: null,
      max_turns: null,
      timeout_ms: null,
      prompt_version: null,
      pool: draft.harness ?? 'rehearsal',
      ...draft,
    },
    brief: {
      from_name: 'operator',
      from_id: null,
      type: 'task',
      priority: 'normal',
      subject: 'Your task',
      body: task,
      payload_json: null,
    },
    is_name_chosen: draft.name !== undefined,
    limits: { max_children: 1_000 },
    new_id: () => newId('agent'),
    now: world.clock.now(),
  });
}

export interface TakenTurn extends Claim {
  /** The text of the session's token, valid until the turn's end or the next one. */
  token: string;
}

/** Claims the next turn of a queued or idle session; no process is started. Throws when there is nothing to claim. */
export async function takeTurn(world: TestStore, session_id: string): Promise<TakenTurn> {
  const token = newSecret();
  const claim = await claimTurn(world.store, {
    session_id,
    lease_fence: await takeLease(world.store, 'test', world.clock.now()),
    marker: newSecret(),
    dir_of: (turn) => homePaths.turn(world.home, session_id, turn),
    token_hash: hashToken(token),
    max_in_flight: 1_000,
    now: world.clock.now(),
  });
  if (claim === null) throw new Error(`no turn to claim for ${session_id}`);
  return { ...claim, token };
}

/** Writes events as if the harness of this turn had said them. The first ones make the session `working`. */
export async function feedTurn(world: TestStore, { session, turn }: Claim, events: HarnessEvent[]): Promise<void> {
  const from = (await getTurn(world.store, session.id, turn.turn))?.stdout_offset ?? 0;
  const lines = events.map((event, i) => ({ offset: from + i, end: from + i + 1, events: [event] }));
  const batch = { session_id: session.id, turn: turn.turn, from_offset: from, to_offset: from + events.length };
  await ingest(world.store, [{ ...batch, lines, oversize: 0, now: world.clock.now() }]);
}

/** A result without error after one model turn. */
export const CLEAN_EVENTS: HarnessEvent[] = [
  { type: 'session', native_session_id: 'native-1', model: 'm', version: '1' },
  { type: 'text', text: 'done' },
  { type: 'result', ok: true, reason: 'success', text: 'the result', model_turns: 1, denials: [] },
];

/** Settles a claimed turn: cleanly (`ok`, the default), or as a crash with exit code 1 after one word. */
export async function endTurn(
  world: TestStore,
  claim: Claim,
  options: { ok?: boolean; settle?: Partial<SettleInput> } = {},
): Promise<Settled> {
  const isOk = options.ok ?? true;
  await feedTurn(world, claim, isOk ? CLEAN_EVENTS : CLEAN_EVENTS.slice(0, 2));
  const settled = await settleTurn(world.store, {
    session_id: claim.session.id,
    turn: claim.turn.turn,
    exit: { code: isOk ? 0 : 1, signal: null },
    tree_empty: true,
    survivors: 0,
    leftovers: 0,
    exit_events: [],
    has_contract: false,
    is_persistent: false,
    contract_hint: 'report it',
    max_attempts: 3,
    backoff_ms: 0,
    backoff_cap_ms: 0,
    limits: DEFAULT_CONFIG.limits,
    random: 0.5,
    now: world.clock.now(),
    ...options.settle,
  });
  if (settled === null) throw new Error('the turn was settled before');
  return settled;
}

/** A verdict about one turn, as the watchdog stores it. */
export function verdictOf(key: { session_id: string; turn: number }, more: Partial<VerdictDraft> = {}): VerdictDraft {
  return {
    ...{ session_id: key.session_id, turn: key.turn, judged_by: 'watchdog', tier: 0, health: 'late', cause: 'silent' },
    ...{ act: 'note', level: 0, evidence: 'silent', facts_json: '{}', limits_json: '{}', at: 1_000, ...more },
  };
}
