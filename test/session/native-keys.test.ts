import { expect, test } from 'bun:test';
import type { ReservationRow } from '../../src/model/reservation.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { actorChain, listReservations } from '../../src/store/reservation-list.ts';
import { feedTurn, takeTurn } from '../support/store.ts';
import { type Field, field } from './field.ts';

const held = async ({ world, repo }: Field, row: Pick<SessionRow, 'id'>): Promise<ReservationRow | undefined> =>
  (await listReservations(world.store, { repo_root: repo, active_only: true, owner_session_id: row.id }, 0)).rows[0];

const chain = async ({ world }: Field, row: Pick<SessionRow, 'id'>) =>
  (await actorChain(world.store, row.id, world.clock.now())).map(({ owner_session_id }) => owner_session_id);

const says = async ({ world }: Field, row: Pick<SessionRow, 'id'>, native_session_id: string) =>
  feedTurn(world, await takeTurn(world, row.id), [{ type: 'session', native_session_id, model: null, version: null }]);

test('what a session in a worktree holds has the keys of its harness, and of its parent’s (H-13, H-49, H-52, CX-16)', async () => {
  const at = await field();
  const lead = await at.settled('lead', { harness: 'codex' });
  await says(at, lead, 'n-lead');
  const child = await at.settled('kid', { parent_id: lead.id, harness: 'claude' });
  expect(await held(at, child)).toMatchObject({
    native_actor_key: null,
    native_parent_actor_key: 'codex:thread:n-lead',
  });
  await says(at, child, 'n-kid');
  expect(await held(at, lead)).toMatchObject({
    native_actor_key: 'codex:thread:n-lead',
    native_parent_actor_key: null,
  });
  expect(await held(at, child)).toMatchObject({ native_actor_key: 'claude:session:n-kid' });
  expect(await chain(at, child)).toEqual([lead.id, child.id]);
  const query = { repo_root: at.repo, active_only: true, native_actor_key: 'claude:session:n-kid' };
  expect((await listReservations(at.world.store, query, 0)).rows.map(({ session_id }) => session_id)).toEqual([
    child.id,
  ]);
});

test('a child that was there before its parent said anything has the parent’s key once it does', async () => {
  const at = await field();
  const lead = await at.settled('lead', { harness: 'codex' });
  const child = await at.settled('kid', { parent_id: lead.id });
  await says(at, child, 'n-kid');
  expect(await chain(at, child)).toEqual([child.id]);
  await says(at, lead, 'n-lead');
  expect(await chain(at, child)).toEqual([lead.id, child.id]);
});

test('a key that somebody has given stays; another conversation is another key of ours', async () => {
  const at = await field();
  const [own, given] = [await at.settled('own'), await at.settled('given')];
  await at.world.store.write((tx) =>
    tx.run(
      `UPDATE reservations SET winning_attach_rule = 'agent-reserve', native_actor_key = 'mine' WHERE owner_session_id = :id`,
      { id: given.id },
    ),
  );
  await says(at, given, 'n1');
  expect(await held(at, given)).toMatchObject({ native_actor_key: 'mine' });
  const taken = await takeTurn(at.world, own.id);
  await feedTurn(at.world, taken, [{ type: 'session', native_session_id: 'n1', model: null, version: null }]);
  const [turn] = await at.world.store.read((tx) =>
    tx.all<typeof taken.turn>('SELECT * FROM turns WHERE session_id = :id', { id: own.id }),
  );
  await feedTurn(at.world, { ...taken, turn: turn ?? taken.turn }, [
    { type: 'session', native_session_id: 'n2', model: null, version: null },
  ]);
  expect(await held(at, own)).toMatchObject({ native_actor_key: 'rehearsal:session:n2' });
});
