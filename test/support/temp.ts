import { afterAll } from 'bun:test';
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const made: string[] = [];
const endings: (() => Promise<void> | void)[] = [];

/**
 * A fresh, private directory that is gone after the test file.
 *
 * `root` overrides the place for programs that refuse world-writable ancestors.
 */
export function tempDir(name = 'drover-test', root = tmpdir()): string {
  mkdirSync(root, { recursive: true });
  const dir = realpathSync(mkdtempSync(join(root, `${name}-`)));
  made.push(dir);
  return dir;
}

/** Runs after the test file, newest first, before any directory goes: what lives in one has to end first. */
export function beforeRemoval(end: () => Promise<void> | void): void {
  endings.push(end);
}

afterAll(async () => {
  for (const end of endings.splice(0).reverse()) await end();
  for (const dir of made.splice(0)) rmSync(dir, { recursive: true, force: true });
}, 180_000);
