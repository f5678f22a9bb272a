import { expect, test } from 'bun:test';
import { codex } from '../../src/harness/codex.ts';
import { MCP, profileOf, turnOf, valuesOf } from './turn-spec.ts';

const REVIEWER = profileOf({
  model: 'gpt-5.4',
  allowed_tools: ['Read'],
  disallowed_tools: ['Bash'],
  permission_mode: 'plan',
  add_dirs: ['docs', 'specs'],
  max_budget_usd: 1.25,
  token_budget: 750,
  append_system_prompt: 'Review thoroughly.',
});

test('codex: command line (E-028)', () => {
  const { program, args, stdin } = codex.command(turnOf({ profile: REVIEWER }));
  expect(program).toBe('codex');
  expect(args.slice(0, 15)).toEqual([
    ...['exec', '--skip-git-repo-check', '--sandbox', 'workspace-write', '--cd', '/srv/repo', '--color', 'never'],
    ...['--model', 'gpt-5.4', '--add-dir', 'docs', '--add-dir', 'specs', '--json'],
  ]);
  expect(args.at(-1)).toBe('-');
  expect(stdin).toBe('review this change');
});

test('codex: what it has no flag for is projected into the task (E-028)', () => {
  expect(codex.task_text('review this change', REVIEWER)).toBe(
    'System instructions:\nReview thoroughly.\n\n' +
      'Execution profile:\n- Allowed tools: Read\n- Disallowed tools: Bash\n- Permission mode: plan\n' +
      '- Max budget USD: 1.25\n- Token budget: 750\n\n' +
      'Task:\nreview this change',
  );
});

test('codex: resume follows all options and reads the prompt from standard input', () => {
  const { args } = codex.command(turnOf({ native_session_id: 'thread-1', mcp: MCP }));
  expect(args.slice(-3)).toEqual(['resume', 'thread-1', '-']);
});

test('codex: every git directory that a commit writes is writable, each once', () => {
  const linked = { git_common_dir: '/srv/main/.git', git_dir: '/srv/main/.git/worktrees/w' };
  expect(valuesOf(codex.command(turnOf(linked)).args, '--add-dir')).toEqual([
    '/srv/main/.git',
    '/srv/main/.git/worktrees/w',
  ]);
  const plain = { git_common_dir: '/srv/repo/.git', git_dir: '/srv/repo/.git' };
  expect(valuesOf(codex.command(turnOf(plain)).args, '--add-dir')).toEqual(['/srv/repo/.git']);
});

test('codex: the sandbox follows the permission modes that name one', () => {
  const sandbox = (permission_mode: string | null) =>
    valuesOf(codex.command(turnOf({ profile: profileOf({ permission_mode }) })).args, '--sandbox');
  expect(sandbox('read-only')).toEqual(['read-only']);
  expect(sandbox('bypassPermissions')).toEqual(['danger-full-access']);
  expect(sandbox('acceptEdits')).toEqual(['workspace-write']);
});

test('codex: the project is untrusted for this run, at the worktree and at the main checkout', () => {
  const turn = turnOf({ cwd: '/srv/a "b"', git_common_dir: '/srv/main/.git' });
  expect(valuesOf(codex.command(turn).args, '-c')).toContain(
    'projects={"/srv/a \\"b\\""={trust_level="untrusted"},"/srv/main"={trust_level="untrusted"}}',
  );
});

test('codex: the MCP server’s token goes by the environment, arguments can be read by everybody', () => {
  const { args, env } = codex.command(turnOf({ mcp: MCP }));
  expect(valuesOf(args, '-c')).toContain(
    'mcp_servers.drover={command="/opt/drover",args=["mcp"],env_vars=["DROVER_TOKEN"],default_tools_approval_mode="approve"}',
  );
  expect(args.join(' ')).not.toContain('s3cret');
  expect(env.DROVER_TOKEN).toBe('s3cret');
});
