import { expect, test } from 'bun:test';
import { computerUseTask } from '../../src/model/dispatch.ts';
import { newId } from '../../src/model/id.ts';
import type { Priority } from '../../src/model/mail.ts';
import {
  claimDispatch,
  insertDispatch,
  listDispatch,
  type NewDispatch,
  releaseDispatch,
  settleDispatch,
  spawnDispatch,
} from '../../src/store/dispatch.ts';
import { slingOf } from '../support/plan.ts';
import { testStore } from '../support/store.ts';

const draft = (task: string, priority: Priority, more: Partial<NewDispatch> = {}): NewDispatch => ({
  ...{
    id: newId('request'),
    kind: 'standard',
    target_session_id: null,
    task,
    target_url: null,
    priority,
    harness: null,
  },
  ...{ profile_name: null, worktree: null, project: 'ecc-core', task_group: 'phone dispatch', repo_root: '/farm' },
  ...{ working_dir: '/farm', source: 'http', requester: '127.0.0.1', ...more },
});

test('pending ones come in the order of their processing: priority, age, id (E-064)', async () => {
  const { store } = await testStore();
  for (const [i, [task, priority]] of (
    [
      ['a', 'low'],
      ['b', 'critical'],
      ['c', 'high'],
      ['d', 'critical'],
      ['e', 'normal'],
    ] as const
  ).entries())
    await insertDispatch(store, draft(task, priority), i);
  const tasks = async (all = false, limit = 10) => (await listDispatch(store, { all, limit })).map(({ task }) => task);
  expect(await tasks()).toEqual(['b', 'd', 'c', 'e', 'a']);
  expect(await tasks(false, 1)).toEqual(['b']);
  const [first] = await listDispatch(store, { limit: 1 });
  await claimDispatch(store, { id: first?.id ?? '', claimed_by: '1', now: 9 });
  expect([await tasks(), await tasks(true)]).toEqual([
    ['d', 'c', 'e', 'a'],
    ['b', 'd', 'c', 'e', 'a'],
  ]);
});

test('a request is taken by one, ended by the same one, and put back when it is deferred or its holder is gone (I10, E-067, E-068)', async () => {
  const world = await testStore();
  const { id } = await insertDispatch(world.store, draft('t', 'high'), 1);
  const stores = await Promise.all(Array.from({ length: 4 }, () => world.second()));
  const taken = await Promise.all(
    stores.map((store, i) => claimDispatch(store, { id, claimed_by: String(i), now: 2 })),
  );
  const [row] = taken.filter((each) => each !== null);
  expect(taken.filter((each) => each !== null)).toHaveLength(1);
  const claimed_by = row?.claimed_by ?? '';
  const settle = (by: string, end: Parameters<typeof settleDispatch>[1]['end']) =>
    settleDispatch(world.store, { id, claimed_by: by, end, now: 3 });
  expect(await settle('nobody', { state: 'deferred' })).toBeNull();
  expect(await settle(claimed_by, { state: 'deferred' })).toMatchObject({ state: 'pending', claimed_by: null });
  await claimDispatch(world.store, { id, claimed_by: 'old', now: 4 });
  expect(await releaseDispatch(world.store, 'old', 5)).toBe(0);
  expect(await releaseDispatch(world.store, 'new', 5)).toBe(1);
  await claimDispatch(world.store, { id, claimed_by: 'new', now: 6 });
  expect(await settle('old', { state: 'failed', error: 'x' })).toBeNull();
  expect(
    await settle('new', { state: 'dispatched', result_action: 'reused_idle', result_session_id: 'agent-x' }),
  ).toMatchObject({
    ...{ state: 'dispatched', result_action: 'reused_idle', result_session_id: 'agent-x', error: null },
  });
  const other = await insertDispatch(world.store, draft('u', 'low'), 7);
  await claimDispatch(world.store, { id: other.id, claimed_by: 'new', now: 8 });
  const failed = await settleDispatch(world.store, {
    id: other.id,
    claimed_by: 'new',
    end: { state: 'failed', error: 'no target' },
    now: 9,
  });
  expect(failed).toMatchObject({ state: 'failed', error: 'no target' });
});

test('an untargeted request becomes one session, whoever processes it (E-066)', async () => {
  const world = await testStore();
  const { id } = await insertDispatch(world.store, draft('Remote phone triage', 'high'), 1);
  const stores = [world.store, await world.second()];
  const input = { id, actor: 'cli' as const, now: 2 };
  const made = await Promise.all(
    stores.map((store) => spawnDispatch(store, { ...input, sling: slingOf('Remote phone triage', 2) })),
  );
  const [session] = made.filter((each) => each !== null);
  expect(made.filter((each) => each !== null)).toHaveLength(1);
  expect((await listDispatch(world.store, { all: true, limit: 1 }))[0]).toMatchObject({
    ...{ state: 'dispatched', result_action: 'spawned_top_level', result_session_id: session?.id },
  });
});

test('the text of a computer-use task; blank parts are left out (E-062, E-063)', () => {
  const text = computerUseTask({
    ...{ goal: ' Open the billing portal and confirm the refund banner ', url: 'https://ecc.tools/account' },
    context: 'Use the production account flow',
  });
  expect(text.split('\n').slice(0, 4)).toEqual([
    'Computer-use task.',
    'Goal: Open the billing portal and confirm the refund banner',
    'Target URL: https://ecc.tools/account',
    'Context: Use the production account flow',
  ]);
  expect(computerUseTask({ goal: 'g', url: '  ', context: '' }).split('\n')).toHaveLength(3);
});
