import { expect, test } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Bench, droverBench } from './drover.ts';
import { beforeRemoval, tempDir } from './temp.ts';

const ROOT = resolve(import.meta.dir, '../..');

/** Set in the test process that has a mount namespace of its own. */
const INSIDE = 'TEST_IN_OWN_NAMESPACE';

const isInside = process.env[INSIDE] !== undefined;

/** Why a filesystem of its own cannot be had here; '' when it can. */
const NO_MOUNT = isInside || canMount() ? '' : ' [skipped: needs root and the right to mount]';

function canMount(): boolean {
  if (process.getuid?.() !== 0 || Bun.which('unshare') === null) return false;
  return Bun.spawnSync(['unshare', '-m', 'mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', '/mnt']).exitCode === 0;
}

export interface SmallDisk {
  /** Its DROVER_HOME is a filesystem of its own. */
  bench: Bench;
  fill(): void;
  /** Gives back so much of what `fill` took. */
  spare(kilobytes: number): void;
  free(): void;
  remount(how: 'ro' | 'rw'): void;
}

export interface DiskTest {
  file: string;
  size: string;
  config?: Record<string, unknown>;
  within_ms?: number;
}

/**
 * A test whose DROVER_HOME is a small disk. It runs in a second test process with a mount namespace of its own, so that
 * nothing is ever mounted on this machine; what it says is shown when it fails.
 */
export function testOnSmallDisk(name: string, options: DiskTest, work: (disk: SmallDisk) => Promise<void>): void {
  const within_ms = options.within_ms ?? 120_000;
  if (isInside) {
    test(name, async () => work(smallDisk(options)), within_ms);
    return;
  }
  const inOwnNamespace = async () => {
    const exact = `^${name.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`;
    const command = ['unshare', '-m', '--propagation', 'private', process.execPath, 'test', options.file, '-t', exact];
    const env = { ...process.env, [INSIDE]: '1' };
    const child = Bun.spawn(command, { cwd: ROOT, env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' });
    const [said, told, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    if (code !== 0) throw new Error(`in its own namespace: exit ${code}\n${said}\n${told}`);
    expect(told).toMatch(/^ *1 pass$/m);
  };
  test.skipIf(NO_MOUNT !== '')(`${name}${NO_MOUNT}`, inOwnNamespace, within_ms + 10_000);
}

function smallDisk({ size, config }: DiskTest): SmallDisk {
  const root = tempDir('small');
  /** A disk that somebody still writes to cannot be made read-only: who ends just now is waited for. */
  const mount = (...args: string[]) => {
    for (let tries = 1; ; tries += 1) {
      const done = Bun.spawnSync(['mount', ...args]);
      if (done.exitCode === 0) return;
      if (tries === 100 || !done.stderr.toString().includes('busy'))
        throw new Error(`mount ${args.join(' ')}: ${done.stderr}`);
      Bun.sleepSync(100);
    }
  };
  // Endings run backwards: room first, then the bench's own, then the disk goes.
  let state = '';
  beforeRemoval(() => {
    Bun.spawnSync(['umount', '-l', state]);
  });
  // No disk as small has the room below which no turn starts.
  const bench = droverBench({ root, config: { limits: { min_free_mb: 0 }, ...config } });
  state = bench.drover_home;
  mkdirSync(state, { mode: 0o700 });
  mount('-t', 'tmpfs', '-o', `size=${size},mode=700`, 'none', state);
  const remount = (how: 'ro' | 'rw') => mount('-o', `remount,${how},size=${size}`, state);
  const free = () => void Bun.spawnSync(['rm', '-f', join(state, 'ballast')]);
  beforeRemoval(() => {
    remount('rw');
    free();
  });
  const fill = () => void Bun.spawnSync(['sh', '-c', 'cat /dev/zero >"$0/ballast"', state], { stderr: 'ignore' });
  const spare = (kilobytes: number) =>
    void Bun.spawnSync(['truncate', '-s', `-${kilobytes}K`, join(state, 'ballast')], { stderr: 'inherit' });
  return { bench, fill, spare, free, remount };
}
