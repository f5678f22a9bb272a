import { dirname } from 'node:path';
import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import type { Harness } from '../model/harness.ts';
import { fileExists } from '../sys/directory.ts';

/**
 * Refuses a checkout that would make the harness run the repository's own code before or beside the model, which no flag
 * of the CLI prevents (faults: hostile repository). Throws `repository_untrusted` (3). Looked at when a task is slung and
 * again before every turn, because an agent may plant such a file for the next one.
 */
export function refuseUnsafe(
  harness: Harness,
  config: Config,
  place: { dir: string; root: string; main_root: string },
): void {
  if (config.trusted_repositories.includes(place.main_root)) return;
  const found = upTo(place.dir, place.root)
    .flatMap((dir) => harness.unsafe_paths.map((path) => `${dir}/${path}`))
    .filter(fileExists);
  if (found.length === 0) return;
  throw new AppError(
    'refused',
    'repository_untrusted',
    `${harness.id} would run code of this repository by itself: ${found[0]}`,
    {
      hint: `Use another harness, remove it, or add ${place.main_root} to trusted_repositories in your own config.`,
      preserved: 'nothing was started',
    },
  );
}

/** `dir` and everything above it up to `root`: a CLI looks for its settings in each of them. */
function upTo(dir: string, root: string): string[] {
  const dirs = [dir];
  for (let at = dir; at !== root && at !== dirname(at); at = dirname(at)) dirs.push(dirname(at));
  return dirs;
}
