import { expect, test } from 'bun:test';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram, which } from '../../src/sys/which.ts';
import { tempDir } from '../support/temp.ts';

function place(): { dir: string; program: string } {
  const dir = tempDir();
  const program = join(dir, 'tool');
  writeFileSync(program, '');
  chmodSync(program, 0o755);
  return { dir, program };
}

test('which: the first executable file on the given PATH', () => {
  const { dir, program } = place();
  const other = place();
  expect(which('tool', `/nowhere:${dir}:${other.dir}`)).toBe(program);
  expect(which(program, '')).toBe(program);
  expect(which('tool', '')).toBeNull();
  expect(which('', dir)).toBeNull();
});

test('which: directories and files without the executable bit are passed over', () => {
  const { dir } = place();
  const first = tempDir();
  mkdirSync(join(first, 'tool'));
  const second = tempDir();
  writeFileSync(join(second, 'tool'), '', { mode: 0o644 });
  expect(which('tool', `${first}:${second}:${dir}`)).toBe(join(dir, 'tool'));
  expect(which('tool', `${first}:${second}`)).toBeNull();
});

test('which: empty and relative entries of PATH never choose a program', () => {
  const { dir } = place();
  const here = process.cwd();
  process.chdir(dir);
  try {
    expect(which('tool', `:.:${dir.slice(1)}`)).toBeNull();
    expect(which('./tool', dir)).toBeNull();
  } finally {
    process.chdir(here);
  }
});

test('which: findProgram takes paths as they are and names what it cannot find', () => {
  const { dir, program } = place();
  expect(findProgram('tool', '/', { PATH: dir })).toBe(program);
  expect(findProgram('./x', dir, {})).toBe(join(dir, 'x'));
  expect(() => findProgram('tool', dir, {})).toThrow(expect.objectContaining({ code: 'program_not_found' }));
});
