import { afterEach, expect, test } from 'bun:test';
import { resolve } from 'node:path';
import {
  bootId,
  identityOf,
  isGone,
  isZombie,
  liveness,
  ownIdentity,
  type ProcessId,
  parseStat,
  signal,
  startTime,
} from '../../src/sys/identity.ts';
import { until } from '../support/until.ts';

const started: Bun.Subprocess[] = [];

function sleeper(): { id: ProcessId; child: Bun.Subprocess } {
  const child = Bun.spawn(['sleep', '60']);
  started.push(child);
  const id = identityOf(child.pid);
  if (id === null) throw new Error('no identity');
  return { id, child };
}

afterEach(async () => {
  for (const child of started.splice(0)) {
    child.kill('SIGKILL');
    await child.exited;
  }
});

/** A pid that was ours and has been collected, so that it names nobody. */
async function deadPid(): Promise<number> {
  const child = Bun.spawn(['true']);
  await child.exited;
  return child.pid;
}

test('identity: own identity has pid, start time and boot id', () => {
  expect(ownIdentity()).toEqual({
    pid: process.pid,
    start_time: expect.stringMatching(/^\d+$/),
    boot_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
  });
  expect(startTime(process.pid)).toBe(ownIdentity().start_time);
});

test('identity: a command name with brackets and blanks does not confuse the start time', () => {
  const fields = [
    'R',
    7,
    1,
    9,
    ...Array(13).fill(0),
    3,
    0,
    4711,
    5,
    6,
    ...Array(3).fill(0),
    28,
    ...Array(19).fill(0),
    48,
    49,
    50,
    51,
    0,
  ];
  expect(parseStat(`12 (a) b (c) ) ${fields.join(' ')}\n`)).toEqual({
    pid: 12,
    state: 'R',
    parent: 7,
    session: 9,
    threads: 3,
    start_time: '4711',
    image: { places: '28 48 49 50 51', environment_bytes: 1 },
    is_kernel: false,
  });
  expect(parseStat(`12 (x) ${fields.slice(0, -2).join(' ')} 0 0\n`)?.image).toBeNull();
  expect(parseStat(`2 (kthreadd) ${fields.with(6, 0x208040).join(' ')}\n`)?.is_kernel).toBe(true);
  expect(parseStat('')).toBeNull();
  expect(parseStat('12 (x) R 1')).toBeNull();
});

test('liveness: no pid is unknown (H-31)', () => {
  for (const id of [null, undefined, {}, { pid: null }, { pid: 1.5 }]) expect(liveness(id)).toBe('unknown');
});

test('liveness: a pid of 0 or less, or of nobody, is dead (H-31)', async () => {
  expect(liveness({ pid: 0 })).toBe('dead');
  expect(liveness({ pid: -1 })).toBe('dead');
  expect(liveness({ pid: await deadPid() })).toBe('dead');
});

test('liveness: another boot or another start time is dead, unknown ones are not compared (H-30, H-31)', () => {
  const { id } = sleeper();
  expect(liveness(id)).toBe('alive');
  expect(liveness({ pid: id.pid })).toBe('alive');
  expect(liveness({ pid: id.pid, start_time: null, boot_id: '' })).toBe('alive');
  expect(liveness({ ...id, boot_id: 'another' })).toBe('dead');
  expect(liveness({ ...id, start_time: '1' })).toBe('dead');
});

test('liveness: EPERM counts as alive (H-31)', () => {
  // Init belongs to root. Whoever is root asks as nobody, so that the answer is EPERM.
  const script = `import { liveness } from ${JSON.stringify(resolve(import.meta.dir, '../../src/sys/identity.ts'))};
    let errno; try { process.kill(1, 0); } catch (error) { errno = error.code; }
    console.log(errno, liveness({ pid: 1 }));`;
  const asNobody = process.geteuid?.() === 0 ? ['setpriv', '--reuid', '65534', '--clear-groups'] : [];
  const asked = Bun.spawnSync([...asNobody, process.execPath, '-e', script], { cwd: '/' });
  expect(asked.stdout.toString()).toBe('EPERM alive\n');
});

test('liveness: a zombie is dead, a process whose main thread ended is not', async () => {
  const shell = Bun.spawn(['sh', '-c', 'sleep 0 & echo $!; exec sleep 60'], { stdout: 'pipe' });
  started.push(shell);
  const line = await shell.stdout.getReader().read();
  const zombie = Number(new TextDecoder().decode(line.value));
  await until('the zombie', () => liveness({ pid: zombie }) === 'dead');
  expect(startTime(zombie)).not.toBeNull();
  const stat = { pid: 1, parent: 1, session: 1, start_time: '1', image: null, is_kernel: false };
  expect(isZombie({ ...stat, state: 'Z', threads: 1 })).toBe(true);
  expect(isZombie({ ...stat, state: 'Z', threads: 2 })).toBe(false);
});

test('signal: reaches the proven process, and says so', async () => {
  const { id, child } = sleeper();
  expect(isGone(id)).toBe(false);
  expect(signal(id, 'SIGTERM')).toBe(true);
  await child.exited;
  expect(child.signalCode).toBe('SIGTERM');
  expect(isGone(id)).toBe(true);
  expect(signal(id, 'SIGTERM')).toBe(false);
});

test('signal: a process that is not proven never gets one (I23)', async () => {
  const { id, child } = sleeper();
  expect(signal({ ...id, start_time: `${Number(id.start_time) + 1}` }, 'SIGKILL')).toBe(false);
  expect(signal({ ...id, boot_id: 'another' }, 'SIGKILL')).toBe(false);
  expect(signal({ ...id, start_time: '' }, 'SIGKILL')).toBe(false);
  expect(signal({ ...id, boot_id: '' }, 'SIGKILL')).toBe(false);
  expect(signal({ pid: -id.pid, start_time: id.start_time, boot_id: bootId() }, 'SIGKILL')).toBe(false);
  expect(liveness(id)).toBe('alive');
  // The proof that nothing was sent: the first signal it sees is the harmless one that follows.
  expect(signal(id, 'SIGTERM')).toBe(true);
  await child.exited;
  expect(child.signalCode).toBe('SIGTERM');
});

test('signal: an unknown name is refused', () => {
  expect(() => signal(ownIdentity(), 'SIGNOPE' as NodeJS.Signals)).toThrow('no signal SIGNOPE');
});
