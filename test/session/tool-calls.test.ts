import { expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EVENT_TEXT_LIMIT, type HarnessEvent } from '../../src/model/harness.ts';
import { recentCalls } from '../../src/session/tool-calls.ts';
import { ingest } from '../../src/store/ingest.ts';
import { seedSession, takeTurn, testStore } from '../support/store.ts';

/** The calls of a turn whose stream has these lines: what the adapter makes of each, and the line itself. */
async function recentOf(
  lines: { raw: string; events: HarnessEvent[] }[],
  options: { exact?: boolean; count?: number } = {},
) {
  const world = await testStore();
  const { session, turn } = await takeTurn(world, (await seedSession(world)).id);
  mkdirSync(turn.dir, { recursive: true });
  let offset = 0;
  const batch = lines.map(({ raw, events }) => {
    const at = { offset, end: offset + Buffer.byteLength(raw) + 1, events };
    offset = at.end;
    return at;
  });
  writeFileSync(join(turn.dir, 'stdout.jsonl'), lines.map(({ raw }) => `${raw}\n`).join(''));
  const key = { session_id: session.id, turn: turn.turn };
  await ingest(world.store, [{ ...key, from_offset: 0, to_offset: offset, lines: batch, oversize: 0, now: 1 }]);
  const { exact = true, count = 20 } = options;
  return recentCalls(world.store, { ...key, dir: turn.dir }, { count, exact });
}

/** The answered ones, each as one text. */
const callsOf = async (...given: Parameters<typeof recentOf>) =>
  (await recentOf(...given)).answered.map(({ whole }) => whole);

/** A call and its answer, each on a line as a harness would write it. */
function call(id: string, input: unknown, output: string) {
  const text = JSON.stringify(input);
  return [
    {
      raw: JSON.stringify({ type: 'call', id, uuid: id, input }),
      events: [{ type: 'tool_use', tool: 'Bash', tool_id: id, input: text.slice(0, EVENT_TEXT_LIMIT), files: [] }],
    },
    {
      raw: JSON.stringify({ type: 'answer', call_id: id, timestamp: `2026-01-01T00:00:0${id}Z`, output }),
      events: [{ type: 'tool_result', tool_id: id, is_error: false, output }],
    },
  ] satisfies { raw: string; events: HarnessEvent[] }[];
}

const distinct = (calls: (string | null)[]) => new Set(calls).size;

test('a call is its tool, input and answer, whatever its id', async () => {
  const calls = await callsOf([
    ...call('1', 'ls', 'a'),
    ...call('2', 'ls', 'a'),
    ...call('3', 'ls', 'b'),
    ...call('4', 'pwd', 'a'),
  ]);
  expect([calls.length, distinct(calls), calls[0] === calls[1], calls.includes(null)]).toEqual([4, 3, true, false]);
});

test('only answered calls are whole, and of many the newest', async () => {
  const [use] = call('9', 'sleep', '');
  const lines = [...call('1', 'ls', 'a'), ...call('2', 'ls', 'b'), ...call('3', 'ls', 'c'), ...(use ? [use] : [])];
  expect((await callsOf(lines)).length).toBe(3);
  const newest = await callsOf(lines, { count: 2 });
  expect([newest.length, newest[1] === (await callsOf(lines))[2]]).toEqual([2, true]);
});

test('answers of calls at the same time go to their calls', async () => {
  const [a, ra] = call('1', 'a', 'x');
  const [b, rb] = call('2', 'b', 'y');
  const straight = await callsOf([...call('1', 'a', 'x'), ...call('2', 'b', 'y')]);
  const crossed = await callsOf([a, b, rb, ra].flatMap((line) => line ?? []));
  expect(crossed).toEqual(straight);
});

test('long texts: equal heads are not equal calls, the rest is read from the line', async () => {
  const long = 'x'.repeat(1_000);
  const alike = await callsOf([...call('1', { cmd: `${long}a` }, 'ok'), ...call('2', { cmd: `${long}a` }, 'ok')]);
  expect([distinct(alike), alike.includes(null)]).toEqual([1, false]);
  const other = [...call('1', { cmd: `${long}a` }, 'ok'), ...call('2', { cmd: `${long}b` }, 'ok')];
  expect(distinct(await callsOf(other))).toBe(2);
  expect(distinct(await callsOf(other, { exact: false }))).toBe(1);
  const answers = [...call('1', 'ls', `${long}a`), ...call('2', 'ls', `${long}b`)];
  expect(distinct(await callsOf(answers))).toBe(2);
});

test('what an agent asks for is compared whole, also where it looks like an id', async () => {
  const pad = 'x'.repeat(1_000);
  const lines = [...call('1', { pad, issue_id: 'a' }, 'ok'), ...call('2', { pad, issue_id: 'b' }, 'ok')];
  expect(distinct(await callsOf(lines))).toBe(2);
});

test('a text that is nowhere whole makes its call equal to none', async () => {
  const long = 'x'.repeat(1_000);
  const lines = [...call('1', 'ls', long), ...call('2', 'ls', long)].map((line) => ({ ...line, raw: 'garbage' }));
  expect(await callsOf(lines)).toEqual([null, null]);
});

test('a call that waits is known by what it asks for, and what is said after the last word of a tool is counted', async () => {
  const [use] = call('9', 'ls', '');
  const [other] = call('8', 'make', '');
  const say = (text: string) => ({ raw: JSON.stringify({ text }), events: [{ type: 'text', text }] as HarnessEvent[] });
  const lines = [
    say('before'),
    ...call('1', 'ls', 'a'),
    say('between'),
    ...(other ? [other] : []),
    ...(use ? [use] : []),
  ];
  const { answered, open, said } = await recentOf(lines);
  expect([open.length, open.indexOf(answered[0]?.use ?? ''), said]).toEqual([2, 1, 0]);
  const later = await recentOf([...lines, say('12345'), say('x'.repeat(500))]);
  expect([later.seq > 0, later.said]).toEqual([true, 205]);
});
