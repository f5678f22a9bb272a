import { AppError } from '../model/error.ts';
import { type GitOptions, type GitResult, git, gitFailed } from './run.ts';

/**
 * Puts every file that stands in the index at `options.instead` into it once more, byte for byte: attributes (`text`,
 * `ident`, `working-tree-encoding`) make git take in something else than what stands there. Links, submodules, and files
 * that are not there by intent stay as they are. Errors: those of `git`, `gitFailed`; a file that cannot be read fails all.
 */
export async function takeExactBytes(options: GitOptions): Promise<void> {
  const what = `save the files of ${options.cwd}`;
  const listing = whole(what, options, await git(['ls-files', '-v', '--stage'], options));
  const files = listing.flatMap((line) => {
    const [, mode = '', id = '', path = ''] = /^\S (100\d+) ([0-9a-f]+) 0\t(.*)$/.exec(line) ?? [];
    return mode === '' || /^[Ss]/.test(line) ? [] : [{ mode, id, path }];
  });
  if (files.length === 0) return;
  const paths = files.map(({ path }) => `${path}\n`).join('');
  const hash = ['hash-object', '-w', '--no-filters', '--stdin-paths'];
  const ids = whole(what, options, await git(hash, { ...options, stdin: paths }));
  if (ids.length !== files.length) throw new AppError('failed', 'git_failed', `git cannot ${what}: a file is missing`);
  const other = files.flatMap(({ mode, id, path }, i) => (ids[i] === id ? [] : [`${mode} ${ids[i]} 0\t${path}\n`]));
  if (other.length === 0) return;
  whole(what, options, await git(['update-index', '--index-info'], { ...options, stdin: other.join('') }));
}

/** Lines of an output that has to be there to its end. */
function whole(what: string, { cwd }: GitOptions, result: GitResult): string[] {
  if (result.code !== 0) throw gitFailed(what, result);
  if (result.truncated) throw new AppError('failed', 'too_many_files', `there are too many files in ${cwd}`);
  return result.stdout.split('\n').filter((line) => line !== '');
}
