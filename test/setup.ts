/**
 * Runs before every test file (`bunfig.toml`): takes the live world away (O-46, O-48) and, when the file is done,
 * fails it for what it left behind: a process, a held lock, a temp directory.
 */
import { afterAll, mock } from 'bun:test';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import os, { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { isScrubbed, scratchVariables } from './setup/scrub.ts';
import { heldLocks, strays } from './setup/strays.ts';

/** How long a process that has been told to end may take to be gone. */
const GRACE_MS = 6_000;

const outerTmp = process.env.TMPDIR;
const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'drover-t-')));

for (const name of Object.keys(process.env)) if (isScrubbed(name)) delete process.env[name];
Object.assign(process.env, scratchVariables(scratch, cache));
for (const dir of ['home', 't', 'run']) mkdirSync(join(scratch, dir), { mode: 0o700 });

// `homedir()` answers with the HOME that Bun was itself started with; here it follows the environment.
const ours = { ...os, homedir: () => process.env.HOME ?? '/nonexistent' };
for (const name of ['node:os', 'os']) mock.module(name, () => ({ ...ours, default: ours }));

// Bun hands children the environment it was itself started with unless told otherwise, so the scrubbed one is made
// the default: a child of a test must not see what the test may not.
const { spawn, spawnSync } = Bun;
const scrubbed = (args: unknown[]): unknown[] => {
  if (!Array.isArray(args[0])) return [withEnv(args[0]), ...args.slice(1)];
  return [args[0], withEnv(args[1])];
};
const withEnv = (options: unknown): object => {
  const given = (options ?? {}) as { env?: unknown };
  return { ...given, env: given.env ?? process.env };
};
Object.assign(Bun, {
  spawn: (...args: unknown[]) => Reflect.apply(spawn, Bun, scrubbed(args)),
  spawnSync: (...args: unknown[]) => Reflect.apply(spawnSync, Bun, scrubbed(args)),
});

/** One global for all files means that `afterAll` of a shared module ran for the first file only. */
function isIsolated(): boolean {
  if (!existsSync('/proc/self/cmdline')) return false;
  const args = readFileSync('/proc/self/cmdline', 'utf8').split('\0');
  return args.some((arg) => arg === '--isolate' || arg === '--test-worker' || arg.startsWith('--parallel'));
}

afterAll(async () => {
  const deadline = Date.now() + GRACE_MS;
  while (strays(scratch).length > 0 && Date.now() < deadline) await Bun.sleep(10);
  const left = strays(scratch);
  const complaints = left.map(({ pid, why, command }) => `process ${pid} (by ${why}): ${command}`);
  for (const { pid } of left) process.kill(pid, 'SIGKILL');
  complaints.push(...heldLocks(scratch).map((path) => `lock still held: ${path}`));
  if (isIsolated())
    complaints.push(...readdirSync(join(scratch, 't')).map((name) => `temp file or directory: ${name}`));
  rmSync(scratch, { recursive: true, force: true });
  if (outerTmp === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = outerTmp;
  if (complaints.length > 0) throw new Error(`this test file left behind:\n  ${complaints.join('\n  ')}`);
}, 60_000);
