import { lstatSync, rmdirSync, unlinkSync } from 'node:fs';
import { errnoOf, systemError } from '../sys/errno.ts';
import type { FileStep } from './file-changes.ts';
import { pathBytes, unquotePath } from './quoted-path.ts';
import { type GitOptions, git, gitFailed } from './run.ts';

/**
 * Takes back what a git that failed has done to the files of a clean checkout, whose index is still the old one: it
 * writes file by file, and leaves the last one without its end. Only the paths of `steps`, where nobody had changes.
 * Errors: those of `git`, `gitFailed`, `systemError`.
 */
export async function undoCheckout(root: string, steps: readonly FileStep[], options: GitOptions): Promise<void> {
  // First what makes room for the rest.
  for (const { quoted, kind } of steps) if (kind === 'create') removeFile(root, quoted);
  const old = steps.filter(({ kind }) => kind !== 'create').map(({ quoted }) => quoted);
  if (old.length === 0) return;
  const args = ['checkout-index', '--force', '--quiet', '--stdin'];
  const result = await git(args, { ...options, cwd: root, stdin: `${old.join('\n')}\n` });
  if (result.code !== 0) throw gitFailed(`bring back the files of ${root}`, result);
}

/** Removes a file or link, and the folders that are empty without it. */
function removeFile(root: string, quoted: string): void {
  const name = pathBytes(quoted);
  const at = (length: number) => Buffer.concat([Buffer.from(`${root}/`), name.subarray(0, length)]);
  try {
    const facts = lstatSync(at(name.length), { throwIfNoEntry: false });
    if (facts === undefined || facts.isDirectory()) return;
    unlinkSync(at(name.length));
    for (let end = name.lastIndexOf('/'); end > 0; end = name.lastIndexOf('/', end - 1)) rmdirSync(at(end));
  } catch (error) {
    if (!['ENOTDIR', 'ENOTEMPTY', 'EEXIST'].includes(errnoOf(error)))
      throw systemError(error, `remove ${unquotePath(quoted)}`);
  }
}
