import { AppError } from '../model/error.ts';
import { runProgram } from '../sys/run.ts';
import { checkoutOf } from './common-dir.ts';

/** Every object, index and ref that git writes is synced before its lock is dropped. */
export const DURABLE: readonly (readonly [key: string, value: string])[] = [
  ['core.fsync', 'all'],
  ['core.fsyncMethod', 'fsync'],
];

const TIMEOUT_MS = 120_000;

/**
 * Returns when all that was written to a repository, and to the worktree at `root` (or a bare one), survives a power loss.
 * Git syncs files, but not the directories that name them: without this its newest commits are lost (ARCHITECTURE §2).
 * Errors: `failed` / `sync_failed`; those of `runProgram`.
 */
export async function syncRepository(root: string): Promise<void> {
  const places = [root, checkoutOf(root)?.common_dir ?? root];
  const args = process.platform === 'linux' ? ['-f', ...places] : [];
  const env = { PATH: '/usr/bin:/bin:/run/current-system/sw/bin', LC_ALL: 'C' };
  const options = { cwd: '/', env, timeout_ms: TIMEOUT_MS, max_output_bytes: 4_096 };
  const { code, stderr } = await runProgram('sync', args, options);
  if (code === 0) return;
  throw new AppError('failed', 'sync_failed', `cannot sync ${places.join(', ')}: ${stderr.trim() || 'no answer'}`, {
    hint: 'What was written may be lost when the power goes; look at the disk and try again.',
  });
}
