import { afterAll, expect, test } from 'bun:test';
import { appendFileSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { turnFiles } from '../../src/sys/turn-files.ts';
import { type Bench, DROVER, droverBench } from '../support/drover.ts';
import {
  endTurn,
  feedTurn,
  seedSession,
  type TakenTurn,
  type TestStore,
  takeTurn,
  testStore,
} from '../support/store.ts';
import { until } from '../support/until.ts';

async function filled(): Promise<{ world: TestStore; bench: Bench; turn: TakenTurn }> {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const row = await seedSession(world, { name: 'worker' });
  const turn = await takeTurn(world, row.id);
  mkdirSync(turn.turn.dir, { recursive: true });
  return { world, bench, turn };
}

const SPOKEN: HarnessEvent[] = [
  { type: 'session', native_session_id: 'native-1', model: 'm', version: '1' },
  { type: 'text', text: 'hello \u001b[31mworld' },
  { type: 'tool_use', tool: 'Edit', tool_id: 't1', input: '{}', files: [{ path: 'a.txt', action: 'create' }] },
  { type: 'tool_result', tool_id: 't1', is_error: true, output: 'no such file' },
  {
    type: 'limit',
    limit: {
      kind: 'rate_limit',
      status: 429,
      message: 'slow down',
      resets_at: null,
      retry_after_ms: null,
      final: false,
    },
  },
  {
    type: 'usage',
    mode: 'turn',
    tokens: {
      input_tokens: 1_200,
      output_tokens: 30,
      cache_read_tokens: 5_000,
      cache_write_tokens: 0,
      reasoning_tokens: 0,
    },
  },
  { type: 'custom', name: 'new_thing' },
];

test('logs renders every kind of event for people, without terminal control', async () => {
  const { world, bench, turn } = await filled();
  await feedTurn(world, turn, SPOKEN);
  const { code, stdout, stderr } = await bench.run(['logs', 'worker']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout.split('\n')).toEqual([
    '── turn 1 ──',
    'session native-1 m 1',
    'hello world',
    '→ Edit {} (create a.txt)',
    '✗ no such file',
    '! rate_limit: slow down',
    'tokens in 1.2k, out 30, 5.0k cached, so far',
    '',
  ]);
});

test('--json prints one event per line with ISO times; --turn picks one turn', async () => {
  const { world, bench, turn } = await filled();
  await feedTurn(world, turn, SPOKEN);
  await endTurn(world, turn, { ok: false });
  const second = await takeTurn(world, turn.session.id);
  await feedTurn(world, second, [{ type: 'text', text: 'again' }]);
  const lines = async (...args: string[]) =>
    (await bench.run(['logs', 'worker', '--json', ...args])).stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  const all = await lines();
  expect(all.map((event) => event.seq)).toEqual(all.map((_, i) => i + 1));
  expect(all[0]).toMatchObject({ type: 'sling', turn: null, at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) });
  expect((await lines('--turn', '2')).map((event) => event.type)).toEqual(['turn_start', 'text']);
  expect((await bench.json<{ error: { code: string } }>(['logs', 'worker', '--turn', '3'], 4)).error.code).toBe(
    'turn_not_found',
  );
  expect((await bench.run(['logs', 'worker', '--turn', '0'])).code).toBe(2);
});

test('--raw is the harness’s output byte for byte, of one turn or all', async () => {
  const { world, bench, turn } = await filled();
  const bytes = Buffer.concat([
    Buffer.from('{"a":1}\n'),
    Buffer.from([0xff, 0x00, 0x1b, 0x0a]),
    Buffer.from('no newline'),
  ]);
  writeFileSync(turnFiles(turn.turn.dir).stdout, bytes);
  await endTurn(world, turn, { ok: false });
  const second = await takeTurn(world, turn.session.id);
  mkdirSync(second.turn.dir, { recursive: true });
  writeFileSync(turnFiles(second.turn.dir).stdout, 'second\n');
  const raw = async (...args: string[]) => {
    const child = Bun.spawn([DROVER, 'logs', 'worker', '--raw', ...args], {
      cwd: bench.repo,
      env: bench.env,
      stdout: 'pipe',
    });
    return Buffer.from(await new Response(child.stdout).arrayBuffer());
  };
  expect(await raw('--turn', '1')).toEqual(bytes);
  expect(await raw()).toEqual(Buffer.concat([bytes, Buffer.from('second\n')]));
  rmSync(join(world.home, 'sessions'), { recursive: true });
  expect((await bench.json<{ error: { code: string } }>(['logs', 'worker', '--raw'], 4)).error.code).toBe('files_gone');
});

test('a long text is shown whole as long as the harness’s output is on disk, then its start', async () => {
  const { world, bench, turn } = await filled();
  const text = `${'word '.repeat(600)}end`;
  const said: HarnessEvent = { type: 'text', text };
  writeFileSync(turnFiles(turn.turn.dir).stdout, `${JSON.stringify(said)}\n`);
  await feedTurn(world, turn, [said]);
  const shown = async () => {
    const { stdout } = await bench.run(['logs', 'worker', '--json']);
    const [event] = stdout.split('\n').filter((line) => line.includes('"type":"text"'));
    return {
      people: (await bench.run(['logs', 'worker'])).stdout,
      data: JSON.parse(JSON.parse(event ?? '').data_json),
    };
  };
  expect(await shown()).toEqual({ people: `── turn 1 ──\n${text}\n`, data: { text } });
  rmSync(turn.turn.dir, { recursive: true });
  const head = `${text.slice(0, 200)}…`;
  expect(await shown()).toEqual({ people: `── turn 1 ──\n${head}\n`, data: { text: head, is_cut: true } });
});

const started: { kill(signal: NodeJS.Signals): void; exited: Promise<number> }[] = [];

afterAll(async () => {
  for (const child of started) child.kill('SIGKILL');
  await Promise.all(started.map((child) => child.exited));
});

const SPARSE_BYTES = 400 * 1024 * 1024;

test('a log of any size streams with flat memory, however slow its reader is', async () => {
  const { bench, turn } = await filled();
  const out = turnFiles(turn.turn.dir).stdout;
  writeFileSync(out, '');
  truncateSync(out, SPARSE_BYTES);
  const child = Bun.spawn([DROVER, 'logs', 'worker', '--raw'], { cwd: bench.repo, env: bench.env, stdout: 'pipe' });
  started.push(child);
  let bytes = 0;
  let peak_kb = 0;
  for await (const chunk of child.stdout) {
    bytes += chunk.length;
    // The pipe holds less than what is left, so the writer still lives.
    if (peak_kb === 0 && bytes > 0.8 * SPARSE_BYTES)
      peak_kb = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]);
  }
  expect({ code: await child.exited, bytes }).toEqual({ code: 0, bytes: SPARSE_BYTES });
  expect(peak_kb).toBeGreaterThan(1024);
  expect(peak_kb).toBeLessThan(150 * 1024);
}, 60_000);

test('a reader that leaves ends it quietly', async () => {
  const { world, bench, turn } = await filled();
  writeFileSync(turnFiles(turn.turn.dir).stdout, 'x'.repeat(1_000_000));
  await feedTurn(world, turn, [{ type: 'text', text: 'y'.repeat(1_000_000) }]);
  for (const flag of ['--raw', '--json']) {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's own
    const text = '"$1" logs worker "$2" | head -c 10 | wc -c; echo "${PIPESTATUS[0]}"';
    const run = Bun.spawnSync(['bash', '-c', text, 'bash', DROVER, flag], { cwd: bench.repo, env: bench.env });
    expect({ out: run.stdout.toString(), err: run.stderr.toString() }).toEqual({ out: '10\n0\n', err: '' });
  }
});

/** A `logs -f` at work; `text()` is what it has printed so far. */
function follow(bench: Bench, ...args: string[]) {
  const child = Bun.spawn([DROVER, 'logs', 'worker', '-f', ...args], {
    cwd: bench.repo,
    env: bench.env,
    stdout: 'pipe',
    stderr: 'pipe',
  });
  started.push(child);
  let text = '';
  const reading = (async () => {
    for await (const chunk of child.stdout) text += Buffer.from(chunk).toString();
  })();
  return { child, text: () => text, end: async () => [await child.exited, await reading] };
}

test('-f shows events as they come, over turns, and ends with the session', async () => {
  const { world, bench, turn } = await filled();
  const log = follow(bench);
  await until('the first line', () => log.text().includes('turn 1'));
  await feedTurn(world, turn, [{ type: 'text', text: 'live one' }]);
  await until('the event', () => log.text().includes('live one'));
  await endTurn(world, turn, { ok: false });
  const second = await takeTurn(world, turn.session.id);
  await feedTurn(world, second, [{ type: 'text', text: 'live two' }]);
  await until('the next turn', () => log.text().includes('live two'));
  expect(log.child.exitCode).toBeNull();
  await endTurn(world, second);
  await log.end();
  expect(log.child.exitCode).toBe(0);
  expect(log.text()).toEndWith('── turn 2: completed (ok) ──\n');
  expect(log.text().match(/live one/g)).toHaveLength(1);
});

test('-f --raw tails the file, goes on with the next turn and ends with the session', async () => {
  const { world, bench, turn } = await filled();
  const out = turnFiles(turn.turn.dir).stdout;
  writeFileSync(out, 'one\n');
  const log = follow(bench, '--raw');
  await until('the first line', () => log.text() === 'one\n');
  appendFileSync(out, 'half a li');
  await until('the half line', () => log.text() === 'one\nhalf a li');
  appendFileSync(out, 'ne\n');
  // Woken by the file itself: one wait per line for the slow look at the database would outlast the test.
  let expected = 'one\nhalf a line\n';
  for (let n = 0; n < 12; n += 1) {
    appendFileSync(out, `${n}\n`);
    expected += `${n}\n`;
    await until(`line ${n}`, () => log.text() === expected);
  }
  await endTurn(world, turn, { ok: false });
  const second = await takeTurn(world, turn.session.id);
  mkdirSync(second.turn.dir, { recursive: true });
  writeFileSync(turnFiles(second.turn.dir).stdout, 'two\n');
  await until('the next turn', () => log.text().endsWith('two\n'));
  appendFileSync(turnFiles(second.turn.dir).stdout, 'the end\n');
  await endTurn(world, second);
  await log.end();
  expect(log.child.exitCode).toBe(0);
  expect(log.text()).toBe(`${expected}two\nthe end\n`);
}, 20_000);

test.each(['--json', '--raw'])('Ctrl-C ends a follower (%s) at once with 130', async (flag) => {
  const { bench, turn } = await filled();
  writeFileSync(turnFiles(turn.turn.dir).stdout, 'one\n');
  const log = follow(bench, flag);
  await until('it has started', () => log.text() !== '');
  log.child.kill('SIGINT');
  await log.end();
  expect({ code: log.child.exitCode, signal: log.child.signalCode }).toEqual({ code: 130, signal: null });
});
