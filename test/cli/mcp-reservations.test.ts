import { beforeAll, expect, test } from 'bun:test';
import { listPathReservations } from '../../src/store/path-reservation.ts';
import { newRepository, plainGit } from '../git/plain.ts';
import { doorbell, mcpClient } from '../support/agent.ts';
import { allReservations } from '../support/reservation.ts';
import { seedSession, type TakenTurn, type TestStore, takeTurn, testStore } from '../support/store.ts';

let world: TestStore;
const repo = newRepository();

beforeAll(async () => {
  world = await testStore();
  await doorbell(world);
});

async function inTurn(name: string): Promise<TakenTurn> {
  return takeTurn(world, (await seedSession(world, { name, repo_root: repo, working_dir: repo })).id);
}

const open = async () =>
  (await listPathReservations(world.store, { repo_root: repo, now: world.clock.now() })).map((row) => row.glob);

test('files are reserved, seen by others and released, with the rights of the command line', async () => {
  const [one, two] = [await inTurn('build-1'), await inTurn('build-2')];
  const [left, right] = [await mcpClient(world, one.token), await mcpClient(world, two.token)];
  expect(await left.call('reservations')).toEqual({ isError: false, text: 'Nothing is reserved.' });
  const made = await left.call('reserve', { paths: ['src/auth/**', 'docs/**'], reason: 'moving', minutes: 5 });
  expect(made.text).toMatch(/^Reserved src\/auth\/\*\* \(path-\w+\), docs\/\*\* \(path-\w+\)\.$/);
  const warned = await right.call('reserve', { paths: ['src/auth/x.ts'] });
  expect(warned.text).toContain(
    '\nOthers have reserved some of them; write to them first:\n- src/auth/** by build-1: moving',
  );
  expect((await right.call('reservations')).text).toContain('- docs/** by build-1: moving (path-');
  const foreign = await right.call('release', { paths: ['docs/**'] });
  expect(foreign).toEqual({ isError: true, text: expect.stringContaining('error [path_reservation_foreign]') });
  expect((await open()).sort()).toEqual(['docs/**', 'src/auth/**', 'src/auth/x.ts']);
  expect((await left.call('release', { paths: ['docs/**'] })).text).toBe('Released docs/**.');
  expect((await left.call('reserve', {})).text).toContain('error [input_invalid]');
  expect((await left.call('reserve', { paths: ['../x'] })).text).toContain('error [glob_invalid]');
  expect((await left.call('release', { paths: ['docs/**'], status: 'complete' })).text).toContain(
    'error [input_invalid]',
  );
}, 60_000);

test('a thread is reserved and released by its session', async () => {
  const { token, session } = await inTurn('build-3');
  const client = await mcpClient(world, token);
  const { reservation } = JSON.parse((await client.call('reserve', { thread: 'feature/x', task: 'it' })).text);
  expect(reservation).toMatchObject({ session_id: session.id, thread: 'feature/x', task: 'it', status: 'active' });
  expect(plainGit(repo, 'rev-parse', 'feature/x')).toBe(plainGit(repo, 'rev-parse', 'HEAD'));
  expect((await client.call('reservations')).text).toContain(`- branch feature/x by ${session.id} (${session.id})`);
  const other = await mcpClient(world, (await inTurn('build-4')).token);
  expect((await other.call('reserve', { thread: 'feature/x' })).text).toContain('error [live_owner]');
  const refused = await other.call('release', { status: 'complete', session: session.id });
  expect(refused.text).toContain('error [reservation_token_required]');
  expect((await client.call('release', { status: 'complete' })).text).toBe('feature/x is released (complete).');
  expect((await allReservations(world.store)).map((row) => row.status)).toEqual(['complete']);
}, 60_000);
