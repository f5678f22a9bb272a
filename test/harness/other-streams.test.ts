import { describe, expect, test } from 'bun:test';
import { parseCodex } from '../../src/harness/codex-stream.ts';
import { parseGemini } from '../../src/harness/gemini-stream.ts';
import { parseOpencode } from '../../src/harness/opencode-stream.ts';

describe('codex events (C-03)', () => {
  const parse = (event: unknown) => parseCodex(JSON.stringify(event));
  const item = (phase: string, fields: object) => parse({ type: `item.${phase}`, item: { id: 'i1', ...fields } });

  test('file changes name their files (E-142)', () => {
    const changes = [
      { path: '/r/a', kind: 'add' },
      { path: '/r/b', kind: 'update' },
      { path: '/r/c', kind: 'delete' },
      { path: '/r/d', kind: { odd: 1 } },
      { kind: 'add' },
      7,
    ];
    expect(item('started', { type: 'file_change', changes })).toMatchObject([
      {
        type: 'tool_use',
        tool: 'apply_patch',
        tool_id: 'i1',
        files: [
          { path: '/r/a', action: 'create' },
          { path: '/r/b', action: 'modify' },
          { path: '/r/c', action: 'delete' },
          { path: '/r/d', action: 'touch' },
        ],
      },
    ]);
  });

  test('a command and an MCP call, with what they gave', () => {
    expect(item('started', { type: 'command_execution', command: 'ls' })).toMatchObject([
      { tool: 'shell', input: 'ls' },
    ]);
    expect(item('completed', { type: 'command_execution', aggregated_output: 'x', exit_code: 3 })).toEqual([
      { type: 'tool_result', tool_id: 'i1', is_error: true, output: 'x' },
    ]);
    const call = { type: 'mcp_tool_call', server: 'drover', tool: 'mail', arguments: { to: 'a' } };
    expect(item('started', call)).toMatchObject([{ tool: 'mcp__drover__mail', input: '{"to":"a"}' }]);
    expect(item('completed', { ...call, status: 'failed', error: { message: 'no' } })).toEqual([
      { type: 'tool_result', tool_id: 'i1', is_error: true, output: 'no' },
    ]);
  });

  test('an item of type error is a warning, a failed turn is the end', () => {
    expect(item('completed', { type: 'error', message: 'odd model' })).toEqual([
      { type: 'error', message: 'odd model', fatal: false },
    ]);
    expect(parse({ type: 'turn.failed', error: { message: 'bad request' } })).toEqual([
      {
        type: 'result',
        ok: false,
        reason: 'turn_failed',
        text: 'bad request',
        model_turns: null,
        denials: [],
      },
    ]);
  });

  test('tokens are the thread’s total, taken apart so that they can be added', () => {
    const usage = {
      input_tokens: 700,
      cached_input_tokens: 100,
      cache_write_input_tokens: 50,
      output_tokens: 60,
      reasoning_output_tokens: 20,
    };
    expect(parse({ type: 'turn.completed', usage })?.[0]).toEqual({
      type: 'usage',
      mode: 'thread',
      tokens: {
        input_tokens: 550,
        output_tokens: 40,
        cache_read_tokens: 100,
        cache_write_tokens: 50,
        reasoning_tokens: 20,
      },
    });
  });

  test('plans of the agent say nothing, unknown items are kept by name', () => {
    for (const phase of ['started', 'updated', 'completed']) expect(item(phase, { type: 'todo_list' })).toEqual([]);
    expect(item('completed', { type: 'brand_new' })).toEqual([{ type: 'custom', name: 'item.completed/brand_new' }]);
  });
});

describe('gemini events (C-03)', () => {
  const parse = (event: unknown) => parseGemini(JSON.stringify(event));

  test('tools that write name their file (E-142)', () => {
    const use = (tool_name: string) =>
      parse({ type: 'tool_use', tool_name, tool_id: 't', parameters: { file_path: 'a' } });
    expect(use('write_file')).toMatchObject([{ files: [{ path: 'a', action: 'create' }] }]);
    expect(use('replace')).toMatchObject([{ files: [{ path: 'a', action: 'modify' }] }]);
    expect(use('read_file')).toMatchObject([{ files: [{ path: 'a', action: 'read' }] }]);
  });

  test('thoughts are what the total holds beyond input and output', () => {
    const stats = { total_tokens: 150, input_tokens: 100, output_tokens: 20, cached: 40, models: { m: {} } };
    expect(parse({ type: 'result', status: 'success', stats })).toMatchObject([
      {
        type: 'usage',
        mode: 'turn',
        tokens: { input_tokens: 60, output_tokens: 20, cache_read_tokens: 40, reasoning_tokens: 30 },
      },
      { type: 'result', ok: true, model_turns: 1 },
    ]);
  });

  test('a prompt that the CLI swallowed as its own command reached no model', () => {
    const stats = { total_tokens: 0, models: {} };
    expect(parse({ type: 'result', status: 'success', stats })?.at(-1)).toMatchObject({ ok: true, model_turns: 0 });
  });

  test('only the word success is success', () => {
    for (const status of ['error', 'Success', true, undefined]) {
      expect(parse({ type: 'result', status })).toMatchObject([{ type: 'result', ok: false }]);
    }
  });

  test('the echo of the prompt is not the answer', () => {
    expect(parse({ type: 'message', role: 'user', content: 'hi' })).toEqual([]);
    expect(parse({ type: 'message', role: 'assistant', content: ' hi', delta: true })).toEqual([
      { type: 'text', text: ' hi', is_delta: true },
    ]);
    expect(parse({ type: 'message', role: 'oracle' })).toEqual([{ type: 'custom', name: 'message/oracle' }]);
  });
});

describe('opencode events (C-03)', () => {
  const parse = (event: unknown) => parseOpencode(JSON.stringify(event));
  const finish = (reason: unknown) => parse({ type: 'step_finish', part: { reason } });

  test('the answer is a step that stops; other steps go on or fail', () => {
    expect(finish('stop')).toMatchObject([{ type: 'result', ok: true, model_turns: 1 }]);
    expect(finish('tool-calls')).toMatchObject([{ type: 'status' }]);
    expect(finish('unknown')).toMatchObject([{ type: 'status' }]);
    expect(finish(undefined)).toMatchObject([{ type: 'status' }]);
    expect(finish('length')).toMatchObject([{ type: 'result', ok: false, reason: 'length' }]);
  });

  test('tokens and money are added step by step', () => {
    const tokens = { total: 12, input: 5, output: 3, reasoning: 1, cache: { read: 2, write: 1 } };
    expect(parse({ type: 'step_finish', part: { reason: 'tool-calls', tokens, cost: 0.0125 } })).toMatchObject([
      {
        mode: 'add',
        tokens: {
          input_tokens: 5,
          output_tokens: 3,
          cache_read_tokens: 2,
          cache_write_tokens: 1,
          reasoning_tokens: 1,
        },
      },
      { type: 'cost', mode: 'add', cost_micros: 12_500 },
      { type: 'status' },
    ]);
  });

  test('a patch names every file it touches (E-142)', () => {
    const patchText = '*** Begin Patch\n*** Add File: a\n+x\n*** Update File: b\n*** Move to: c\n*** Delete File: d\n';
    const state = { status: 'completed', input: { patchText }, output: 'ok' };
    expect(parse({ type: 'tool_use', part: { tool: 'apply_patch', callID: 'c', state } })?.[0]).toMatchObject({
      files: [
        { path: 'a', action: 'create' },
        { path: 'b', action: 'modify' },
        { path: 'c', action: 'move' },
        { path: 'd', action: 'delete' },
      ],
    });
  });

  test('a command that fails is an error although the call is completed', () => {
    const ended = (state: object) => parse({ type: 'tool_use', part: { tool: 'bash', callID: 'c', state } })?.[1];
    expect(ended({ status: 'completed', output: 'x', metadata: { exit: 3 } })).toMatchObject({ is_error: true });
    expect(ended({ status: 'completed', output: 'x', metadata: { exit: 0 } })).toMatchObject({ is_error: false });
    expect(ended({ status: 'error', error: 'denied' })).toMatchObject({ is_error: true, output: 'denied' });
  });

  test('an error ends the run', () => {
    const error = { name: 'APIError', data: { message: 'Too many', statusCode: 429 } };
    expect(parse({ type: 'error', error })).toMatchObject([
      { type: 'limit', limit: { kind: 'rate_limit', final: true } },
      { type: 'error', fatal: true },
      { type: 'result', ok: false, reason: 'APIError' },
    ]);
  });
});
