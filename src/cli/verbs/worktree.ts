import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import { quoted } from '../../model/shell.ts';
import { cachedConfig } from '../../session/config-cache.ts';
import type { Deps } from '../../session/deps.ts';
import { type Caller, callerOf } from '../../session/identity.ts';
import { demandNames, demandReach } from '../../session/reach.ts';
import { demand, demandPerson } from '../../session/rights.ts';
import { cleanWorktrees, listWorktrees, type WorktreesCleaned } from '../../session/worktree-slots.ts';
import { worktreeOf } from '../../store/worktree.ts';
import { systemClock } from '../../sys/clock.ts';
import type { Context } from '../context.ts';
import { printJson } from '../output.ts';
import { renderCleaned, renderWorktrees } from '../render-worktree.ts';
import { lookUp } from '../sessions.ts';
import { examples, exitCode, type Verb } from '../verb.ts';

interface CleanOptions {
  dryRun?: boolean;
  allEnded?: boolean;
  force?: boolean;
  discardIgnored?: boolean;
  all?: boolean;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .command('list', { isDefault: true })
      .description('worktrees of sessions, and how the slots are taken')
      .option('--all', 'every repository')
      .action((options: { all?: boolean }) => list(context, options.all === true));
    command
      .command('clean')
      .description('remove worktrees that hold nothing of their own')
      .argument('[session...]', 'those of these sessions, whatever their age (default: completed ones)')
      .option('--dry-run', 'show what would go, remove nothing')
      .option('--all-ended', 'also those of failed, stopped and dead sessions')
      .option('--force', 'save what is in the worktrees named here to refs/drover/rescued, then remove them')
      .option('--discard-ignored', 'with --force: let go what git ignores and is too much to be saved')
      .option('--all', 'every repository')
      .action(async (wanted: string[], options: CleanOptions) => {
        exitCode.code = await clean(context, wanted, options);
      });
    examples(command, [
      'drover worktree list',
      'drover worktree clean --dry-run',
      'drover worktree clean --all-ended',
      'drover worktree clean build-1 --force',
      'drover worktree clean build-1 --force --discard-ignored',
    ]);
    command.addHelpText(
      'after',
      `
Removed is only what nobody lives in (no session, no child of one, no process), with nothing uncommitted, and whose
commits are on another branch, a remote or a tag. What git ignores (build output, copied files) goes with it, counted and
named; a repository inside it keeps it. A session that waits for a worktree takes the free slot by itself.
--force saves changes, new files and up to 64 MiB and 5000 files of what git ignores, the small ones first; what is more is
named and keeps the worktree, unless --discard-ignored lets it go. A repository inside goes only if it has no changes and no
commits that its remote does not have. --dry-run says the same beforehand.
Exit codes: 0 ok (also when things were kept), 2 usage, 3 a worktree named here was kept or its session is live,
4 no such session, or it has no worktree.`,
    );
  },
};

async function list(context: Context, all: boolean): Promise<void> {
  const store = await context.reader();
  const repo_root = all ? null : await here(context);
  const config_for = cachedConfig({ clock: systemClock, env: context.env, log: () => undefined }).for;
  const facts = store === null ? { worktrees: [], slots: [] } : await listWorktrees({ store, config_for }, repo_root);
  if (context.globals.json) printJson(facts);
  else console.log(renderWorktrees(facts.worktrees, facts.slots));
}

async function here(context: Context): Promise<string> {
  const repo_root = await context.repoRoot();
  if (repo_root !== null) return repo_root;
  throw new AppError('usage', 'not_a_repository', `Not inside a git repository: ${context.cwd}`, {
    hint: 'Go into one, name sessions, or use --all for every repository.',
    preserved: 'nothing was removed',
  });
}

async function clean(context: Context, wanted: string[], options: CleanOptions): Promise<number> {
  const dry_run = options.dryRun === true;
  const force = options.force === true;
  const discard_ignored = options.discardIgnored === true;
  if (force && wanted.length === 0) {
    throw new AppError('usage', 'worktree_not_named', '--force takes only worktrees that are named.', {
      hint: 'Name the sessions; `drover worktree list` shows them.',
      unsafe_condition: 'work of sessions that nobody looked at would leave its place',
      preserved: 'nothing was removed',
    });
  }
  if ((await context.reader()) === null && wanted.length === 0)
    return report(context, { removed: [], kept: [] }, dry_run);
  const deps = await context.deps();
  const caller = await callerOf(deps);
  demand(deps, caller, 'stop');
  if (force) demandPerson(caller, 'remove a worktree by force');
  demandNames(caller, wanted);
  const named = wanted.length > 0 ? await idsOf(context, deps, caller, wanted) : null;
  const repo_root = named !== null || options.all ? null : await here(context);
  const all_ended = options.allEnded === true;
  const cleaned = await cleanWorktrees(deps, { repo_root, named, all_ended, force, discard_ignored, dry_run });
  report(context, cleaned, dry_run);
  return named !== null && cleaned.kept.length > 0 ? 3 : 0;
}

/** Everything is checked before the first one goes. */
async function idsOf(context: Context, deps: Deps, caller: Caller, wanted: readonly string[]): Promise<string[]> {
  const ids = new Set<string>();
  for (const word of wanted) {
    const row = await lookUp(context, deps.store, word);
    await demandReach(deps, caller, 'stop', [row]);
    if (row.ended_at === null) {
      throw new AppError(
        'refused',
        'session_live',
        `Cannot delete the worktree of active session ${row.id} while it is ${row.state}`,
        {
          hint: 'Stop it first; its worktree stays where it is.',
          preserved: 'nothing was removed',
          recovery_commands: [`drover stop ${quoted(row.name)}`],
        },
      );
    }
    const slot = await worktreeOf(deps.store, row);
    if (slot === null) {
      throw new AppError('not_found', 'no_worktree', `Session ${row.id} has no attached worktree`, {
        hint: '`drover worktree list` shows those that have one.',
        preserved: 'nothing was removed',
      });
    }
    ids.add(slot.session_id);
  }
  return [...ids];
}

function report(context: Context, cleaned: WorktreesCleaned, dry_run: boolean): number {
  if (!context.globals.json) {
    console.log(renderCleaned(cleaned, dry_run));
    return 0;
  }
  const { removed, kept } = cleaned;
  const of = (group: string) => kept.filter((one) => one.group === group).map(({ id }) => id);
  printJson({
    dry_run,
    cleaned: removed.map(({ id }) => id),
    active: of('active'),
    retained: of('retained'),
    removed,
    kept,
  });
  return 0;
}
