import { expect, test } from 'bun:test';
import { appendFileSync, closeSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AppError } from '../../src/model/error.ts';
import { readFrom, watchDirectory } from '../../src/sys/tail.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const fail = (error: AppError) => {
  throw error;
};

test('tail: reads on from an offset, in pieces, by path or descriptor', () => {
  const path = join(tempDir(), 'out');
  writeFileSync(path, 'abcdef');
  const fd = openSync(path, 'r');
  for (const file of [path, fd]) {
    expect(readFrom(file, 0, 4).toString()).toBe('abcd');
    expect(readFrom(file, 4, 4).toString()).toBe('ef');
    expect(readFrom(file, 6, 4).length).toBe(0);
  }
  appendFileSync(path, 'gh');
  expect(readFrom(fd, 6, 4).toString()).toBe('gh');
  closeSync(fd);
});

test('tail: a file that was cut behind what was read, or is missing, is an error', () => {
  const path = join(tempDir(), 'out');
  writeFileSync(path, 'abcdef');
  truncateSync(path, 2);
  expect(() => readFrom(path, 6, 4)).toThrow(expect.objectContaining({ code: 'file_shrank' }));
  expect(() => readFrom(`${path}.none`, 0, 4)).toThrow(expect.objectContaining({ code: 'file_not_found' }));
});

test('watch: sees new files and appends, and nothing after close', async () => {
  const dir = tempDir();
  const seen: (string | null)[] = [];
  const watch = watchDirectory(dir, (name) => seen.push(name), fail);
  writeFileSync(join(dir, 'a'), '1');
  await until('the new file', () => seen.includes('a'));
  seen.length = 0;
  appendFileSync(join(dir, 'a'), '2');
  await until('the append', () => seen.includes('a'));
  watch.close();
  const other = watchDirectory(dir, (name) => name === 'c' && seen.push('other'), fail);
  seen.length = 0;
  writeFileSync(join(dir, 'c'), '');
  await until('the other watcher', () => seen.includes('other'));
  other.close();
  expect(seen.filter((name) => name !== 'other')).toEqual([]);
});

test('watch: a missing directory is reported, a vanished one does not throw', async () => {
  const errors: string[] = [];
  const report = (error: AppError) => errors.push(error.code);
  watchDirectory(join(tempDir(), 'none'), () => undefined, report).close();
  expect(errors).toEqual(['file_not_found']);
  const dir = tempDir();
  let changes = 0;
  const watch = watchDirectory(dir, () => changes++, report);
  rmSync(dir, { recursive: true });
  await until('the removal', () => changes > 0 || errors.length > 1);
  watch.close();
});
