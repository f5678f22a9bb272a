import { expect, test } from 'bun:test';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkConfig } from '../../src/model/config-schema.ts';
import { droverBench } from '../support/drover.ts';
import { PACKAGE_DIR } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

const TEMPLATE = readFileSync(join(PACKAGE_DIR, 'templates/config.yaml'), 'utf8');

test('init writes the commented config, also from below the root, and it is a valid one (O-87)', async () => {
  const bench = droverBench();
  mkdirSync(join(bench.repo, 'deep/er'), { recursive: true });
  const ran = await bench.run(['init', '--json'], { cwd: join(bench.repo, 'deep/er') });
  const path = join(bench.repo, '.drover/config.yaml');
  expect(JSON.parse(ran.stdout)).toEqual({ schema_version: 1, ok: true, path, backup: null });
  const text = readFileSync(path, 'utf8');
  expect(text).toBe(TEMPLATE);
  expect(checkConfig(Bun.YAML.parse(text), 'project')).toMatchObject({ issues: [], warnings: [] });
  expect(existsSync(bench.drover_home)).toBe(false);
});

test('init never overwrites: 3, and --force keeps every old one (O-87)', async () => {
  const bench = droverBench();
  const dir = join(bench.repo, '.drover');
  mkdirSync(dir);
  for (const name of ['CLAUDE.md', 'AGENTS.md']) writeFileSync(join(bench.repo, name), 'mine');
  writeFileSync(join(dir, 'config.yaml'), 'max_depth: 1\n');
  const refused = await bench.json<{ error: { code: string } }>(['init'], 3);
  expect(refused.error.code).toBe('config_exists');
  expect(readFileSync(join(dir, 'config.yaml'), 'utf8')).toBe('max_depth: 1\n');
  expect((await bench.run(['init', '--force'])).code).toBe(0);
  writeFileSync(join(dir, 'config.yaml'), 'max_depth: 2\n');
  expect((await bench.run(['init', '--force'])).stdout).toContain('config.yaml.bak.1');
  expect(readdirSync(dir).sort()).toEqual(['config.yaml', 'config.yaml.bak', 'config.yaml.bak.1']);
  const read = (name: string) => readFileSync(join(dir, name), 'utf8');
  expect([read('config.yaml'), read('config.yaml.bak'), read('config.yaml.bak.1')]).toEqual([
    TEMPLATE,
    'max_depth: 1\n',
    'max_depth: 2\n',
  ]);
  for (const name of ['CLAUDE.md', 'AGENTS.md']) expect(readFileSync(join(bench.repo, name), 'utf8')).toBe('mine');
});

test('init outside a repository is refused, and a link in the place of .drover is not followed', async () => {
  const bench = droverBench();
  const outside = tempDir('outside');
  const ran = await bench.run(['init', '--json'], { cwd: outside });
  expect({ code: ran.code, error: JSON.parse(ran.stdout).error.code }).toEqual({ code: 2, error: 'not_a_repository' });
  symlinkSync(outside, join(bench.repo, '.drover'));
  expect((await bench.json<{ error: { code: string } }>(['init', '--force'], 3)).error.code).toBe('config_elsewhere');
  expect(readdirSync(outside)).toEqual([]);
});
