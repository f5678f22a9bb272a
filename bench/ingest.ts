import { closeSync, linkSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findHarness } from '../src/harness/registry.ts';
import { ingest } from '../src/store/ingest.ts';
import { getSession } from '../src/store/session.ts';
import type { Store } from '../src/store/store.ts';
import { RunningTurn } from '../src/supervisor/running.ts';
import { turnFiles } from '../src/sys/turn-files.ts';
import { atMost, type Figure, information, timesFloor } from './support/figure.ts';
import { cpuMs, interleave, median, until } from './support/measure.ts';
import { memoryOf, peakRss } from './support/proc.ts';
import type { Scale } from './support/scale.ts';
import { claim, openWorld, queueSession, ROOT, runner, type World } from './support/world.ts';

const MB = 1024 * 1024;
const CHUNK = 256 * 1024;

/** The way from a turn's output file into the database, against reading the lines and parsing them. */
export async function benchIngest({ small }: Scale): Promise<Figure[]> {
  return [...(await throughput(small)), ...(await longLine(small)), ...(await flood(small))];
}

async function throughput(small: boolean): Promise<Figure[]> {
  const world = await openWorld();
  const store = await world.open('normal');
  const bytes = (small ? 12 : 50) * MB;
  const figures: Figure[] = [];
  for (const kind of ['long', 'short'] as const) {
    const file = join(world.dir, `${kind}.jsonl`);
    const lines = writeMix(file, bytes, kind === 'long' ? LONG_TEXT : 0);
    const samples = await interleave(small ? 3 : 5, {
      floor: () => cpuMs(() => scan(file)),
      product: async () => {
        const turn = await runningTurn(world, file);
        return cpuMs(() => drain(store, turn));
      },
    });
    const perLine = (of: 'floor' | 'product') => (median(samples[of]) * 1000) / lines;
    const measured = { unit: 'µs', floor: perLine('floor'), product: perLine('product') };
    const note = `${lines} lines of ${Math.round(bytes / lines)} bytes`;
    figures.push(timesFloor(2, { name: `CPU per line, recorded, ${kind} texts`, ...measured, note }));
  }
  await world.close();
  return figures;
}

/** Bytes a message of a real task has; the recordings are of tasks of one word. */
const LONG_TEXT = 5_000;
const CODE = 'if (left.length > 0 && right !== null) {\n\treturn "neither";\n}\n';

/**
 * What the recorded runs of Claude Code said, over and over; returns the number of lines. With `text_bytes`, what was
 * said and what tools answered is filled up to that length.
 */
function writeMix(path: string, bytes: number, text_bytes = 0): number {
  const dir = join(ROOT, 'test/fixtures/harness/claude');
  const names = readdirSync(dir).filter((name) => name.endsWith('.jsonl'));
  const lines = names.flatMap((name) => readFileSync(join(dir, name), 'utf8').split('\n').filter(Boolean));
  const fill = (key: string, value: unknown) =>
    (key === 'text' || key === 'content') && typeof value === 'string'
      ? value + CODE.repeat(Math.max(0, text_bytes - value.length) / CODE.length)
      : value;
  const mix = Buffer.from(lines.map((line) => `${JSON.stringify(JSON.parse(line, fill))}\n`).join(''));
  const times = Math.ceil(bytes / mix.length);
  writeFileSync(path, Buffer.concat(Array.from({ length: times }, () => mix)));
  return times * lines.length;
}

/** The floor: cut at newlines, parse. */
function scan(path: string): void {
  const fd = openSync(path, 'r');
  let rest = Buffer.alloc(0);
  for (;;) {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const length = readSync(fd, chunk, 0, CHUNK, null);
    if (length === 0) break;
    const bytes = Buffer.concat([rest, chunk.subarray(0, length)]);
    let from = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, from)) {
      JSON.parse(bytes.toString('utf8', from, at));
      from = at + 1;
    }
    rest = bytes.subarray(from);
  }
  closeSync(fd);
}

/** A turn in flight whose output is `file`. */
async function runningTurn(world: World, file: string): Promise<RunningTurn> {
  const session = await queueSession(world, { harness: 'claude' });
  const dir = join(world.dir, session.id);
  mkdirSync(dir);
  linkSync(file, turnFiles(dir).stdout);
  const claimed = await claim(world, session.id, dir);
  return new RunningTurn({
    ...{ session: claimed.session, row: claimed.turn, harness: findHarness('claude', {}) },
    ...{ is_persistent: false, identity: null, max_line_bytes: 64 * MB },
  });
}

/** What the supervisor does for one turn until nothing is left to read. */
async function drain(store: Store, turn: RunningTurn): Promise<void> {
  while (turn.dirty) {
    const batch = turn.read(Date.now(), false);
    if (batch === null) continue;
    const [row] = await ingest(store, [batch]);
    if (row == null) throw new Error('the batch was refused');
    turn.row = row;
  }
}

/** One line of 8 MB and one of 32: four times as long has to be about four times as much work. */
async function longLine(small: boolean): Promise<Figure[]> {
  const world = await openWorld();
  const store = await world.open('normal');
  const way = (megabytes: number) => {
    const file = join(world.dir, `line-${megabytes}`);
    const text = 'x'.repeat(megabytes * MB);
    writeFileSync(file, `${JSON.stringify({ type: 'assistant', message: { content: [{ type: 'text', text }] } })}\n`);
    return async () => {
      const turn = await runningTurn(world, file);
      return cpuMs(() => drain(store, turn));
    };
  };
  const samples = await interleave(small ? 3 : 7, { short: way(8), long: way(32) });
  await world.close();
  const [floor, product] = [median(samples.short), median(samples.long)];
  // Four is straight; what is beyond it is fresh memory. Sixteen would be quadratic.
  return [timesFloor(6, { name: 'a line of 32 MB to one of 8 MB, CPU', unit: 'ms', floor, product })];
}

/** A harness that prints without end: the supervisor's memory must not follow. */
async function flood(small: boolean): Promise<Figure[]> {
  const times = small ? 6 : 40;
  const megabytes = 25;
  const world = await openWorld((dir) => ({
    turn: { max_log_bytes: 4096 * MB, max_attempts: 1 },
    harness_runners: {
      flood: { ...runner('flood.sh', [join(dir, 'mix.jsonl'), String(times)]), event_format: 'claude-stream-json' },
      once: { ...runner('flood.sh', [join(dir, 'mix.jsonl'), '1']), event_format: 'claude-stream-json' },
    },
  }));
  writeMix(join(world.dir, 'mix.jsonl'), megabytes * MB);
  const pid = await world.supervise();
  await runToEnd(world, pid, 'once');
  await Bun.sleep(1_000);
  const idle = memoryOf(pid).rss;
  const start = performance.now();
  const peak = await peakRss(pid, runToEnd(world, pid, 'flood'));
  const seconds = (performance.now() - start) / 1000;
  await world.close();
  const note = `${times * megabytes} MB through the supervisor; idle ${Math.round(idle)} MB`;
  return [
    atMost(64, { name: 'memory above idle under a flood', unit: 'MB', product: peak - idle, note }),
    information({ name: 'speed of that', unit: 'MB/s', product: (times * megabytes) / seconds }),
  ];
}

async function runToEnd(world: World, pid: number, harness: string): Promise<void> {
  const { id } = await queueSession(world, { harness });
  await until(
    `the end of ${harness}`,
    async () => {
      await Bun.sleep(50);
      process.kill(pid, 0);
      return (await getSession(world.store, id))?.ended_at ?? null;
    },
    600_000,
  );
}
