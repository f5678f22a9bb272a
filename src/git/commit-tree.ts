import { DURABLE } from './durable.ts';
import { COMMIT_ID } from './repository.ts';
import { git, gitFailed } from './run.ts';

const NOBODY: readonly (readonly [string, string])[] = [
  ['user.name', 'drover'],
  ['user.email', 'drover@localhost'],
];
/** Otherwise git makes an identity up from the names of the user and the machine. */
const NO_GUESS = ['user.useConfigOnly', 'true'] as const;

const NO_IDENTITY = /auto-detection is disabled|empty ident name|no email was given|no name was given/;

/**
 * Writes a commit and returns its id; no ref moves. Made by whom the configuration names, or by `drover
 * <drover@localhost>` when it names nobody. Errors: those of `git` and `gitFailed`.
 */
export async function commitTree(cwd: string, tree: string, parents: string[], message: string): Promise<string> {
  const args = ['commit-tree', tree, ...parents.flatMap((parent) => ['-p', parent]), '-F', '-'];
  const options = { cwd, stdin: message };
  const settings = [...DURABLE, NO_GUESS];
  let result = await git(args, { ...options, settings });
  if (result.code !== 0 && NO_IDENTITY.test(result.stderr)) {
    result = await git(args, { ...options, settings: [...settings, ...NOBODY] });
  }
  const id = result.stdout.trim();
  if (result.code !== 0 || !COMMIT_ID.test(id)) throw gitFailed('write a commit', result);
  return id;
}

/** What a command that commits by itself needs so that it never fails for want of a name. */
export async function identitySettings(cwd: string): Promise<readonly (readonly [string, string])[]> {
  const asked = await git(['var', 'GIT_COMMITTER_IDENT'], { cwd, settings: [NO_GUESS] });
  return asked.code === 0 ? [NO_GUESS] : [NO_GUESS, ...NOBODY];
}
