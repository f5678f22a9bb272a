import { afterEach, expect, spyOn, test } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { type Config, DEFAULT_CONFIG } from '../../src/model/config.ts';
import { homePaths } from '../../src/model/home.ts';
import { type Params, Tx } from '../../src/store/store.ts';
import { recordLaunch, takeLease } from '../../src/store/turn.ts';
import { SupervisorLoop } from '../../src/supervisor/loop.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { launchTurn } from '../../src/sys/launch.ts';
import { killTree, type TurnProcesses } from '../../src/sys/tree.ts';
import { seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';
import { until } from '../support/until.ts';

const cleaners: (() => unknown)[] = [];

afterEach(async () => {
  for (const clean of cleaners.splice(0).reverse()) await clean();
});

/** A turn in flight whose process lives: one slot is taken. */
async function takeSlot(world: TestStore): Promise<void> {
  const { id } = await seedSession(world);
  const { turn } = await takeTurn(world, id);
  mkdirSync(turn.dir, { recursive: true });
  const sleep = { program: '/bin/sleep', args: ['60'], cwd: '/', env: { PATH: '/usr/bin:/bin' }, stdin_path: null };
  const { identity } = launchTurn({ dir: turn.dir, marker: turn.marker, ...sleep });
  const tree: TurnProcesses = { marker: turn.marker, launcher: identity };
  cleaners.push(() => killTree(tree, { clock: systemClock, first_signal: 'SIGKILL', spare_ms: 0 }));
  const { pid, start_time: pid_start_time, boot_id } = identity;
  await recordLaunch(world.store, { session_id: id, turn: 1, pid, pid_start_time, boot_id });
}

/** How often each session was looked at by its id, which is what every attempt begins with. */
function attempts(): { of: Map<string, number>; syncs: () => number; onSync: (told: () => void) => void } {
  const of = new Map<string, number>();
  let syncs = 0;
  let told = () => {};
  const { get, all } = Tx.prototype;
  const spies = [
    spyOn(Tx.prototype, 'get').mockImplementation(function (this: Tx, sql: string, params?: Params) {
      if (sql === 'SELECT * FROM sessions WHERE id = :id') of.set(`${params?.id}`, (of.get(`${params?.id}`) ?? 0) + 1);
      return get.call(this, sql, params) as never;
    }),
    spyOn(Tx.prototype, 'all').mockImplementation(function (this: Tx, sql: string, params?: Params) {
      if (sql.includes('end_cause IS NOT NULL')) {
        syncs += 1;
        told();
      }
      return all.call(this, sql, params) as never;
    }),
  ];
  cleaners.push(() => {
    for (const spy of spies) spy.mockRestore();
  });
  return { of, syncs: () => syncs, onSync: (f) => (told = f) };
}

/** Runs a loop until it has polled so many times. `onConfig` is called whenever it asks for settings. */
async function runFor(
  polls: number,
  world: TestStore,
  config: Partial<Config>,
  onConfig?: (l: SupervisorLoop) => void,
) {
  let seen = 0;
  const config_for = async () => {
    onConfig?.(loop);
    return { ...DEFAULT_CONFIG, ...config };
  };
  const loop: SupervisorLoop = new SupervisorLoop({
    deps: { ...world.deps, config_for },
    ingest_store: await world.second(),
    lease_fence: await takeLease(world.store, 'loop', world.clock.now()),
    is_owner: () => ++seen > 0,
    log: () => {},
  });
  const running = loop.run();
  cleaners.push(() => {
    loop.stop();
    return running;
  });
  await until(`${polls} polls`, () => seen >= polls, 30_000);
}

const FULL_DISK = { ...DEFAULT_CONFIG.limits, min_free_mb: 1_000_000_000 };

async function queue(world: TestStore, count: number, repo_root = '/farm'): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i += 1) ids.push((await seedSession(world, { name: `q${i}${repo_root}`, repo_root })).id);
  return ids;
}

const sum = (of: Map<string, number>, ids: string[]) => ids.reduce((total, id) => total + (of.get(id) ?? 0), 0);

test('with every slot taken nobody in the queue is tried, but who has slots of its own', async () => {
  const world = await testStore();
  await takeSlot(world);
  const queued = await queue(world, 200);
  const [own = ''] = await queue(world, 1, homePaths.desk(world.home, 'triage'));
  const { of } = attempts();
  // A disk without room: whoever is tried is counted, and nobody starts.
  await runFor(4, world, { max_live_sessions: 1, limits: FULL_DISK });
  expect(of.get(own)).toBeGreaterThanOrEqual(2);
  expect(sum(of, queued)).toBe(0);
}, 60_000);

test('a queue of which nobody may start costs a few attempts per poll, not one each', async () => {
  const world = await testStore();
  const queued = await queue(world, 200);
  const other = await queue(world, 1, '/barn');
  const { of } = attempts();
  await runFor(4, world, { max_live_sessions: 8, limits: FULL_DISK });
  // At most what is begun at once, once per poll; and the repository behind all of them has its turn.
  expect(sum(of, queued)).toBeGreaterThanOrEqual(4);
  expect(sum(of, queued)).toBeLessThanOrEqual(5 * 4);
  expect(sum(of, other)).toBeGreaterThanOrEqual(2);
}, 60_000);

test('however often it is rung, the event loop goes round between two syncs', async () => {
  const world = await testStore();
  await queue(world, 20);
  const { syncs, onSync } = attempts();
  let [rounds, hurried, last] = [0, 0, -1];
  let isOver = false;
  const turning = (async () => {
    for (; !isOver; rounds += 1) await new Promise((resolve) => setImmediate(resolve));
  })();
  cleaners.push(() => {
    isOver = true;
    return turning;
  });
  onSync(() => {
    if (rounds === last) hurried += 1;
    last = rounds;
  });
  // Whoever asks for settings rings as well: there is always a reason to look again.
  let rings = 0;
  await runFor(2, world, { max_live_sessions: 1, limits: FULL_DISK }, (loop) => {
    if (++rings < 2_000) loop.ring();
  });
  expect(hurried).toBe(0);
  expect(syncs()).toBeGreaterThan(20);
}, 60_000);
