import { afterEach, expect, test } from 'bun:test';
import { existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ownIdentity } from '../../src/sys/identity.ts';
import { acquirePidLock, type PidLock, type PidLockResult } from '../../src/sys/lock.ts';
import { readPidLock } from '../../src/sys/pid-file.ts';
import { tempDir } from '../support/temp.ts';

const RACER = resolve(import.meta.dir, '../fixtures/bin/lock-racer.ts');
const taken: PidLock[] = [];
const racers: Racer[] = [];

/** Takes a lock that is let go after the test. */
function acquire(path: string, pid?: number): PidLockResult {
  const result = acquirePidLock(path, pid === undefined ? {} : { pid });
  if (result.acquired) taken.push(result.lock);
  return result;
}

function acquired(path: string, pid?: number): PidLock {
  const result = acquire(path, pid);
  if (!result.acquired) throw new Error(`refused: ${result.existing_pid}`);
  return result.lock;
}

const firstLine = (path: string) => readFileSync(path, 'utf8').split('\n')[0];

class Racer {
  readonly #child = Bun.spawn([process.execPath, RACER], { stdin: 'pipe', stdout: 'pipe', stderr: 'inherit' });
  readonly #lines = this.#read();
  readonly pid = this.#child.pid;

  async say(line: string): Promise<string> {
    this.#child.stdin.write(`${line}\n`);
    await this.#child.stdin.flush();
    const { value } = await this.#lines.next();
    if (value === undefined) throw new Error('the racer died');
    return value;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#child.exited;
  }

  async *#read(): AsyncGenerator<string, undefined> {
    let rest = '';
    for await (const chunk of this.#child.stdout) {
      const lines = (rest + new TextDecoder().decode(chunk)).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
    return undefined;
  }
}

function racer(): Racer {
  const made = new Racer();
  racers.push(made);
  return made;
}

afterEach(async () => {
  for (const lock of taken.splice(0)) lock.release();
  await Promise.all(racers.splice(0).map((one) => one.kill()));
});

test('lock: acquired when there is no file, and the file holds the pid (O-37)', () => {
  const path = join(tempDir(), 'x.lock');
  expect(acquire(path, 1234).acquired).toBe(true);
  expect(firstLine(path)).toBe('1234');
});

test('lock: parent directories are created (O-38)', () => {
  const path = join(tempDir(), 'nested', 'deeper', 'lock.pid');
  expect(acquire(path, 555).acquired).toBe(true);
  expect(readPidLock(path)?.pid).toBe(555);
});

test('lock: our own carries pid, start time and boot id, a line each (O-45)', () => {
  const path = join(tempDir(), 'x.lock');
  acquire(path);
  const { pid, start_time, boot_id } = ownIdentity();
  expect(readFileSync(path, 'utf8')).toBe(`${pid}\n${start_time}\n${boot_id}\n`);
  expect(readPidLock(path)).toEqual(ownIdentity());
});

test('lock: a live holder is refused to, and its file is untouched (O-39)', async () => {
  const path = join(tempDir(), 'x.lock');
  const holder = racer();
  expect(await holder.say(path)).toBe(`won ${holder.pid} ${holder.pid}`);
  const before = readFileSync(path, 'utf8');
  expect(acquire(path)).toEqual({ acquired: false, existing_pid: holder.pid });
  expect(readFileSync(path, 'utf8')).toBe(before);
});

test('lock: the kernel decides, not the content: a live pid that holds nothing is no owner', () => {
  const path = join(tempDir(), 'x.lock');
  writeFileSync(path, '1\n');
  expect(acquire(path, 1234).acquired).toBe(true);
  expect(firstLine(path)).toBe('1234');
});

test('lock: asking again for one’s own lock gives the same lock (O-40)', () => {
  const path = join(tempDir(), 'x.lock');
  writeFileSync(path, '1234\n');
  const lock = acquired(path, 1234);
  expect(acquired(path, 1234)).toBe(lock);
  expect(acquire(path, 4321)).toEqual({ acquired: false, existing_pid: 1234 });
  expect(firstLine(path)).toBe('1234');
});

test('lock: one that is single is refused to its own process as well, until it lets go', () => {
  const path = join(tempDir('lock'), 'a.lock');
  const first = acquirePidLock(path, { is_single: true });
  if (!first.acquired) throw new Error('nobody else has it');
  expect(acquirePidLock(path, { is_single: true })).toEqual({ acquired: false, existing_pid: process.pid });
  expect(first.lock.stillHeld()).toBe(true);
  first.lock.release();
  const again = acquirePidLock(path, { is_single: true });
  expect(again.acquired).toBe(true);
  if (again.acquired) again.lock.release();
});

test('lock: a dead owner is replaced (O-41)', async () => {
  const path = join(tempDir(), 'x.lock');
  const holder = racer();
  await holder.say(path);
  await holder.kill();
  expect(firstLine(path)).toBe(`${holder.pid}`);
  expect(acquire(path, 1234).acquired).toBe(true);
  expect(firstLine(path)).toBe('1234');
});

test('lock: content that is no pid is replaced, however long (O-42)', () => {
  for (const content of ['garbage-not-a-pid\n', '', '-5\n', '0\n', `${'9'.repeat(400)}\n`, '\0\0\0']) {
    const path = join(tempDir(), 'x.lock');
    writeFileSync(path, content);
    expect(readPidLock(path)).toBeNull();
    expect(acquire(path, 1234).acquired).toBe(true);
    expect(readFileSync(path, 'utf8')).toBe('1234\n');
  }
});

test('lock: of two acquirers one wins and the loser learns who (O-43, O-44)', () => {
  const path = join(tempDir(), 'x.lock');
  const results = [acquire(path, 1111), acquire(path, 2222)];
  expect(results.filter((result) => result.acquired)).toHaveLength(1);
  expect(results[1]).toEqual({ acquired: false, existing_pid: 1111 });
  expect(firstLine(path)).toBe('1111');
});

test('lock: N processes race, exactly one wins each round, stale files and killed owners included (O-43, O-44, I20)', async () => {
  const crew = Array.from({ length: 5 }, racer);
  const dir = tempDir();
  for (let round = 0; round < 120; round++) {
    const path = join(dir, `${round % 7}.lock`);
    if (round % 3 === 0) writeFileSync(path, ['99999999\n', 'garbage\n', '', '1\n'][round % 4] ?? '');
    const start = Date.now() + 4;
    const answers = await Promise.all(crew.map((one) => one.say(`${path} ${start}`)));
    const winners = answers.filter((answer) => answer.startsWith('won'));
    expect(winners).toHaveLength(1);
    const [, pid, content] = winners[0]?.split(' ') ?? [];
    expect(content).toBe(pid);
    expect(firstLine(path)).toBe(pid);
    expect(answers.filter((answer) => answer !== winners[0])).toEqual(Array(crew.length - 1).fill(`lost ${pid}`));
    if (round % 20 === 19) {
      const at = answers.findIndex((answer) => answer.startsWith('won'));
      await crew[at]?.kill();
      crew[at] = racer();
    } else await Promise.all(crew.map((one) => one.say('release')));
  }
}, 60_000);

test('lock: release empties the file, keeps it, and gives way; a second release is nothing (O-45)', () => {
  const path = join(tempDir(), 'x.lock');
  const first = acquired(path, 1234);
  const inode = statSync(path).ino;
  first.release();
  first.release();
  expect(first.stillHeld()).toBe(false);
  expect(readFileSync(path, 'utf8')).toBe('');
  const second = acquired(path, 4321);
  first.release();
  expect(second.stillHeld()).toBe(true);
  expect(statSync(path).ino).toBe(inode);
});

test('lock: the holder notices that its file was deleted, replaced or overwritten', () => {
  const path = join(tempDir(), 'x.lock');
  const lock = acquired(path, 1234);
  expect(lock.stillHeld()).toBe(true);
  writeFileSync(path, '999\n');
  expect(lock.stillHeld()).toBe(false);
  writeFileSync(path, '1234\n');
  expect(lock.stillHeld()).toBe(true);
  renameSync(path, `${path}.old`);
  expect(lock.stillHeld()).toBe(false);
  writeFileSync(path, '1234\n');
  expect(lock.stillHeld()).toBe(false);
  rmSync(path);
  const other = acquired(path, 1234);
  expect(other).not.toBe(lock);
  expect(other.stillHeld()).toBe(true);
});

test('lock: no file means no owner, and no file is made by looking', () => {
  const path = join(tempDir(), 'x.lock');
  expect(readPidLock(path)).toBeNull();
  expect(existsSync(path)).toBe(false);
});

test('lock: a place where no lock can be is a typed error', () => {
  const dir = tempDir();
  writeFileSync(join(dir, 'file'), '');
  expect(() => acquirePidLock(join(dir, 'file', 'x.lock'))).toThrow(expect.objectContaining({ name: 'AppError' }));
  expect(() => acquirePidLock(dir)).toThrow(expect.objectContaining({ name: 'AppError' }));
});
