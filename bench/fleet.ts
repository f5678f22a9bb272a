import { appendFileSync } from 'node:fs';
import { atMost, type Figure, information } from './support/figure.ts';
import { until } from './support/measure.ts';
import { cpuShare, memoryOf } from './support/proc.ts';
import type { Scale } from './support/scale.ts';
import { seedSessions } from './support/seed.ts';
import { openWorld, queueSession, runner, type World } from './support/world.ts';

/** Events per second of the whole fleet. */
const RATE = 1_000;
/** After their start two idle processes still compile what they do all day, and tidy up their heaps. */
const WARM_MS = 25_000;

/** What the supervisor itself costs with many sessions: running, talking, and waiting. */
export async function benchFleet({ small }: Scale): Promise<Figure[]> {
  return [
    ...(await running(small ? 100 : 1_000, small ? 3_000 : 10_000)),
    ...(await idle(small ? 20_000 : 60_000, small ? 0.4 : 0.2)),
  ];
}

async function running(sessions: number, ms: number): Promise<Figure[]> {
  const world = await openWorld(() => ({
    max_live_sessions: 10_000,
    harness_runners: { quiet: runner('quiet.sh') },
  }));
  const pid = await world.supervise();
  await Bun.sleep(500);
  const alone = memoryOf(pid);
  for (let i = 0; i < sessions; i += 1) await queueSession(world, { harness: 'quiet', task: `wait ${i}` });
  const start = performance.now();
  await until('the fleet to work', async () => (await working(world)) === sessions || null, 300_000);
  const seconds = (performance.now() - start) / 1000;
  await Bun.sleep(2_000);
  const silent = await cpuShare(pid, ms);
  const memory = memoryOf(pid);
  const files = await outputs(world);
  const talk = talker(files);
  // What is hot gets compiled first.
  await Bun.sleep(ms / 2);
  const talking = await cpuShare(pid, ms);
  const written = await talk.stop();
  const stored = await until('the last event', () => storedAll(world, written.lines), 30_000);
  await world.close();
  const fleet = `${sessions} running sessions`;
  return [
    atMost(60 + 0.1 * sessions, {
      ...{ name: `memory, ${fleet}`, unit: 'MB', product: memory.rss },
      note: `alone ${Math.round(alone.rss)} MB, proportional ${Math.round(memory.pss)} MB`,
    }),
    atMost(10, {
      ...{ name: `CPU at ${RATE} events/s, ${fleet}`, unit: '%', product: talking },
      note: `${stored} of ${written.lines} events stored, ${Math.round(written.rate)}/s written`,
    }),
    information({ name: `CPU in silence, ${fleet}`, unit: '%', product: silent }),
    information({
      name: 'starts per second',
      unit: '/s',
      product: sessions / seconds,
      note: 'the harness and its launcher included',
    }),
  ];
}

async function working({ store }: World): Promise<number> {
  const count = "SELECT count(*) AS n FROM sessions WHERE state = 'working' AND ended_at IS NULL";
  await Bun.sleep(100);
  return store.read((tx) => tx.get<{ n: number }>(count)?.n ?? 0);
}

async function outputs({ store }: World): Promise<string[]> {
  const rows = await store.read((tx) => tx.all<{ dir: string }>('SELECT dir FROM turns WHERE ended_at IS NULL'));
  return rows.map(({ dir }) => `${dir}/stdout.jsonl`);
}

/** How many events of the talk are in the database; null while some are missing. */
async function storedAll({ store }: World, expected: number): Promise<number | null> {
  const count = "SELECT count(*) AS n FROM events WHERE type = 'text'";
  const n = await store.read((tx) => tx.get<{ n: number }>(count)?.n ?? 0);
  await Bun.sleep(50);
  return n >= expected ? n : null;
}

/** Says `RATE` events a second in the name of the harnesses: in every tick another few of them say one each. */
function talker(files: readonly string[]): { stop: () => Promise<{ lines: number; rate: number }> } {
  const line = `${JSON.stringify({ type: 'text', text: 'x'.repeat(300) })}\n`;
  const start = performance.now();
  let lines = 0;
  let isOver = false;
  const talk = async () => {
    while (!isOver) {
      for (const due = ((performance.now() - start) / 1000) * RATE; lines < due; lines += 1) {
        appendFileSync(files[lines % files.length] ?? '', line);
      }
      await Bun.sleep(5);
    }
  };
  const over = talk();
  return {
    stop: async () => {
      isOver = true;
      await over;
      return { lines, rate: lines / ((performance.now() - start) / 1000) };
    },
  };
}

/**
 * A home full of sessions that wait for mail, and nothing to do: the supervisor, and its watchdog. The kernel tells their
 * CPU in ticks of 10 ms, four numbers of it: over a short while that is as much as the goal, which is wider there.
 */
async function idle(ms: number, goal: number): Promise<Figure[]> {
  const sessions = 1_000;
  const world = await openWorld();
  await seedSessions(world, { count: sessions, live: sessions });
  const supervisor = await world.supervise();
  const watchdog = await until('the watchdog', () => world.watchdog());
  const both = (over: number) => Promise.all([cpuShare(supervisor, over), cpuShare(watchdog, over)]);
  const [own_early, beside_early] = await both(WARM_MS);
  const [own, beside] = await both(ms);
  const memory = [supervisor, watchdog].map((pid) => Math.round(memoryOf(pid).rss));
  await world.close();
  return [
    atMost(goal, {
      name: `CPU with ${sessions} idle sessions, supervisor and watchdog`,
      unit: '%',
      product: own + beside,
      note: `supervisor ${own.toFixed(2)} %, watchdog ${beside.toFixed(2)} %; ${memory.join(' and ')} MB`,
    }),
    information({ name: `in the ${WARM_MS / 1000} s before`, unit: '%', product: own_early + beside_early }),
  ];
}
