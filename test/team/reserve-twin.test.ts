import { expect, test } from 'bun:test';
import type { Caller } from '../../src/session/identity.ts';
import { reserve } from '../../src/team/reserve.ts';
import { newRepository } from '../git/plain.ts';
import { allReservations, DEAD_PID } from '../support/reservation.ts';
import { testStore } from '../support/store.ts';

const PERSON: Caller = { name: 'operator', session: null };
const PROBE = {
  provider: null,
  model: null,
  harness: 'h',
  thinking_level: null,
  probe_source: 's',
  probe_confidence: 1,
};

test('nobody reads the answer, but a twin has come back to the reservation meanwhile: it keeps it (H-45, HC-15)', async () => {
  const world = await testStore();
  const shared = { cwd: newRepository(), thread: 'feature/x', lease_ms: null, probe: PROBE };
  const take = (pid: number, print: () => Promise<void>) =>
    reserve(world.deps, PERSON, { ...shared, pid, keys: { client_instance_id: 'one' } }, print);
  const first = take(DEAD_PID, async () => {
    // The process it was for has died; another one of the same instance is given it.
    await take(process.pid, async () => {});
    throw new Error('EPIPE');
  });
  await expect(first).rejects.toThrow('EPIPE');
  const rows = await allReservations(world.store);
  expect(rows.map(({ status, pid }) => [status, pid])).toEqual([['active', process.pid]]);
});
