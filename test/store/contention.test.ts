import { expect, test } from 'bun:test';
import { listStateLog } from '../../src/store/event.ts';
import { getSession } from '../../src/store/session.ts';
import { getTurn } from '../../src/store/turn.ts';
import { feedTurn, seedSession, takeTurn, testStore } from '../support/store.ts';
import { otherProcesses, race } from './process.ts';

const WRITERS = 16;
const TIMES = 20;

test('16 processes write at once: no error, and every write counts (I18)', async () => {
  const world = await testStore();
  const { id } = await seedSession(world);
  const taken = await takeTurn(world, id);
  await feedTurn(world, taken, [{ type: 'text', text: 'hello' }]);
  const writers = await otherProcesses(world.home, WRITERS);
  const moved = (await race(writers, () => ({ op: 'count', session_id: id, turn: 1, times: TIMES }))) as number[];
  const sum = moved.reduce((total, each) => total + each, 0);
  const mail = await world.store.read((tx) =>
    tx.get<{ n: number; seqs: number }>(
      'SELECT count(*) AS n, count(DISTINCT subject) AS seqs FROM mail WHERE to_id = :id',
      { id },
    ),
  );
  expect(mail).toEqual({ n: WRITERS * TIMES + 1, seqs: WRITERS * TIMES + 1 });
  const log = (await listStateLog(world.store, id)).filter(({ event }) => event === 'stall' || event === 'progress');
  expect(log).toHaveLength(sum);
  // stall and progress alternate: whoever moved the state did so out of the state the one before had left.
  expect(log.every(({ event }, i) => event === (i % 2 === 0 ? 'stall' : 'progress'))).toBe(true);
  expect((await getSession(world.store, id))?.state).toBe(sum % 2 === 0 ? 'working' : 'stalled');
}, 60_000);

test('two writers of one stream: one goes on, the other sees that it lost, nothing is counted twice', async () => {
  const world = await testStore();
  const { id } = await seedSession(world);
  await takeTurn(world, id);
  const writers = await otherProcesses(world.home, 2);
  for (const writer of writers) writer.tell({ op: 'feed', session_id: id, turn: 1, from: 0, times: 200 });
  const answers = await Promise.all(
    writers.map(async (writer) => {
      for (;;) {
        const said = await writer.next();
        if (said !== 'fed') return (said as { ok: number }).ok;
      }
    }),
  );
  const turn = await getTurn(world.store, id, 1);
  const session = await getSession(world.store, id);
  const total = answers.reduce((sum, each) => sum + each, 0);
  expect(total).toBe(turn?.stdout_offset ?? -1);
  expect([turn?.input_tokens, session?.input_tokens, turn?.events]).toEqual([total, total, total]);
  // Whoever loses stops; the other one goes on to its end, unless both met halfway.
  expect(total).toBeGreaterThanOrEqual(200);
}, 60_000);
