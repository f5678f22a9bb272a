import { afterAll, expect, mock, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as durable from '../../src/git/durable.ts';
import * as run from '../../src/git/run.ts';
import { capture } from '../../src/team/capture.ts';
import { PERSON, work } from './work.ts';

const real = { durable: { ...durable }, run: { ...run } };
const seen: string[] = [];

/** Writes down what was asked of git that leaves something behind, and when the disk was. */
const noted =
  <T>(ask: (args: string[], options: run.GitOptions) => T) =>
  (args: string[], options: run.GitOptions) => {
    const isDurable = real.durable.DURABLE.every(([key]) => options.settings?.some(([name]) => name === key));
    if (args[0] === 'add' || args[0] === 'commit') seen.push(`${args[0]} ${isDurable ? 'durable' : 'lost'}`);
    return ask(args, options);
  };

mock.module('../../src/git/run.ts', () => ({
  ...real.run,
  git: noted(real.run.git as never),
}));
mock.module('../../src/git/durable.ts', () => ({
  ...real.durable,
  syncRepository: async (root: string) => {
    seen.push('sync');
    await real.durable.syncRepository(root);
  },
}));
afterAll(() => {
  mock.module('../../src/git/run.ts', () => real.run);
  mock.module('../../src/git/durable.ts', () => real.durable);
});

test('what was captured survives a power loss: objects, index and refs synced, then their directories (HC-25)', async () => {
  const { world, repo, named } = await work();
  writeFileSync(join(repo, 'new'), 'x\n');
  expect(await capture(world.deps, PERSON, named, { cwd: repo })).toMatchObject({ changed: true });
  expect(seen).toEqual(['add durable', 'commit durable', 'sync']);
});
