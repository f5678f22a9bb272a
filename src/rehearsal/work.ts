import { appendFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { FileTouch } from '../model/harness.ts';
import { systemClock } from '../sys/clock.ts';
import { droverCommand, runDrover } from './drover-cli.ts';
import type { StepInput } from './script-schema.ts';
import { type Ran, runCommand } from './shell.ts';
import type { Stage, ToolAnswer } from './stage.ts';

/** The steps that are tool calls: what an agent does to the tree and tells to others. */
export const work = {
  tool: ({ tool, input, output, files, ms, is_error }: StepInput<'tool'>, stage: Stage) =>
    stage.tool({ tool, input: input ?? {}, files }, async () => {
      await systemClock.sleep(ms);
      return { output, is_error };
    }),

  write: ({ path, content }: StepInput<'write'>, stage: Stage) =>
    stage.tool({ tool: 'Write', input: { path, content }, files: [touchOf(path)] }, () => {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
      return { output: `wrote ${path}`, is_error: false };
    }),

  append: ({ path, content }: StepInput<'append'>, stage: Stage) =>
    stage.tool({ tool: 'Edit', input: { path, content }, files: [touchOf(path)] }, () => {
      mkdirSync(dirname(path), { recursive: true });
      appendFileSync(path, content);
      return { output: `appended to ${path}`, is_error: false };
    }),

  commit: ({ message, paths }: StepInput<'commit'>, stage: Stage) =>
    stage.tool({ tool: 'Bash', input: { command: 'git commit', message, ...(paths ? { paths } : {}) } }, () =>
      commit(message, paths),
    ),

  run: ({ command }: StepInput<'run'>, stage: Stage) =>
    stage.tool({ tool: 'Bash', input: { command } }, async () => answer(await runCommand(['/bin/sh', '-c', command]))),

  mail: (input: StepInput<'mail'>, stage: Stage) =>
    stage.tool({ tool: 'mail_send', input }, async () => answer(await runDrover(droverCommand.mail(input)))),

  done: ({ summary }: StepInput<'done'>, stage: Stage) =>
    stage.tool({ tool: 'done', input: { summary } }, async () => answer(await runDrover(droverCommand.done(summary)))),

  ask: ({ question }: StepInput<'ask'>, stage: Stage) =>
    stage.tool({ tool: 'ask', input: { question } }, async () => answer(await runDrover(droverCommand.ask(question)))),

  check_mail: (_: StepInput<'check_mail'>, stage: Stage) =>
    stage.tool({ tool: 'mail_check', input: {} }, async () => answer(await runDrover(droverCommand.check_mail()))),
};

function touchOf(path: string): FileTouch {
  return { path, action: existsSync(path) ? 'modify' : 'create' };
}

function answer({ code, output }: Ran): ToolAnswer {
  return { output: code === 0 ? output : `exit ${code}\n${output}`.trim(), is_error: code !== 0 };
}

/** Real commits with plain git, as agents make them; an identity of our own only where none is configured. */
async function commit(message: string, paths: string[] | undefined): Promise<ToolAnswer> {
  const staged = await runCommand(['git', 'add', ...(paths ? ['--', ...paths] : ['-A'])]);
  if (staged.code !== 0) return answer(staged);
  const identity = [
    ...(await setting('user.name', 'Rehearsal')),
    ...(await setting('user.email', 'rehearsal@localhost')),
  ];
  return answer(
    await runCommand(['git', ...identity, 'commit', `--message=${message}`, ...(paths ? ['--', ...paths] : [])]),
  );
}

async function setting(key: string, value: string): Promise<string[]> {
  const configured = await runCommand(['git', 'config', '--get', key]);
  return configured.code === 0 ? [] : ['-c', `${key}=${value}`];
}
