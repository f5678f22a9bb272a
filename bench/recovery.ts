import { ring } from '../src/supervisor/ensure.ts';
import { atMost, type Figure, information } from './support/figure.ts';
import { until } from './support/measure.ts';
import type { Scale } from './support/scale.ts';
import { openWorld, queueSession, runner, type World } from './support/world.ts';

/** A start, and what it may take per child: two seconds for five hundred. */
const START_MS = 500;
const CHILD_MS = 3;

/** How long children whose supervisor was killed are without one, from the kill to the last that is followed again. */
export async function benchRecovery({ small }: Scale): Promise<Figure[]> {
  const children = small ? 100 : 500;
  const world = await openWorld(() => ({
    max_live_sessions: 10_000,
    // It would bring a supervisor back by itself, some seconds later.
    watchdog: { is_enabled: false },
    harness_runners: { quiet: runner('quiet.sh') },
  }));
  const first = await world.supervise();
  for (let i = 0; i < children; i += 1) await queueSession(world, { harness: 'quiet', task: `wait ${i}` });
  await until('the children to work', async () => ((await count(world, WORKING)) === children ? true : null), 300_000);
  const start = performance.now();
  process.kill(first, 'SIGKILL');
  await world.supervise();
  const answers = performance.now() - start;
  await until('the last child', async () => ((await followed(world)) === children ? true : null), 60_000);
  const all = performance.now() - start;
  const [turns, working] = [await count(world, TURNS), await count(world, WORKING)];
  if (turns !== children || working !== children)
    throw new Error(`of ${children} children ${working} work, in ${turns} turns`);
  await world.close();
  return [
    atMost(START_MS + CHILD_MS * children, {
      ...{ name: `a killed supervisor, to the last of ${children} children`, unit: 'ms', product: all },
      note: 'its successor is started at once',
    }),
    information({ name: 'of it, until it answers', unit: 'ms', product: answers }),
  ];
}

const WORKING = "SELECT count(*) AS n FROM sessions WHERE state = 'working' AND ended_at IS NULL";
const TURNS = 'SELECT count(*) AS n FROM turns';

async function count({ store }: World, sql: string): Promise<number> {
  await Bun.sleep(5);
  return store.read((tx) => tx.get<{ n: number }>(sql)?.n ?? 0);
}

/** Turns that the supervisor says it follows. */
async function followed({ home }: World): Promise<number> {
  const reply = await ring(home, 'status');
  return reply === null ? 0 : (JSON.parse(reply) as { running: number }).running;
}
