import { describe, expect, test } from 'bun:test';
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  writeFileSync,
} from 'node:fs';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';
import { MAIN, only, rehearse, start } from './rehearse.ts';

/** Field `n` of /proc/<pid>/stat, counted as in proc(5). */
function statOf(pid: number, field: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[field - 3] ?? '';
}

describe('faults on the stream (faults: streams)', () => {
  test('print writes raw bytes: NUL, invalid UTF-8, no newline', async () => {
    const { bytes } = await rehearse({
      steps: [{ print: '\\xff\\0a\\nb\\\\' }, { print: { base64: '/wAB' } }, { print: 'ü\\x0a' }, 'no_result'],
    });
    const lines = bytes();
    const start = lines.indexOf(10) + 1;
    const expected = [0xff, 0, 97, 10, 98, 92, 0xff, 0, 1, 0xc3, 0xbc, 10];
    expect([...lines.subarray(start)]).toEqual(expected);
  });

  test('print, line and flood can go to standard error', async () => {
    const { stderr, events } = await rehearse({
      steps: [
        { print: { raw: 'oops\\n', to: 'stderr' } },
        { line: { bytes: 100, to: 'stderr' } },
        { flood: { events: 2, to: 'stderr' } },
      ],
    });
    expect(
      stderr()
        .split('\n')
        .map((line) => line.length),
    ).toEqual([4, 100, 128, 128, 0]);
    expect(events().map((event) => event.type)).toEqual(['session', 'usage', 'result']);
  });

  test('line is one event of exactly so many bytes', async () => {
    for (const size of [64, 65_536, 3_000_001]) {
      const { bytes, events } = await rehearse({ steps: [{ line: size }] });
      const second = bytes().toString('latin1').split('\n')[1] ?? '';
      expect(second.length).toBe(size);
      expect(only(events(), 'text').length).toBe(1);
    }
  });

  test('flood is many events of a size', async () => {
    const { bytes, events } = await rehearse({ steps: [{ flood: { events: 5_000, bytes: 200 } }] });
    expect(only(events(), 'text').length).toBe(5_000);
    expect(bytes().length).toBeGreaterThan(5_000 * 201);
  });

  test('a full pipe that does not block loses nothing', async () => {
    const cwd = tempDir('slow-reader');
    writeFileSync(`${cwd}/s.yaml`, 'turns: [[{touch: started}, {flood: {events: 300, bytes: 9999}}, no_result]]');
    expect(Bun.spawnSync(['mkfifo', `${cwd}/pipe`]).exitCode).toBe(0);
    const reader = openSync(`${cwd}/pipe`, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(`${cwd}/pipe`, constants.O_WRONLY | constants.O_NONBLOCK);
    const play = [process.execPath, '--no-env-file', '--config=/dev/null', MAIN, '--script', 's.yaml'];
    // By way of a shell, because Bun makes the first three descriptors of its children block.
    const child = Bun.spawn(['sh', '-c', 'exec "$@" >&3', 'sh', ...play], {
      cwd,
      stdio: ['ignore', 'ignore', 'inherit', writer],
    });
    closeSync(writer);
    await until('the flood has begun', () => existsSync(`${cwd}/started`));
    const bytes = await drain(reader);
    closeSync(reader);
    expect([await child.exited, bytes.length - bytes.indexOf(10) - 1]).toEqual([0, 300 * 10_000]);
  });
});

/** Everything until the last writer is gone. */
async function drain(fd: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  return until('the end of the pipe', () => {
    for (;;) {
      const part = Buffer.alloc(64 * 1024);
      try {
        const size = readSync(fd, part);
        if (size === 0) return Buffer.concat(parts);
        parts.push(part.subarray(0, size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        return null;
      }
    }
  });
}

describe('processes that do not end as they should', () => {
  test('daemon leaves a process of its own session behind that holds the output', async () => {
    const { events, pid } = await rehearse({ steps: [{ daemon: 300_000 }] });
    const daemon = Number(only(events(), 'status')[0]?.detail);
    try {
      expect(daemon).not.toBe(pid);
      expect(statOf(daemon, 6)).toBe(String(daemon));
      expect(readlinkSync(`/proc/${daemon}/fd/1`)).toEndWith('/stdout');
    } finally {
      process.kill(daemon, 'SIGKILL');
    }
  });

  test('daemon may close the output, stay in the session and lose the environment', async () => {
    const env = { REHEARSED_MARK: 'here' };
    const plain = await rehearse({ steps: [{ daemon: { ms: 300_000 } }], env });
    const bare = await rehearse({
      steps: [{ daemon: { ms: 300_000, setsid: false, stdout: 'close', clean_env: true } }],
      env,
    });
    const [first = 0, second = 0] = [plain, bare].map((each) => Number(only(each.events(), 'status')[0]?.detail));
    try {
      expect(readFileSync(`/proc/${first}/environ`, 'utf8')).toContain('REHEARSED_MARK=here');
      expect(readFileSync(`/proc/${second}/environ`, 'utf8')).not.toContain('REHEARSED_MARK');
      expect(readlinkSync(`/proc/${second}/fd/1`)).toBe('/dev/null');
      expect(statOf(second, 6)).not.toBe(String(second));
    } finally {
      for (const pid of [first, second]) process.kill(pid, 'SIGKILL');
    }
  });

  test('hang stays until it is ended, and an ignored signal does not end it', async () => {
    const rehearsal = start({ steps: [{ ignore_signals: ['TERM', 'INT'] }, { touch: 'ready' }, 'hang'] });
    await until('it hangs', () => existsSync(`${rehearsal.cwd}/ready`));
    const caught = () =>
      BigInt(`0x${/^SigCgt:\s*(\w+)/m.exec(readFileSync(`/proc/${rehearsal.pid}/status`, 'utf8'))?.[1] ?? '0'}`);
    expect([15n, 2n].map((signal) => (caught() >> (signal - 1n)) & 1n)).toEqual([1n, 1n]);
    process.kill(rehearsal.pid, 'SIGTERM');
    process.kill(rehearsal.pid, 'SIGINT');
    const pending = () => /^(?:Sig|Shd)Pnd:\s*0*[1-9a-f]/m.test(readFileSync(`/proc/${rehearsal.pid}/status`, 'utf8'));
    await until('both signals are taken', () => !pending());
    expect(rehearsal.process.exitCode).toBe(null);
    process.kill(rehearsal.pid, 'SIGKILL');
    await rehearsal.process.exited;
    expect(rehearsal.process.signalCode).toBe('SIGKILL');
    expect(only(rehearsal.events(), 'result')).toEqual([]);
  });

  test('hang without ignore_signals is ended by SIGTERM', async () => {
    const rehearsal = start({ steps: [{ touch: 'ready' }, 'hang'] });
    await until('it hangs', () => existsSync(`${rehearsal.cwd}/ready`));
    process.kill(rehearsal.pid, 'SIGTERM');
    await rehearsal.process.exited;
    expect(rehearsal.process.signalCode).toBe('SIGTERM');
  });

  test('hang can close its output and live on', async () => {
    const rehearsal = start({ steps: [{ say: 'last' }, { hang: { close_stdout: true } }] });
    const hasOutput = () => existsSync(`/proc/${rehearsal.pid}/fd/1`);
    await until('it said its last', () => rehearsal.bytes().includes('last'));
    await until('it closed its output', () => !hasOutput());
    expect(rehearsal.process.exitCode).toBe(null);
    process.kill(rehearsal.pid, 'SIGKILL');
    await rehearsal.process.exited;
  });

  test('linger lives on after its result, for a time or until it is ended', async () => {
    const began = performance.now();
    const short = await rehearse({ steps: [{ say: 'x' }, { linger: 100 }] });
    expect(performance.now() - began).toBeGreaterThan(100);
    expect([short.code, only(short.events(), 'result').length]).toEqual([0, 1]);
    const long = start({ steps: [{ say: 'x' }, 'linger'] });
    await until('the result is out', () => only(long.events(), 'result').length === 1);
    expect(long.process.exitCode).toBe(null);
    process.kill(long.pid, 'SIGTERM');
    await long.process.exited;
    expect(only(long.events(), 'result').length).toBe(1);
  });

  test('crash dies of a signal, with everything written that was said before', async () => {
    const killed = await rehearse({ steps: [{ say: 'x' }, 'crash'] });
    expect([killed.code, killed.signal, killed.events().map((event) => event.type)]).toEqual([
      null,
      'SIGKILL',
      ['session', 'text'],
    ]);
    expect((await rehearse({ steps: [{ crash: 'HUP' }] })).signal).toBe('SIGHUP');
  });
});
