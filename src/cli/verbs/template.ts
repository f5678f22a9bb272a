import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AppError, errorJson } from '../../model/error.ts';
import { variablesOf } from '../../model/template-launch.ts';
import { type Launched, launchTemplate, readTemplate, templateOf } from '../../plan/template.ts';
import { type Caller, callerOf } from '../../session/identity.ts';
import { demand } from '../../session/rights.ts';
import { findTemplate, listTemplates, type TemplateFile } from '../../session/template-files.ts';
import { findSession } from '../../store/session.ts';
import { announce } from '../announce.ts';
import type { Context } from '../context.ts';
import { clip, paint, printJson, safe, table } from '../output.ts';
import { readText } from '../read-text.ts';
import { warnHalt } from '../render-halt.ts';
import { examples, exitCode, type Verb } from '../verb.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .command('list', { isDefault: true })
      .description('templates that can be named here')
      .action(() => list(context));
    command
      .command('show')
      .description('one template: its steps and the variables it asks for')
      .argument('<template>', 'a name, or the path of a file')
      .action((wanted: string) => show(context, wanted));
    command
      .command('run')
      .description('start its sessions together')
      .argument('<template>', 'a name, or the path of a file')
      .argument('[task]', 'what {{ task }} means; - reads standard input, @FILE a file')
      .option('--from <session>', 'the session that hands its work on')
      .option('--var <name=value>', 'value of a hole; may be given many times', collect, [])
      .option('--cwd <dir>', 'directory to work in (default: here)')
      .action(async (wanted: string, task: string | undefined, options: RunOptions) => {
        exitCode.code = await run(context, wanted, task, options);
      });
    examples(command, [
      'drover template list',
      'drover template show feature-crew',
      'drover template run feature-crew "Let users rename a project"',
      'drover template run second-opinions --var branch=drover/build-1-x7k2pq',
      'drover template run ./crew.yaml --from build-1',
    ]);
    command.addHelpText(
      'after',
      '\nExit codes: 0 all started, 2 usage, a mistake in the file or no value for a hole, 3 refused (no slots), 4 no such template or session.',
    );
  },
};

interface RunOptions {
  from?: string;
  var: string[];
  cwd?: string;
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

async function list(context: Context): Promise<void> {
  const templates = listTemplates(context, await context.repoRoot()).map(({ name, file, text, origin }) => {
    const { template, issues } = readTemplate(text);
    const [issue] = issues;
    return {
      ...{ name, origin, file, description: template?.description ?? null, step_count: template?.steps.length ?? null },
      variables: template === null ? [] : variablesOf(template),
      problem: issue === undefined ? null : `${issue.line}:${issue.column} ${issue.message}`,
    };
  });
  if (context.globals.json) return printJson({ templates });
  const header = ['NAME', 'FROM', 'STEPS', 'VARIABLES', 'DESCRIPTION'].map((cell) => paint('dim', cell));
  const rows = templates.map(({ name, origin, step_count, variables, description, problem }) => [
    paint('bold', name),
    origin,
    step_count === null ? '-' : String(step_count),
    variables.join(' ') || '-',
    problem === null ? clip(description ?? '', 60) : paint('red', clip(`not usable: ${problem}`, 80)),
  ]);
  console.log(rows.length === 0 ? 'no templates' : table([header, ...rows]));
}

async function find(context: Context, wanted: string): Promise<TemplateFile> {
  return findTemplate(context, { name: wanted, path: resolve(context.cwd, wanted) }, await context.repoRoot());
}

async function show(context: Context, wanted: string): Promise<void> {
  const found = await find(context, wanted);
  const template = templateOf(found);
  const variables = variablesOf(template);
  if (context.globals.json)
    return printJson({ template: { name: found.name, file: found.file, variables, ...template } });
  console.log(`${paint('bold', found.name)}  ${safe(template.description ?? '')}`.trimEnd());
  console.log(paint('dim', found.file));
  console.log(`variables  ${variables.join(', ') || 'none'}\n`);
  const rows = template.steps.map(({ name, role, agent, profile, task }, i) => [
    paint('bold', safe(name ?? `step ${i + 1}`)),
    safe(role ?? template.role ?? '-'),
    safe(agent ?? template.agent ?? '-'),
    safe(profile ?? template.profile ?? '-'),
    clip(task, 70),
  ]);
  console.log(table([['STEP', 'ROLE', 'HARNESS', 'PROFILE', 'TASK'].map((cell) => paint('dim', cell)), ...rows]));
}

async function run(context: Context, wanted: string, task: string | undefined, options: RunOptions): Promise<number> {
  const variables = variablesFrom(options.var);
  const text = task === undefined ? null : await readText(task);
  const template = await find(context, wanted);
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'sling');
  const source = options.from === undefined ? caller.session : await findSession(deps.store, options.from, null);
  refuseForeign(caller, source?.id ?? null);
  const cwd = resolve(context.cwd, options.cwd ?? '.');
  const launched = await launchTemplate(deps, caller, { template, source, task: text, variables, cwd });
  if (context.globals.json) {
    const { failed_step: failed, ...rest } = launched;
    const failed_step = failed === null ? null : { step_name: failed.step_name, error: errorJson(failed.error) };
    printJson({ ...rest, failed_step });
  } else tell(launched, context.globals.quiet);
  if (launched.created.length > 0) await warnHalt(context, deps.store);
  if (launched.created.length > 0) await announce(deps, caller);
  return launched.failed_step?.error.exitCode ?? 0;
}

/** A handoff is in the name of who hands on: a session speaks for nobody else. */
function refuseForeign({ session }: Caller, source_id: string | null): void {
  if (session === null || source_id === null || source_id === session.id) return;
  throw new AppError('refused', 'not_allowed', 'A session may hand on only its own work.', {
    hint: 'Leave --from out.',
    preserved: 'nothing was stored',
  });
}

function tell(
  { template_name, step_count, created, failed_step, anchor_session_id, ...rest }: Launched,
  isQuiet: boolean,
) {
  if (isQuiet) return console.log(created.map(({ session_id }) => session_id).join('\n'));
  console.log(
    table(
      created.map(({ step_name, session_id, task }) => [
        session_id,
        paint('bold', clip(step_name, 30)),
        clip(task, 70),
      ]),
    ),
  );
  if (failed_step !== null)
    console.error(paint('red', `${safe(failed_step.step_name)} was not started: ${safe(failed_step.error.message)}`));
  const waits = rest.waiting_for_worktree > 0 ? `; ${rest.waiting_for_worktree} wait for a worktree` : '';
  console.log(
    `${safe(template_name)}: ${created.length} of ${step_count} started, anchor ${anchor_session_id}${waits}`,
  );
}

const VARIABLE = /^([A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)=([\s\S]*)$/;

function variablesFrom(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const [, name = '', value = ''] = VARIABLE.exec(word) ?? [];
      if (name !== '') return [name, value];
      throw new AppError('usage', 'usage', `--var wants NAME=VALUE, not ${JSON.stringify(word)}.`);
    }),
  );
}
