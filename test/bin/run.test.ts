import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { type Checkout, checkout, script } from './checkout.ts';

interface Suite {
  tests?: number;
  failures?: number;
  skipped?: number;
  exit?: number;
  tsc?: number;
  biome?: number;
  /** The runner dies before it writes its report. */
  silent?: boolean;
}

/** A checkout whose tools end as told. */
function withTools({ tests = 0, failures = 0, skipped = 0, exit = 0, tsc = 0, biome = 0, silent }: Suite): Checkout {
  const made = checkout();
  const head = `<testsuites name="bun test" tests="${tests}" assertions="0" failures="${failures}" skipped="${skipped}">`;
  const report = `for a in "$@"; do case $a in --reporter-outfile=*) echo '${head}' >"\${a#*=}" ;; esac; done`;
  script(join(made.root, 'node_modules/.bin/bun'), `${silent ? '' : report}\nexit ${exit}`);
  script(join(made.root, 'node_modules/.bin/tsc'), `exit ${tsc}`);
  script(join(made.root, 'node_modules/.bin/biome'), `exit ${biome}`);
  return made;
}

describe('the test task ends with its figures and an exit code that agrees', () => {
  test.each<[string, Suite, string, number]>([
    ['all well', { tests: 10, skipped: 2 }, '8 passed, 0 failed, 2 skipped', 0],
    ['a failed test', { tests: 10, failures: 1, exit: 1 }, '9 passed, 1 failed, 0 skipped', 1],
    ['a failed test that the runner forgives', { tests: 10, failures: 1 }, '9 passed, 1 failed, 0 skipped', 1],
    ['types that do not fit', { tests: 3, tsc: 2 }, '3 passed, 1 failed, 0 skipped', 1],
    ['unformatted code', { tests: 3, biome: 1 }, '3 passed, 1 failed, 0 skipped', 1],
    ['a runner that fails without a failed test', { tests: 3, exit: 1 }, '3 passed, 1 failed, 0 skipped', 1],
    ['a runner that dies', { silent: true, exit: 139 }, '0 passed, 1 failed, 0 skipped', 1],
    ['nothing run at all', {}, '0 passed, 0 failed, 0 skipped', 1],
    ['everything skipped', { tests: 2, skipped: 2 }, '0 passed, 0 failed, 2 skipped', 1],
    ['a runner that ends well without a report', { silent: true }, '0 passed, 0 failed, 0 skipped', 1],
  ])('%s', async (_what, tools, figures, code) => {
    const run = await withTools(tools).node('run.mjs', 'test');
    expect(run.out).toEndWith(`\ntest: ${figures}\n`.slice(run.out.startsWith('test: ') ? 1 : 0));
    expect(run.code).toBe(code);
  });
});

describe('the summary', () => {
  test('adds the suites up in the one line that is read', async () => {
    const made = withTools({ tests: 10, skipped: 2 });
    await made.node('run.mjs', 'test');
    await made.node('run.mjs', 'test:harness');
    expect(await made.node('run.mjs', 'summary', 'test', 'harness')).toMatchObject({
      code: 0,
      out: '16 passed, 0 failed, 4 skipped\n',
    });
  });

  test('counts a suite that left no figures as a failure', async () => {
    const made = withTools({ tests: 10 });
    await made.node('run.mjs', 'test');
    const { code, out } = await made.node('run.mjs', 'summary', 'test', 'harness');
    expect(code).toBe(1);
    expect(out).toEndWith('\n10 passed, 1 failed, 0 skipped\n');
  });

  test('does not take the figures of an earlier run for those of one that died', async () => {
    const made = withTools({ tests: 10 });
    await made.node('run.mjs', 'test');
    script(join(made.root, 'node_modules/.bin/bun'), 'exit 1');
    await made.node('run.mjs', 'test');
    expect((await made.node('run.mjs', 'summary', 'test')).out).toBe('0 passed, 1 failed, 0 skipped\n');
  });
});

test('an unknown task names the known ones, exit 2', async () => {
  const { code, err } = await checkout().node('run.mjs', 'toString');
  expect(code).toBe(2);
  expect(err).toContain('test:harness');
});
