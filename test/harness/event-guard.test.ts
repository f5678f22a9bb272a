import { describe, expect, test } from 'bun:test';
import { parseEvent } from '../../src/harness/event-guard.ts';
import { shortEvent } from '../../src/harness/event-text.ts';
import { findHarness } from '../../src/harness/registry.ts';
import { rehearsal } from '../../src/harness/rehearsal.ts';
import { ANSWER_LIMIT, EVENT_TEXT_LIMIT, type HarnessEvent, isCutAnswer } from '../../src/model/harness.ts';
import { turnOf } from './turn-spec.ts';

const TOKENS = { input_tokens: 1, output_tokens: 2, cache_read_tokens: 3, cache_write_tokens: 4, reasoning_tokens: 5 };
const EVENTS: HarnessEvent[] = [
  { type: 'session', native_session_id: 's', model: 'm', version: null },
  { type: 'text', text: 'a' },
  { type: 'text', text: 'a', is_delta: true },
  { type: 'reasoning', text: 'b' },
  { type: 'tool_use', tool: 'Write', tool_id: 't', input: '{}', files: [{ path: 'a', action: 'create' }] },
  { type: 'tool_result', tool_id: 't', is_error: true, output: 'no' },
  { type: 'usage', mode: 'thread', tokens: TOKENS },
  { type: 'cost', mode: 'turn', cost_micros: 7 },
  { type: 'status', status: 'x', detail: 'y' },
  { type: 'status', status: 'x', detail: 'y', quota: { kind: 'weekly', share_left: 0.25, resets_at: null } },
  {
    type: 'limit',
    limit: { kind: 'network', status: 503, message: 'm', resets_at: 2, retry_after_ms: 3, final: true },
  },
  { type: 'result', ok: true, reason: 'done', text: 't', model_turns: 1, denials: ['Write'] },
  { type: 'error', message: 'm', fatal: true },
  { type: 'custom', name: 'n' },
];

describe('events printed as they are', () => {
  test('every event survives the way through a line', () => {
    expect(new Set(EVENTS.map((event): string => event.type))).toEqual(new Set(rehearsal.known_events));
    for (const event of EVENTS) expect(parseEvent(JSON.stringify(event))).toEqual([event]);
  });

  test('missing and wrong fields get neutral values, never trust', () => {
    const parsed = (event: object) => parseEvent(JSON.stringify(event))?.[0];
    expect(parsed({ type: 'result' })).toEqual({
      type: 'result',
      ok: false,
      reason: 'error',
      text: '',
      model_turns: null,
      denials: [],
    });
    expect(parsed({ type: 'result', ok: 'yes' })).toMatchObject({ ok: false });
    expect(parsed({ type: 'usage', mode: 'odd', tokens: { input_tokens: -4, output_tokens: 'x' } })).toMatchObject({
      mode: 'add',
      tokens: { input_tokens: 0, output_tokens: 0 },
    });
    expect(parsed({ type: 'session', native_session_id: '' })).toEqual({ type: 'custom', name: 'session' });
    expect(parsed({ type: 'limit', limit: { kind: 'odd' } })).toEqual({ type: 'custom', name: 'limit' });
    for (const quota of [{ kind: 'k', share_left: '1' }, { kind: 'k', share_left: 1.5 }, 'much'])
      expect(parsed({ type: 'status', quota })).toEqual({ type: 'status', status: '', detail: '' });
    expect(parsed({ type: 'tool_use' })).toEqual({ type: 'custom', name: 'tool_use' });
    expect(
      parsed({ type: 'tool_use', tool: 'W', files: [{ path: 'a\0', action: 'read' }, { path: 'b', action: 'x' }, 1] }),
    ).toMatchObject({ files: [] });
    expect(parsed({ type: 'cost', cost_micros: 1.6 })).toMatchObject({ cost_micros: 2, mode: 'add' });
  });

  test('texts are cut', () => {
    const text = 'a'.repeat(EVENT_TEXT_LIMIT + 1);
    const short = `${'a'.repeat(EVENT_TEXT_LIMIT - 1)}…`;
    expect(parseEvent(JSON.stringify({ type: 'reasoning', text }))).toEqual([{ type: 'reasoning', text: short }]);
    expect(parseEvent(JSON.stringify({ type: 'result', ok: false, text }))).toMatchObject([{ text: short }]);
    expect(shortEvent({ type: 'text', text })).toEqual({ type: 'text', text: short });
  });
});

/** How each CLI says its answer. */
const SAID: Record<string, (text: string) => unknown> = {
  claude: (result) => ({ type: 'result', subtype: 'success', is_error: false, result }),
  'claude, on the way': (text) => ({ type: 'assistant', message: { content: [{ type: 'text', text }] } }),
  codex: (text) => ({ type: 'item.completed', item: { type: 'agent_message', text } }),
  gemini: (content) => ({ type: 'message', role: 'assistant', content }),
  opencode: (text) => ({ type: 'text', part: { text } }),
  rehearsal: (text) => ({ type: 'result', ok: true, text }),
};

test.each(Object.entries(SAID))('an answer is kept whole, or says that it is not: %s (C-03)', (name, line) => {
  const said = (text: string) => {
    const events = findHarness(name.split(',')[0] ?? '', {}).parse(JSON.stringify(line(text))) ?? [];
    return events.flatMap((event) => (event.type === 'text' || event.type === 'result' ? [event.text] : []));
  };
  const whole = '𝄞'.repeat(ANSWER_LIMIT / 2);
  expect(said(whole)).toEqual([whole]);
  const [cut = ''] = said(`a${whole}`);
  expect(cut).toStartWith(`a${'𝄞'.repeat(ANSWER_LIMIT / 2 - 1)}\n[cut by drover: `);
  expect([cut.isWellFormed(), isCutAnswer(cut), isCutAnswer(whole)]).toEqual([true, true, false]);
});

test('rehearsal: the prompt is standard input, a later turn keeps the session', () => {
  expect(rehearsal.command(turnOf({ native_session_id: 'r1' }))).toMatchObject({
    program: 'drover-rehearsal',
    args: ['--resume', 'r1'],
    stdin: 'review this change',
  });
  expect(rehearsal.command(turnOf()).args).toEqual([]);
});
