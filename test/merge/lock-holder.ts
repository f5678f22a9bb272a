import { acquirePidLock } from '../../src/sys/lock.ts';

/** A process of its own that has a lock until its standard input ends. Says `held` when it has. */
if (import.meta.main) {
  const taken = acquirePidLock(process.argv[2] ?? '');
  console.log(taken.acquired ? 'held' : 'refused');
  await Bun.stdin.text();
  if (taken.acquired) taken.lock.release();
}

export interface Holder {
  pid: number;
  /** Resolves when the lock is free. */
  release: () => Promise<void>;
}

export async function holdLock(path: string): Promise<Holder> {
  const child = Bun.spawn([process.execPath, import.meta.path, path], { stdio: ['pipe', 'pipe', 'inherit'] });
  const { value } = await child.stdout.getReader().read();
  if (new TextDecoder().decode(value).trim() !== 'held') throw new Error('the lock was not to be had');
  const release = async () => {
    child.stdin.end();
    await child.exited;
  };
  return { pid: child.pid, release };
}
