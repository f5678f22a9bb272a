import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Checkout, checkout, script } from './checkout.ts';

/** Installs what the lock of the working directory says: one package, and a Bun. Tells of every call. */
const NPM = `
echo "$@" >>"\${0%/*}/calls"
mkdir -p node_modules/one node_modules/bun/bin
cat package-lock.json >node_modules/.package-lock.json
printf '#!/bin/sh\\necho 1.4.5\\n' >node_modules/bun/bin/bun.exe
chmod +x node_modules/bun/bin/bun.exe`;

function lock(version: string, more: object = {}): string {
  const packages = { '': { name: 'x' }, 'node_modules/one': { version, integrity: `sha-${version}` }, ...more };
  return JSON.stringify({ lockfileVersion: 3, packages });
}

function fresh(npm = NPM): Checkout {
  const made = checkout(npm);
  writeFileSync(join(made.root, 'package.json'), '{}');
  writeFileSync(join(made.root, 'package-lock.json'), lock('1.0.0'));
  return made;
}

function calls({ root }: Checkout): string[] {
  const file = join(root, 'path/calls');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}

const QUIET = { code: 0, out: '', err: '' };

describe('setup', () => {
  test('installs once, with the development dependencies, and is silent afterwards', async () => {
    const made = fresh();
    expect(await made.node('setup.mjs')).toMatchObject({ code: 0, err: expect.stringContaining('npm ci') });
    expect(calls(made)).toEqual([expect.stringMatching(/^ci .*--include=dev --include=optional/)]);
    rmSync(join(made.root, 'node_modules/.package-lock.json'));
    expect(await made.node('setup.mjs')).toEqual(QUIET);
    expect(calls(made)).toHaveLength(1);
    expect(readdirSync(join(made.root, '.tmp'))).toEqual([]);
  });

  test('installs again when the lock asks for something else, and keeps nothing of the old', async () => {
    const made = fresh();
    await made.node('setup.mjs');
    mkdirSync(join(made.root, 'node_modules/old'));
    writeFileSync(join(made.root, 'package-lock.json'), lock('2.0.0'));
    expect((await made.node('setup.mjs')).code).toBe(0);
    expect(calls(made)).toHaveLength(2);
    expect(existsSync(join(made.root, 'node_modules/old'))).toBe(false);
    expect(await made.node('setup.mjs')).toEqual(QUIET);
  });

  test('accepts what npm has installed from the same lock, packages for other machines left out', async () => {
    const made = fresh();
    await made.node('setup.mjs');
    rmSync(join(made.root, 'node_modules/.drover-setup'));
    const other = { optional: true, os: ['plan9'], version: '1.0.0' };
    writeFileSync(join(made.root, 'package-lock.json'), lock('1.0.0', { 'node_modules/other': other }));
    expect(await made.node('setup.mjs')).toEqual(QUIET);
    expect(calls(made)).toHaveLength(1);
  });

  test.each([
    ['has another version', { 'node_modules/one': { version: '1.0.1', integrity: 'sha-1.0.0' } }],
    ['has other content', { 'node_modules/one': { version: '1.0.0', integrity: 'sha-other' } }],
    ['has lost one', { 'node_modules/one': { version: '1.0.0', integrity: 'sha-1.0.0', lost: true } }],
    ['lacks one', { 'node_modules/two': { version: '1.0.0' } }],
    ['lacks one for this machine', { 'node_modules/two': { version: '1', optional: true, os: [process.platform] } }],
  ])('does not accept a tree that %s', async (what, packages) => {
    const made = fresh();
    await made.node('setup.mjs');
    if (what === 'has lost one') rmSync(join(made.root, 'node_modules/one'), { recursive: true });
    writeFileSync(join(made.root, 'package-lock.json'), lock('1.0.0', packages));
    expect((await made.node('setup.mjs')).code).toBe(0);
    expect(calls(made)).toHaveLength(2);
  });

  test('several at once all end well, on one whole tree', async () => {
    const made = fresh(`${NPM}
mkdir -p "\${0%/*}/met" && echo >"\${0%/*}/met/$$"
until set -- "\${0%/*}"/met/* && [ $(($# % 4)) = 0 ]; do :; done`);
    for (const version of ['1.0.0', '2.0.0', '3.0.0']) {
      writeFileSync(join(made.root, 'package-lock.json'), lock(version));
      const ends = await Promise.all(Array.from({ length: 4 }, () => made.node('setup.mjs')));
      expect(ends.map(({ code, out }) => ({ code, out }))).toEqual(Array(4).fill({ code: 0, out: '' }));
      expect(await made.node('setup.mjs')).toEqual(QUIET);
      const tree = readdirSync(join(made.root, 'node_modules')).sort();
      expect(tree).toEqual(['.drover-setup', '.package-lock.json', 'bun', 'one']);
    }
    expect(readdirSync(join(made.root, '.tmp')).filter((name) => name.startsWith('setup-'))).toEqual([]);
  });

  test('says why when npm fails, and leaves what was there', async () => {
    const made = fresh('echo "the registry is on fire" >&2; mkdir -p node_modules/half; exit 1');
    const { code, err } = await made.node('setup.mjs');
    expect(code).toBe(1);
    expect(err).toContain('npm ci failed; nothing was changed');
    expect(err).toContain('the registry is on fire');
    expect(err).not.toContain('at file:');
    expect(existsSync(join(made.root, 'node_modules'))).toBe(false);
    expect(readdirSync(join(made.root, '.tmp'))).toEqual([]);
  });

  test('says so when the Bun that was installed does not start', async () => {
    const made = fresh();
    await made.node('setup.mjs');
    script(join(made.root, 'node_modules/bun/bin/bun.exe'), 'echo "no such instruction" >&2; exit 1');
    const { code, err } = await made.node('setup.mjs');
    expect(code).toBe(1);
    expect(err).toContain('Bun does not start');
    expect(err).toContain('no such instruction');
  });
});
