import { afterEach, expect, spyOn, test } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { getSession } from '../../src/store/session.ts';
import { type Params, Tx } from '../../src/store/store.ts';
import { getTurn, recordLaunch } from '../../src/store/turn.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { isGone } from '../../src/sys/identity.ts';
import { launchTurn } from '../../src/sys/launch.ts';
import { killTree, type TurnProcesses } from '../../src/sys/tree.ts';
import { overCap, watchUsage } from '../../src/watchdog/usage.ts';
import { seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';
import { until } from '../support/until.ts';

const MB = 1_048_576;
const running: TurnProcesses[] = [];

afterEach(async () => {
  for (const turn of running.splice(0))
    await killTree(turn, { clock: systemClock, first_signal: 'SIGKILL', spare_ms: 0 });
});

test('usage: the cap is strict, and without one nothing is too much', () => {
  expect(overCap({ rss_bytes: 512 * MB }, { memory_mb: 512 })).toBeNull();
  expect(overCap({ rss_bytes: 512 * MB + 1 }, { memory_mb: 512 })).toBe(512 * MB);
  expect(overCap({ rss_bytes: 900_000 * MB }, { memory_mb: null })).toBeNull();
});

/** A turn in flight whose process is real: `mb` of memory, held. */
async function hog(world: TestStore, mb: number) {
  const hold = `const held = Buffer.alloc(${mb} * ${MB}, 1); setInterval(() => held, 1000)`;
  return real(world, process.execPath, ['-e', hold]);
}

async function real(world: TestStore, program: string, args: string[]) {
  const session = await seedSession(world);
  const { turn, marker } = await takeTurn(world, session.id).then(({ turn: row }) => ({
    turn: row,
    marker: row.marker,
  }));
  mkdirSync(turn.dir, { recursive: true });
  const launch = { dir: turn.dir, program, args, cwd: '/', env: { PATH: '/usr/bin:/bin' }, stdin_path: null };
  const { identity } = launchTurn({ ...launch, marker });
  running.push({ marker, launcher: identity });
  const { pid, start_time: pid_start_time, boot_id } = identity;
  await recordLaunch(world.store, { session_id: session.id, turn: turn.turn, pid, pid_start_time, boot_id });
  return { id: session.id, identity, row: async () => await getTurn(world.store, session.id, turn.turn) };
}

test('usage: what real processes use is recorded, and only who is beyond the cap is parked', async () => {
  const world = await testStore();
  const [large, small] = [await hog(world, 300), await hog(world, 1)];
  const limits = { ...DEFAULT_CONFIG.limits };
  const deps = { ...world.deps, config_for: async () => ({ ...DEFAULT_CONFIG, limits }) };
  await until(
    'the memory is taken',
    async () => {
      expect(await watchUsage(deps)).toEqual([]);
      const peak = async (who: typeof large) => (await who.row())?.peak_memory_bytes ?? 0;
      return (await peak(large)) > 300 * MB && (await peak(small)) > 5 * MB;
    },
    40_000,
  );
  const modest = (await small.row())?.peak_memory_bytes ?? 0;
  expect(modest).toBeLessThan(250 * MB);
  limits.memory_mb = 280;
  const parked = await watchUsage(deps);
  expect(parked).toEqual([expect.objectContaining({ session_id: large.id, turn: 1 })]);
  expect(parked[0]?.evidence).toMatch(
    /^its processes used (?:2[89]|3\d)\d MB of memory, limits.memory_mb allows 280 MB$/,
  );
  expect(await getSession(world.store, large.id)).toMatchObject({ state: 'parked', parked_reason: 'budget' });
  expect(await getSession(world.store, small.id)).toMatchObject({ state: 'booting' });
  // The state is written first; its processes are ended by who owns the turn.
  expect(isGone(large.identity)).toBe(false);
  expect(await watchUsage(deps)).toEqual([]);
}, 60_000);

test('usage: pages that processes share since a fork count once when it comes to parking', async () => {
  const world = await testStore();
  const forks = '(sleep 60; :) & (sleep 60; :) & (sleep 60; :) & (sleep 60; :) &';
  const family = await real(world, '/bin/sh', [
    '-c',
    `x=$(head -c 80000000 /dev/zero | tr '\\0' x); ${forks} sleep 60; :`,
  ]);
  const limits = { ...DEFAULT_CONFIG.limits, memory_mb: 300 };
  const deps = { ...world.deps, config_for: async () => ({ ...DEFAULT_CONFIG, limits }) };
  // Five times the same 80 MB, or more: the shell may hold them twice.
  await until(
    'all of them',
    async () => {
      await watchUsage({ ...deps, config_for: async () => DEFAULT_CONFIG });
      return ((await family.row())?.peak_memory_bytes ?? 0) > 380 * MB;
    },
    40_000,
  );
  expect(await watchUsage(deps)).toEqual([]);
  limits.memory_mb = 60;
  expect(await watchUsage(deps)).toEqual([expect.objectContaining({ session_id: family.id })]);
}, 60_000);

test('usage: a look reads few columns of the turns in flight, and without any nothing else', async () => {
  const world = await testStore();
  const { all, get } = Tx.prototype;
  const statements: string[] = [];
  const spies = [
    spyOn(Tx.prototype, 'all').mockImplementation(function (this: Tx, sql: string, params?: Params) {
      statements.push(sql);
      return all.call(this, sql, params) as never;
    }),
    spyOn(Tx.prototype, 'get').mockImplementation(function (this: Tx, sql: string, params?: Params) {
      statements.push(sql);
      return get.call(this, sql, params) as never;
    }),
  ];
  try {
    expect(await watchUsage(world.deps)).toEqual([]);
    expect(statements).toHaveLength(1);
    const turn = await hog(world, 1);
    // A process that has just been started has nothing of its own for a moment.
    await until('a look that found memory', async () => {
      statements.length = 0;
      await watchUsage(world.deps);
      expect(statements.length).toBeGreaterThan(1);
      expect(statements.filter((sql) => sql.includes('*'))).toEqual([]);
      return ((await turn.row())?.peak_memory_bytes ?? 0) > 0;
    });
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}, 60_000);
