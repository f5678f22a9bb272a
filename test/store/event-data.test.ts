import { expect, test } from 'bun:test';
import type { EventRow } from '../../src/model/event.ts';
import { EVENT_TEXT_LIMIT, type HarnessEvent } from '../../src/model/harness.ts';
import { completed, cutOf, dataOf, withoutRest } from '../../src/store/event-data.ts';
import { eventsOf, recordings } from '../harness/goldens.ts';

const LONG = `${'so it goes. '.repeat(300)}the end`;

function row(event: HarnessEvent, nth = 0): EventRow {
  const of = { seq: 1, session_id: 'agent-a', turn: 1, level: 'info' as const, line_offset: 0, at: 0 };
  return { ...of, type: event.type, data_json: JSON.stringify(dataOf(event, nth)) };
}

/** One of each kind whose text may be long. */
const TELLING: HarnessEvent[] = [
  { type: 'text', text: LONG, is_delta: true },
  { type: 'reasoning', text: LONG },
  { type: 'tool_use', tool: 'Edit', tool_id: 't1', input: LONG, files: [{ path: 'a', action: 'modify' }] },
  { type: 'tool_result', tool_id: 't1', is_error: true, output: LONG },
  { type: 'status', status: 'compact', detail: LONG },
  { type: 'result', ok: true, reason: 'completed', text: LONG, model_turns: 3, denials: ['Bash'] },
  { type: 'error', message: LONG, fatal: true },
];

test('a row keeps every field of an event beside its type; only a long text is cut (C-03)', () => {
  const events = recordings().flatMap(eventsOf);
  const kinds = new Set<string>();
  for (const event of events) {
    const { type, ...fields } = event;
    if (cutOf(row(event)) === null) expect(JSON.parse(row(event).data_json)).toEqual(fields);
    else expect(JSON.parse(completed(row(event), event)?.data_json ?? '')).toEqual(fields);
    kinds.add(type);
  }
  expect(kinds.size).toBeGreaterThan(9);
  for (const event of [
    { type: 'custom', name: 'n' },
    { type: 'text', text: 'x', is_delta: true },
  ] as HarnessEvent[])
    expect({ type: event.type, ...JSON.parse(row(event).data_json) }).toEqual(event);
});

test.each(TELLING)('the rest of a long text is not stored, and comes back whole ($type)', (event) => {
  const { type, ...fields } = event;
  const stored = row(event, 2);
  expect(stored.data_json.length).toBeLessThan(400);
  expect(cutOf(stored)).toBe(2);
  expect(JSON.parse(completed(stored, event)?.data_json ?? '')).toEqual(fields);
  const head = JSON.parse(withoutRest(stored).data_json);
  expect(head.is_cut).toBe(true);
  expect(JSON.stringify(head)).toContain('so it go…');
});

test('an event that is not the one it was made of does not complete it', () => {
  const stored = row({ type: 'text', text: LONG });
  const others: (HarnessEvent | undefined)[] = [
    undefined,
    { type: 'text', text: `X${LONG}` },
    { type: 'text', text: LONG.slice(0, 50) },
    { type: 'reasoning', text: LONG },
  ];
  for (const event of others) expect(completed(stored, event)).toBeNull();
});

test('what an agent writes is not taken for the mark, and an event of ours is never cut', () => {
  for (const text of ['"is_cut":true', '{"text":"x","is_cut":true,"nth":0}'])
    expect(cutOf(row({ type: 'text', text }))).toBeNull();
  expect(cutOf({ line_offset: null, data_json: '{"is_cut":true,"nth":0}' })).toBeNull();
});

test('a head ends with a whole character', () => {
  for (const start of ['', 'x']) {
    const text = `${start}${'𝄞'.repeat(EVENT_TEXT_LIMIT / 4)}`;
    const stored = row({ type: 'text', text });
    expect(JSON.parse(stored.data_json).text.isWellFormed()).toBe(true);
    expect(JSON.parse(completed(stored, { type: 'text', text })?.data_json ?? '').text).toBe(text);
  }
});
