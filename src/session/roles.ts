import { AppError } from '../model/error.ts';
import { NAME } from '../model/id.ts';
import type { Role } from '../model/role.ts';
import { parseRolePage } from '../model/role-page.ts';
import { listFiles } from '../sys/directory.ts';
import { readPage } from '../sys/read-text.ts';
import type { Deps } from './deps.ts';

/**
 * The role `name`: the page in the user's config directory wins over the one shipped with drover. Repositories cannot
 * define roles: a role carries rights. Throws `unknown_role` (2).
 */
export function loadRole(deps: Pick<Deps, 'package_dir' | 'env'>, name: string): Role {
  const dirs = roleDirs(deps);
  if (NAME.test(name)) {
    for (const dir of dirs) {
      const text = readPage(`${dir}/${name}.md`);
      if (text !== null) return roleOf(name, text);
    }
  }
  const known = knownRoles(deps);
  throw new AppError('usage', 'unknown_role', `There is no role called ${name}.`, {
    hint: `Known roles: ${known.join(', ')}. Add your own as a page in ${dirs[0]}.`,
    preserved: 'nothing was stored',
  });
}

/** The names of all pages, in order. */
export function knownRoles(deps: Pick<Deps, 'package_dir' | 'env'>): string[] {
  return [...new Set(roleDirs(deps).flatMap((dir) => listFiles(dir)))]
    .filter((file) => file.endsWith('.md'))
    .map((file) => file.slice(0, -3))
    .sort();
}

/** Pages as they were parsed last: a supervisor asks for the same few before every turn. */
const parsed = new Map<string, { text: string; role: Role }>();

function roleOf(name: string, text: string): Role {
  const known = parsed.get(name);
  if (known?.text === text) return known.role;
  const role = parseRolePage(text, name);
  parsed.set(name, { text, role });
  return role;
}

function roleDirs({ package_dir, env }: Pick<Deps, 'package_dir' | 'env'>): [string, string] {
  const config = env.XDG_CONFIG_HOME || `${env.HOME ?? ''}/.config`;
  return [`${config}/drover/agents`, `${package_dir}/agents`];
}
