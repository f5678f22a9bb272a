import { afterAll, expect, test } from 'bun:test';
import { resolve } from 'node:path';
import { moveReservation, reserveIn, updateReservation } from '../../src/store/reservation.ts';
import { allReservations, DEAD, draft, putReservations, REPO, reserveThread } from '../support/reservation.ts';
import { testStore } from '../support/store.ts';

const RESERVER = resolve(import.meta.dir, 'fixtures/reserver.ts');
const racers: Racer[] = [];

afterAll(async () => {
  for (const racer of racers.splice(0)) await racer.end();
});

interface Answer {
  outcome?: 'reserved' | 'live_owner';
  session_id?: string;
  pid?: number;
  error?: string;
}

/** Another process on the same home. */
class Racer {
  readonly #child;
  readonly #lines;

  constructor(home: string) {
    this.#child = Bun.spawn([process.execPath, RESERVER, home], { stdin: 'pipe', stdout: 'pipe', stderr: 'inherit' });
    this.#lines = this.#read();
    racers.push(this);
  }

  get pid(): number {
    return this.#child.pid;
  }

  say(line: string): void {
    this.#child.stdin.write(`${line}\n`);
    this.#child.stdin.flush();
  }

  async hear<T>(): Promise<T> {
    const { value } = await this.#lines.next();
    if (value === undefined) throw new Error('the racer died');
    return JSON.parse(value) as T;
  }

  async end(): Promise<number> {
    await this.#child.stdin.end();
    return this.#child.exited;
  }

  async *#read(): AsyncGenerator<string, undefined> {
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of this.#child.stdout) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = parts.pop() ?? '';
      yield* parts;
    }
  }
}

const RACERS = 8;
const ROUNDS = 100;

test('★ 100 rounds × 8 processes behind a barrier: one reserves, seven see the winner, none fails (H-42)', async () => {
  const world = await testStore();
  const all = Array.from({ length: RACERS }, () => new Racer(world.home));
  for (const racer of all) expect(await racer.hear<string>()).toBe('ready');
  const winners: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const thread = `feature/race-${round}`;
    // A dead owner in every other round: clearing it away is part of the race.
    if (round % 2 === 1) await putReservations(world.store, { thread, ...DEAD });
    for (const racer of all) racer.say(thread);
    const answers = await Promise.all(all.map((racer) => racer.hear<Answer>()));
    const won = answers.filter(({ outcome }) => outcome === 'reserved');
    expect([round, won.length, answers.filter(({ outcome }) => outcome === 'live_owner').length]).toEqual([
      round,
      1,
      7,
    ]);
    expect(new Set(answers.map(({ session_id }) => session_id))).toEqual(new Set([won[0]?.session_id]));
    winners.push(won[0]?.pid ?? 0);
  }
  const rows = await allReservations(world.store);
  expect(rows.filter((row) => row.status === 'active')).toHaveLength(ROUNDS);
  expect(rows.filter((row) => row.status === 'abandoned')).toHaveLength(ROUNDS / 2);
  for (const pid of winners) expect(all.map((racer) => racer.pid)).toContain(pid);
  for (const racer of all) expect(await racer.end()).toBe(0);
}, 60_000);

test('kill -9 between two statements leaves nothing of the new row, and the dead owner as it was (H-08)', async () => {
  const world = await testStore();
  const before = await putReservations(world.store, { thread: 'it', ...DEAD });
  const racer = new Racer(world.home);
  await racer.hear();
  racer.say('!it');
  expect(await racer.end()).toBe(137);
  expect(await allReservations(world.store)).toEqual(before);
  expect(await reserveThread(world, 'it')).toMatchObject({ outcome: 'reserved', reaped: 1 });
});

const MOVES = [
  ['complete', 'abandoned', 'active'],
  ['complete', 'complete', 'active'],
  ['abandoned', 'merged', 'active'],
  ['complete', 'merged', 'active'],
  ['merged', 'merged', 'complete'],
] as const;

test.each(MOVES)('two connections: %s and %s of one that is %s are done in some order', async (one, other, from) => {
  const world = await testStore();
  const stores = [world.store, await world.second()] as const;
  for (let round = 0; round < 20; round += 1) {
    const session_id = `r${round}`;
    const started_at = world.clock.now();
    await putReservations(world.store, { session_id, thread: session_id, status: from, started_at });
    const move = (at: 0 | 1, to: typeof one | typeof other) =>
      moveReservation(stores[at], { session_id, to, mover: 'merge', may: () => undefined, now: started_at + 1 + at });
    const [left, right] = await Promise.all(
      round % 2 === 0 ? [move(0, one), move(1, other)] : [move(0, other), move(1, one)],
    );
    const row = (await allReservations(world.store)).find((each) => each.session_id === session_id);
    const changed = [left, right].filter((moved) => moved.ok && moved.changed);
    // One of them is first; the other is either a repetition, a legal next step, or refused.
    expect(changed.length).toBeGreaterThanOrEqual(1);
    if (one === other) expect(changed).toHaveLength(1);
    if (one === 'complete' && other === 'abandoned') expect(changed).toHaveLength(1);
    expect([one, other]).toContain(row?.status as typeof one);
    expect(changed.at(-1)?.ok).toBe(true);
    if (one === 'complete' && other === 'merged') expect(row?.status).toBe('merged');
  }
});

test('a heartbeat and the end race: never a heartbeat on what has ended (I8)', async () => {
  const world = await testStore();
  const second = await world.second();
  for (let round = 0; round < 20; round += 1) {
    const session_id = `r${round}`;
    const started_at = world.clock.now();
    await putReservations(world.store, { session_id, thread: session_id, started_at, heartbeat_at: started_at });
    const may = () => undefined;
    const beat = updateReservation(second, {
      ...{ session_id, active_only: true, may, now: started_at },
      update: () => ({ heartbeat_at: started_at + 9 }),
    });
    const end = moveReservation(world.store, { session_id, to: 'complete', mover: 'owner', may, now: started_at + 5 });
    const [seen, moved] = await Promise.all([beat, end]);
    expect(moved).toMatchObject({ ok: true, changed: true });
    expect(seen?.heartbeat_at).toBe(seen?.status === 'active' ? started_at + 9 : started_at);
  }
});

test('two that find the same owner dead: one of them gets the thread', async () => {
  const world = await testStore();
  const second = await world.second();
  for (let round = 0; round < 20; round += 1) {
    const thread = `t${round}`;
    await putReservations(world.store, { thread, ...DEAD });
    const both = await Promise.all([
      reserveThread(world, thread),
      reserveThread({ store: second, clock: world.clock }, thread),
    ]);
    expect(both.map(({ outcome }) => outcome).sort()).toEqual(['live_owner', 'reserved']);
  }
});

test('an owner that changes while it is being cleared away is an error and not a second owner (I6, I7)', async () => {
  const world = await testStore();
  const [row] = await putReservations(world.store, { thread: 'it', ...DEAD });
  const attempt = world.store.write((tx) =>
    reserveIn(tx, {
      ...{
        repo_root: REPO,
        thread: 'it',
        new_id: () => 'agent-new',
        build: (id) => draft(id, { thread: 'it' }),
        now: 5,
      },
      probe: () => {
        tx.run('UPDATE reservations SET heartbeat_at = 99');
        return 'dead';
      },
    }),
  );
  await expect(attempt).rejects.toThrow('changed while it was locked');
  expect(await allReservations(world.store)).toEqual([row as never]);
});
