import { afterAll, describe, expect, test } from 'bun:test';
import type { AppError } from '../../src/model/error.ts';
import type { Caller } from '../../src/session/identity.ts';
import { identityOf } from '../../src/sys/identity.ts';
import { type ReserveRequest, reserve } from '../../src/team/reserve.ts';
import { newRepository, plainGit } from '../git/plain.ts';
import { allReservations, DEAD_PID } from '../support/reservation.ts';
import { seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

const PROBE = {
  provider: null,
  model: null,
  harness: 'h',
  thinking_level: null,
  probe_source: 's',
  probe_confidence: 1,
};
const PERSON: Caller = { name: 'operator', session: null };
const CLIENT = { keys: { client_instance_id: 'client-a' } };

const sleepers: Bun.Subprocess[] = [];
afterAll(async () => {
  for (const child of sleepers) child.kill();
  await Promise.all(sleepers.map((child) => child.exited));
});

/** A process beside this one. */
function sleeper() {
  const child = Bun.spawn(['sleep', '600']);
  sleepers.push(child);
  return {
    pid: child.pid,
    end: async () => {
      child.kill('SIGKILL');
      await child.exited;
    },
  };
}

async function place() {
  const world = await testStore();
  return { world, cwd: newRepository(), ...(await caller(world)) };
}
type Place = Awaited<ReturnType<typeof place>>;

async function caller(world: TestStore) {
  const { id } = await seedSession(world);
  const { session } = await takeTurn(world, id);
  return { session, me: { name: session.name, session } satisfies Caller };
}

/** Its id, or the code of the refusal. */
async function take({ world, cwd, me }: Place, more: Partial<ReserveRequest>, who: Caller = me): Promise<string> {
  const request = { cwd, thread: 'x', pid: null, lease_ms: null, probe: PROBE, keys: {}, ...more };
  try {
    return (await reserve(world.deps, who, request, async () => undefined)).session_id;
  } catch (error) {
    return (error as AppError).code;
  }
}

const owner = async ({ world }: Place) => {
  const active = (await allReservations(world.store)).filter((row) => row.status === 'active');
  expect(active).toHaveLength(1);
  return active[0];
};

describe('who comes back to its own reservation (H-45)', () => {
  test('two processes of one session are two: while the first lives the second waits, and changes nothing (H-39)', async () => {
    const at = await place();
    const first = sleeper();
    const id = await take(at, { pid: first.pid });
    const before = await owner(at);
    expect(before).toMatchObject({ session_id: at.session.id, pid: first.pid });
    expect(await take(at, { pid: process.pid })).toBe('live_owner');
    // Nor does the session as a whole have what one process of it holds.
    expect(await take(at, { pid: null })).toBe('live_owner');
    expect(await owner(at)).toEqual(before);
    expect(await take(at, { pid: first.pid })).toBe(id);
    await first.end();
    expect(await take(at, { pid: process.pid })).toBe(id);
    expect(await owner(at)).toMatchObject({ pid: process.pid, session_id: id });
  });

  test('of many processes of one session that ask at once one has it (H-42)', async () => {
    const at = await place();
    const pids = Array.from({ length: 6 }, () => sleeper().pid);
    const said = await Promise.all(pids.map((pid) => take(at, { pid })));
    const won = pids.filter((_pid, i) => said[i] !== 'live_owner');
    expect(won).toHaveLength(1);
    expect((await owner(at))?.pid).toBe(won[0] as number);
  });

  test('the same for whoever names its instance; one whose process is gone comes back in spite of its lease', async () => {
    const at = await place();
    const first = sleeper();
    const id = await take(at, { pid: first.pid, lease_ms: 60_000, ...CLIENT }, PERSON);
    expect(await take(at, { pid: process.pid, ...CLIENT }, PERSON)).toBe('live_owner');
    await first.end();
    expect(await take(at, { pid: process.pid }, PERSON)).toBe('live_owner');
    expect(await take(at, { pid: process.pid, ...CLIENT }, PERSON)).toBe(id);
    const { pid, start_time, boot_id } = identityOf(process.pid) as NonNullable<ReturnType<typeof identityOf>>;
    expect(await owner(at)).toMatchObject({ pid, pid_start_time: start_time, boot_id, lease_ms: null });
  });

  test('what lives as long as its session dies neither with a process nor with a lease of it', async () => {
    const at = await place();
    const id = await take(at, {});
    const brief = sleeper();
    expect(await take(at, { pid: brief.pid, lease_ms: 1 })).toBe(id);
    await brief.end();
    at.world.clock.advance(1_000);
    expect(await owner(at)).toMatchObject({ pid: null, pid_start_time: null, boot_id: null, lease_ms: null });
    expect(await take(at, { pid: process.pid }, PERSON)).toBe('live_owner');
  });

  test('of two leases of a session the longer one counts while it runs; then it is as it is asked for', async () => {
    const at = await place();
    const id = await take(at, { lease_ms: 1_000 });
    expect(await take(at, { lease_ms: 500, pid: DEAD_PID })).toBe(id);
    expect(await owner(at)).toMatchObject({ lease_ms: 1_000, pid: null });
    at.world.clock.advance(1_001);
    expect(await take(at, { pid: process.pid })).toBe(id);
    expect(await owner(at)).toMatchObject({ lease_ms: null, pid: process.pid });
  });

  test('a lease of a client, or of a process that is gone, gives way to what is asked for now', async () => {
    const [at, other] = [await place(), await place()];
    const id = await take(at, { lease_ms: 60_000, ...CLIENT }, PERSON);
    expect(await take(at, { pid: process.pid, ...CLIENT }, PERSON)).toBe(id);
    expect(await owner(at)).toMatchObject({ lease_ms: null, pid: process.pid });
    const first = sleeper();
    await take(other, { pid: first.pid, lease_ms: 60_000 });
    await first.end();
    expect(await take(other, { pid: process.pid })).toBe(other.session.id);
    expect(await owner(other)).toMatchObject({ lease_ms: null, pid: process.pid });
  });

  test('whoever has worked on comes back to it from the main checkout: the branch moved by its own work (H-45, HC-07)', async () => {
    const at = await place();
    const id = await take(at, { pid: process.pid, ...CLIENT }, PERSON);
    const before = await owner(at);
    const tree = plainGit(at.cwd, 'rev-parse', 'HEAD^{tree}');
    const work = plainGit(at.cwd, 'commit-tree', '-m', 'work', '-p', 'HEAD', tree);
    plainGit(at.cwd, 'update-ref', 'refs/heads/x', work);
    expect(await take(at, { pid: process.pid, ...CLIENT }, PERSON)).toBe(id);
    expect(await owner(at)).toMatchObject({ session_id: id, anchor_commit: before?.anchor_commit ?? '' });
    expect(plainGit(at.cwd, 'rev-parse', 'x')).toBe(work);
    // Nobody else does, nor another process of it while the first one lives, nor it when it has nothing there any more.
    expect(await take(at, { pid: process.pid, keys: { client_instance_id: 'b' } }, PERSON)).toBe('live_owner');
    expect(await take(at, { pid: sleeper().pid, ...CLIENT }, PERSON)).toBe('live_owner');
    const { world } = at;
    await world.store.write((tx) => tx.run("UPDATE reservations SET status = 'abandoned', completed_at = started_at"));
    expect(await take(at, { pid: process.pid, ...CLIENT }, PERSON)).toBe('anchor_drift');
    expect(await allReservations(world.store)).toHaveLength(1);
  });
});
