import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { AppError } from '../../src/model/error.ts';
import { homePaths } from '../../src/model/home.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { releaseLease, takeLease } from '../../src/store/turn.ts';
import { identityOf } from '../../src/sys/identity.ts';
import { acquirePidLock } from '../../src/sys/lock.ts';
import { ask, listen } from '../../src/sys/socket.ts';
import { Companion, type SupervisorFacts, superviseAct } from '../../src/watchdog/companion.ts';
import { seedSession, type TestStore, testStore } from '../support/store.ts';
import { beforeRemoval } from '../support/temp.ts';
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

async function companion(start: () => Promise<void> = async () => undefined) {
  const world = await testStore();
  let [starts, ahead_ms] = [0, 0];
  const before = world.clock.monotonic;
  world.clock.monotonic = () => before() + ahead_ms;
  const start_supervisor = async () => {
    starts += 1;
    await start();
  };
  const log: string[] = [];
  const one = new Companion({ deps: world.deps, start_supervisor, log: (line) => log.push(line) });
  const pass = (ms: number) => {
    ahead_ms += ms;
  };
  const told = async () => (await listMail(world.store, { to_id: null })).map(({ subject }) => subject).sort();
  return { world, one, starts: () => starts, log, pass, told };
}

/** Somebody holds the supervisor's lock; `name` writes whom its file names. */
function hold(world: TestStore) {
  const path = homePaths.lock(world.home, 'supervisor');
  const held = acquirePidLock(path);
  if (!held.acquired) throw new Error('the lock is taken');
  beforeRemoval(() => held.lock.release());
  const name = (pid: number) => {
    const id = identityOf(pid);
    writeFileSync(path, `${pid}\n${id?.start_time}\n${id?.boot_id}\n`);
  };
  return { name, release: () => held.lock.release() };
}

/** A socket that takes questions; it answers those that `mayAnswer` says. */
async function bell(world: TestStore, mayAnswer: () => boolean): Promise<void> {
  const never = new Promise<string>(() => undefined);
  const server = await listen(homePaths.socket(world.home), () => (mayAnswer() ? 'fine' : never), console.error);
  beforeRemoval(() => server.close());
}

function sacrifice(): Bun.Subprocess {
  const child = Bun.spawn(['sleep', '600']);
  beforeRemoval(() => {
    child.kill('SIGKILL');
  });
  return child;
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

test('one that never stays up for eight hours: some twenty starts, and a person is told once (C-07)', async () => {
  const { world, one, starts, pass, told } = await companion();
  await seedSession(world);
  for (let i = 0; i < 8; i += 1) await one.look(null);
  expect(starts()).toBe(5);
  await until('a person is told', async () => (await told()).length > 0);
  for (let minute = 0; minute < 480; minute += 1) {
    pass(60_000);
    await one.look(null);
  }
  expect([starts() > 9, starts() < 25]).toEqual([true, true]);
  const mail = await listMail(world.store, { to_id: null });
  expect(mail.map(({ type, from_name, subject }) => [type, from_name, subject])).toEqual([
    ['escalation', 'drover', 'The supervisor does not stay up'],
  ]);
});

test('a start that takes its time holds up no look; one that fails is said', async () => {
  const { promise, reject } = Promise.withResolvers<void>();
  const { world, one, starts, log } = await companion(() => promise);
  await seedSession(world);
  for (let i = 0; i < 5; i += 1) expect(await one.look(null)).toBe(false);
  expect(starts()).toBe(1);
  reject(new AppError('unavailable', 'supervisor_unavailable', 'it does not come up'));
  await until('it is said', () => log.includes('supervisor: supervisor_unavailable: it does not come up'));
  await one.look(null);
  expect(starts()).toBe(2);
});

test('one that holds its lock and does not answer is reported once; after a gap the count starts anew', async () => {
  const { world, one, told } = await companion();
  const held = hold(world);
  await bell(world, () => false);
  try {
    for (let i = 0; i < 3; i += 1) {
      await one.look({ timeout_ms: 20, is_awake: true });
      await Bun.sleep(40);
    }
    // Not awake: we did not run, so neither may it have.
    await one.look({ timeout_ms: 20, is_awake: false });
    expect(await told()).toEqual([]);
    await until('it is reported', async () => {
      await one.look({ timeout_ms: 5, is_awake: true });
      return (await told()).length > 0;
    });
    await one.look({ timeout_ms: 5, is_awake: true });
    expect(await told()).toEqual(['The supervisor does not answer']);
  } finally {
    held.release();
  }
});

test('one that starts holds its lock before it can be heard: nothing is said of it for a minute', async () => {
  const { world, one, pass, told } = await companion();
  const held = hold(world);
  const child = sacrifice();
  held.name(child.pid);
  const ask = async () => {
    await one.look({ timeout_ms: 2_000, is_awake: true });
    await Bun.sleep(2);
  };
  for (let i = 0; i < 30; i += 1) await ask();
  expect([await told(), child.exitCode, child.signalCode]).toEqual([[], null, null]);
  pass(59_000);
  // Another one has taken the lock meanwhile.
  const next = sacrifice();
  held.name(next.pid);
  for (let i = 0; i < 30; i += 1) await ask();
  expect([await told(), next.signalCode]).toEqual([[], null]);
  pass(30_000);
  await ask();
  pass(30_000);
  await until('it cannot be heard after a minute either', async () => {
    await ask();
    return next.signalCode === 'SIGKILL';
  });
  expect([await told(), child.signalCode]).toEqual([['The supervisor does not answer'], null]);
});

test('one that hangs after every start is ended five times; then rarely, and a person is told once (O-27)', async () => {
  const { world, one, pass, told, log } = await companion();
  const held = hold(world);
  let mayAnswer = false;
  await bell(world, () => mayAnswer);
  let child = sacrifice();
  held.name(child.pid);
  let kills = 0;
  /** One look, and until what it asked is answered or too late. */
  const look = async () => {
    await one.look({ timeout_ms: mayAnswer ? 10_000 : 3, is_awake: true });
    // Whoever asks after it is answered after it.
    if (mayAnswer) await ask(homePaths.socket(world.home), 'and I?', 10_000);
    else await Bun.sleep(5);
    if (!log.at(-1)?.includes(`(pid ${child.pid})`)) return;
    expect([await child.exited, child.signalCode]).toEqual([137, 'SIGKILL']);
    kills += 1;
    child = sacrifice();
    held.name(child.pid);
  };
  await until('it is ended five times', async () => {
    await look();
    return kills === 5;
  });
  await until('a person is told', async () => {
    await look();
    return (await told()).includes('The supervisor hangs again and again');
  });
  for (let i = 0; i < 15; i += 1) await look();
  expect([kills, await told()]).toEqual([
    5,
    ['The supervisor does not answer', 'The supervisor hangs again and again'],
  ]);
  // A night of it: one more after each pause, and no more words.
  for (let i = 0; i < 8 * 6 * 3; i += 1) {
    pass(200_000);
    await look();
  }
  expect([kills > 5, kills <= 5 + 10, (await told()).length]).toEqual([true, true, 2]);
  // It answers for a while with a miss in between, which is not enough; then for long enough, and the next one is a new episode.
  const before = kills;
  for (const answers of [true, false, true, true, true]) {
    mayAnswer = answers;
    pass(200_000);
    await look();
  }
  mayAnswer = false;
  for (let i = 0; i < 15; i += 1) await look();
  expect([kills - before <= 1, (await told()).length]).toEqual([true, 2]);
  mayAnswer = true;
  for (let i = 0; i < 6; i += 1) {
    pass(200_000);
    await look();
  }
  mayAnswer = false;
  const then = kills;
  await until('it is ended at once', async () => {
    await look();
    return kills === then + 2;
  });
  expect(await told()).toEqual([
    'The supervisor does not answer',
    'The supervisor does not answer',
    'The supervisor hangs again and again',
  ]);
}, 60_000);
