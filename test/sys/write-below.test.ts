import { expect, test } from 'bun:test';
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../../src/model/error.ts';
import { writeBelow } from '../../src/sys/write-below.ts';
import { tempDir } from '../support/temp.ts';

function codeOf(act: () => void): string {
  try {
    act();
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
  return '';
}

test('a file below a directory, with the directories in between; an old one is replaced', () => {
  const root = tempDir('below');
  writeBelow(root, 'a/b/c.md', 'one');
  writeBelow(root, 'a/b/c.md', 'two');
  writeBelow(root, 'd.md', 'three');
  expect([readFileSync(join(root, 'a/b/c.md'), 'utf8'), readFileSync(join(root, 'd.md'), 'utf8')]).toEqual([
    'two',
    'three',
  ]);
  expect(statSync(join(root, 'd.md')).mode & 0o777).toBe(0o644);
  expect(readdirSync(join(root, 'a/b'))).toEqual(['c.md']);
});

test('the root itself may be reached through a link, nothing below it', () => {
  const root = tempDir('below');
  const outside = tempDir('outside');
  writeFileSync(join(outside, 'victim'), 'mine');
  symlinkSync(root, join(outside, 'root'));
  writeBelow(join(outside, 'root'), 'a.md', 'one');
  expect(readFileSync(join(root, 'a.md'), 'utf8')).toBe('one');
  symlinkSync(outside, join(root, 'link'));
  symlinkSync(join(outside, 'victim'), join(root, 'b.md'));
  symlinkSync(join(outside, 'none'), join(root, 'c.md'));
  mkdirSync(join(root, 'd.md'));
  writeFileSync(join(root, 'e'), '');
  const codes = ['link/x.md', 'b.md', 'c.md', 'd.md', 'e/x.md', '../x.md', 'a/../x.md', '/x.md', 'a//x.md', ''].map(
    (path) => codeOf(() => writeBelow(root, path, 'two')),
  );
  const out = 'outside_root';
  expect(codes).toEqual([out, out, out, 'not_a_file', out, out, out, out, out, out]);
  expect(readFileSync(join(outside, 'victim'), 'utf8')).toBe('mine');
  expect(readdirSync(outside).sort()).toEqual(['root', 'victim']);
});

test('what the system says names the path that people know', () => {
  const root = tempDir('below');
  const name = 'x'.repeat(300);
  try {
    writeBelow(root, `a/${name}`, 'one');
    throw new Error('it was written');
  } catch (error) {
    expect((error as Error).message).toContain('cannot ');
    expect((error as Error).message).not.toContain('/proc/self');
    expect((error as Error).message).toContain(join(root, 'a'));
  }
  expect(codeOf(() => writeBelow(join(root, 'none'), 'a.md', 'one'))).toBe('file_not_found');
});
