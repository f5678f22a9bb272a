import { expect, test } from 'bun:test';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeHome } from '../../src/session/home.ts';
import { tempDir } from '../support/temp.ts';

const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

test('a home and its database are for their owner alone, also the second time and in an empty directory', () => {
  const dir = tempDir('home');
  for (const home of [join(dir, 'new/home'), join(dir, 'empty')]) {
    if (home.endsWith('empty')) mkdirSync(home, { mode: 0o755 });
    for (let i = 0; i < 2; i += 1) makeHome(home);
    expect([mode(home), mode(join(home, 'run')), mode(join(home, 'drover.db'))]).toEqual(['700', '700', '600']);
  }
});

test('a directory with other things in it is not taken for a home, and stays as it is', () => {
  const dir = tempDir('home');
  mkdirSync(join(dir, 'mine'), { mode: 0o755 });
  writeFileSync(join(dir, 'mine/letter'), 'x');
  expect(() => makeHome(join(dir, 'mine'))).toThrow(expect.objectContaining({ code: 'home_not_ours' }));
  expect(mode(join(dir, 'mine'))).toBe('755');
});

test('a home that cannot be made is a typed error with a way out', () => {
  const dir = tempDir('home');
  writeFileSync(join(dir, 'file'), '');
  expect(() => makeHome(join(dir, 'file/home'))).toThrow(
    expect.objectContaining({ code: 'home_unwritable', kind: 'unavailable' }),
  );
});
