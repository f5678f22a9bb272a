import { expect } from 'bun:test';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { identityOf, type ProcessId } from '../../src/sys/identity.ts';
import { beforeRemoval, tempDir } from './temp.ts';
import { until } from './until.ts';

const SCRIPT = `trap 'echo hit >>"$0"/hits' HUP INT QUIT TERM USR1 USR2 CONT ALRM
  : >"$0"/ready; while :; do sleep 0.1; done`;

/** A process that has nothing to do with drover, and notes whatever signal it gets. */
export interface Bystander {
  id: ProcessId;
  /** Fails when anybody has sent it anything; SIGKILL shows by its absence. */
  expectUntouched(): void;
}

export async function bystander(): Promise<Bystander> {
  const dir = tempDir('bystander');
  const child = Bun.spawn(['sh', '-c', SCRIPT, dir], { env: { PATH: '/usr/bin:/bin' } });
  beforeRemoval(async () => {
    child.kill('SIGKILL');
    await child.exited;
  });
  await until('the bystander', () => existsSync(join(dir, 'ready')));
  const id = identityOf(child.pid);
  if (id === null) throw new Error('the bystander died');
  return {
    id,
    expectUntouched: () =>
      expect([child.exitCode, child.signalCode, existsSync(join(dir, 'hits'))]).toEqual([null, null, false]),
  };
}

/** Writes what a launcher or the holder of a lock would have written, had it been this process. */
export function claimToBe(id: ProcessId, files: { record?: string; locks?: string[] }): void {
  if (files.record !== undefined) writeFileSync(files.record, `${JSON.stringify(id)}\n`);
  for (const lock of files.locks ?? []) writeFileSync(lock, `${id.pid}\n${id.start_time}\n${id.boot_id}\n`);
}
