import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The CLIs that the tests drive, pinned: goldens and parsers speak of exactly these. */
export const HARNESS_PACKAGES = {
  claude: '@anthropic-ai/claude-code@2.1.197',
  codex: '@openai/codex@0.169.0',
  gemini: '@google/gemini-cli@0.61.0',
  opencode: 'opencode-ai@1.18.33',
} as const;

export type HarnessId = keyof typeof HARNESS_PACKAGES;

export const HARNESS_IDS = Object.keys(HARNESS_PACKAGES) as HarnessId[];

export interface InstalledHarnesses {
  /** Holds one executable per CLI under its usual name; put it first on PATH. */
  bin_dir: string;
  programs: Record<HarnessId, string>;
}

const INSTALL_LIMIT_MS = 15 * 60_000;
const POLL_MS = 250;

/**
 * Where the native executable of a package lies below `node_modules`, best first. Install scripts are not run: what
 * they do is link one of these.
 */
const EXECUTABLES: Record<HarnessId, string[]> = {
  claude: [`@anthropic-ai/claude-code-${process.platform}-${process.arch}/claude`],
  codex: [
    `@openai/codex-${process.platform}-${process.arch}/vendor/*/bin/codex`,
    `@openai/codex-${process.platform}-${process.arch}/vendor/*/codex/codex`,
  ],
  gemini: ['@google/gemini-cli/bundle/gemini.js'],
  opencode: [`opencode-${process.platform}-${process.arch}/bin/opencode`],
};

/** The directory for downloads and scratch homes that outlive a checkout: never inside the repository. */
export function cacheRoot(): string {
  return Bun.env.XDG_CACHE_HOME || join(homedir(), '.cache');
}

/**
 * Installs the pinned CLIs once per machine and returns their executables; later calls only look.
 *
 * Safe for several processes at once: one downloads into a staging directory that is renamed into place when it is
 * complete, the others wait. Throws when npm fails or takes longer than 15 minutes.
 */
export async function installHarnesses(): Promise<InstalledHarnesses> {
  const root = join(cacheRoot(), 'drover-harnesses');
  const target = join(root, versionsHash());
  mkdirSync(root, { recursive: true });
  const deadline = performance.now() + INSTALL_LIMIT_MS;
  while (!existsSync(target)) {
    if (takeLock(`${target}.lock`)) await installUnderLock(target);
    else if (performance.now() > deadline) throw new Error(`another process holds ${target}.lock for too long`);
    else await Bun.sleep(POLL_MS);
  }
  return installedAt(target);
}

/** The executables if they are installed already, else `null`; downloads nothing. */
export function findInstalledHarnesses(): InstalledHarnesses | null {
  const target = join(cacheRoot(), 'drover-harnesses', versionsHash());
  return existsSync(target) ? installedAt(target) : null;
}

function installedAt(target: string): InstalledHarnesses {
  const binDir = join(target, 'bin');
  const programs = Object.fromEntries(HARNESS_IDS.map((id) => [id, join(binDir, id)])) as Record<HarnessId, string>;
  return { bin_dir: binDir, programs };
}

function versionsHash(): string {
  const list = Object.values(HARNESS_PACKAGES).join('\n');
  return createHash('sha256').update(`${process.platform}-${process.arch}\n${list}`).digest('hex').slice(0, 12);
}

async function installUnderLock(target: string): Promise<void> {
  const staging = `${target}.staging-${process.pid}`;
  try {
    if (existsSync(target)) return;
    await npmInstall(staging);
    linkExecutables(staging);
    putInPlace(staging, target);
  } finally {
    rmSync(staging, { recursive: true, force: true });
    rmSync(`${target}.lock`, { recursive: true, force: true });
  }
}

async function npmInstall(staging: string): Promise<void> {
  mkdirSync(staging, { recursive: true });
  writeFileSync(join(staging, 'package.json'), '{"name":"drover-harnesses","private":true}\n');
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-save', '--fetch-retries=1', '--loglevel=error'];
  const argv = ['npm', 'install', '--prefix', staging, ...flags, ...Object.values(HARNESS_PACKAGES)];
  const npm = Bun.spawn(argv, {
    cwd: staging,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'pipe',
    timeout: INSTALL_LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  const [stderr, code] = await Promise.all([npm.stderr.text(), npm.exited]);
  if (code === 0) return;
  const why = npm.signalCode
    ? `was ended by ${npm.signalCode} after at most ${INSTALL_LIMIT_MS / 60_000} min`
    : `${code}`;
  throw new Error(`cannot install the agent CLIs: npm exit ${why}\n${stderr.slice(-2000)}`);
}

/** `bin/<id>` → the real executable, relative, so that the directory may be renamed. */
function linkExecutables(staging: string): void {
  mkdirSync(join(staging, 'bin'), { recursive: true });
  for (const id of HARNESS_IDS) {
    const modules = join(staging, 'node_modules');
    const found = EXECUTABLES[id].flatMap((pattern) => globSync(pattern, { cwd: modules }))[0];
    if (!found) throw new Error(`${HARNESS_PACKAGES[id]} has no executable for ${process.platform}-${process.arch}`);
    symlinkSync(join('..', 'node_modules', found), join(staging, 'bin', id));
  }
}

function putInPlace(staging: string, target: string): void {
  try {
    renameSync(staging, target);
  } catch (error) {
    // Somebody took over a lock that only looked abandoned and was first: theirs is as good.
    if (!existsSync(target)) throw error;
  }
}

/** True when this process now holds the lock. A lock whose owner is gone is removed for the next try. */
function takeLock(lock: string): boolean {
  try {
    mkdirSync(lock);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (isAbandoned(lock)) rmSync(lock, { recursive: true, force: true });
    return false;
  }
  writeFileSync(join(lock, 'pid'), String(process.pid));
  return true;
}

function isAbandoned(lock: string): boolean {
  const file = join(lock, 'pid');
  if (!existsSync(file)) return false;
  const pid = Number(readFileSync(file, 'utf8'));
  return Number.isInteger(pid) && pid > 0 && !existsSync(`/proc/${pid}`);
}

if (import.meta.main) console.log(JSON.stringify(await installHarnesses(), null, 2));
