import { expect, test } from 'bun:test';
import { gemini } from '../../src/harness/gemini.ts';
import { MCP, profileOf, turnOf, valuesOf } from './turn-spec.ts';

const SIBLING = ['..', 'shared'].join('/');

const REVIEWER = profileOf({
  model: 'gemini-2.5-pro',
  allowed_tools: ['Read'],
  disallowed_tools: ['Bash'],
  permission_mode: 'plan',
  add_dirs: ['docs', SIBLING],
  max_budget_usd: 1,
  token_budget: 500,
});

test('gemini: command line (E-030); no -p without its value, the prompt comes on standard input (CX-32)', () => {
  const { program, args, stdin } = gemini.command(turnOf({ profile: REVIEWER }));
  expect(program).toBe('gemini');
  expect(args.slice(0, 4)).toEqual(['-m', 'gemini-2.5-pro', '--include-directories', `docs,${SIBLING}`]);
  expect(valuesOf(args, '--output-format')).toEqual(['stream-json']);
  expect(args).not.toContain('-p');
  expect(stdin).toBe('review this change');
});

test('gemini: projection, a whole-number budget prints without a fraction (E-030)', () => {
  expect(gemini.task_text('look', REVIEWER)).toBe(
    'Execution profile:\n- Allowed tools: Read\n- Disallowed tools: Bash\n- Permission mode: plan\n' +
      '- Max budget USD: 1\n- Token budget: 500\n\nTask:\nlook',
  );
});

test('gemini: approval mode; an unattended session without a word in its profile may act', () => {
  const mode = (permission_mode: string | null) =>
    valuesOf(gemini.command(turnOf({ profile: profileOf({ permission_mode }) })).args, '--approval-mode');
  expect(mode(null)).toEqual(['yolo']);
  expect(mode('acceptEdits')).toEqual(['auto_edit']);
  expect(mode('plan')).toEqual(['plan']);
  expect(mode('something else')).toEqual(['default']);
});

test('gemini: the repository cannot configure it, whatever the person trusts', () => {
  const { args, env } = gemini.command(turnOf());
  expect(env.GEMINI_CLI_TRUST_WORKSPACE).toBe('false');
  expect(args).toContain('--skip-trust');
  expect(env.GEMINI_CLI_NO_RELAUNCH).toBe('true');
});

test('gemini: drover’s MCP server comes by a settings file of the run', () => {
  const { env, files } = gemini.command(turnOf({ mcp: MCP }));
  expect(env.GEMINI_CLI_SYSTEM_DEFAULTS_PATH).toBe('/home/u/turn/gemini-settings.json');
  expect(JSON.parse(files['gemini-settings.json'] ?? '').mcpServers.drover.trust).toBe(true);
  expect(gemini.command(turnOf()).files).toEqual({});
});

test('gemini: resume', () => {
  expect(valuesOf(gemini.command(turnOf({ native_session_id: 'abc' })).args, '--resume')).toEqual(['abc']);
});
