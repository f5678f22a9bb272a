import { afterEach, expect, test } from 'bun:test';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ask, type Doorbell, listen } from '../../src/sys/socket.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const open: Doorbell[] = [];
const errors: unknown[] = [];

async function bell(path: string, onLine: (line: string) => string | Promise<string>): Promise<Doorbell> {
  const made = await listen(path, onLine, (error) => errors.push(error));
  open.push(made);
  return made;
}

afterEach(() => {
  for (const made of open.splice(0)) made.close();
  errors.length = 0;
});

test('socket: a line in, a line out, on a file only we can open', async () => {
  const path = join(tempDir(), 's.sock');
  await bell(path, (line) => JSON.stringify({ got: JSON.parse(line) }));
  expect((statSync(path).mode & 0o777).toString(8)).toBe('600');
  expect(await ask(path, '{"verb":"wake","text":"ä€"}', 2000)).toBe('{"got":{"verb":"wake","text":"ä€"}}');
  expect(await ask(path, '{}', 2000)).not.toBeNull();
});

test('socket: many at once, each with its own answer', async () => {
  const path = join(tempDir(), 's.sock');
  await bell(path, async (line) => {
    await Bun.sleep(Number(line) % 3);
    return `re:${line}`;
  });
  const numbers = Array.from({ length: 50 }, (_, i) => String(i));
  expect(await Promise.all(numbers.map((n) => ask(path, n, 5000)))).toEqual(numbers.map((n) => `re:${n}`));
});

test('socket: a long line arrives whole, a too long one gets no answer', async () => {
  const path = join(tempDir(), 's.sock');
  await bell(path, (line) => `${line.length}`);
  expect(await ask(path, 'x'.repeat(60_000), 5000)).toBe('60000');
  expect(await ask(path, 'x'.repeat(70_000), 5000)).toBeNull();
});

test('socket: nobody there, a plain file, a dead server: false at once', async () => {
  const dir = tempDir();
  expect(await ask(join(dir, 'none.sock'), '{}', 60_000)).toBeNull();
  writeFileSync(join(dir, 'plain'), '');
  expect(await ask(join(dir, 'plain'), '{}', 60_000)).toBeNull();
  expect(await ask(join(dir, 'no', 'dir', 's.sock'), '{}', 60_000)).toBeNull();
});

test('socket: a server that never answers, or fails, costs the caller no more than the timeout', async () => {
  const path = join(tempDir(), 's.sock');
  await bell(path, (line) =>
    line === 'hang' ? new Promise<string>(() => undefined) : Promise.reject(new Error(line)),
  );
  const start = performance.now();
  expect(await ask(path, 'hang', 50)).toBeNull();
  expect(performance.now() - start).toBeGreaterThanOrEqual(49);
  expect(await ask(path, 'fails', 60_000)).toBeNull();
  expect(String(errors[0])).toBe('Error: fails');
});

test('socket: the file of a killed server is replaced, a living server is not', async () => {
  const path = join(tempDir(), 's.sock');
  const source = resolve(import.meta.dir, '../../src/sys/socket.ts');
  const script = `import { listen } from ${JSON.stringify(source)};
    await listen(${JSON.stringify(path)}, () => 'old', console.error);`;
  const server = Bun.spawn([process.execPath, '-e', script], { stderr: 'inherit' });
  await until('the other server', async () => (await ask(path, '', 1000)) === 'old');
  await expect(listen(path, () => 'new', console.error)).rejects.toMatchObject({ code: 'socket_in_use' });
  expect(await ask(path, '', 10_000)).toBe('old');
  server.kill('SIGKILL');
  await server.exited;
  expect(existsSync(path)).toBe(true);
  expect(await ask(path, '', 60_000)).toBeNull();
  await bell(path, () => 'new');
  expect(await ask(path, '', 10_000)).toBe('new');
});

test('socket: closing removes the file and ends the service', async () => {
  const path = join(tempDir(), 's.sock');
  const made = await bell(path, () => 'x');
  made.close();
  expect(existsSync(path)).toBe(false);
  expect(await ask(path, '', 60_000)).toBeNull();
});

test('socket: a path longer than a socket address works like any other', async () => {
  const dir = join(tempDir(), 'd'.repeat(90), 'e'.repeat(90));
  mkdirSync(dir, { recursive: true });
  const path = join(dir, 'supervisor.sock');
  await bell(path, (line) => line.toUpperCase());
  expect(existsSync(path)).toBe(true);
  expect(await ask(path, 'hello', 2000)).toBe('HELLO');
  await expect(listen(path, () => '', console.error)).rejects.toMatchObject({ code: 'socket_in_use' });
});
