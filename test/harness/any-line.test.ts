import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { findHarness, knownHarnesses } from '../../src/harness/registry.ts';
import { ANSWER_LIMIT, EVENT_TEXT_LIMIT, type HarnessEvent, isCutAnswer } from '../../src/model/harness.ts';
import { recordings } from './goldens.ts';

const HARNESSES = knownHarnesses({}).map((id) => findHarness(id, {}));
const TYPES = [...new Set(HARNESSES.flatMap((harness) => harness.known_events))];

/** No event may carry more than a row takes: bounded texts, whole finite numbers, well-formed strings. */
function checkEvents(events: HarnessEvent[]): void {
  const walk = (value: unknown): void => {
    if (typeof value === 'string') {
      expect(value.length).toBeLessThanOrEqual(EVENT_TEXT_LIMIT);
      expect(value.isWellFormed() && !value.includes('\0')).toBe(true);
    } else if (typeof value === 'number') {
      expect(Number.isSafeInteger(value)).toBe(true);
    } else if (typeof value === 'object' && value !== null) {
      for (const each of Object.values(value)) walk(each);
    }
  };
  for (const event of events) {
    if (event.type === 'status' && event.quota !== undefined) {
      const { share_left, ...quota } = event.quota;
      expect(share_left >= 0 && share_left <= 1).toBe(true);
      walk({ ...event, quota });
      continue;
    }
    const isWhole = event.type === 'text' || (event.type === 'result' && event.ok);
    walk(isWhole && event.text.length > EVENT_TEXT_LIMIT ? { ...event, text: checkAnswer(event.text) } : event);
  }
}

/** What is said may be longer, and is clean as well. */
function checkAnswer(text: string): string {
  expect(text.length <= ANSWER_LIMIT || isCutAnswer(text)).toBe(true);
  expect(text.length).toBeLessThan(ANSWER_LIMIT + 100);
  return text.slice(0, EVENT_TEXT_LIMIT).toWellFormed();
}

function checkLine(line: string): void {
  for (const harness of HARNESSES) {
    const events = harness.parse(line);
    if (events !== null) checkEvents(events);
  }
}

describe('any line (C-03)', () => {
  test('no text makes a parser throw', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), checkLine), { numRuns: 500 });
  });

  test('no JSON value makes a parser throw', () => {
    fc.assert(fc.property(fc.json({ maxDepth: 4 }), checkLine), { numRuns: 500 });
  });

  test('known names with any fields make no parser throw', () => {
    const keys =
      'type subtype message content item error part state usage stats models tokens result status session_id';
    const key = fc.constantFrom(...keys.split(' '), '__proto__', 'constructor', 'x');
    const leaf = fc.oneof(fc.string(), fc.double(), fc.boolean(), fc.constant(null));
    const low = fc.oneof(leaf, fc.array(leaf, { maxLength: 3 }), fc.dictionary(key, leaf, { maxKeys: 4 }));
    const value = fc.oneof(leaf, fc.array(low, { maxLength: 3 }), fc.dictionary(key, low, { maxKeys: 4 }));
    const event = fc
      .tuple(fc.constantFrom(...TYPES), fc.dictionary(key, value, { maxKeys: 6 }))
      .map(([name, fields]) => {
        const [type, subtype] = name.split('/');
        return JSON.stringify({ ...fields, type, subtype });
      });
    fc.assert(fc.property(event, checkLine), { numRuns: 2000 });
  });

  test('a recorded line with one value exchanged makes no parser throw', () => {
    const lines = recordings().flatMap((each) => each.lines);
    const odd = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom(-1, 1e308, '', null, [], {}, '\ud800', '\0'));
    const mutated = fc
      .tuple(fc.constantFrom(...lines), fc.nat(), odd)
      .map(([line, at, value]) => exchange(line, at, value));
    fc.assert(fc.property(mutated, checkLine), { numRuns: 2000 });
  });

  test('what is no JSON object is malformed', () => {
    for (const line of ['', ' ', 'null', '[]', '[{}]', '"{}"', '{', '{"a":', 'hello', '1', '{}{}', '\0{}']) {
      for (const harness of HARNESSES) expect([line, harness.parse(line)]).toEqual([line, null]);
    }
  });

  test('a byte order mark and a carriage return do no harm', () => {
    for (const harness of HARNESSES)
      expect(harness.parse('\ufeff{"type":"x"}\r')).toEqual([{ type: 'custom', name: 'x' }]);
  });

  test('deep nesting is an event or malformed, never a crash', () => {
    for (const depth of [1000, 100_000]) {
      const deep = `${'['.repeat(depth)}${']'.repeat(depth)}`;
      checkLine(`{"type":"tool_use","tool_name":"x","parameters":{"a":${deep}}}`);
      checkLine(`{"type":"assistant","message":{"content":[{"type":"tool_use","name":"x","input":{"a":${deep}}}]}}`);
      checkLine(deep);
    }
  });

  test('deep nesting costs no more than other lines of its length', () => {
    const line = `{"type":"tool_use","tool":"x","input":${'['.repeat(50_000)}${']'.repeat(50_000)}}`;
    const started = process.cpuUsage();
    for (const harness of HARNESSES) harness.parse(line);
    const { user, system } = process.cpuUsage(started);
    expect((user + system) / 1_000).toBeLessThan(1000);
  });

  test('__proto__ is a key like any other', () => {
    checkLine('{"type":"result","__proto__":{"is_error":false,"subtype":"success","status":"success","ok":true}}');
    for (const harness of HARNESSES) {
      const line = '{"type":"result","__proto__":{"is_error":false,"subtype":"success","status":"success","ok":true}}';
      const results = harness.parse(line)?.filter((event) => event.type === 'result') ?? [];
      expect(results.some((event) => event.ok)).toBe(false);
    }
    expect(({} as Record<string, unknown>).is_error).toBeUndefined();
  });

  test('a giant line is cut to bounded events', () => {
    const text = 'x'.repeat(2_000_000);
    checkLine(JSON.stringify({ type: 'text', text, part: { text } }));
    checkLine(JSON.stringify({ type: 'item.completed', item: { type: 'command_execution', aggregated_output: text } }));
    checkLine(JSON.stringify({ type: text, subtype: text }));
  });
});

/** The line with the value at one of its places (counted over all leaves) replaced. */
function exchange(line: string, at: number, value: unknown): string {
  const leaves: [Record<string, unknown>, string][] = [];
  const walk = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const key of Object.keys(node)) {
      leaves.push([node as Record<string, unknown>, key]);
      walk((node as Record<string, unknown>)[key]);
    }
  };
  const event: unknown = JSON.parse(line);
  walk(event);
  const place = leaves[at % Math.max(1, leaves.length)];
  if (place) place[0][place[1]] = value;
  return JSON.stringify(event);
}
