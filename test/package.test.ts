import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dir, '..');
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
};

/** What the program needs at run time, and why no less would do. */
const RUNTIME = {
  commander: 'options of a verb',
  zod: 'what comes from outside',
  chalk: 'colours',
  'cron-parser': 'schedules',
  yaml: 'settings and role pages, with the lines of their mistakes',
  '@modelcontextprotocol/sdk': 'the way agents talk back',
};

test('the top level, and at run time only the packages that are named (C-01)', () => {
  const top = ['package.json', 'bunfig.toml', 'tsconfig.json', 'src', 'agents', 'templates', 'test'];
  expect(top.filter((name) => !existsSync(join(ROOT, name)))).toEqual([]);
  expect(Object.keys(manifest.dependencies).sort()).toEqual(Object.keys(RUNTIME).sort());
  for (const types of ['bun-types', '@types/bun']) expect(manifest.devDependencies).toHaveProperty([types]);
});

test('every version is exact', () => {
  const versions = Object.values({ ...manifest.dependencies, ...manifest.devDependencies });
  expect(versions.filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
});
