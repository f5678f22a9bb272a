import { expect, test } from 'bun:test';
import type { FileTouch, HarnessEvent } from '../../src/model/harness.ts';
import { listActivity, recordTurnChanges, writesAfter } from '../../src/store/activity.ts';
import { pauseSession } from '../../src/store/control.ts';
import { listEvents } from '../../src/store/event.ts';
import { ingest } from '../../src/store/ingest.ts';
import { toolCalls } from '../../src/store/tool-log.ts';
import { endTurn, feedTurn, seedSession, type TestStore, takeTurn } from '../support/store.ts';
import { batch, started } from './stream.ts';
import { resume } from './two-writers.ts';

const uses = (tool_id: string | null, ...files: FileTouch[]): HarnessEvent => ({
  ...{ type: 'tool_use', tool: 'Edit', tool_id, input: '{}', files },
});
const answers = (tool_id: string, is_error: boolean): HarnessEvent => ({
  ...{ type: 'tool_result', tool_id, is_error, output: is_error ? 'no such text' : 'ok' },
});
/** A call and its answer. */
const did = (tool_id: string, ...files: FileTouch[]) => [uses(tool_id, ...files), answers(tool_id, false)];
const modify = (path: string): FileTouch => ({ path, action: 'modify' });
const actsOf = async (world: TestStore, session_id: string) =>
  (await listActivity(world.store, { session_id, limit: 10_000 })).map(({ path, action, source, turn }) => [
    ...[path, action, source, turn],
  ]);

test('what tools say of files is stored with their calls, relative to the repository (E-142)', async () => {
  const { world, taken } = await started();
  await feedTurn(world, taken, [
    ...did('t1', modify('/farm/src/a.ts'), { path: 'b.ts', action: 'create' }),
    ...did('t2', { path: 'src/../c.ts', action: 'read' }),
    ...did('t3', modify('/etc/passwd'), modify('../out.ts')),
    { type: 'tool_use', tool: 'Bash', tool_id: 't4', input: '{}', files: [] },
    answers('t4', true),
  ]);
  expect(await actsOf(world, taken.session.id)).toEqual([
    ['src/a.ts', 'modify', 'tool', 1],
    ['b.ts', 'create', 'tool', 1],
    ['c.ts', 'read', 'tool', 1],
  ]);
});

test('a refused batch leaves no file activity, and a batch twice leaves one (E-142)', async () => {
  const { world, taken } = await started();
  const input = batch(taken, 0, [[uses(null, modify('a.ts'))]]);
  await ingest(world.store, [input]);
  expect(await ingest(world.store, [input])).toEqual([null]);
  expect(await actsOf(world, taken.session.id)).toHaveLength(1);
});

test('a call counts once its answer is there, at that time; one that failed changed nothing (E-142)', async () => {
  const { world, taken } = await started();
  const { id: session_id } = taken.session;
  await feedTurn(world, taken, [uses('t1', modify('a.ts')), answers('t1', true), ...did('t0', modify('0.ts'))]);
  expect(await actsOf(world, session_id)).toEqual([['0.ts', 'modify', 'tool', 1]]);
  await feedTurn(world, taken, [uses('t2', modify('b.ts')), uses('t3', modify('c.ts'), modify('d.ts'))]);
  await feedTurn(world, taken, [uses(null, modify('e.ts'))]);
  // Nobody could tell which answer is that of a call without an id.
  expect((await actsOf(world, session_id)).slice(1)).toEqual([['e.ts', 'modify', 'tool', 1]]);
  world.clock.advance(1_000);
  const { read: before } = await writesAfter(world.store, null, 9);
  await feedTurn(world, taken, [answers('t3', false), answers('t2', true), answers('other', false)]);
  const news = await writesAfter(world.store, before, 9);
  expect(news.writes.map(({ path }) => path)).toEqual(['c.ts', 'd.ts']);
  expect(news.writes.every(({ at }) => at >= world.clock.now() - 500)).toBe(true);
  // Nothing waits any more.
  await recordTurnChanges(world.store, { session_id, turn: 1, repo_root: '/farm' }, []);
  expect(await actsOf(world, session_id)).toHaveLength(4);
});

test('what was not answered when the turn is over may have been done (E-142)', async () => {
  const { world, taken } = await started();
  const { id: session_id } = taken.session;
  const end = (turn: number) => recordTurnChanges(world.store, { session_id, turn, repo_root: '/farm' }, []);
  await feedTurn(world, taken, [uses('item_0', modify('a.ts'))]);
  expect(await actsOf(world, session_id)).toEqual([]);
  await end(1);
  await end(1);
  expect(await actsOf(world, session_id)).toEqual([['a.ts', 'modify', 'tool', 1]]);
  await endTurn(world, taken, { ok: false });
  // A harness may count its calls anew with every turn.
  const second = await takeTurn(world, session_id);
  await feedTurn(world, second, [uses('item_0', modify('a.ts'))]);
  await end(1);
  expect(await actsOf(world, session_id)).toHaveLength(1);
  await feedTurn(world, second, [answers('item_0', false)]);
  expect((await actsOf(world, session_id)).slice(1)).toEqual([['a.ts', 'modify', 'tool', 2]]);
});

test('git adds only what the turn has no write of yet, and a deletion once (E-142)', async () => {
  const { world, taken } = await started();
  const { id: session_id } = taken.session;
  await feedTurn(world, taken, [...did('t1', modify('a.ts')), ...did('t2', { path: 'b.ts', action: 'read' })]);
  const change = (path: string, action: 'modify' | 'delete' = 'modify') => ({ path, action, at: 7 });
  const note = (turn: number, ...changes: ReturnType<typeof change>[]) =>
    recordTurnChanges(world.store, { session_id, turn, repo_root: '/farm' }, changes);
  await note(1, change('a.ts'), change('b.ts'), change('gone.ts', 'delete'));
  await note(1, change('a.ts'), change('b.ts'), change('gone.ts', 'delete'));
  await note(2, change('b.ts'), change('gone.ts', 'delete'));
  expect((await actsOf(world, session_id)).slice(2)).toEqual([
    ['b.ts', 'modify', 'git', 1],
    ['gone.ts', 'delete', 'git', 1],
    ['b.ts', 'modify', 'git', 2],
  ]);
});

test('a session keeps the newest read and write of each file when it has too many rows', async () => {
  const { world, taken } = await started();
  const many = Array.from({ length: 4_200 }, (_, i) => did(`t${i}`, modify(`f${i % 3}.ts`))).flat();
  await feedTurn(world, taken, [...did('r', { path: 'f0.ts', action: 'read' }), ...many]);
  await recordTurnChanges(world.store, { session_id: taken.session.id, turn: 1, repo_root: '/farm' }, []);
  const rows = await listActivity(world.store, { session_id: taken.session.id, limit: 10_000 });
  expect(rows.map(({ path, action, event_id }) => [path, action, event_id])).toEqual([
    ['f0.ts', 'read', '1:r'],
    ['f0.ts', 'modify', '1:t4197'],
    ['f1.ts', 'modify', '1:t4198'],
    ['f2.ts', 'modify', '1:t4199'],
  ]);
});

test('who looks for new writes gets each once, in order, and none of the reads', async () => {
  const { world, taken } = await started();
  const start = await writesAfter(world.store, null, 2);
  expect([start.writes, start.read.activity]).toEqual([[], 0]);
  expect(await writesAfter(world.store, start.read, 2)).toEqual(start);
  await feedTurn(world, taken, [
    ...did('t1', modify('a'), { path: 'a', action: 'read' }, modify('b'), modify('c')),
    ...did('t2', { path: 'd', action: 'read' }),
  ]);
  const first = await writesAfter(world.store, start.read, 2);
  expect(first.writes.map(({ path }) => path)).toEqual(['a', 'b']);
  const second = await writesAfter(world.store, first.read, 2);
  expect(second.writes.map(({ path }) => path)).toEqual(['c']);
  expect((await writesAfter(world.store, second.read, 2)).writes).toEqual([]);
  expect((await writesAfter(world.store, null, 2)).writes.map(({ path }) => path)).toEqual(['c', 'b', 'a']);
});

test('the writes of who was put back to work are news once more, once', async () => {
  const { world, taken } = await started();
  const { id: session_id } = taken.session;
  await feedTurn(world, taken, did('t1', modify('a')));
  await endTurn(world, taken, { ok: false });
  await pauseSession(world.store, { session_id, reason: 'lunch', now: 1 });
  const { read } = await writesAfter(world.store, null, 9);
  await resume(world, session_id);
  const news = await writesAfter(world.store, read, 9);
  expect(news.writes.map(({ path }) => path)).toEqual(['a']);
  await takeTurn(world, session_id);
  expect((await writesAfter(world.store, news.read, 9)).writes).toEqual([]);
});

test('the log of tool calls is a page of the events, newest first, with the number of all (E-140, E-141)', async () => {
  const { world, taken } = await started();
  const { id: session_id } = taken.session;
  const other = await takeTurn(world, (await seedSession(world)).id);
  await feedTurn(world, other, [uses('x', modify('a'))]);
  for (let i = 1; i <= 5; i++) {
    await feedTurn(world, taken, [uses(`t${i}`, modify('a')), ...(i < 5 ? [answers(`t${i}`, i === 2)] : [])]);
  }
  const page = (n: number, page_size = 2) => toolCalls(world.store, { session_id, page: n, page_size });
  const first = await page(1);
  expect(first).toMatchObject({ page: 1, page_size: 2, total: 5 });
  expect(first.calls.map(({ tool_id, output, is_error }) => [tool_id, output, is_error])).toEqual([
    ['t5', null, null],
    ['t4', 'ok', false],
  ]);
  expect(first.calls[1]?.duration_ms).toBeNumber();
  expect((await page(3)).calls.map(({ tool_id }) => tool_id)).toEqual(['t1']);
  expect((await page(2)).calls[1]).toMatchObject({ tool_id: 't2', is_error: true });
  expect((await page(4)).calls).toEqual([]);
  for (const [n, size] of [
    [0, 2],
    [1, 0],
    [1.5, 2],
  ] as const)
    await expect(page(n, size)).rejects.toMatchObject({ code: 'usage' });
  // The counter and the log were written together.
  const row = await world.store.read((tx) =>
    tx.get<{ tool_calls: number }>('SELECT tool_calls FROM sessions WHERE id = :session_id', { session_id }),
  );
  expect(row?.tool_calls).toBe(5);
  expect((await listEvents(world.store, { session_id })).filter(({ type }) => type === 'tool_use')).toHaveLength(5);
});
