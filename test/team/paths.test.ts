import { describe, expect, test } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { AppError } from '../../src/model/error.ts';
import type { PathReservationRow } from '../../src/model/reservation.ts';
import type { Caller } from '../../src/session/identity.ts';
import { reservedByOthers } from '../../src/session/reserved-paths.ts';
import { listPathReservations } from '../../src/store/path-reservation.ts';
import { releasePaths, reservePaths } from '../../src/team/path-reservation.ts';
import { DAY_MS, REPO } from '../support/reservation.ts';
import { seedSession, type TestStore, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

const PERSON: Caller = { name: 'operator', session: null };

interface Wish {
  caller?: Caller;
  globs?: string[];
  reason?: string;
  for_ms?: number;
  repo_root?: string;
  root?: string;
}

const wish = (world: TestStore, { caller = PERSON, globs = ['src/auth/**'], reason, for_ms, ...place }: Wish = {}) =>
  reservePaths(world.deps, caller, { repo_root: REPO, root: REPO, globs, reason, for_ms: for_ms ?? null, ...place });
const open = (world: TestStore, repo_root: string | null = REPO) =>
  listPathReservations(world.store, { repo_root, now: world.clock.now() });
const globsOf = (rows: readonly PathReservationRow[]) => rows.map((row) => row.glob);

async function sessionCaller(world: TestStore, name: string): Promise<Caller & { session: { id: string } }> {
  const session = await seedSession(world, { name });
  return { name: session.name, session };
}

async function refusal(act: Promise<unknown>): Promise<AppError> {
  try {
    await act;
  } catch (error) {
    return error as AppError;
  }
  throw new Error('it was not refused');
}

describe('reserving files', () => {
  test('is advice: two may reserve the same, and the second hears of the first', async () => {
    const world = await testStore();
    const one = await sessionCaller(world, 'build-1');
    const first = await wish(world, { caller: one, reason: ' moves the login ' });
    expect(first).toMatchObject({
      rows: [{ glob: 'src/auth/**', owner_name: 'build-1', reason: 'moves the login' }],
      overlaps: [],
    });
    expect(first.rows[0]?.id).toMatch(/^path-[a-z2-7]{16}$/);
    const second = await wish(world, { globs: ['src/*/session.rs'] });
    expect(globsOf(second.overlaps)).toEqual(['src/auth/**']);
    expect((await wish(world, { globs: ['docs/**'] })).overlaps).toEqual([]);
    expect(await open(world)).toHaveLength(3);
    expect(await open(world, '/other')).toEqual([]);
    expect(await open(world, null)).toHaveLength(3);
  });

  test('one again is the same one with a new reason and a new end; its own do not overlap', async () => {
    const world = await testStore();
    const [first] = (await wish(world, { reason: 'a' })).rows;
    const again = await wish(world, {
      reason: 'b',
      for_ms: 5_000,
      globs: ['src/auth/**', './src/auth/**', 'src/auth/x'],
    });
    expect(again.rows.map((row) => [row.id === first?.id, row.glob])).toEqual([
      [true, 'src/auth/**'],
      [false, 'src/auth/x'],
    ]);
    expect(again.overlaps).toEqual([]);
    expect(await open(world)).toHaveLength(2);
    expect((await open(world))[0]).toMatchObject({ reason: 'b', expires_at: expect.any(Number) });
  });

  test('ends by itself, at that very millisecond', async () => {
    const world = await testStore();
    const [row] = (await wish(world, { for_ms: 60_000 })).rows;
    const at = row?.expires_at as number;
    const openAt = async (now: number) => (await listPathReservations(world.store, { repo_root: REPO, now })).length;
    expect([await openAt(at - 1), await openAt(at)]).toEqual([1, 0]);
    // What is over is swept by the next one, and forgotten after a week.
    world.clock.advance(120_000);
    await wish(world, { globs: ['docs/**'] });
    const all = () =>
      world.store.read((tx) => tx.all<PathReservationRow>('SELECT * FROM path_reservations ORDER BY glob'));
    expect((await all()).map((each) => [each.glob, each.released_at])).toEqual([
      ['docs/**', null],
      ['src/auth/**', at],
    ]);
    world.clock.advance(8 * DAY_MS);
    await wish(world, { globs: ['docs/**'] });
    expect(globsOf(await all())).toEqual(['docs/**']);
  });

  test('patterns are relative to the top; a folder stands for what is in it', async () => {
    const world = await testStore();
    const root = tempDir();
    mkdirSync(join(root, 'src/auth'), { recursive: true });
    const globs = ['src/auth', 'docs/', './a//b.ts', `${root}/x.ts`, 'no-folder', 'src/*'];
    expect(globsOf((await wish(world, { root, repo_root: root, globs })).rows)).toEqual([
      ...['src/auth/**', 'docs/**', 'a/b.ts', 'x.ts', 'no-folder', 'src/*'],
    ]);
  });

  test('what names no files of the repository is refused, and nothing is stored', async () => {
    const world = await testStore();
    for (const glob of ['', '/', '.', '..', '../x', 'a/../../b', '/etc/passwd', 'a\nb', 'a\0b', 'x'.repeat(600)])
      expect([glob, (await refusal(wish(world, { globs: ['fine', glob] }))).code]).toEqual([glob, 'glob_invalid']);
    expect((await refusal(wish(world, { globs: [] }))).code).toBe('glob_invalid');
    expect((await refusal(wish(world, { reason: 'x'.repeat(501) }))).code).toBe('reason_too_long');
    expect(await open(world)).toEqual([]);
  });
});

describe('releasing', () => {
  const let_go = (world: TestStore, words: string[], caller = PERSON) =>
    releasePaths(world.deps, caller, { repo_root: REPO, root: REPO, words });

  test('by id and by pattern, however it is written', async () => {
    const world = await testStore();
    const { rows } = await wish(world, { globs: ['a/**', 'b/**', 'c'] });
    expect(globsOf(await let_go(world, [rows[0]?.id ?? '', './b/**']))).toEqual(['a/**', 'b/**']);
    expect(globsOf(await open(world))).toEqual(['c']);
    expect((await refusal(let_go(world, ['a/**']))).code).toBe('path_reservation_not_found');
  });

  test('a session its own only, a person any; all of them or none', async () => {
    const world = await testStore();
    const [one, two] = [await sessionCaller(world, 'build-1'), await sessionCaller(world, 'build-2')];
    await wish(world, { caller: one });
    await wish(world, { caller: two, globs: ['docs/**'] });
    const before = await open(world);
    for (const words of [['src/auth/**'], ['docs/**', 'src/auth/**'], ['docs/**', 'nothing']])
      expect((await refusal(let_go(world, words, two))).details.preserved).toBe('nothing was released');
    expect((await refusal(let_go(world, ['src/auth/**'], two))).code).toBe('path_reservation_foreign');
    expect(await open(world)).toEqual(before);
    // Of the same pattern a session ends its own.
    await wish(world, { caller: two });
    await let_go(world, ['src/auth/**'], two);
    expect((await open(world)).map((row) => row.owner_name).sort()).toEqual(['build-1', 'build-2']);
    await let_go(world, ['src/auth/**', 'docs/**']);
    expect(await open(world)).toEqual([]);
  });
});

describe('what the others see', () => {
  test('an agent sees those of others in its own repository, and no more than fits', async () => {
    const world = await testStore();
    const [one, two] = [await sessionCaller(world, 'build-1'), await sessionCaller(world, 'build-2')];
    const seenBy = (caller: typeof one, repo_root = REPO) =>
      reservedByOthers(world.deps, { id: caller.session.id, repo_root });
    expect(await seenBy(one)).toBeNull();
    await wish(world, { caller: one, reason: 'a\nlong\n story' });
    // Wishes of one instant have no order.
    world.clock.advance(1);
    await wish(world, { globs: ['docs/**'] });
    expect(await seenBy(two)).toEndWith('\n- src/auth/** by build-1: a long story\n- docs/** by operator');
    expect(await seenBy(one)).toEndWith('write to who has it.\n- docs/** by operator');
    expect(await seenBy(one, '/other')).toBeNull();
    await wish(world, {
      globs: Array.from({ length: 30 }, (_, i) => `${'x'.repeat(200)}${i}`),
      reason: 'y'.repeat(400),
    });
    const text = (await seenBy(one)) ?? '';
    expect(text.split('\n')).toHaveLength(1 + 12 + 1);
    expect(text).toEndWith('- … and more: `reservations`');
    expect(text.length).toBeLessThan(4_000);
  });
});
