import { describe, expect, test } from 'bun:test';
import { claude } from '../../src/harness/claude.ts';
import { MCP, profileOf, turnOf, valuesOf } from './turn-spec.ts';

const REVIEWER = profileOf({
  model: 'sonnet',
  allowed_tools: ['Read', 'Edit'],
  disallowed_tools: ['Bash'],
  permission_mode: 'plan',
  add_dirs: ['docs', 'specs'],
  max_budget_usd: 1.25,
  token_budget: 750,
  append_system_prompt: 'Review thoroughly.',
});

describe('claude command line', () => {
  test('claude: profile flags in the row’s order (E-027)', () => {
    const { program, args } = claude.command(turnOf({ profile: REVIEWER }));
    expect(program).toBe('claude');
    expect(args.slice(0, 19)).toEqual([
      ...['--print', '--name', 'drover-sess-1234', '--model', 'sonnet'],
      ...['--allowed-tools', 'Read,Edit', '--disallowed-tools', 'Bash', '--permission-mode', 'plan'],
      ...['--add-dir', 'docs', '--add-dir', 'specs', '--max-budget-usd', '1.25'],
      ...['--append-system-prompt', 'Review thoroughly.'],
    ]);
  });

  test('claude: a stream of events out, verbose; plain text in (O-58)', () => {
    const { args } = claude.command(turnOf());
    expect(valuesOf(args, '--output-format')).toEqual(['stream-json']);
    expect(args).not.toContain('--input-format');
    expect(args).toContain('--verbose');
  });

  test('claude: the task is standard input as it is and never an argument (O-60, CX-31)', () => {
    const { args, stdin } = claude.command(turnOf({ prompt: 'fix "this"\nplease' }));
    expect(args.join(' ')).not.toContain('fix');
    expect(stdin).toBe('fix "this"\nplease');
    expect(claude.command(turnOf({ prompt: '/help' })).stdin.startsWith('/')).toBe(false);
  });

  test('claude: the repository cannot configure it', () => {
    for (const profile of [null, REVIEWER]) {
      const { args } = claude.command(turnOf({ profile }));
      expect(valuesOf(args, '--setting-sources')).toEqual(['user']);
      expect(args).toContain('--strict-mcp-config');
    }
  });

  test('claude: a silent profile may edit and use the shell; one that speaks is taken at its word', () => {
    const silent = claude.command(turnOf({ profile: profileOf({ model: 'opus' }) })).args;
    expect(valuesOf(silent, '--permission-mode')).toEqual(['acceptEdits']);
    expect(valuesOf(silent, '--allowed-tools')).toEqual(['Bash']);
    const planner = claude.command(turnOf({ profile: profileOf({ permission_mode: 'plan' }), mcp: MCP })).args;
    expect(valuesOf(planner, '--permission-mode')).toEqual(['plan']);
    expect(valuesOf(planner, '--allowed-tools')).toEqual(['mcp__drover']);
    const reader = claude.command(turnOf({ profile: profileOf({ allowed_tools: ['Read'] }) })).args;
    expect(valuesOf(reader, '--allowed-tools')).toEqual(['Read']);
  });

  test('claude: drover’s MCP server comes by a private file and its tools are allowed', () => {
    const { args, files } = claude.command(turnOf({ mcp: MCP }));
    expect(valuesOf(args, '--mcp-config')).toEqual(['/home/u/turn/mcp.json']);
    expect(valuesOf(args, '--allowed-tools')).toEqual(['Bash,mcp__drover']);
    expect(JSON.parse(files['mcp.json'] ?? '')).toEqual({
      mcpServers: { drover: { type: 'stdio', command: '/opt/drover', args: ['mcp'], env: MCP.env } },
    });
    expect(args.join(' ')).not.toContain('s3cret');
  });

  test('claude: a later turn resumes, and the turn’s model wins over the profile’s', () => {
    const { args } = claude.command(
      turnOf({ native_session_id: 'abc', model: 'haiku', max_turns: 7, profile: REVIEWER }),
    );
    expect(valuesOf(args, '--resume')).toEqual(['abc']);
    expect(valuesOf(args, '--model')).toEqual(['haiku']);
    expect(valuesOf(args, '--max-turns')).toEqual(['7']);
  });

  test('claude: the task text is verbatim (E-039)', () => {
    expect(claude.task_text('do it', REVIEWER)).toBe('do it');
  });
});
