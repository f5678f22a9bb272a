import { expect, test } from 'bun:test';
import { homePaths } from '../../src/model/home.ts';
import { openStore } from '../../src/store/open.ts';
import type { Store } from '../../src/store/store.ts';
import { nextRound, systemClock } from '../../src/sys/clock.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import { testStore } from '../support/store.ts';

/** A store that gathers writes, beside one that sees only what is committed. `entered` counts transactions. */
async function gathering() {
  const world = await testStore();
  const gate = openWriteGate(homePaths.gate(world.home));
  let entered = 0;
  const counted = {
    tryEnter: () => {
      const leave = gate.tryEnter();
      if (leave !== null) entered += 1;
      return leave;
    },
  };
  const path = homePaths.database(world.home);
  const store = await openStore({ path, durability: 'full', clock: systemClock, gate: counted, gather: nextRound });
  await store.write((tx) => tx.run('CREATE TABLE notes (text TEXT NOT NULL UNIQUE)'));
  const notes = () =>
    world.store.read((tx) => tx.all<{ text: string }>('SELECT text FROM notes ORDER BY rowid').map(({ text }) => text));
  entered = 0;
  const close = () => {
    store.close();
    gate.close();
  };
  return { store, notes, entered: () => entered, close };
}

const note = (store: Store, text: string) =>
  store.write((tx) => tx.run('INSERT INTO notes (text) VALUES (:text)', { text }));

test('writes of one moment are one commit, and each is there when it is said to be', async () => {
  const { store, notes, entered, close } = await gathering();
  const seen = await Promise.all(
    ['a', 'b', 'c'].map(async (text) => {
      const changed = await note(store, text);
      return { changed, seen: (await notes()).includes(text) };
    }),
  );
  expect(seen).toEqual(Array.from({ length: 3 }, () => ({ changed: 1, seen: true })));
  expect([await notes(), entered()]).toEqual([['a', 'b', 'c'], 1]);
  await note(store, 'd');
  expect(entered()).toBe(2);
  close();
});

test('what one of them throws takes back all that it has done, and nothing of the others', async () => {
  const { store, notes, entered, close } = await gathering();
  const failing = store.write((tx) => {
    tx.run("INSERT INTO notes (text) VALUES ('half')");
    throw new Error('second thoughts');
  });
  const all = await Promise.allSettled([note(store, 'a'), failing, note(store, 'b'), note(store, 'a')]);
  expect(all.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
  await expect(failing).rejects.toThrow('second thoughts');
  expect([await notes(), entered()]).toEqual([['a', 'b'], 1]);
  close();
});

test('when the database gives up the whole, who is to blame is alone with it', async () => {
  const { store, notes, entered, close } = await gathering();
  const undoing = store.write((tx) => tx.run('ROLLBACK'));
  const all = await Promise.allSettled([note(store, 'a'), undoing, note(store, 'b')]);
  expect(all.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect([await notes(), entered()]).toEqual([['a', 'b'], 4]);
  close();
});

test('a commit that fails is nobody’s write: each is tried by itself', async () => {
  const { store, notes, close } = await gathering();
  await store.write((tx) =>
    tx.run('CREATE TABLE marks (text TEXT REFERENCES notes(text) DEFERRABLE INITIALLY DEFERRED)'),
  );
  const stray = store.write((tx) => tx.run("INSERT INTO marks (text) VALUES ('nowhere')"));
  const all = await Promise.allSettled([note(store, 'a'), stray]);
  expect(all.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  expect(await notes()).toEqual(['a']);
  close();
});

test('a gate that stays closed is everybody’s: nobody waits longer than one would by himself', async () => {
  const { store: first, close } = await gathering();
  const world = await testStore();
  const [gate, other] = [openWriteGate(homePaths.gate(world.home)), openWriteGate(homePaths.gate(world.home))];
  const options = { path: homePaths.database(world.home), durability: 'full' as const, clock: systemClock, gate };
  const store = await openStore({ ...options, gather: nextRound, wait_ms: 100 });
  const leave = other.tryEnter();
  const start = performance.now();
  const all = await Promise.allSettled(Array.from({ length: 30 }, () => store.write((tx) => tx.run('SELECT 1'))));
  expect(all.every((each) => each.status === 'rejected' && each.reason.code === 'store_busy')).toBe(true);
  expect(performance.now() - start).toBeLessThan(2_500);
  leave?.();
  store.close();
  for (const each of [gate, other]) each.close();
  expect(await note(first, 'x')).toBe(1);
  close();
});
