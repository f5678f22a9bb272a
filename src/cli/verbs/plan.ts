import { Argument, type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { printJson } from '../output.ts';
import type { GraphForm } from '../plan-show.ts';
import { examples, exitCode, type Verb } from '../verb.ts';

const FORMS: readonly GraphForm[] = ['text', 'mermaid', 'svg'];

export const verb: Verb = {
  configure(command: Command, context: Context) {
    reading(command, context);
    running(command, context);
    controlling(command, context);
    examples(command, [
      'drover plan check night.yaml',
      'drover plan run night.yaml',
      'drover plan run night.yaml --var target=main --detach',
      'drover plan run night          # look again at one that runs',
      'drover plan run night.yaml --wait --json | jq -c .change',
      'drover plan show latest --graph=svg > night.svg',
      'drover plan resume night --sessions',
    ]);
    command.addHelpText(
      'after',
      `
A plan is named by its id, a unique prefix of it, its name, or latest; a word with a slash or a file's ending is a file,
and so is the name of a file that exists. Ctrl-C leaves a plan running.

Exit codes of run: 0 all done, 1 some failed, 75 something is parked (the commands that move it on are printed),
130 detached. Of all: 0 ok, 2 the file or the call is wrong, 3 refused, 4 no such plan, 69 no supervisor.`,
    );
  },
};

function variables(command: Command): Command {
  const all = (text: string, before: string[] = []) => [...before, text];
  return command.option('--var <name=value>', 'value of a plain hole, any number of times', all);
}

/** Imported by the call alone: completions and help need none of it. */
async function read(pairs: readonly string[] = []): Promise<Record<string, string>> {
  const { addVariable } = await import('../plan-file.ts');
  return pairs.reduce<Record<string, string>>((all, pair) => addVariable(pair, all), {});
}

function reading(command: Command, context: Context): void {
  variables(
    command
      .command('check')
      .description('every mistake of a file, or what it will come to; starts nothing')
      .argument('<file>', 'a plan; - reads standard input'),
  ).action(async (file: string, options: { var?: string[] }) =>
    (await import('../plan-check.ts')).planCheck(context, file, await read(options.var)),
  );
  command
    .command('list', { isDefault: true })
    .description('plans of this repository, newest first')
    .option('--all', 'of all repositories, and all that have ended')
    .action(async (options: { all?: boolean }) =>
      (await import('../plan-show.ts')).planList(context, options.all === true),
    );
  variables(
    command
      .command('show')
      .description('steps with state, time, cost and why; or the graph')
      .argument('<plan>', 'id, unique prefix, name, or latest; with --graph also a file')
      .addOption(new Option('--graph [form]', 'draw it instead').choices(FORMS).preset('text')),
  ).action(async (plan: string, options: { graph?: GraphForm; var?: string[] }) =>
    (await import('../plan-show.ts')).planShow(context, plan, { graph: options.graph, var: await read(options.var) }),
  );
  command
    .command('schema')
    .description("JSON Schema of a plan's file, for editors")
    .action(async () => {
      const { planJsonSchema } = await import('../../model/plan-schema.ts');
      if (context.globals.json) printJson({ schema: planJsonSchema() });
      else console.log(JSON.stringify(planJsonSchema(), null, 2));
    });
}

function running(command: Command, context: Context): void {
  variables(
    command
      .command('run')
      .description('store and start a plan, and show it until it ends; of a stored one: look again')
      .addArgument(new Argument('<plan>', 'a file, - for standard input, or a plan that is stored')),
  )
    .option('--name <name>', 'another name than the one in the file')
    .option('--wait', 'until it ends, even when nobody reads the output any more')
    .option('--detach', 'print the id and return at once')
    .action(async (plan: string, options: { var?: string[]; name?: string; wait?: boolean; detach?: boolean }) => {
      const { planRun } = await import('../plan-run.ts');
      exitCode.code = await planRun(context, plan, { ...options, var: await read(options.var) });
    });
}

function controlling(command: Command, context: Context): void {
  const named = (name: string, description: string) =>
    command.command(name).description(description).argument('<plan>', 'id, unique prefix, name, or latest');
  named('pause', 'running turns go on, nothing new starts')
    .option('--reason <text>', 'kept with the plan', 'operator')
    .action(async (plan: string, options: { reason: string }) =>
      (await import('../plan-control.ts')).planPause(context, plan, options.reason),
    );
  named('resume', 'go on with a paused or parked one; says what waits for whom')
    .option('--sessions', 'and with those of its sessions that a person has parked')
    .action(async (plan: string, options: { sessions?: boolean }) =>
      (await import('../plan-control.ts')).planResume(context, plan, options),
    );
  named('cancel', 'end it and its sessions; their work is kept')
    .option('--reason <text>', 'kept with the plan', 'operator')
    .action(async (plan: string, options: { reason: string }) =>
      (await import('../plan-control.ts')).planCancel(context, plan, options.reason),
    );
}
