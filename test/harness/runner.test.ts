import { describe, expect, test } from 'bun:test';
import { claude } from '../../src/harness/claude.ts';
import { findHarness } from '../../src/harness/registry.ts';
import { runnerHarness } from '../../src/harness/runner.ts';
import { profileOf, runnerOf, turnOf } from './turn-spec.ts';

const CURSOR = runnerOf({
  base_args: ['run', '  '],
  cwd_flag: '--cwd',
  session_name_flag: '--name',
  model_flag: '--model',
  add_dir_flag: '--context-dir',
  permission_mode_flag: '--permission-mode',
  task_flag: '--task',
});

describe('configured runners', () => {
  test('a known harness that cannot be started by itself takes its configured program (E-025)', () => {
    expect(findHarness('cursor', { cursor: runnerOf({ program: ' cursor-agent ' }) }).program).toBe('cursor-agent');
  });

  test('an unknown custom harness takes its configured program (E-026)', () => {
    const runners = { 'acme-runner': runnerOf({ program: 'acme-agent' }) };
    expect(findHarness('acme-runner', runners).program).toBe('acme-agent');
  });

  test('a configured runner wins over a built-in harness (E-024)', () => {
    const runners = { claude: runnerOf({ program: 'my-claude', base_args: ['go'] }) };
    const harness = findHarness('claude', runners);
    expect(harness.command(turnOf()).args).toEqual(['go', 'review this change']);
  });

  test('a blank program is an error that names the key (E-024)', () => {
    expect(() => findHarness('acme', { acme: runnerOf({ program: '  ' }) })).toThrow(
      'Configured harness runner for acme is missing a program',
    );
  });

  test('argument order and flags (E-031, E-034)', () => {
    const profile = profileOf({
      model: 'gpt-5.4',
      add_dirs: ['docs', 'specs'],
      permission_mode: 'plan',
      append_system_prompt: 'Use repo context carefully.',
    });
    const harness = runnerHarness('cursor', CURSOR, null);
    const prompt = harness.task_text('fix callback regression', profile);
    const { args, stdin } = harness.command(turnOf({ session_id: 'sess-cur1', profile, prompt }));
    expect(args).toEqual([
      ...['run', '--cwd', '/srv/repo', '--name', 'drover-sess-cur1', '--model', 'gpt-5.4'],
      ...['--context-dir', 'docs', '--context-dir', 'specs', '--permission-mode', 'plan'],
      ...['--task', 'System instructions:\nUse repo context carefully.\n\nTask:\nfix callback regression'],
    ]);
    expect(stdin).toBe('');
  });

  test('profile fields without a flag are projected into the task (E-032)', () => {
    const profile = profileOf({
      model: 'gpt-5.4',
      add_dirs: ['docs', 'specs'],
      allowed_tools: ['Read'],
      disallowed_tools: ['Bash'],
      permission_mode: 'plan',
      max_budget_usd: 2.5,
      token_budget: 900,
      append_system_prompt: 'Use repo context carefully.',
    });
    const runner = runnerOf({ base_args: ['run'], model_flag: '--model', task_flag: '--task' });
    const harness = runnerHarness('cursor', runner, null);
    const prompt = harness.task_text('fix callback regression', profile);
    expect(harness.command(turnOf({ profile, prompt })).args).toEqual([
      ...['run', '--model', 'gpt-5.4', '--task'],
      'System instructions:\nUse repo context carefully.\n\n' +
        'Execution profile:\n- Additional context dirs: docs, specs\n- Allowed tools: Read\n' +
        '- Disallowed tools: Bash\n- Permission mode: plan\n- Max budget USD: 2.5\n- Token budget: 900\n\n' +
        'Task:\nfix callback regression',
    ]);
  });

  test('lists are joined by commas, and both directory flags may be set (E-033)', () => {
    const runner = runnerOf({
      add_dir_flag: '--dir',
      include_directories_flag: '--include',
      allowed_tools_flag: '--allow',
      disallowed_tools_flag: '--deny',
      max_budget_usd_flag: '--usd',
      stdin_prompt: true,
    });
    const profile = profileOf({
      add_dirs: ['a', 'b'],
      allowed_tools: ['R', 'E'],
      disallowed_tools: ['B'],
      max_budget_usd: 3,
    });
    const { args, stdin } = runnerHarness('x', runner, null).command(turnOf({ profile }));
    expect(args).toEqual([
      ...['--dir', 'a', '--dir', 'b', '--include', 'a,b', '--allow', 'R,E', '--deny', 'B', '--usd', '3'],
    ]);
    expect(stdin).toBe('review this change');
  });

  test('the system prompt is sent once: inline wins over the flag (E-035, CX-33)', () => {
    const profile = profileOf({ append_system_prompt: 'Be brief.' });
    const sent = (inline: boolean | null) => {
      const runner = runnerOf({ append_system_prompt_flag: '--system', inline_system_prompt_for_task: inline });
      const harness = runnerHarness('x', runner, null);
      return harness.command(turnOf({ profile, prompt: harness.task_text('go', profile) })).args;
    };
    expect(sent(null)).toEqual(['--system', 'Be brief.', 'go']);
    expect(sent(false)).toEqual(['--system', 'Be brief.', 'go']);
    expect(sent(true)).toEqual(['System instructions:\nBe brief.\n\nTask:\ngo']);
  });

  test('the resume flag comes before the task, and text cannot become an option', () => {
    const runner = runnerOf({ resume_flag: '--resume' });
    const { args } = runnerHarness('x', runner, null).command(turnOf({ native_session_id: 'n1', prompt: '--version' }));
    expect(args).toEqual(['--resume', 'n1', 'Message:\n--version']);
  });

  test('blank environment values are skipped (E-034)', () => {
    const runner = runnerOf({ env: { KEY: 'v', EMPTY: '', BLANK: '  ' } });
    expect(runnerHarness('x', runner, null).command(turnOf()).env).toEqual({ KEY: 'v' });
  });

  test('a runner that sets only a program stands in for the built-in one (C-04)', () => {
    const harness = runnerHarness('claude', runnerOf({ program: '/fake/claude', env: { FAKE: '1' } }), claude);
    const built = harness.command(turnOf());
    expect(built.program).toBe('/fake/claude');
    expect(built.env.FAKE).toBe('1');
    expect(built.args).toEqual(claude.command(turnOf()).args);
    expect(harness.parse).toBe(claude.parse);
  });

  test('text output: every line is text and exit code 0 is the result', () => {
    const harness = runnerHarness('x', runnerOf(), null);
    expect(harness.parse('hello {')).toEqual([{ type: 'text', text: 'hello {' }]);
    expect(harness.at_exit({ code: 0, signal: null, stderr_tail: '' })).toMatchObject([{ type: 'result', ok: true }]);
    expect(harness.at_exit({ code: 3, signal: null, stderr_tail: 'boom: failed\n' })).toEqual([
      { type: 'error', message: 'boom: failed', fatal: true },
    ]);
    expect(harness.at_exit({ code: null, signal: 'SIGKILL', stderr_tail: '' })).toEqual([]);
  });

  test('the event format chooses the parser', () => {
    const parsed = (event_format: 'claude-stream-json' | 'ndjson', line: string) =>
      runnerHarness('x', runnerOf({ event_format }), null).parse(line);
    expect(parsed('claude-stream-json', '{"type":"system","subtype":"init","session_id":"s"}')).toMatchObject([
      { type: 'session', native_session_id: 's' },
    ]);
    expect(parsed('ndjson', '{"type":"text","text":"hi"}')).toEqual([{ type: 'text', text: 'hi' }]);
  });

  test('an argument that the system would refuse is an error with a name', () => {
    const runner = runnerOf({ task_flag: '--task' });
    const harness = runnerHarness('x', runner, null);
    expect(() => harness.command(turnOf({ prompt: 'a\0b' }))).toThrow('NUL');
    expect(() => harness.command(turnOf({ prompt: 'a'.repeat(131_072) }))).toThrow('longer than 131071 bytes');
    expect(harness.command(turnOf({ prompt: 'a'.repeat(131_071) })).args).toHaveLength(2);
  });
});
