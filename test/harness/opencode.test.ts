import { expect, test } from 'bun:test';
import { opencode } from '../../src/harness/opencode.ts';
import { MCP, profileOf, turnOf, valuesOf } from './turn-spec.ts';

const BUILDER = profileOf({
  model: 'anthropic/claude-sonnet-4',
  add_dirs: ['docs'],
  append_system_prompt: 'Build carefully.',
});

function configOf(fields: Parameters<typeof turnOf>[0]) {
  return JSON.parse(opencode.command(turnOf(fields)).env.OPENCODE_CONFIG_CONTENT ?? '');
}

test('opencode: command line (E-029)', () => {
  const { program, args, stdin } = opencode.command(turnOf({ session_id: 'sess-9999', profile: BUILDER }));
  expect(program).toBe('opencode');
  expect(args.slice(0, 7)).toEqual([
    ...['run', '--dir', '/srv/repo', '--title', 'drover-sess-9999', '--model', 'anthropic/claude-sonnet-4'],
  ]);
  expect(valuesOf(args, '--format')).toEqual(['json']);
  expect(stdin).toBe('review this change');
});

test('opencode: projection (E-029)', () => {
  expect(opencode.task_text('stabilize callback flow', BUILDER)).toBe(
    'System instructions:\nBuild carefully.\n\n' +
      'Execution profile:\n- Additional context dirs: docs\n\nTask:\nstabilize callback flow',
  );
});

test('opencode: a later turn names the session and gives no new title', () => {
  const { args } = opencode.command(turnOf({ native_session_id: 'ses_1' }));
  expect(valuesOf(args, '--session')).toEqual(['ses_1']);
  expect(args).not.toContain('--title');
});

test('opencode: the repository’s configuration is off, nothing updates or is shared', () => {
  expect(opencode.command(turnOf()).env.OPENCODE_DISABLE_PROJECT_CONFIG).toBe('1');
  expect(configOf({})).toMatchObject({ autoupdate: false, share: 'disabled' });
});

test('opencode: nothing is asked for, because a question ends the run', () => {
  expect(configOf({}).permission).toEqual({ external_directory: 'deny' });
  const plan = configOf({ profile: profileOf({ permission_mode: 'plan' }) }).permission;
  expect(plan).toEqual({ edit: 'deny', bash: 'deny', external_directory: 'deny' });
});

test('opencode: drover’s MCP server is part of the configuration of the run', () => {
  expect(configOf({ mcp: MCP }).mcp.drover).toEqual({
    type: 'local',
    command: ['/opt/drover', 'mcp'],
    environment: MCP.env,
    enabled: true,
  });
  expect(configOf({}).mcp).toBeUndefined();
});
