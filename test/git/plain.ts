import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tempDir } from '../support/temp.ts';

interface Plain {
  code: number;
  stdout: string;
  stderr: string;
}

/** Git as anybody would run it: the control that shows a planted program does fire. Never throws. */
export function tryPlainGit(cwd: string, args: string[], env: Record<string, string> = {}): Plain {
  const identity = { GIT_AUTHOR_NAME: 'T', GIT_AUTHOR_EMAIL: 't@example.invalid' };
  const committer = { GIT_COMMITTER_NAME: 'T', GIT_COMMITTER_EMAIL: 't@example.invalid' };
  const { exitCode, stdout, stderr } = Bun.spawnSync(['git', ...args], {
    cwd,
    env: { ...(process.env as Record<string, string>), ...identity, ...committer, GIT_TERMINAL_PROMPT: '0', ...env },
    stdin: 'ignore',
  });
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

/** Git as anybody would run it; a failure ends the test. */
export function plainGit(cwd: string, ...args: string[]): string {
  const { code, stdout, stderr } = tryPlainGit(cwd, args);
  if (code !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

/** A repository on `main`, with an identity of its own and (unless `unborn`) one commit with the file `a`. */
export function newRepository(options: { unborn?: boolean; dir?: string } = {}): string {
  const dir = options.dir ?? join(tempDir('git'), 'repo');
  plainGit('/', 'init', '--quiet', '--initial-branch=main', dir);
  plainGit(dir, 'config', 'user.name', 'T');
  plainGit(dir, 'config', 'user.email', 't@example.invalid');
  if (!options.unborn) commitFile(dir, 'a', 'one\n', 'first');
  return dir;
}

/** Writes a file, commits it and returns the commit's id. */
export function commitFile(dir: string, name: string, text: string, subject: string): string {
  writeFileSync(join(dir, name), text);
  plainGit(dir, 'add', '--', name);
  plainGit(dir, 'commit', '--quiet', '-m', subject);
  return plainGit(dir, 'rev-parse', 'HEAD');
}
