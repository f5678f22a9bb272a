import { basename } from 'node:path';
import { AppError } from '../model/error.ts';
import type { Harness, HarnessBits, HarnessCommand, ProjectionSupport, TurnSpec } from '../model/harness.ts';
import type { HarnessRunner, Profile } from '../model/profile.ts';
import { checkedArgs, eachOption, listOption, option, sessionLabel } from './argv.ts';
import { claude } from './claude.ts';
import { codex } from './codex.ts';
import { answerText } from './event-text.ts';
import { judgeExit } from './exit.ts';
import { gemini } from './gemini.ts';
import { opencode } from './opencode.ts';
import { projectTask } from './projection.ts';
import { rehearsal } from './rehearsal.ts';
import { framedPrompt } from './untrusted.ts';

type Output = Pick<Harness, 'parse' | 'at_exit' | 'known_events' | 'bits'>;

/** Programs that print lines for people: every line is text, and the exit code is the result. */
const TEXT_OUTPUT: Output = {
  bits: { ...rehearsal.bits, cost_reported: false, limit_event: false, early_first_event: false },
  parse: (line) => [{ type: 'text', text: answerText(line) }],
  at_exit: (exit) => {
    if (exit.code !== 0) return judgeExit(exit, []);
    return [{ type: 'result', ok: true, reason: 'exit 0', text: '', model_turns: null, denials: [] }];
  },
  known_events: [],
};

const OUTPUTS: Record<HarnessRunner['event_format'], Output> = {
  'claude-stream-json': claude,
  'codex-json': codex,
  'gemini-stream-json': gemini,
  'opencode-json': opencode,
  ndjson: rehearsal,
  text: TEXT_OUTPUT,
};

/**
 * A configured runner as a harness (E-024…E-026, E-031…E-037).
 *
 * `base` is the built-in harness of the same id, if there is one: a runner that sets neither arguments nor flags then
 * only replaces its program and adds to its environment (C-04). Throws `runner_without_program` for a blank program.
 */
export function runnerHarness(id: string, runner: HarnessRunner, base: Harness | null): Harness {
  const program = runner.program.trim();
  if (program === '') {
    throw new AppError('usage', 'runner_without_program', `Configured harness runner for ${id} is missing a program`, {
      hint: `Set harness_runners.${id}.program in the config.`,
    });
  }
  if (base !== null && isBare(runner)) return withProgram(base, program, runner);
  const output = OUTPUTS[runner.event_format];
  const projection = projectionOf(runner);
  return {
    id,
    program,
    install_hint: `set harness_runners.${id}.program in the config to an installed program`,
    bits: bitsOf(runner, output.bits),
    env_allow: runner.env_allow,
    project_markers: runner.project_markers,
    projection,
    unsafe_paths: unsafePaths(program, base),
    task_text: (task, profile) => projectTask(task, profile, projection),
    command: (turn) => command(program, runner, turn),
    parse: output.parse,
    at_exit: output.at_exit,
    version_args: ['--version'],
    known_events: output.known_events,
  };
}

function flagsOf(runner: HarnessRunner): (string | null)[] {
  return [
    ...[runner.cwd_flag, runner.session_name_flag, runner.task_flag, runner.model_flag, runner.add_dir_flag],
    ...[runner.include_directories_flag, runner.allowed_tools_flag, runner.disallowed_tools_flag],
    ...[runner.permission_mode_flag, runner.max_budget_usd_flag, runner.append_system_prompt_flag, runner.resume_flag],
  ];
}

function isBare(runner: HarnessRunner): boolean {
  return runner.base_args.length === 0 && flagsOf(runner).every((flag) => flag === null);
}

function withProgram(base: Harness, program: string, runner: HarnessRunner): Harness {
  return {
    ...base,
    program,
    unsafe_paths: unsafePaths(program, base),
    env_allow: [...base.env_allow, ...runner.env_allow],
    project_markers: [...base.project_markers, ...runner.project_markers],
    command: (turn) => {
      const built = base.command(turn);
      return { ...built, program, env: { ...built.env, ...runnerEnv(runner) } };
    },
  };
}

/** Our own scripted program reads what it reads by whatever name it is configured. */
function unsafePaths(program: string, base: Harness | null): string[] {
  const own = basename(program) === rehearsal.program ? rehearsal.unsafe_paths : [];
  return [...new Set([...(base?.unsafe_paths ?? []), ...own])];
}

/** CX-33: inline wins over the flag, and without a setting the prompt is inline only when there is no flag. */
function isInline(runner: HarnessRunner): boolean {
  return runner.inline_system_prompt_for_task ?? runner.append_system_prompt_flag === null;
}

function projectionOf(runner: HarnessRunner): ProjectionSupport {
  return {
    model: runner.model_flag !== null,
    add_dirs: runner.add_dir_flag !== null || runner.include_directories_flag !== null,
    allowed_tools: runner.allowed_tools_flag !== null,
    disallowed_tools: runner.disallowed_tools_flag !== null,
    permission_mode: runner.permission_mode_flag !== null,
    max_budget_usd: runner.max_budget_usd_flag !== null,
    append_system_prompt: runner.append_system_prompt_flag !== null && !isInline(runner),
  };
}

function bitsOf(runner: HarnessRunner, of_format: HarnessBits): HarnessBits {
  return {
    ...of_format,
    resume: runner.resume_flag !== null,
    fork: false,
    steer: false,
    stdin_stream: false,
    mcp_per_run: false,
    sandbox_flag: false,
    // Nobody knows what this program does with `@`, so every one is escaped.
    at_mentions: 'any',
  };
}

/** The order of E-034, the resume flag before the task. */
function command(program: string, runner: HarnessRunner, turn: TurnSpec): HarnessCommand {
  const { profile } = turn;
  const dirs = profile?.add_dirs ?? [];
  const prompt = framedPrompt(turn.prompt);
  const args = [
    ...runner.base_args.filter((arg) => arg.trim() !== ''),
    ...option(runner.cwd_flag, turn.cwd),
    ...option(runner.session_name_flag, sessionLabel(turn.session_id)),
    ...option(runner.model_flag, turn.model ?? profile?.model),
    ...eachOption(runner.add_dir_flag, dirs),
    ...listOption(runner.include_directories_flag, dirs),
    ...listOption(runner.allowed_tools_flag, profile?.allowed_tools ?? []),
    ...listOption(runner.disallowed_tools_flag, profile?.disallowed_tools ?? []),
    ...option(runner.permission_mode_flag, profile?.permission_mode),
    ...option(runner.max_budget_usd_flag, profile?.max_budget_usd),
    ...systemPrompt(runner, profile),
    ...option(runner.resume_flag, turn.native_session_id),
    ...(runner.stdin_prompt ? [] : [...(runner.task_flag === null ? [] : [runner.task_flag]), prompt]),
  ];
  const stdin = runner.stdin_prompt ? prompt : '';
  return { program, args: checkedArgs(args), env: runnerEnv(runner), stdin, files: {} };
}

function systemPrompt(runner: HarnessRunner, profile: Profile | null): string[] {
  return isInline(runner) ? [] : option(runner.append_system_prompt_flag, profile?.append_system_prompt);
}

/** Blank values are skipped; what is left wins over the shared environment (E-034). */
function runnerEnv(runner: HarnessRunner): Record<string, string> {
  return Object.fromEntries(Object.entries(runner.env).filter(([, value]) => value.trim() !== ''));
}
