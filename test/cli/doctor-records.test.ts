import { expect, test } from 'bun:test';
import { doctor, soundWorld, tamper } from '../support/doctor.ts';
import { allReservations, living, putReservations, REPO } from '../support/reservation.ts';

test('what doctor says takes away a reservation that cannot be read, and nothing else (H-11, H-25, CX-42)', async () => {
  const { world, bench } = await soundWorld();
  await putReservations(
    world.store,
    { session_id: 'agent-bad', thread: 'bad', attach_precedence_json: 'nonsense', token_hash: 'x', ...living() },
    { session_id: 'agent-good', thread: 'good', ...living() },
  );
  const found = async (code: number) =>
    (await doctor(bench, code)).findings.filter(({ hint }) => hint?.includes('drover reservations delete'));
  const [finding, ...more] = await found(1);
  expect([finding?.level, more]).toEqual(['problem', []]);
  const command = /drover (reservations delete .*)$/.exec(finding?.hint ?? '')?.[1] ?? '';
  expect(await bench.json(command.split(' '))).toMatchObject({ session_id: 'agent-bad', deleted: true });
  expect((await allReservations(world.store)).map(({ session_id }) => session_id)).toEqual(['agent-good']);
  expect(await found(0)).toEqual([]);
}, 60_000);

test('releasing one that cannot be read ends it as well; a token that is given has to be its own (CX-44)', async () => {
  const { world, bench } = await soundWorld();
  await putReservations(world.store, { session_id: 'agent-bad', thread: 'bad', repo_root: REPO, ...living() });
  tamper(world, "UPDATE reservations SET attach_precedence_json = '{'");
  const args = ['release', '--session', 'agent-bad', '--status', 'abandoned'];
  const refused = await bench.json<{ error: object }>([...args, '--token', 'x'], 3);
  expect(refused.error).toMatchObject({ code: 'reservation_token_invalid' });
  expect((await bench.run(args)).code).toBe(0);
  expect(await allReservations(world.store)).toMatchObject([{ status: 'abandoned' }]);
}, 60_000);
