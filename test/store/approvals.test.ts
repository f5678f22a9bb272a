import { expect, test } from 'bun:test';
import { unreadApprovals } from '../../src/store/approvals.ts';
import { insertMail } from '../../src/store/mail.ts';
import { seedSession, testStore } from '../support/store.ts';

test('what waits for a decision, unread: how much of whom, and which, oldest first (E-139)', async () => {
  const world = await testStore();
  for (const id of ['ann', 'bob']) await seedSession(world, { id, name: id });
  const send = (subject: string, to: string, type: 'question' | 'conflict' | 'status', now: number) =>
    world.store.write((tx) =>
      insertMail(
        tx,
        {
          ...{ from_name: 'eve', from_id: null, to_name: to, to_id: to, type, priority: 'normal', subject },
          ...{ body: '', payload_json: null },
        },
        now,
      ),
    );
  await send('first', 'bob', 'question', 5);
  await send('news', 'ann', 'status', 6);
  await send('second', 'ann', 'conflict', 7);
  await send('read', 'ann', 'question', 8);
  await send('third', 'bob', 'conflict', 9);
  await world.store.write((tx) => tx.run("UPDATE mail SET read_at = 9, delivered_turn = 1 WHERE subject = 'read'"));
  const all = await unreadApprovals(world.store, { limit: 9 });
  expect(all.queue.map(({ subject }) => subject)).toEqual(['first', 'second', 'third']);
  expect(all.counts.map(({ to_id, unread }) => [to_id, unread])).toEqual([
    ['bob', 2],
    ['ann', 1],
  ]);
  const some = await unreadApprovals(world.store, { limit: 2 });
  expect(some.queue.map(({ subject }) => subject)).toEqual(['first', 'second']);
  expect((await unreadApprovals(world.store, { to_id: 'bob', limit: 9 })).queue.map(({ to_id }) => to_id)).toEqual([
    ...['bob', 'bob'],
  ]);
});
