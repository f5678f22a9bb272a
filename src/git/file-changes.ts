import { statSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../model/error.ts';
import { errnoOf, systemError } from '../sys/errno.ts';
import { diskFree } from '../sys/files.ts';
import { type GitOptions, gitOutput } from './run.ts';

/** One path that has to be written or removed on the way from one commit to another. */
export interface FileStep {
  /** As git quotes it, so that it stands for exactly these bytes. */
  quoted: string;
  kind: 'create' | 'replace' | 'remove';
  /** What is to be written; null for a removal. */
  blob: string | null;
}

const SUBMODULE = '160000';

/** What a checkout (`cwd`) of `from` has to do to become one of `to` (full ids); submodules are left alone. Errors: those of `git`, `gitFailed`. */
export async function fileSteps(options: GitOptions, from: string, to: string): Promise<FileStep[]> {
  const args = ['diff-tree', '-r', '--raw', '--no-renames', '--no-abbrev', from, to];
  const text = await gitOutput('compare two commits', args, {
    ...options,
    settings: [['core.quotePath', 'true']],
  });
  return text.split('\n').flatMap((line): FileStep[] => {
    const [facts = '', quoted = ''] = line.split('\t');
    const [old_mode, mode, , blob = '', letter] = facts.split(' ');
    if (old_mode === `:${SUBMODULE}` || mode === SUBMODULE || quoted === '') return [];
    if (letter === 'D') return [{ quoted, kind: 'remove', blob: null }];
    return [{ quoted, kind: letter === 'A' ? 'create' : 'replace', blob }];
  });
}

/** Objects, refs, reflogs, a second index. */
const SPARE_BYTES = 1_048_576;

/**
 * A checkout that runs out of room half-way leaves files without their end: not begun without room for all of them.
 * Errors: `unavailable` / `disk_full`.
 */
export async function checkRoom(options: GitOptions, git_dir: string, steps: readonly FileStep[]): Promise<void> {
  const { cwd: root } = options;
  const blobs = steps.flatMap(({ blob }) => (blob === null ? [] : [blob]));
  const asked = { ...options, stdin: `${blobs.join('\n')}\n` };
  const sizes = await gitOutput('ask for sizes', ['cat-file', '--batch-check=%(objectsize)', '--buffer'], asked);
  // A missing object answers with words; git will say it better.
  const bytes = sizes.split('\n').reduce((sum, line) => sum + (Number(line) || 0), 0);
  const needed = bytes + 2 * sizeOf(join(git_dir, 'index')) + SPARE_BYTES;
  const free = diskFree(root);
  if (needed <= free) return;
  throw new AppError('unavailable', 'disk_full', `${root} needs ${needed} bytes and has ${free}`, {
    hint: 'Free some disk space.',
    preserved: 'nothing was changed',
    data: { path: root, needed, free },
  });
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0;
    throw systemError(error, `look at ${path}`);
  }
}
