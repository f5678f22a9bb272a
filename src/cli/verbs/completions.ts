import { Argument, Command, Option } from 'commander';
import { knownHarnesses } from '../../harness/registry.ts';
import { NAME } from '../../model/id.ts';
import { LIVE_STATES } from '../../model/session.ts';
import { listSessions } from '../../store/session.ts';
import { type CommandSpec, SHELLS, type Shell, type Value } from '../completion-spec.ts';
import type { Context } from '../context.ts';
import { examples, exitCodes, type Verb } from '../verb.ts';

const RECENT = 30;

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .addArgument(new Argument('[shell]', 'which shell to write for').choices(SHELLS))
      .addOption(new Option('--sessions', 'names of sessions, one per line').hideHelp())
      .action((shell: Shell | undefined, options: { sessions?: boolean }) => {
        if (options.sessions) return printSessions(context);
        if (shell === undefined) return command.error('error: name a shell: bash, zsh or fish');
        return printScript(command, context, shell);
      });
    examples(command, [
      'drover completions bash > ~/.local/share/bash-completion/completions/drover',
      'drover completions zsh > ~/.zsh/completions/_drover   # a directory of $fpath',
      'drover completions fish > ~/.config/fish/completions/drover.fish',
    ]);
    exitCodes(command, '0 printed, 2 no such shell.');
  },
};

/** What a shell asks for at every TAB: live sessions and those that ended last. Names that a shell could misread are left out. */
async function printSessions(context: Context): Promise<void> {
  const store = await context.reader();
  if (store === null) return;
  const live = await listSessions(store, { states: LIVE_STATES });
  const recent = await listSessions(store, { limit: RECENT });
  const names = new Set([...live, ...recent].map((row) => row.name).filter((name) => NAME.test(name)));
  if (names.size > 0) console.log([...names].join('\n'));
}

/** The other verbs; imported for this one call only. A test holds this list against the table of verbs. */
const OTHERS: Record<string, () => Promise<{ verb: Verb }>> = {
  init: () => import('./init.ts'),
  sling: () => import('./sling.ts'),
  status: () => import('./status.ts'),
  show: () => import('./show.ts'),
  logs: () => import('./logs.ts'),
  wait: () => import('./wait.ts'),
  mail: () => import('./mail.ts'),
  nudge: () => import('./nudge.ts'),
  stop: () => import('./stop.ts'),
  pause: () => import('./pause.ts'),
  resume: () => import('./resume.ts'),
  recover: () => import('./recover.ts'),
  done: () => import('./done.ts'),
  ask: () => import('./ask.ts'),
  reserve: () => import('./reserve.ts'),
  heartbeat: () => import('./heartbeat.ts'),
  release: () => import('./release.ts'),
  reservations: () => import('./reservations.ts'),
  capture: () => import('./capture.ts'),
  ready: () => import('./ready.ts'),
  chain: () => import('./chain.ts'),
  schema: () => import('./schema.ts'),
  pools: () => import('./pools.ts'),
  budget: () => import('./budget.ts'),
  incident: () => import('./incident.ts'),
  plan: () => import('./plan.ts'),
  run: () => import('./run.ts'),
  report: () => import('./report.ts'),
  template: () => import('./template.ts'),
  schedule: () => import('./schedule.ts'),
  dispatch: () => import('./dispatch.ts'),
  up: () => import('./up.ts'),
  down: () => import('./down.ts'),
  ps: () => import('./ps.ts'),
  watch: () => import('./watch.ts'),
  doctor: () => import('./doctor.ts'),
  harness: () => import('./harness.ts'),
  merge: () => import('./merge.ts'),
  rebase: () => import('./rebase.ts'),
  clean: () => import('./clean.ts'),
  worktree: () => import('./worktree.ts'),
  mcp: () => import('./mcp.ts'),
};

async function printScript(own: Command, context: Context, shell: Shell): Promise<void> {
  const { completionScript } = await import('../completion-script.ts');
  const specs: CommandSpec[] = [];
  for (const [name, load] of Object.entries(OTHERS)) {
    const command = new Command(name);
    (await load()).verb.configure(command, context);
    specs.push(specOf(name, command));
  }
  console.log(completionScript(shell, [...specs, specOf('completions', own)]));
}

function specOf(name: string, command: Command): CommandSpec {
  return {
    name,
    description: command.parent === null ? '' : command.description(),
    options: command.options
      .filter((option) => !option.hidden)
      .map((option) => ({
        long: option.long ?? null,
        short: option.short ?? null,
        description: option.description,
        value: option.required || option.optional ? wantedBy(option.flags, option.long ?? '', option.argChoices) : null,
      })),
    arguments: command.registeredArguments.map((argument) => ({
      value: wantedBy(argument.name(), '', argument.argChoices),
      isVariadic: argument.variadic,
    })),
    commands: command.commands.map((sub) => specOf(sub.name(), sub)),
  };
}

/** What a shell can offer for a value, by its declared name. */
function wantedBy(declared: string, long: string, choices: readonly string[] | undefined): Value {
  if (choices !== undefined) return { kind: 'words', words: [...choices] };
  if (long === '--harness') return { kind: 'words', words: ['auto', ...knownHarnesses({})] };
  if (/\bsession\b|--parent\b/.test(declared)) return { kind: 'sessions' };
  if (/\bdir\b/.test(declared)) return { kind: 'directories' };
  return { kind: 'text' };
}
