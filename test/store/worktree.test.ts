import { describe, expect, test } from 'bun:test';
import type { SessionRow } from '../../src/model/session.ts';
import { detachWorktree, reattachWorktree } from '../../src/store/clean.ts';
import { resumeSession, stopSession } from '../../src/store/control.ts';
import type { NewSession } from '../../src/store/new-session.ts';
import { getSession } from '../../src/store/session.ts';
import { dispatchable } from '../../src/store/turn.ts';
import {
  claimSlot,
  dropRemovals,
  dropSlot,
  freeSlot,
  heldSlots,
  liveDescendants,
  settleSlot,
  slotCounts,
  slotQueue,
  strayClaims,
} from '../../src/store/worktree.ts';
import { seedSession, type TestStore, testStore } from '../support/store.ts';

const BASE = 'a'.repeat(40);
const MINUTE = 60_000;

/** A queued session that asked for a worktree. */
async function asking(world: TestStore, name: string, draft: Partial<NewSession> = {}): Promise<SessionRow> {
  world.clock.advance(10);
  return seedSession(world, { name, role: 'solo', branch: `drover/${name}`, base_ref: BASE, ...draft });
}

const claim = (world: TestStore, row: SessionRow, max: number) =>
  claimSlot(world.store, { session_id: row.id, path: `/trees/${row.name}`, max, now: world.clock.now() });

/** Why not, or that it has one. */
const answer = async (world: TestStore, row: SessionRow, max: number) => {
  const got = await claim(world, row, max);
  return got.row === null ? got.why : 'claimed';
};

const settle = (world: TestStore, row: SessionRow, now: number) =>
  settleSlot(world.store, {
    ...{ session_id: row.id, path: `/trees/${row.name}`, probe: () => 'unknown', now },
    anchor: { commit: BASE, commit_short: BASE.slice(0, 7), tree: 'b'.repeat(40), tree_short: 'b'.repeat(7) },
  });

async function attach(world: TestStore, row: SessionRow): Promise<void> {
  expect(await answer(world, row, 99)).toBe('claimed');
  expect(await settle(world, row, 7)).toBe(true);
}

const stop = (world: TestStore, { id }: SessionRow) =>
  stopSession(world.store, { session_id: id, actor: 'cli', reason: 'test', now: world.clock.now() });

const resume = (world: TestStore, { id }: SessionRow) =>
  resumeSession(world.store, {
    session_id: id,
    brief: {
      from_name: 'operator',
      from_id: null,
      type: 'nudge',
      priority: 'high',
      subject: 's',
      body: 'b',
      payload_json: null,
    },
    interrupt_reason: 'test',
    always_brief: false,
    now: world.clock.now(),
  });

describe('slots (I11)', () => {
  test('as many as the limit, the oldest first, whoever asks first (E-012, E-014)', async () => {
    const world = await testStore();
    const rows = [];
    for (const name of ['a', 'b', 'c', 'd']) rows.push(await asking(world, name));
    const [a, b, c, d] = rows as [SessionRow, SessionRow, SessionRow, SessionRow];
    expect(await answer(world, c, 2)).toBe('later');
    expect(await answer(world, b, 2)).toBe('claimed');
    expect(await answer(world, c, 2)).toBe('later');
    expect(await answer(world, a, 2)).toBe('claimed');
    expect(await answer(world, c, 2)).toBe('full');
    expect(await answer(world, a, 2)).toBe('claimed');
    expect(await answer(world, a, 1)).toBe('claimed');
    expect((await slotQueue(world.store, '/farm')).map(({ name }) => name)).toEqual(['c', 'd']);
    expect(await answer(world, c, 3)).toBe('claimed');
    expect(await getSession(world.store, d.id)).toMatchObject({ state: 'queued', worktree_path: null });
    const elsewhere = await asking(world, 'e', { repo_root: '/barn' });
    expect(await answer(world, elsewhere, 2)).toBe('claimed');
    expect(await slotCounts(world.store)).toEqual([
      { repo_root: '/barn', held: 1, held_by_ended: 0 },
      { repo_root: '/farm', held: 3, held_by_ended: 0 },
    ]);
  });

  test('of many that ask at once by two connections exactly as many as there are slots get one (I11)', async () => {
    const world = await testStore();
    const second = await world.second();
    const rows: SessionRow[] = [];
    for (let i = 0; i < 12; i += 1) rows.push(await asking(world, `r${i}`));
    const ask = (store: TestStore['store'], row: SessionRow) =>
      claimSlot(store, { session_id: row.id, path: `/trees/${row.name}`, max: 3, now: world.clock.now() });
    const got = await Promise.all(rows.toReversed().flatMap((row) => [ask(world.store, row), ask(second, row)]));
    expect(new Set(got.flatMap(({ row }) => row?.session_id ?? []))).toEqual(
      new Set(rows.slice(0, 3).map(({ id }) => id)),
    );
    expect((await slotCounts(world.store))[0]?.held).toBe(3);
  });

  test('an older session that could not start anyway keeps nobody waiting', async () => {
    const world = await testStore();
    const [old, blocked, young] = [
      await asking(world, 'old'),
      await asking(world, 'blocked', { pool: 'p' }),
      await asking(world, 'young'),
    ];
    await world.store.write((tx) => {
      tx.run('UPDATE sessions SET next_turn_at = :at WHERE id = :id', { at: world.clock.now() + MINUTE, id: old.id });
      tx.run("INSERT INTO pools (name, state, blocked_at, updated_at) VALUES ('p', 'blocked', 1, 1)");
    });
    expect(await answer(world, young, 1)).toBe('claimed');
    expect(await answer(world, blocked, 1)).toBe('full');
  });

  test('only who is queued and has no worktree gets one; a path has one owner', async () => {
    const world = await testStore();
    const [a, b, plain] = [
      await asking(world, 'a'),
      await asking(world, 'b'),
      await seedSession(world, { name: 'plain' }),
    ];
    expect(await answer(world, plain, 9)).toBe('gone');
    await attach(world, a);
    expect(await answer(world, a, 9)).toBe('gone');
    expect(await claimSlot(world.store, { session_id: b.id, path: '/trees/a', max: 9, now: 1 })).toEqual({
      row: null,
      why: 'path_taken',
    });
    await stop(world, b);
    expect(await answer(world, b, 9)).toBe('gone');
  });

  test('row and slot are settled together or not at all; a claim nobody will use is found (E-016)', async () => {
    const world = await testStore();
    const [a, b] = [await asking(world, 'a'), await asking(world, 'b')];
    await attach(world, a);
    expect(await getSession(world.store, a.id)).toMatchObject({
      state: 'queued',
      worktree_path: '/trees/a',
      working_dir: '/trees/a',
      base_commit: BASE,
    });
    await claim(world, b, 9);
    expect(await strayClaims(world.store)).toEqual([]);
    await stop(world, b);
    expect(await settle(world, b, 8)).toBe(false);
    expect(await strayClaims(world.store)).toEqual([
      expect.objectContaining({
        path: '/trees/b',
        session_id: b.id,
        branch: 'drover/b',
        base_commit: BASE,
        created_at: null,
      }),
    ]);
    expect((await slotCounts(world.store))[0]).toEqual({ repo_root: '/farm', held: 2, held_by_ended: 1 });
    expect(await dropSlot(world.store, { path: '/trees/a', session_id: a.id })).toBe(false);
    expect(await dropSlot(world.store, { path: '/trees/b', session_id: b.id })).toBe(true);
    expect(await strayClaims(world.store)).toEqual([]);
  });

  test('who waits where every slot is taken is not tried; others are', async () => {
    const world = await testStore();
    const [a, waits, plain] = [
      await asking(world, 'a'),
      await asking(world, 'waits'),
      await asking(world, 'plain', { branch: null, base_ref: null }),
    ];
    await claim(world, a, 1);
    const now = world.clock.now();
    expect(await dispatchable(world.store, now, 9)).toEqual([a.id, waits.id, plain.id]);
    expect(await dispatchable(world.store, now, 9, { except: [] }, ['/farm'])).toEqual([a.id, plain.id]);
    expect(await dispatchable(world.store, now, 9, { except: [] }, ['/barn'])).toEqual([a.id, waits.id, plain.id]);
  });
});

describe('whose slot it is', () => {
  test('an ended session holds its slot; a successor takes it over, and gives it back (E-013, CX-23)', async () => {
    const world = await testStore();
    const a = await asking(world, 'a');
    await attach(world, a);
    await stop(world, a);
    expect((await slotCounts(world.store))[0]).toMatchObject({ held: 1, held_by_ended: 1 });
    const place = { worktree_path: '/trees/a', working_dir: '/trees/a', recovered_from: a.id };
    const heir = await asking(world, 'heir', place);
    const owner = async () => (await heldSlots(world.store, '/farm')).map(({ slot }) => slot.session_id);
    expect(await owner()).toEqual([heir.id]);
    expect((await slotCounts(world.store))[0]).toMatchObject({ held: 1, held_by_ended: 0 });
    await stop(world, heir);
    await resume(world, a);
    expect(await owner()).toEqual([a.id]);
  });

  test('a slot is free when the worktree is gone, not before; one that could not go comes back (E-148)', async () => {
    const world = await testStore();
    const a = await asking(world, 'a');
    await attach(world, a);
    await stop(world, a);
    const detach = () => detachWorktree(world.store, { path: '/trees/a', ids: [a.id], now: world.clock.now() });
    expect(await detach()).toEqual([a.id]);
    const other = await asking(world, 'other');
    expect(await answer(world, other, 1)).toBe('full');
    await reattachWorktree(world.store, { path: '/trees/a', working_dirs: { [a.id]: '/trees/a' } });
    expect(await getSession(world.store, a.id)).toMatchObject({ worktree_path: '/trees/a' });
    await freeSlot(world.store, '/trees/a');
    expect(await answer(world, other, 1)).toBe('full');
    await detach();
    await freeSlot(world.store, '/trees/a');
    expect(await answer(world, other, 1)).toBe('claimed');
  });

  test('a session that is resumed while its worktree is being removed waits, and finds it if it stayed', async () => {
    const world = await testStore();
    const a = await asking(world, 'a');
    await attach(world, a);
    await stop(world, a);
    await detachWorktree(world.store, { path: '/trees/a', ids: [a.id], now: world.clock.now() });
    await resume(world, a);
    expect(await answer(world, a, 1)).toBe('later');
    await reattachWorktree(world.store, { path: '/trees/a', working_dirs: { [a.id]: '/trees/a' } });
    expect(await getSession(world.store, a.id)).toMatchObject({ worktree_path: null });
    expect(await answer(world, a, 1)).toBe('claimed');
  });

  test('a removal that was cut off is taken up again after a quarter of an hour', async () => {
    const world = await testStore();
    const a = await asking(world, 'a');
    await attach(world, a);
    await stop(world, a);
    await detachWorktree(world.store, { path: '/trees/a', ids: [a.id], now: world.clock.now() });
    expect(await dropRemovals(world.store, world.clock.now() + 15 * MINUTE - 1000)).toBe(0);
    expect(await strayClaims(world.store)).toEqual([]);
    expect(await dropRemovals(world.store, world.clock.now() + 15 * MINUTE + 1000)).toBe(1);
    expect(await strayClaims(world.store)).toHaveLength(1);
  });

  test('the worktree of a session that waits for it is nobody else’s to take (I22)', async () => {
    const world = await testStore();
    const a = await asking(world, 'a');
    await claim(world, a, 1);
    expect(await detachWorktree(world.store, { path: '/trees/a', ids: [a.id], now: 1 })).toBeNull();
  });

  test('children at any depth count as long as they live (O-85)', async () => {
    const world = await testStore();
    const lead = await asking(world, 'lead');
    const child = await seedSession(world, { name: 'child', role: 'solo', parent_id: lead.id });
    const grandchild = await seedSession(world, { name: 'grandchild', parent_id: child.id });
    await stop(world, child);
    expect((await liveDescendants(world.store, lead.id)).map(({ name }) => name)).toEqual(['grandchild']);
    await stop(world, grandchild);
    expect(await liveDescendants(world.store, lead.id)).toEqual([]);
  });
});
