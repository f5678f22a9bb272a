import { chmodSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { tempDir } from '../support/temp.ts';

const ROOT = resolve(import.meta.dir, '../..');

/** A stand-in for a program: a shell script of the given body. */
export function script(path: string, body: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

export interface Checkout {
  root: string;
  /** Runs `node bin/<name> …` with the stand-ins first on PATH. */
  node(name: string, ...args: string[]): Promise<{ code: number; out: string; err: string }>;
}

/** The `bin/` of this repository in a directory of its own, with an `npm` of the given body. */
export function checkout(npm = 'exit 9'): Checkout {
  const root = tempDir('checkout');
  cpSync(join(ROOT, 'bin'), join(root, 'bin'), { recursive: true });
  const path = join(root, 'path');
  script(join(path, 'npm'), npm);
  for (const name of ['node', 'sh', 'mkdir', 'cat', 'chmod', 'rm'])
    symlinkSync(Bun.which(name) ?? '', join(path, name));
  return {
    root,
    async node(name, ...args) {
      const run = Bun.spawn(['node', join(root, 'bin', name), ...args], {
        cwd: tempDir(),
        env: { PATH: path, HOME: process.env.HOME },
        stdout: 'pipe',
        stderr: 'pipe',
      });
      const [out, err, code] = await Promise.all([run.stdout.text(), run.stderr.text(), run.exited]);
      return { code, out, err };
    },
  };
}
