import { AppError } from '../model/error.ts';
import { listFiles } from '../sys/directory.ts';
import { readTextIfExists } from '../sys/read-text.ts';
import type { Deps } from './deps.ts';

/** A file with an orchestration template. */
export interface TemplateFile {
  name: string;
  /** Absolute. */
  file: string;
  text: string;
  /** The repository that it was found in by its name; null: it is somebody else's, or its path was named. */
  found_in: string | null;
}

/** Who wrote it. */
type TemplateOrigin = 'user' | 'project' | 'drover';

export interface ListedTemplate extends TemplateFile {
  origin: TemplateOrigin;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;
const ENDING = /\.ya?ml$/;
/** More would be no template. */
const MAX_BYTES = 1024 * 1024;

/** A person's own wins over the repository's, and that over the one shipped with drover. */
function placesOf(deps: Places, repo_root: string | null): [TemplateOrigin, string][] {
  return [
    ['user', `${deps.home}/templates`],
    ...(repo_root === null ? [] : [['project', `${repo_root}/.drover/templates`] satisfies [TemplateOrigin, string]]),
    ['drover', `${deps.package_dir}/templates/orchestration`],
  ];
}

type Places = Pick<Deps, 'home' | 'package_dir'>;

/** All that can be named in this repository, by name. */
export function listTemplates(deps: Places, repo_root: string | null): ListedTemplate[] {
  const found = new Map<string, ListedTemplate>();
  for (const [origin, dir] of placesOf(deps, repo_root)) {
    for (const entry of listFiles(dir)) {
      const name = entry.replace(ENDING, '');
      if (!ENDING.test(entry) || !NAME.test(name) || found.has(name)) continue;
      const text = readTextIfExists(`${dir}/${entry}`, MAX_BYTES);
      const found_in = origin === 'project' ? repo_root : null;
      if (text !== null) found.set(name, { name, file: `${dir}/${entry}`, text, found_in, origin });
    }
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * The template a person names: the path of a file (it has a slash or ends in .yaml), or a name.
 * Throws `unknown_template` (4) with the names there are, and what `readTextIfExists` throws.
 */
export function findTemplate(
  deps: Places,
  wanted: { name: string; path: string },
  repo_root: string | null,
): TemplateFile {
  if (wanted.name.includes('/') || ENDING.test(wanted.name)) {
    const text = readTextIfExists(wanted.path, MAX_BYTES);
    const name = wanted.path.slice(wanted.path.lastIndexOf('/') + 1).replace(ENDING, '');
    if (text !== null) return { name, file: wanted.path, text, found_in: null };
  }
  const all = listTemplates(deps, repo_root);
  const found = all.find(({ name }) => name === wanted.name);
  if (found !== undefined) return found;
  throw new AppError('not_found', 'unknown_template', `There is no template called ${wanted.name}.`, {
    hint: `Known templates: ${all.map(({ name }) => name).join(', ') || 'none'}. A file is named by its path.`,
    preserved: 'nothing was stored',
    recovery_commands: ['drover template list'],
  });
}
