import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commitFile, newRepository, plainGit } from './plain.ts';

/** A repository with executables beside it that leave `canary` behind. */
export interface Trap {
  repo: string;
  canary: string;
  /** Lets standard input through. */
  evil: string;
  /** Ends at once. */
  brief: string;
}

export function newTrap(): Trap {
  const repo = newRepository();
  const canary = join(repo, '..', 'canary');
  const evil = join(repo, '..', 'evil');
  const brief = join(repo, '..', 'brief');
  writeFileSync(evil, `#!/bin/sh\ntouch '${canary}'\ncat\n`);
  writeFileSync(brief, `#!/bin/sh\ntouch '${canary}'\nexit 1\n`);
  for (const program of [evil, brief]) chmodSync(program, 0o755);
  return { repo, canary, evil, brief };
}

export const set =
  (key: string, value?: string) =>
  ({ repo, evil }: Trap) =>
    plainGit(repo, 'config', key, value ?? evil);

export function attributes(repo: string, line: string): void {
  commitFile(repo, '.gitattributes', `${line}\n`, 'attributes');
}

/** Makes git look at the content again: same size, other time. */
export function touch({ repo }: Trap): void {
  writeFileSync(join(repo, 'a'), 'two\n');
}

export function hook(name: string): (trap: Trap) => void {
  return ({ repo, canary }) => {
    const path = join(repo, '.git/hooks', name);
    mkdirSync(join(repo, '.git/hooks'), { recursive: true });
    writeFileSync(path, `#!/bin/sh\ntouch '${canary}'\n`);
    chmodSync(path, 0o755);
  };
}

export function signedCommit({ repo }: Trap): void {
  const tree = plainGit(repo, 'rev-parse', 'HEAD^{tree}');
  const who = 'T <t@example.invalid> 1700000000 +0000';
  const signature = 'gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----';
  writeFileSync(join(repo, '..', 'object'), `tree ${tree}\nauthor ${who}\ncommitter ${who}\n${signature}\n\nsigned\n`);
  const id = plainGit(repo, 'hash-object', '-t', 'commit', '-w', join(repo, '..', 'object'));
  plainGit(repo, 'reset', '--quiet', '--hard', id);
}

export function divergedBranches({ repo }: Trap): void {
  plainGit(repo, 'branch', 'other');
  commitFile(repo, 'a', 'ours\n', 'ours');
  plainGit(repo, 'checkout', '--quiet', 'other');
  commitFile(repo, 'a', 'theirs\n', 'theirs');
  plainGit(repo, 'checkout', '--quiet', 'main');
}

export function submodule(trap: Trap): void {
  newRepository({ dir: join(trap.repo, 'sub') });
  // The repository's own word on how closely git has to look.
  const said = ['submodule.sub.path=sub', 'submodule.sub.url=./sub', 'submodule.sub.ignore=none'];
  for (const line of said) plainGit(trap.repo, 'config', '-f', '.gitmodules', ...line.split('='));
  plainGit(trap.repo, 'add', 'sub', '.gitmodules');
  plainGit(trap.repo, 'commit', '--quiet', '-m', 'submodule');
}
