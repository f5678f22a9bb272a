import { expect, test } from 'bun:test';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { diskFree, makeAhead, privateDir, privateFile, tailBytes, writeAtomic } from '../../src/sys/files.ts';
import { readTextIfExists } from '../../src/sys/read-text.ts';
import { tempDir } from '../support/temp.ts';

const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

test('files: an atomic write replaces the content, keeps the mode and leaves nothing beside it', () => {
  const dir = tempDir();
  const path = join(dir, 'a.json');
  writeAtomic(path, 'one');
  expect(mode(path)).toBe('600');
  const before = statSync(path).ino;
  writeAtomic(path, new Uint8Array([50, 51]), 0o666, { sync: true });
  expect(readFileSync(path, 'utf8')).toBe('23');
  expect(mode(path)).toBe('666');
  expect(statSync(path).ino).not.toBe(before);
  expect(readdirSync(dir)).toEqual(['a.json']);
});

test('files: a failed write is typed, keeps the old content and leaves no temp file', () => {
  const dir = tempDir();
  mkdirSync(join(dir, 'target', 'full'), { recursive: true });
  expect(() => writeAtomic(join(dir, 'target'), 'x')).toThrow(/cannot write/);
  expect(readdirSync(dir)).toEqual(['target']);
  expect(() => writeAtomic(join(dir, 'no', 'file'), 'x')).toThrow(
    expect.objectContaining({ name: 'AppError', code: 'file_not_found' }),
  );
});

test('files: a reader of an atomically written file never sees a part', async () => {
  const path = join(tempDir(), 'a');
  writeAtomic(path, 'x'.repeat(200_000));
  const script = `const {readFileSync}=require('fs');for(let i=0;i<400;i++){const t=readFileSync(${JSON.stringify(path)},'utf8');
    if(t.length!==200000||/[^x]/.test(t)&&/[^y]/.test(t))process.exit(1)}`;
  const reader = Bun.spawn([process.execPath, '-e', script]);
  let ended = false;
  const exited = reader.exited.then((code) => {
    ended = true;
    return code;
  });
  for (let i = 0; !ended; i++) {
    writeAtomic(path, (i % 2 ? 'x' : 'y').repeat(200_000));
    await Bun.sleep(0);
  }
  expect(await exited).toBe(0);
});

test('files: reading what is not there gives null, what cannot be read an error', () => {
  const dir = tempDir();
  writeFileSync(join(dir, 'a'), 'text');
  expect(readTextIfExists(join(dir, 'a'))).toBe('text');
  expect(readTextIfExists(join(dir, 'b'))).toBeNull();
  expect(readTextIfExists(join(dir, 'a', 'b'))).toBeNull();
  expect(() => readTextIfExists(dir)).toThrow(expect.objectContaining({ name: 'AppError' }));
});

test('files: a private directory is made with its parents, or tightened', () => {
  const dir = tempDir();
  expect(mode(privateDir(join(dir, 'a', 'b')))).toBe('700');
  chmodSync(join(dir, 'a', 'b'), 0o755);
  expect(mode(privateDir(join(dir, 'a', 'b')))).toBe('700');
  writeFileSync(join(dir, 'file'), '');
  expect(() => privateDir(join(dir, 'file'))).toThrow(expect.objectContaining({ name: 'AppError' }));
});

const NOT_ROOT = process.geteuid?.() === 0 ? '' : ' [skipped: needs root]';

test.skipIf(NOT_ROOT !== '')(`files: a directory of another user is refused${NOT_ROOT}`, () => {
  const dir = join(tempDir(), 'foreign');
  mkdirSync(dir);
  expect(Bun.spawnSync(['chown', '4711', dir]).exitCode).toBe(0);
  expect(() => privateDir(dir)).toThrow(expect.objectContaining({ code: 'not_our_directory' }));
});

test('files: the tail of a file, of a short one and of none', () => {
  const dir = tempDir();
  const path = join(dir, 'log');
  writeFileSync(path, '0123456789');
  expect(tailBytes(path, 3).toString()).toBe('789');
  expect(tailBytes(path, 99).toString()).toBe('0123456789');
  expect(tailBytes(path, 0).toString()).toBe('');
  expect(tailBytes(join(dir, 'none'), 9).length).toBe(0);
  symlinkSync(path, join(dir, 'link'));
  expect(tailBytes(join(dir, 'link'), 1).toString()).toBe('9');
});

test('files: free space is known for a directory that is yet to be made', () => {
  const dir = tempDir();
  expect(diskFree(dir)).toBeGreaterThan(1_000_000);
  expect(Math.abs(diskFree(join(dir, 'a', 'b')) - diskFree(dir))).toBeLessThan(2_000_000_000);
});

test('files: a private file is made for its owner alone, and its content is kept', () => {
  const path = join(tempDir(), 'drover.db');
  privateFile(path);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  writeFileSync(path, 'content');
  chmodSync(path, 0o644);
  privateFile(path);
  expect([statSync(path).mode & 0o777, readFileSync(path, 'utf8')]).toEqual([0o600, 'content']);
  expect(() => privateFile(join(path, 'below'))).toThrow(expect.objectContaining({ name: 'AppError' }));
});

test('files: a directory begun ahead is private, and what stands in its way is left to be told by who needs it', async () => {
  const dir = tempDir();
  await makeAhead(join(dir, 'a/b'));
  expect([mode(join(dir, 'a')), mode(join(dir, 'a/b'))]).toEqual(['700', '700']);
  writeFileSync(join(dir, 'file'), '');
  await makeAhead(join(dir, 'file/b'));
  expect(() => privateDir(join(dir, 'file/b'))).toThrow(expect.objectContaining({ name: 'AppError' }));
});
