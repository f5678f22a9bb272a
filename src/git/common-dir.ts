import { realpathSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { fileExists, isDirectory } from '../sys/directory.ts';
import { readTextIfExists } from '../sys/read-text.ts';

/**
 * The checkout that holds `dir`, its own and its shared git directory, by reading the two files that name them: no
 * process, so it may stand in the way of every turn's start. Null outside of one. A symlinked `.git` is not followed.
 */
export function checkoutOf(dir: string): { root: string; git_dir: string; common_dir: string } | null {
  for (let at = resolve(dir); ; at = dirname(at)) {
    const path = `${at}/.git`;
    if (isDirectory(path)) return { root: at, git_dir: path, common_dir: path };
    const link = linkAt(at);
    if (link !== null) return { root: at, git_dir: link.git_dir, common_dir: link.common ?? link.git_dir };
    if (at === dirname(at)) return null;
  }
}

/**
 * `main_root` of the repository that holds `dir`, as `findRepository` gives it, but without a process: for verbs that
 * only read rows. Null outside of a repository. Repositories that git would refuse to open have one as well.
 */
export function mainRootOf(dir: string): string | null {
  if (!isDirectory(dir)) return null;
  for (let at = realpathSync(dir); ; at = dirname(at)) {
    if (fileExists(`${at}/.git/HEAD`)) return at;
    if (isGitDirectory(at)) return basename(at) === '.git' ? null : at;
    const link = linkAt(at);
    // A submodule has a link too, but shares nothing: it is a repository of its own.
    if (link !== null) return link.common === null ? at : mainOf(link.common);
    if (at === dirname(at)) return null;
  }
}

function mainOf(common: string): string {
  return basename(common) === '.git' ? dirname(common) : common;
}

function isGitDirectory(dir: string): boolean {
  return fileExists(`${dir}/HEAD`) && isDirectory(`${dir}/objects`) && isDirectory(`${dir}/refs`);
}

/** What a `.git` file points to; `common` is null when nothing is shared. Null when there is no such file. */
function linkAt(dir: string): { git_dir: string; common: string | null } | null {
  const path = `${dir}/.git`;
  const link = isDirectory(path) ? null : readTextIfExists(path);
  if (!link?.startsWith('gitdir:')) return null;
  const git_dir = resolve(dir, link.slice('gitdir:'.length).trim());
  const common = readTextIfExists(`${git_dir}/commondir`);
  return { git_dir, common: common === null ? null : resolve(git_dir, common.trim()) };
}
