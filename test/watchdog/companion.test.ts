import { expect, test } from 'bun:test';
import { homePaths } from '../../src/model/home.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { releaseLease, takeLease } from '../../src/store/turn.ts';
import { acquirePidLock } from '../../src/sys/lock.ts';
import { Companion, type SupervisorFacts, superviseAct } from '../../src/watchdog/companion.ts';
import { seedSession, testStore } from '../support/store.ts';
import { until } from '../support/until.ts';

const UP: SupervisorFacts = { holds_lock: true, lease: 'taken', has_work: true, unanswered: 0 };

test('what is done about the supervisor, by its lock, its lease and its answers', () => {
  const act = (over: Partial<SupervisorFacts>) => superviseAct({ ...UP, ...over });
  expect([0, 1, 2, 3, 4, 5, 6].map((unanswered) => act({ unanswered }))).toEqual([
    'none',
    'none',
    'none',
    'report',
    'none',
    'none',
    'kill',
  ]);
  expect(act({ holds_lock: false })).toBe('start');
  expect(act({ holds_lock: false, has_work: false })).toBe('none');
  expect(act({ holds_lock: false, lease: 'never' })).toBe('start');
  expect(act({ holds_lock: false, lease: 'released' })).toBe('left');
  expect(act({ holds_lock: false, lease: 'released', unanswered: 6 })).toBe('left');
});

async function companion() {
  const world = await testStore();
  let starts = 0;
  const start_supervisor = async () => {
    starts += 1;
  };
  const one = new Companion({ deps: world.deps, start_supervisor, log: () => undefined });
  return { world, one, starts: () => starts };
}

test('a supervisor that is gone is brought back while there is work, but not one that was sent away', async () => {
  const { world, one, starts } = await companion();
  const fence = await takeLease(world.store, 'somebody', 1);
  expect([await one.look(null), starts()]).toEqual([false, 0]);
  await seedSession(world);
  expect([await one.look(null), starts()]).toEqual([false, 1]);
  await releaseLease(world.store, fence + 1, 2);
  expect([await one.look(null), starts()]).toEqual([false, 2]);
  await releaseLease(world.store, fence, 2);
  expect([await one.look(null), starts()]).toEqual([true, 2]);
  await takeLease(world.store, 'the next', 3);
  expect(await one.look(null)).toBe(false);
});

test('one that does not stay up is left down after five starts, and a person is told once', async () => {
  const { world, one, starts } = await companion();
  await seedSession(world);
  for (let i = 0; i < 8; i += 1) await one.look(null);
  expect(starts()).toBe(5);
  const mail = await listMail(world.store, { to_id: null });
  expect(mail.map(({ type, from_name, subject }) => [type, from_name, subject])).toEqual([
    ['escalation', 'drover', 'The supervisor does not stay up'],
  ]);
});

test('one that holds its lock and does not answer is reported once; after a gap the count starts anew', async () => {
  const { world, one } = await companion();
  const held = acquirePidLock(homePaths.lock(world.home, 'supervisor'));
  if (!held.acquired) throw new Error('the lock is taken');
  const told = async () => (await listMail(world.store, { to_id: null })).length;
  try {
    for (let i = 0; i < 3; i += 1) {
      await one.look({ timeout_ms: 20, is_awake: true });
      await Bun.sleep(40);
    }
    // Not awake: we did not run, so neither may it have.
    await one.look({ timeout_ms: 20, is_awake: false });
    expect(await told()).toBe(0);
    await until('it is reported', async () => {
      await one.look({ timeout_ms: 5, is_awake: true });
      return (await told()) > 0;
    });
    await one.look({ timeout_ms: 5, is_awake: true });
    expect(await told()).toBe(1);
  } finally {
    held.lock.release();
  }
});
