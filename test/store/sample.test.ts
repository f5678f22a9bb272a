import { expect, test } from 'bun:test';
import { pauseSession, stopSession } from '../../src/store/control.ts';
import { parkForMemory, recordSample } from '../../src/store/sample.ts';
import { getSession } from '../../src/store/session.ts';
import { getTurn } from '../../src/store/turn.ts';
import { listVerdicts } from '../../src/store/verdict.ts';
import { CLEAN_EVENTS, endTurn, feedTurn, seedSession, takeTurn, testStore } from '../support/store.ts';

const MB = 1_048_576;

async function inFlight(world: Awaited<ReturnType<typeof testStore>>) {
  const session = await seedSession(world);
  const claim = await takeTurn(world, session.id);
  await feedTurn(world, claim, CLEAN_EVENTS.slice(0, 2));
  const key = { session_id: session.id, turn: claim.turn.turn };
  return { key, claim, row: async () => await getTurn(world.store, session.id, claim.turn.turn) };
}

test('sample: peaks rise and never fall, and small news are not written', async () => {
  const world = await testStore();
  const { key, row } = await inFlight(world);
  const other = await world.second();
  const sample = (mb: number, cpu_ms: number) =>
    recordSample(world.store, [{ ...key, peak_memory_bytes: mb * MB, cpu_ms }]);
  const seen = async () => {
    const { peak_memory_bytes = 0, cpu_ms = 0 } = (await row()) ?? {};
    return [peak_memory_bytes / MB, cpu_ms];
  };
  expect([await sample(100, 5_000), await seen()]).toEqual([1, [100, 5_000]]);
  const version = other.dataVersion();
  expect([await sample(101, 6_000), await seen()]).toEqual([0, [100, 5_000]]);
  expect([await sample(50, 100), await seen()]).toEqual([0, [100, 5_000]]);
  expect(other.dataVersion()).toBe(version);
  expect([await sample(102, 100), await seen()]).toEqual([1, [102, 5_000]]);
  expect([await sample(20, 6_001), await seen()]).toEqual([1, [102, 6_001]]);
  // Without news nobody's turn at the database is taken.
  world.store.write = () => Promise.reject(new Error('a write'));
  expect([await sample(102, 6_002), await recordSample(world.store, [])]).toEqual([0, 0]);
});

test('sample: a turn that has ended, and one that never was, stay untouched', async () => {
  const world = await testStore();
  const ended = await inFlight(world);
  await endTurn(world, ended.claim);
  const live = await inFlight(world);
  const usage = { peak_memory_bytes: 9 * MB, cpu_ms: 9_000 };
  const keys = [ended.key, { session_id: live.key.session_id, turn: 7 }, { session_id: 'nobody', turn: 1 }, live.key];
  expect(
    await recordSample(
      world.store,
      keys.map((key) => ({ ...key, ...usage })),
    ),
  ).toBe(1);
  expect(await ended.row()).toMatchObject({ peak_memory_bytes: 0, cpu_ms: 0 });
  expect(await live.row()).toMatchObject(usage);
});

test('memory: beyond the cap the session is parked with its evidence, and the turn marked to be ended', async () => {
  const world = await testStore();
  const { key, row } = await inFlight(world);
  const now = world.clock.now();
  const text = await parkForMemory(world.store, { ...key, rss_bytes: 900 * MB, cap_bytes: 512 * MB, now });
  expect(text).toBe('its processes used 900 MB of memory, limits.memory_mb allows 512 MB');
  const session = await getSession(world.store, key.session_id);
  expect(session).toMatchObject({
    ...{ state: 'parked', parked_reason: 'budget', resume_at: null, parked_pool: null, interrupt_reason: text },
  });
  expect(JSON.parse(session?.parked_evidence ?? '')).toEqual({
    ...{ kind: 'memory', text, rss_bytes: 900 * MB, cap_bytes: 512 * MB },
  });
  expect(await row()).toMatchObject({ end_cause: 'pause', peak_memory_bytes: 900 * MB, ended_at: null });
  expect(await listVerdicts(world.store, key.session_id)).toEqual([
    expect.objectContaining({ ...key, judged_by: 'watchdog', tier: 0, cause: 'memory', act: 'end', evidence: text }),
  ]);
  expect(await parkForMemory(world.store, { ...key, rss_bytes: 950 * MB, cap_bytes: 512 * MB, now })).toBeNull();
});

test('memory: a verdict about an older turn, an ended one or one that is being ended changes nothing (I1, MODEL §2.5)', async () => {
  const world = await testStore();
  const over = { rss_bytes: 900 * MB, cap_bytes: 512 * MB, now: world.clock.now() };
  const next = await inFlight(world);
  const live = async () => (await getSession(world.store, next.key.session_id))?.state;
  expect(await parkForMemory(world.store, { session_id: next.key.session_id, turn: 2, ...over })).toBeNull();
  expect(await parkForMemory(world.store, { session_id: next.key.session_id, turn: 0, ...over })).toBeNull();
  expect(await live()).toBe('working');
  const done = await inFlight(world);
  await endTurn(world, done.claim);
  expect(await parkForMemory(world.store, { ...done.key, ...over })).toBeNull();
  expect(await getSession(world.store, done.key.session_id)).toMatchObject({ state: 'completed', parked_reason: null });
  const rests = await inFlight(world);
  await endTurn(world, rests.claim, { settle: { is_persistent: true } });
  expect(await parkForMemory(world.store, { ...rests.key, ...over })).toBeNull();
  expect(await getSession(world.store, rests.key.session_id)).toMatchObject({ state: 'idle', parked_reason: null });
  for (const end of [stopSession, pauseSession]) {
    const ending = await inFlight(world);
    const { session_id } = ending.key;
    await end(world.store, { session_id, actor: 'cli', reason: 'a person', now: over.now });
    const before = await getSession(world.store, session_id);
    expect(await parkForMemory(world.store, { ...ending.key, ...over })).toBeNull();
    expect(await getSession(world.store, session_id)).toEqual(before);
    expect(await listVerdicts(world.store, session_id)).toEqual([]);
  }
});
