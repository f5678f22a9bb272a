import { join } from 'node:path';
import { HARNESS_MODELS } from './harness-home.ts';
import type { HarnessId } from './harness-install.ts';
import type { Step } from './model/scenario.ts';

/** One run (or two, when it resumes) of a real CLI against the script. */
export interface SmokeCase {
  name: string;
  steps: Step[];
  /** Steps for an opening turn whose session the recorded turn resumes. */
  before?: Step[];
  /** Resume this id instead of one that exists. */
  resume_unknown?: boolean;
  access?: 'none' | 'edit' | 'all';
  mcp?: boolean;
  args?: Partial<Record<HarnessId, string[]>>;
  env?: Partial<Record<HarnessId, Record<string, string>>>;
  /** A file of the repository that must exist afterwards. */
  makes?: string;
  /** What the model must have been told as the output of a tool. */
  hears?: string;
  /** Signal to send once the tool has made `started` in the repository, or the model has been asked. */
  interrupt?: { when: 'tool_started' | 'model_asked' | 'seconds'; signal: NodeJS.Signals; seconds?: number };
  only?: HarnessId[];
  /** Standard input when it is not the prompt as it is. */
  stdin?: (prompt: string) => string;
  /** Default: the file itself is standard input, as drover does it. */
  stdin_pipe?: boolean;
}

const DONE: Step = { kind: 'text', text: 'All done.' };
const WRITE: Step = {
  kind: 'tools',
  text: 'I will write the file.',
  calls: [{ verb: 'write_file', path: 'hello.txt', content: 'hello\n' }],
};
const SLEEP: Step = { kind: 'tools', calls: [{ verb: 'shell', command: 'touch started; sleep 300' }] };
const shell = (command: string): Step => ({ kind: 'tools', calls: [{ verb: 'shell', command }] });
const FEW_RETRIES = { claude: { CLAUDE_CODE_MAX_RETRIES: '2' } };

/** What the vendor sends with an answer when most of a subscription's window is used up. */
const WARNING_HEADERS = {
  'anthropic-ratelimit-unified-status': 'allowed_warning',
  'anthropic-ratelimit-unified-reset': '1999999999',
  'anthropic-ratelimit-unified-representative-claim': 'five_hour',
  'anthropic-ratelimit-unified-5h-status': 'allowed_warning',
  'anthropic-ratelimit-unified-5h-reset': '1999999999',
  'anthropic-ratelimit-unified-5h-utilization': '0.92',
  'anthropic-ratelimit-unified-5h-surpassed-threshold': '0.9',
};

const STREAM_INPUT = {
  args: { claude: ['--input-format', 'stream-json'] },
  stdin: (prompt: string) => `${JSON.stringify({ type: 'user', message: { role: 'user', content: prompt } })}\n`,
};

export const SMOKE_CASES: SmokeCase[] = [
  { name: 'text', steps: [DONE] },
  { name: 'tool-write', access: 'edit', makes: 'hello.txt', steps: [WRITE, DONE] },
  { name: 'reasoning', steps: [{ kind: 'text', reasoning: 'The user wants a greeting.', text: 'Hello.' }] },
  { name: 'tool-shell', access: 'all', hears: 'out', steps: [shell('echo out; echo err >&2'), DONE] },
  { name: 'tool-shell-fails', access: 'all', steps: [shell('echo bad; exit 3'), DONE] },
  {
    name: 'two-tools',
    access: 'all',
    makes: 'one.txt',
    hears: 'two',
    steps: [
      {
        kind: 'tools',
        calls: [
          { verb: 'write_file', path: 'one.txt', content: '1\n' },
          { verb: 'shell', command: 'echo two' },
        ],
      },
      DONE,
    ],
  },
  {
    name: 'tool-denied',
    access: 'none',
    steps: [
      { kind: 'tools', calls: [{ verb: 'write_file', path: '/var/drover-denied.txt', content: 'x\n' }] },
      { kind: 'text', text: 'I was not allowed to.' },
    ],
  },
  { name: 'tool-unknown', steps: [{ kind: 'tools', calls: [{ verb: 'raw', name: 'no_such_tool', args: {} }] }, DONE] },
  {
    name: 'mcp',
    access: 'all',
    hears: 'echo: hi',
    mcp: true,
    steps: [{ kind: 'tools', calls: [{ verb: 'mcp', server: 'echo', tool: 'say', args: { text: 'hi' } }] }, DONE],
  },
  { name: 'rate-limit-then-ok', steps: [{ kind: 'status', status: 429, headers: { 'retry-after': '1' } }, DONE] },
  { name: 'overloaded-then-ok', steps: [{ kind: 'status', status: 529 }, DONE], only: ['claude'] },
  { name: 'api-error-400', steps: [{ kind: 'status', status: 400, times: 'forever' }] },
  { name: 'auth-401', steps: [{ kind: 'status', status: 401, times: 'forever' }], env: FEW_RETRIES },
  {
    name: 'rate-limit-429',
    steps: [{ kind: 'status', status: 429, times: 'forever' }],
    env: FEW_RETRIES,
    interrupt: { when: 'seconds', seconds: 50, signal: 'SIGKILL' },
    only: ['claude', 'codex', 'gemini'],
  },
  {
    name: 'usage-limit',
    steps: [{ kind: 'status', status: 429, flavour: 'usage_limit', times: 'forever' }],
    env: FEW_RETRIES,
    interrupt: { when: 'seconds', seconds: 12, signal: 'SIGKILL' },
  },
  {
    name: 'quota',
    steps: [{ kind: 'status', status: 429, flavour: 'quota', times: 'forever' }],
    env: FEW_RETRIES,
    interrupt: { when: 'seconds', seconds: 12, signal: 'SIGKILL' },
    only: ['codex', 'opencode'],
  },
  {
    name: 'usage-limit-days',
    steps: [{ kind: 'status', status: 429, flavour: 'usage_limit', resets_in_s: 300_000, times: 'forever' }],
    only: ['codex'],
  },
  {
    name: 'usage-limit-subscriber',
    steps: [{ kind: 'status', status: 429, flavour: 'usage_limit', times: 'forever' }],
    env: { claude: { ...FEW_RETRIES.claude, ANTHROPIC_API_KEY: '', CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat01-dummy' } },
    only: ['claude'],
  },
  {
    name: 'text-subscriber',
    steps: [DONE],
    env: { claude: { ANTHROPIC_API_KEY: '', CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat01-dummy' } },
    only: ['claude'],
  },
  {
    name: 'usage-warning-subscriber',
    steps: [{ ...DONE, headers: WARNING_HEADERS }],
    env: { claude: { ANTHROPIC_API_KEY: '', CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat01-dummy' } },
    only: ['claude'],
  },
  {
    name: 'usage-limit-logs',
    steps: [{ kind: 'status', status: 429, flavour: 'usage_limit', times: 'forever' }],
    interrupt: { when: 'seconds', seconds: 12, signal: 'SIGKILL' },
    args: { opencode: ['--print-logs', '--log-level', 'WARN'] },
    only: ['opencode'],
  },
  { name: 'credit', steps: [{ kind: 'status', status: 400, flavour: 'credit', times: 'forever' }], only: ['claude'] },
  {
    name: 'server-500',
    steps: [{ kind: 'status', status: 500, times: 'forever' }],
    env: FEW_RETRIES,
    interrupt: { when: 'seconds', seconds: 50, signal: 'SIGKILL' },
    only: ['claude', 'codex'],
  },
  { name: 'overloaded-529', steps: [{ kind: 'status', status: 529, times: 'forever' }], only: ['claude'] },
  { name: 'model-404', steps: [{ kind: 'status', status: 404, times: 'forever' }] },
  { name: 'empty-answer', steps: [{ kind: 'text', text: '' }, DONE] },
  { name: 'stream-cut-fin', steps: [{ kind: 'cut', how: 'fin', text: 'This text is cut in the middle.' }, DONE] },
  { name: 'stream-cut-end', steps: [{ kind: 'cut', how: 'end', text: 'This text is cut in the middle.' }, DONE] },
  { name: 'stream-cut-rst', steps: [{ kind: 'cut', how: 'rst', text: 'This text is cut in the middle.' }, DONE] },
  {
    name: 'resume',
    before: [{ kind: 'text', text: 'First answer.' }],
    steps: [{ kind: 'text', text: 'Second answer.' }],
  },
  { name: 'resume-unknown', resume_unknown: true, steps: [DONE] },
  {
    name: 'killed-mid-tool',
    access: 'all',
    steps: [SLEEP, DONE],
    interrupt: { when: 'tool_started', signal: 'SIGKILL' },
  },
  {
    name: 'sigint-mid-tool',
    access: 'all',
    steps: [SLEEP, DONE],
    interrupt: { when: 'tool_started', signal: 'SIGINT' },
  },
  {
    name: 'sigterm-model-hung',
    steps: [{ kind: 'hang', at: 'headers' }],
    interrupt: { when: 'model_asked', signal: 'SIGTERM' },
  },
  {
    name: 'max-turns',
    access: 'all',
    steps: [shell('echo one'), shell('echo two'), DONE],
    args: { claude: ['--max-turns', '1'] },
    only: ['claude'],
  },
  {
    name: 'max-budget',
    access: 'all',
    steps: [shell('echo one'), DONE],
    args: { claude: ['--max-budget-usd', '0.000001'] },
    only: ['claude'],
  },
  {
    name: 'background-shell',
    access: 'all',
    steps: [
      {
        kind: 'tools',
        calls: [
          { verb: 'raw', name: 'Bash', args: { command: 'sleep 2', description: 'Wait', run_in_background: true } },
        ],
      },
      DONE,
      { kind: 'text', text: 'The background command ended.' },
    ],
    only: ['claude'],
  },
  { name: 'stream-input', ...STREAM_INPUT, stdin_pipe: true, steps: [DONE], only: ['claude'] },
  // From a regular file the CLI reads nothing in this mode: exit 0, no line, no model call.
  { name: 'stream-input-from-file', ...STREAM_INPUT, steps: [DONE], only: ['claude'] },
];

export interface Invocation {
  access: 'none' | 'edit' | 'all';
  resume: string | null;
  /** Directory of this checkout, where the MCP server lies; `null` for a run without one. */
  mcp_dir: string | null;
  extra: string[];
}

/** The command line; the prompt comes on standard input, never as an argument. */
export function argvFor(harness: HarnessId, run: Invocation): string[] {
  const make = { claude: claudeArgs, codex: codexArgs, gemini: geminiArgs, opencode: opencodeArgs }[harness];
  return [harness, ...make(run)];
}

function claudeArgs({ access, resume, mcp_dir, extra }: Invocation): string[] {
  const mode = { none: 'default', edit: 'acceptEdits', all: 'bypassPermissions' }[access];
  const servers = mcp_dir ? { echo: { command: process.execPath, args: [join(mcp_dir, 'mcp-echo.ts')] } } : {};
  return [
    '-p',
    ...['--output-format', 'stream-json', '--verbose', '--setting-sources', 'user', '--strict-mcp-config'],
    ...(mcp_dir ? ['--mcp-config', JSON.stringify({ mcpServers: servers })] : []),
    ...['--model', HARNESS_MODELS.claude, '--permission-mode', mode],
    ...(resume ? ['--resume', resume] : []),
    ...extra,
  ];
}

function codexArgs({ access, resume, mcp_dir, extra }: Invocation): string[] {
  const sandbox = { none: 'read-only', edit: 'workspace-write', all: 'danger-full-access' }[access];
  const mcp = mcp_dir
    ? [
        ...['-c', `mcp_servers.echo={command="${process.execPath}",args=["${join(mcp_dir, 'mcp-echo.ts')}"]}`],
        ...['-c', 'mcp_servers.echo.default_tools_approval_mode="approve"'],
      ]
    : [];
  const options = ['--json', '--skip-git-repo-check', '-m', HARNESS_MODELS.codex, '--sandbox', sandbox];
  return ['exec', ...options, ...mcp, ...extra, ...(resume ? ['resume', resume] : []), '-'];
}

function geminiArgs({ access, resume, extra }: Invocation): string[] {
  const mode = { none: 'default', edit: 'auto_edit', all: 'yolo' }[access];
  const options = ['-m', HARNESS_MODELS.gemini, '--skip-trust', '-o', 'stream-json', '--approval-mode', mode];
  return [...options, ...(resume ? ['--resume', resume] : []), ...extra];
}

function opencodeArgs({ access, resume, extra }: Invocation): string[] {
  const options = ['run', '--format', 'json', '--title', 'scripted', '-m', HARNESS_MODELS.opencode, '--thinking'];
  return [...options, ...(access === 'all' ? ['--auto'] : []), ...(resume ? ['--session', resume] : []), ...extra];
}

/** Settings files that only a case with an MCP server needs: path below the home → change of the JSON in it. */
export function mcpSettings(harness: HarnessId, mcp_dir: string): { file: string; merge: object } | null {
  const script = join(mcp_dir, 'mcp-echo.ts');
  switch (harness) {
    case 'gemini':
      return {
        file: '.gemini/settings.json',
        merge: { mcpServers: { echo: { command: process.execPath, args: [script], trust: true } } },
      };
    case 'opencode':
      return {
        file: '.config/opencode/opencode.json',
        merge: { mcp: { echo: { type: 'local', command: [process.execPath, script], enabled: true } } },
      };
    default:
      return null;
  }
}
