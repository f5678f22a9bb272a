import { describe, expect, test } from 'bun:test';
import { findHarness } from '../../src/harness/registry.ts';
import type { HarnessEvent } from '../../src/model/harness.ts';

function ended(id: string, code: number | null, stderr_tail = ''): HarnessEvent[] {
  return findHarness(id, {}).at_exit({ code, signal: code === null ? 'SIGKILL' : null, stderr_tail });
}

/** `result:<reason>`, `limit:<kind>` (with `~` when it was being retried) or `error:<message>`. */
function word(events: HarnessEvent[]): string {
  const words = events.map((event) => {
    if (event.type === 'result') return `result:${event.ok ? 'ok' : event.reason}`;
    if (event.type === 'limit') return `limit:${event.limit.final ? '' : '~'}${event.limit.kind}`;
    return event.type === 'error' ? `error:${event.message}` : event.type;
  });
  return words.join(' ');
}

describe('what an exit says', () => {
  const cases: [id: string, code: number | null, stderr: string, expected: string][] = [
    ['claude', 0, 'Warning: something', ''],
    ['claude', 1, 'No conversation found with session ID: x\n', 'result:unknown_native_session'],
    ['claude', 1, 'cannot be used with root/sudo privileges for security reasons', 'result:refused: bypass_as_root'],
    ['claude', 1, 'Invalid API key · Please run /login', 'limit:auth'],
    ['claude', 1, "error: unknown option '--nope'\n", "error:error: unknown option '--nope'"],
    ['claude', 143, '', ''],
    ['claude', null, 'No conversation found', ''],
    ['claude', 127, '/bin/sh: claude: not found\n', 'result:not_started'],
    ['claude', 126, '', 'result:not_started'],
    ['codex', 1, 'Error: thread/resume failed: no rollout found for thread id x', 'result:unknown_native_session'],
    ['codex', 1, 'ERROR codex_core: thread x not found', 'error:ERROR codex_core: thread x not found'],
    ['codex', 2, 'error: unexpected argument\n\nUsage: codex', 'error:error: unexpected argument'],
    ['gemini', 41, 'Invalid auth method selected.', 'limit:auth'],
    ['gemini', 42, 'Error resuming session: No previous sessions found', 'result:unknown_native_session'],
    ['gemini', 42, 'No input provided via stdin.', 'result:bad_input'],
    ['gemini', 52, 'bad settings', 'result:bad_settings'],
    ['gemini', 53, '', 'result:max_turns'],
    ['gemini', 55, 'not running in a trusted directory', 'result:refused: untrusted_directory'],
    ['gemini', 144, 'bad request', 'result:http 400'],
    ['gemini', 145, 'key', 'limit:auth'],
    ['gemini', 147, 'no', 'limit:auth'],
    ['gemini', 173, 'slow down', 'limit:rate_limit'],
    ['gemini', 173, 'TerminalQuotaError: You have exhausted your daily quota\n    at x\n}\n', 'limit:usage_limit'],
    ['gemini', 244, 'oops', 'limit:overloaded'],
    [
      'gemini',
      1,
      'ModelNotFoundError: no such model\n    at f (x.js:1:1) {\n  code: 404\n}',
      'error:ModelNotFoundError: no such model',
    ],
    [
      'claude',
      1,
      'TypeError: x is not a function\n    at Call.failed (cli.js:1:1)\n',
      'error:TypeError: x is not a function',
    ],
    ['gemini', 0, 'Attempt 3 failed: RESOURCE_EXHAUSTED. Retrying', 'limit:~rate_limit'],
    ['opencode', 0, '! permission requested: bash (ls); auto-rejecting\n', 'result:refused: permission'],
    ['opencode', 1, '\u001b[91mError: \u001b[0mSession not found\n', 'result:unknown_native_session'],
    [
      'opencode',
      null,
      'message="stream error" a=b error.error="E: The usage limit has been reached"',
      'limit:~usage_limit',
    ],
    ['opencode', 1, 'Unexpected server error', 'error:Unexpected server error'],
    ['rehearsal', 3, 'scripted failure', 'error:scripted failure'],
  ];
  for (const [id, code, stderr, expected] of cases) {
    test(`${id} exit ${code}: ${stderr.slice(0, 40).split('\n')[0] || 'silent'} → ${expected || 'nothing'}`, () => {
      expect(word(ended(id, code, stderr))).toBe(expected);
    });
  }
});
