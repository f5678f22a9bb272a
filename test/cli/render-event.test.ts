import { expect, test } from 'bun:test';
import { joinPieces, renderEvent } from '../../src/cli/render-event.ts';
import type { EventRow } from '../../src/model/event.ts';

let seq = 0;

function row(type: string, data: unknown, turn = 1): EventRow {
  seq += 1;
  return {
    seq,
    session_id: 'agent-a',
    turn,
    type,
    level: 'info',
    line_offset: seq,
    data_json: JSON.stringify(data),
    at: 0,
  };
}

test('pieces of one text are shown as one; other texts and other turns stay apart (C-03)', () => {
  const rows = [
    row('text', { text: 'I wi', is_delta: true }),
    row('text', { text: 'll', is_delta: true }),
    row('tool_use', { tool: 'Write', input: '', files: [] }),
    row('text', { text: 'do', is_delta: true }),
    row('text', { text: 'A whole one' }),
    row('text', { text: 'next', is_delta: true }, 2),
  ];
  const joined = joinPieces(rows);
  expect(joined.map((event) => (event.type === 'text' ? JSON.parse(event.data_json).text : event.type))).toEqual([
    'I will',
    'tool_use',
    'do',
    'A whole one',
    'next',
  ]);
  expect(joined[0]?.seq).toBe(rows[1]?.seq as number);
});

test('text of an agent cannot move the cursor or hide what follows', () => {
  const text = renderEvent(row('text', { text: 'a\u001b[2Jb\u202ec\u0007' }));
  expect(text).toBe('abc');
});

test('a hook that failed says how it ended, also when it printed nothing', () => {
  const hook = { hook: 'after_run', ok: false, code: 3, signal: null, timed_out: false, took_ms: 700, output: '' };
  const said = (more: object) => renderEvent(row('hook', { ...hook, ...more }));
  expect(said({})).toBe('hook after_run failed: exit code 3');
  expect(said({ output: 'no such file' })).toBe('hook after_run failed: exit code 3: no such file');
  expect(said({ code: null, signal: 'SIGKILL' })).toBe('hook after_run failed: by SIGKILL');
  expect(said({ code: null, timed_out: true })).toBe('hook after_run failed: ended after 700 ms');
  expect(said({ ok: true })).toBe('hook after_run');
});
