import { expect, test } from 'bun:test';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { recover, stop } from '../../src/session/control.ts';
import { listSessions } from '../../src/store/session.ts';
import { endTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

const PERSON = { name: 'operator', session: null };

/** A lead with a child that ended badly. */
async function family(limits: Partial<typeof DEFAULT_CONFIG> = {}): Promise<{
  world: TestStore;
  lead: SessionRow;
  lost: SessionRow;
}> {
  const world = await testStore();
  world.deps.config_for = async () => ({ ...DEFAULT_CONFIG, ...limits });
  const lead = await seedSession(world, { name: 'lead', role: 'lead', depth: 1 });
  const lost = await seedSession(world, { name: 'lost', parent_id: lead.id, depth: 2 });
  await stop(world.deps, lost);
  const [ended] = await listSessions(world.store, { states: ['stopped'] });
  return { world, lead, lost: ended as SessionRow };
}

const told = async (world: TestStore, lead: SessionRow) =>
  (
    await world.store.read((tx) =>
      tx.all<{ child_id: string }>('SELECT child_id FROM notifications WHERE parent_id = :id', { id: lead.id }),
    )
  ).map(({ child_id }) => child_id);

test('a successor reports to the parent of whom it follows, while that lives, at the same depth', async () => {
  const { world, lead, lost } = await family();
  const heir = await recover(world.deps, PERSON, lost, undefined);
  expect(heir).toMatchObject({ parent_id: lead.id, depth: 2, recovered_from: lost.id });
  await endTurn(world, await takeTurn(world, heir.id));
  expect(await told(world, lead)).toContain(heir.id);
});

test('without a parent that lives it is a person’s', async () => {
  const { world, lead, lost } = await family();
  await stop(world.deps, lead);
  expect(await recover(world.deps, PERSON, lost, undefined)).toMatchObject({ parent_id: null, depth: 0 });
});

test('one that a session recovers is its child, also where it took the place of the parent', async () => {
  const { world, lead, lost } = await family();
  await stop(world.deps, lead);
  const heir = await seedSession(world, { name: 'heir', role: 'lead', recovered_from: lead.id });
  const child = await recover(world.deps, { name: 'heir', session: heir }, lost, undefined);
  expect(child).toMatchObject({ parent_id: heir.id, depth: 1 });
});

test('a recovery is a child like any other: there is no way past max_children and max_depth (O-74)', async () => {
  const full = await family({ max_children: 1 });
  const other = await seedSession(full.world, { name: 'other', parent_id: full.lead.id, depth: 2 });
  for (const caller of [PERSON, { name: 'lead', session: full.lead }])
    await expect(recover(full.world.deps, caller, full.lost, undefined)).rejects.toMatchObject({
      ...{ kind: 'refused', code: 'too_many_children' },
    });
  await stop(full.world.deps, other);
  expect((await recover(full.world.deps, PERSON, full.lost, undefined)).parent_id).toBe(full.lead.id);

  const deep = await family({ max_depth: 1 });
  await expect(recover(deep.world.deps, PERSON, deep.lost, undefined)).rejects.toMatchObject({ code: 'too_deep' });
  expect(await listSessions(deep.world.store, {})).toHaveLength(2);
});
