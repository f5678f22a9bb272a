import { linkSync, lstatSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { findRepository } from '../../git/repository.ts';
import { AppError } from '../../model/error.ts';
import { projectConfigPath } from '../../model/home.ts';
import { errnoOf, systemError } from '../../sys/errno.ts';
import { writeAtomic } from '../../sys/files.ts';
import { readTextIfExists } from '../../sys/read-text.ts';
import type { Context } from '../context.ts';
import { printJson } from '../output.ts';
import { examples, type Verb } from '../verb.ts';

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command
      .option('--force', 'replace a config that exists; the old one is kept beside it as .bak')
      .action((options: { force?: boolean }) => run(context, options.force === true));
    examples(command, ['drover init', 'drover init --force', 'drover init --project ../other-repository']);
    command.addHelpText(
      'after',
      '\nWrites .drover/config.yaml and nothing else. Exit codes: 0 written, 2 not in a repository, 3 there is one already (or .drover is a link).',
    );
  },
};

async function run(context: Context, force: boolean): Promise<void> {
  const root = await repositoryOf(context);
  const path = projectConfigPath(root);
  const backup = writeConfig(path, templateOf(context), force);
  if (context.globals.json) printJson({ path, backup });
  else {
    if (backup !== null) console.log(`kept the old one as ${backup}`);
    console.log(`wrote ${path}: every line shows a default; commit it when you change one`);
  }
}

/** The main repository: settings belong to it, not to one of its worktrees. */
async function repositoryOf(context: Context): Promise<string> {
  const found = await findRepository(context.cwd);
  if (found !== null && !found.is_bare) return found.main_root;
  throw new AppError('usage', 'not_a_repository', `Not inside a git repository: ${context.cwd}`, {
    hint: 'Run `git init` first, or name a repository with --project.',
    preserved: 'nothing was written',
  });
}

function templateOf(context: Context): string {
  const text = readTextIfExists(`${context.package_dir}/templates/config.yaml`);
  if (text === null) throw new Error(`templates/config.yaml is missing from ${context.package_dir}`);
  return text;
}

/**
 * Returns where the old file is kept, or null when there was none. Throws `config_exists` (3), and `config_elsewhere`
 * (3) when `.drover` is a link that leads out of the repository.
 */
function writeConfig(path: string, text: string, force: boolean): string | null {
  const dir = dirname(path);
  try {
    mkdirSync(dir, { recursive: true });
    if (realpathSync(dir) !== dir) throw elsewhere(dir);
    const exists = lstatSync(path, { throwIfNoEntry: false }) !== undefined;
    if (!exists) {
      writeFileSync(path, text, { flag: 'wx', mode: 0o644 });
      return null;
    }
    if (!force) throw configExists(path);
    // A second name for the old file: it is never gone, whatever happens next.
    const backup = freeName(path);
    linkSync(path, backup);
    writeAtomic(path, text, 0o644);
    return backup;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') throw configExists(path);
    throw systemError(error, `write ${path}`);
  }
}

function freeName(path: string): string {
  for (let n = 0; ; n += 1) {
    const name = `${path}.bak${n === 0 ? '' : `.${n}`}`;
    if (lstatSync(name, { throwIfNoEntry: false }) === undefined) return name;
  }
}

function elsewhere(dir: string): AppError {
  return new AppError('refused', 'config_elsewhere', `${dir} is a link to another place.`, {
    hint: 'Replace it by a directory of the repository.',
    preserved: 'nothing was written',
  });
}

function configExists(path: string): AppError {
  return new AppError('refused', 'config_exists', `There is a config already: ${path}`, {
    hint: '--force replaces it and keeps the old one as .bak.',
    preserved: 'nothing was written',
  });
}
