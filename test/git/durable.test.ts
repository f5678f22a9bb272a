import { expect, test } from 'bun:test';
import { rmSync } from 'node:fs';
import { syncRepository } from '../../src/git/durable.ts';
import { AppError } from '../../src/model/error.ts';
import { newRepository } from './plain.ts';

test('what cannot be synced is told by its place', async () => {
  const repo = newRepository();
  await syncRepository(repo);
  rmSync(repo, { recursive: true });
  const error = await syncRepository(repo).catch((thrown: unknown) => thrown);
  if (!(error instanceof AppError)) throw new Error(`${error}`);
  expect(error).toMatchObject({ kind: 'failed', code: 'sync_failed', message: expect.stringContaining(repo) });
});
