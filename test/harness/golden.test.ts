import { describe, expect, test } from 'bun:test';
import { eventsOf, only, recording, recordings } from './goldens.ts';

/**
 * What each recorded run comes to: the first result (`ok`, its reason, or `none`), the kind of a final limit, and
 * after `~` the kind of one that the CLI was still retrying.
 */
const COMES_TO: Record<string, string> = {
  'claude/api-error-400': 'api_error',
  'claude/auth-401': 'api_error auth ~auth',
  'claude/background-shell': 'ok',
  'claude/credit': 'api_error quota_unknown',
  'claude/empty-answer': 'ok',
  'claude/killed-mid-tool': 'none',
  'claude/max-budget': 'max_budget_usd',
  'claude/max-turns': 'max_turns',
  'claude/mcp': 'ok',
  'claude/model-404': 'api_error',
  'claude/overloaded-529': 'none ~overloaded',
  'claude/overloaded-then-ok': 'ok ~overloaded',
  'claude/rate-limit-429': 'api_error rate_limit ~rate_limit',
  'claude/rate-limit-then-ok': 'ok ~rate_limit',
  'claude/reasoning': 'ok',
  'claude/resume': 'ok',
  'claude/resume-unknown': 'unknown_native_session',
  'claude/server-500': 'api_error overloaded ~overloaded',
  'claude/sigint-mid-tool': 'during_execution',
  'claude/sigterm-model-hung': 'none',
  'claude/stream-cut-end': 'ok',
  'claude/stream-cut-fin': 'ok',
  'claude/stream-cut-rst': 'ok',
  'claude/stream-input': 'ok',
  'claude/stream-input-from-file': 'none',
  'claude/text': 'ok',
  'claude/text-subscriber': 'ok',
  'claude/tool-denied': 'ok',
  'claude/tool-shell': 'ok',
  'claude/tool-shell-fails': 'ok',
  'claude/tool-unknown': 'ok',
  'claude/tool-write': 'ok',
  'claude/two-tools': 'ok',
  'claude/usage-limit': 'api_error rate_limit ~rate_limit',
  'claude/usage-limit-subscriber': 'api_error usage_limit',
  'claude/usage-warning-subscriber': 'ok',
  'codex/api-error-400': 'turn_failed',
  'codex/auth-401': 'turn_failed auth ~auth',
  'codex/empty-answer': 'ok',
  'codex/killed-mid-tool': 'none',
  'codex/mcp': 'ok',
  'codex/model-404': 'turn_failed',
  'codex/quota': 'turn_failed quota_unknown ~quota_unknown',
  'codex/rate-limit-429': 'turn_failed rate_limit ~rate_limit',
  'codex/rate-limit-then-ok': 'ok ~rate_limit',
  'codex/reasoning': 'ok',
  'codex/resume': 'ok',
  'codex/resume-unknown': 'unknown_native_session',
  'codex/server-500': 'turn_failed overloaded ~overloaded',
  'codex/sigint-mid-tool': 'none',
  'codex/sigterm-model-hung': 'none',
  'codex/stream-cut-end': 'ok ~network',
  'codex/stream-cut-fin': 'ok ~network',
  'codex/stream-cut-rst': 'ok ~network',
  'codex/text': 'ok',
  'codex/tool-denied': 'ok',
  'codex/tool-shell': 'ok',
  'codex/tool-shell-fails': 'ok',
  'codex/tool-unknown': 'ok',
  'codex/tool-write': 'ok',
  'codex/two-tools': 'ok',
  'codex/usage-limit': 'turn_failed usage_limit ~usage_limit',
  'codex/usage-limit-days': 'turn_failed usage_limit ~usage_limit',
  'gemini/api-error-400': 'api_error',
  'gemini/auth-401': 'api_error auth',
  'gemini/empty-answer': 'ok',
  'gemini/killed-mid-tool': 'none',
  'gemini/mcp': 'ok',
  'gemini/model-404': 'api_error',
  'gemini/rate-limit-429': 'none ~rate_limit',
  'gemini/rate-limit-then-ok': 'ok ~rate_limit',
  'gemini/reasoning': 'ok',
  'gemini/resume': 'ok',
  'gemini/resume-unknown': 'unknown_native_session',
  'gemini/sigint-mid-tool': 'none',
  'gemini/sigterm-model-hung': 'none',
  'gemini/stream-cut-end': 'ok',
  'gemini/stream-cut-fin': 'api_error network',
  'gemini/stream-cut-rst': 'ok',
  'gemini/text': 'ok',
  'gemini/tool-denied': 'ok',
  'gemini/tool-shell': 'ok',
  'gemini/tool-shell-fails': 'ok',
  'gemini/tool-unknown': 'ok',
  'gemini/tool-write': 'ok',
  'gemini/two-tools': 'ok',
  'gemini/usage-limit': 'api_error usage_limit',
  'opencode/api-error-400': 'APIError',
  'opencode/auth-401': 'APIError auth',
  'opencode/empty-answer': 'ok',
  'opencode/killed-mid-tool': 'none',
  'opencode/mcp': 'ok',
  'opencode/model-404': 'APIError',
  'opencode/quota': 'none',
  'opencode/rate-limit-then-ok': 'ok',
  'opencode/reasoning': 'ok',
  'opencode/resume': 'ok',
  'opencode/resume-unknown': 'unknown_native_session',
  'opencode/sigint-mid-tool': 'none',
  'opencode/sigterm-model-hung': 'none',
  'opencode/stream-cut-end': 'ok',
  'opencode/stream-cut-fin': 'ok',
  'opencode/stream-cut-rst': 'ok',
  'opencode/text': 'ok',
  'opencode/tool-denied': 'refused: permission',
  'opencode/tool-shell': 'ok',
  'opencode/tool-shell-fails': 'ok',
  'opencode/tool-unknown': 'ok',
  'opencode/tool-write': 'ok',
  'opencode/two-tools': 'ok',
  'opencode/usage-limit': 'none',
  'opencode/usage-limit-logs': 'none ~usage_limit',
};

describe('recordings of the real CLIs', () => {
  for (const [name, expected] of Object.entries(COMES_TO)) {
    test(`${name} comes to: ${expected} (C-03)`, () => {
      const [id = '', kase = ''] = name.split('/');
      const events = eventsOf(recording(id, kase));
      const result = only(events, 'result')[0];
      const limits = only(events, 'limit').map((event) => event.limit);
      const word = result === undefined ? 'none' : result.ok ? 'ok' : result.reason;
      const final = limits.find((limit) => limit.final)?.kind;
      const retried = limits.find((limit) => !limit.final)?.kind;
      expect([word, final, retried && `~${retried}`].filter(Boolean).join(' ')).toBe(expected);
    });
  }

  test('every recorded line is known and well formed', () => {
    const strange = recordings().flatMap(({ name, lines, parsed }) =>
      parsed.flatMap((events, index) =>
        events === null || events.some((event) => event.type === 'custom') ? [`${name}: ${lines[index]}`] : [],
      ),
    );
    expect(strange).toEqual([]);
  });

  test('every run that reached its model names its session before anything else that counts', () => {
    for (const each of recordings()) {
      const types = eventsOf(each).map((event) => event.type);
      const first = types.findIndex((type) => type === 'text' || type === 'tool_use' || type === 'usage');
      if (first >= 0) expect([each.name, types.slice(0, first).includes('session')]).toEqual([each.name, true]);
    }
  });

  test('what a successful run cost is known, in the mode of its harness', () => {
    const modes = { claude: 'add', codex: 'thread', gemini: 'turn', opencode: 'add' };
    for (const [id, mode] of Object.entries(modes)) {
      const usage = only(eventsOf(recording(id, 'text')), 'usage');
      expect(usage).toEqual([
        {
          type: 'usage',
          mode: mode as 'add',
          tokens: {
            input_tokens: 100,
            output_tokens: 10,
            cache_read_tokens: 5,
            cache_write_tokens: 0,
            reasoning_tokens: 0,
          },
        },
      ]);
    }
  });

  test('a written file is told by every harness that wrote it', () => {
    for (const id of ['claude', 'codex', 'gemini', 'opencode']) {
      const files = only(eventsOf(recording(id, 'tool-write')), 'tool_use').flatMap((event) => event.files);
      expect(files.map((file) => [file.path.split('/').at(-1), file.action])).toEqual([['hello.txt', 'create']]);
    }
  });

  test('a tool’s use and its result carry the same id', () => {
    for (const id of ['claude', 'codex', 'gemini', 'opencode']) {
      const events = eventsOf(recording(id, 'two-tools'));
      const used = only(events, 'tool_use').map((event) => event.tool_id);
      const ended = only(events, 'tool_result').map((event) => event.tool_id);
      expect(used).toHaveLength(2);
      expect(ended.toSorted()).toEqual(used.toSorted());
    }
  });

  test('the plan’s reset time is known where the harness tells it', () => {
    const limits = only(eventsOf(recording('claude', 'usage-limit-subscriber')), 'limit');
    expect(limits[0]?.limit.resets_at).toBeGreaterThan(1_700_000_000_000);
  });
});
