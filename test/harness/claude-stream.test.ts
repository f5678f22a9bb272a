import { describe, expect, test } from 'bun:test';
import { parseClaude } from '../../src/harness/claude-stream.ts';

const parse = (event: unknown) => parseClaude(JSON.stringify(event));
const RESULT = { type: 'result', subtype: 'success', is_error: false, num_turns: 1, result: 'Done.' };

describe('claude events (C-03, O-58)', () => {
  test('the first line names session, model, version and broken MCP servers', () => {
    const servers = [
      { name: 'drover', status: 'failed' },
      { name: 'ok', status: 'connected' },
    ];
    const init = { type: 'system', subtype: 'init', session_id: 's1', model: 'm', claude_code_version: '2.1.0' };
    expect(parse({ ...init, mcp_servers: servers })).toEqual([
      { type: 'session', native_session_id: 's1', model: 'm', version: '2.1.0' },
      { type: 'status', status: 'mcp_failed', detail: 'drover' },
    ]);
  });

  test('content blocks become text, reasoning and tool use; the files a tool touches are told (E-142)', () => {
    const content = [
      { type: 'thinking', thinking: 'hm' },
      { type: 'text', text: 'I write.' },
      { type: 'tool_use', id: 't1', name: 'MultiEdit', input: { file_path: 'a.ts', edits: [] } },
      { type: 'tool_use', id: 't2', name: 'NotebookEdit', input: { notebook_path: 'n.ipynb' } },
      { type: 'tool_use', id: 't3', name: 'Bash', input: { command: 'ls' } },
      { type: 'server_thing' },
    ];
    expect(parse({ type: 'assistant', parent_tool_use_id: null, message: { content } })).toEqual([
      { type: 'reasoning', text: 'hm' },
      { type: 'text', text: 'I write.' },
      {
        type: 'tool_use',
        tool: 'MultiEdit',
        tool_id: 't1',
        input: '{"file_path":"a.ts","edits":[]}',
        files: [{ path: 'a.ts', action: 'modify' }],
      },
      {
        type: 'tool_use',
        tool: 'NotebookEdit',
        tool_id: 't2',
        input: '{"notebook_path":"n.ipynb"}',
        files: [{ path: 'n.ipynb', action: 'modify' }],
      },
      { type: 'tool_use', tool: 'Bash', tool_id: 't3', input: '{"command":"ls"}', files: [] },
    ]);
  });

  test('what a subagent says is not the session’s answer', () => {
    const message = { content: [{ type: 'text', text: 'found it' }] };
    expect(parse({ type: 'assistant', parent_tool_use_id: 't1', message })).toEqual([
      { type: 'reasoning', text: 'found it' },
    ]);
  });

  test('a tool result, its text blocks joined', () => {
    const content = [
      {
        type: 'tool_result',
        tool_use_id: 't1',
        is_error: true,
        content: [
          { type: 'text', text: 'no' },
          { type: 'text', text: 'way' },
        ],
      },
    ];
    expect(parse({ type: 'user', message: { content } })).toEqual([
      { type: 'tool_result', tool_id: 't1', is_error: true, output: 'no\nway' },
    ]);
  });

  test('success needs is_error to be false, whatever the subtype says', () => {
    const verdict = (fields: object) => parse({ ...RESULT, ...fields })?.at(-1);
    expect(verdict({})).toMatchObject({ ok: true, reason: 'completed', text: 'Done.', model_turns: 1 });
    expect(verdict({ is_error: true })).toMatchObject({ ok: false, reason: 'api_error' });
    expect(verdict({ is_error: 'false' })).toMatchObject({ ok: false });
    expect(verdict({ terminal_reason: 'aborted_tools' })).toMatchObject({ ok: false, reason: 'aborted_tools' });
    expect(
      verdict({ subtype: 'error_max_turns', result: undefined, is_error: true, errors: ['a', 'b'] }),
    ).toMatchObject({
      ok: false,
      reason: 'max_turns',
      text: 'a\nb',
    });
  });

  test('denied tools are named', () => {
    const permission_denials = [{ tool_name: 'Write' }, { tool_name: 7 }, null];
    expect(parse({ ...RESULT, permission_denials })?.at(-1)).toMatchObject({ ok: true, denials: ['Write'] });
  });

  test('tokens count per result; where they are missing, the process totals of the models count', () => {
    const usage = { input_tokens: 3, output_tokens: 2, cache_read_input_tokens: 1, cache_creation_input_tokens: 4 };
    const a = { inputTokens: 10, outputTokens: 1, cacheReadInputTokens: 0, cacheCreationInputTokens: 2 };
    const modelUsage = { a, b: a };
    const tokens = (event: object) => parse({ ...RESULT, ...event })?.filter((each) => each.type === 'usage');
    expect(tokens({ usage, modelUsage })).toEqual([
      {
        type: 'usage',
        mode: 'add',
        tokens: {
          input_tokens: 3,
          output_tokens: 2,
          cache_read_tokens: 1,
          cache_write_tokens: 4,
          reasoning_tokens: 0,
        },
      },
    ]);
    expect(tokens({ usage: { input_tokens: 0 }, modelUsage })).toEqual([
      {
        type: 'usage',
        mode: 'turn',
        tokens: {
          input_tokens: 20,
          output_tokens: 2,
          cache_read_tokens: 0,
          cache_write_tokens: 4,
          reasoning_tokens: 0,
        },
      },
    ]);
    expect(tokens({})).toEqual([]);
  });

  test('money is the process total in micro-dollars', () => {
    expect(parse({ ...RESULT, total_cost_usd: 0.0013545 })).toContainEqual({
      type: 'cost',
      mode: 'turn',
      cost_micros: 1355,
    });
  });

  test('a retry tells why and how long', () => {
    const retry = { type: 'system', subtype: 'api_retry', attempt: 2, max_retries: 10, retry_delay_ms: 619.6 };
    expect(parse({ ...retry, error_status: 529, error: 'overloaded' })).toEqual([
      {
        type: 'limit',
        limit: {
          kind: 'overloaded',
          status: 529,
          message: 'overloaded (retry 2 of 10)',
          resets_at: null,
          retry_after_ms: 620,
          final: false,
        },
      },
    ]);
    expect(parse({ ...retry, error_status: null, error: 'unknown' })).toMatchObject([{ limit: { kind: 'network' } }]);
    expect(parse({ ...retry, error_status: null, error: 'authentication_failed' })).toMatchObject([
      { limit: { kind: 'auth', status: 401 } },
    ]);
  });

  test('a used-up plan is a limit with its reset time, unless paid overage carries on', () => {
    const rate_limit_info = { status: 'rejected', resetsAt: 1_778_565_600, rateLimitType: 'five_hour' };
    expect(parse({ type: 'rate_limit_event', rate_limit_info })).toMatchObject([
      { type: 'limit', limit: { kind: 'usage_limit', resets_at: 1_778_565_600_000, final: true } },
    ]);
    for (const other of [{ status: 'allowed_warning' }, { isUsingOverage: true }]) {
      const info = { ...rate_limit_info, ...other };
      expect(parse({ type: 'rate_limit_event', rate_limit_info: info })).toMatchObject([{ type: 'status' }]);
    }
    const warned = { ...rate_limit_info, status: 'allowed_warning' };
    for (const [utilization, share_left] of [
      [0.75, 0.25],
      [1.2, 0],
    ])
      expect(parse({ type: 'rate_limit_event', rate_limit_info: { ...warned, utilization } })).toMatchObject([
        { type: 'status', quota: { kind: 'five_hour', share_left, resets_at: 1_778_565_600_000 } },
      ]);
    expect(parse({ type: 'rate_limit_event', rate_limit_info: warned })?.[0]).not.toHaveProperty('quota');
    expect(parse({ type: 'rate_limit_event' })).toEqual([{ type: 'custom', name: 'rate_limit_event' }]);
  });

  test('unknown types are kept by name, known ones without content say nothing', () => {
    expect(parse({ type: 'new_thing', subtype: 'x' })).toEqual([{ type: 'custom', name: 'new_thing/x' }]);
    expect(parse({ type: 'system', subtype: 'new' })).toEqual([{ type: 'custom', name: 'system/new' }]);
    expect(parse({ type: 'system', subtype: 'hook_started' })).toEqual([]);
    expect(parse({ type: 'stream_event' })).toEqual([]);
  });
});
