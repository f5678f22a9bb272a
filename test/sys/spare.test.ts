import { expect, test } from 'bun:test';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeSpares, takeSpare } from '../../src/sys/spare.ts';
import { tempDir } from '../support/temp.ts';

const FILES = ['exit.json', 'pid.json', 'prompt.md', 'stderr.log', 'stdout.jsonl'];

test('spare: four sessions that may come have their directories, whole, private and empty', async () => {
  const dir = join(tempDir(), 'spare');
  expect(makeSpares(dir)).toBe(makeSpares(dir));
  await makeSpares(dir);
  expect(readdirSync(dir).sort()).toEqual(['1', '2', '3', '4']);
  for (const name of ['', '1', '1/turns', '4/turns/1']) expect(statSync(join(dir, name)).mode & 0o777).toBe(0o700);
  expect(readdirSync(join(dir, '3/turns/1')).sort()).toEqual(FILES);
  for (const file of FILES) expect(statSync(join(dir, '3/turns/1', file)).size).toBe(0);
});

test('spare: one becomes the directory of a session, each once, and the next look makes another', async () => {
  const home = tempDir();
  const dir = join(home, 'spare');
  expect(takeSpare(dir, join(home, 'none'))).toBe(false);
  await makeSpares(dir);
  for (const name of ['a', 'b', 'c', 'd']) {
    expect(takeSpare(dir, join(home, name))).toBe(true);
    expect(readdirSync(join(home, name, 'turns/1')).sort()).toEqual(FILES);
  }
  expect(takeSpare(dir, join(home, 'e'))).toBe(false);
  await makeSpares(dir);
  expect(readdirSync(dir).sort()).toEqual(['1', '2', '3', '4']);
  // Filled up, and nothing was taken: it does not even look.
  rmSync(join(dir, '2'), { recursive: true });
  await makeSpares(dir);
  expect(existsSync(join(dir, '2'))).toBe(false);
});

test('spare: a session that has a directory keeps it, and what is taken while others are made is made again', async () => {
  const home = tempDir();
  const dir = join(home, 'spare');
  await makeSpares(dir);
  mkdirSync(join(home, 'a'));
  writeFileSync(join(home, 'a/note'), 'mine');
  expect(takeSpare(dir, join(home, 'a'))).toBe(false);
  expect(readdirSync(join(home, 'a'))).toEqual(['note']);
  expect(readdirSync(dir)).toHaveLength(4);
  expect(takeSpare(dir, join(home, 'b'))).toBe(true);
  const filling = makeSpares(dir);
  expect(takeSpare(dir, join(home, 'c'))).toBe(true);
  await filling;
  await makeSpares(dir);
  expect(readdirSync(dir).sort()).toEqual(['1', '2', '3', '4']);
});

test('spare: what a filler that was cut off has left is taken away; of a home that was removed nothing is made', async () => {
  const home = tempDir();
  const dir = join(home, 'spare');
  mkdirSync(join(dir, 'unfinished/turns/1'), { recursive: true });
  writeFileSync(join(dir, 'unfinished/turns/1/stdout.jsonl'), 'old');
  await makeSpares(dir);
  expect(readdirSync(dir).sort()).toEqual(['1', '2', '3', '4']);
  expect(statSync(join(dir, '1/turns/1/stdout.jsonl')).size).toBe(0);
  await makeSpares(join(home, 'removed', 'spare'));
  expect(existsSync(join(home, 'removed'))).toBe(false);
  // What could not be made is tried again at the next look.
  mkdirSync(join(home, 'removed'));
  await makeSpares(join(home, 'removed', 'spare'));
  expect(readdirSync(join(home, 'removed', 'spare'))).toHaveLength(4);
});
