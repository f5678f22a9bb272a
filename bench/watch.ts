import { systemClock } from '../src/sys/clock.ts';
import { Awake } from '../src/watchdog/awake.ts';
import { Kills } from '../src/watchdog/kills.ts';
import { Watcher } from '../src/watchdog/watcher.ts';
import { atMost, type Figure, information } from './support/figure.ts';
import { median, percentile } from './support/measure.ts';
import type { Scale } from './support/scale.ts';
import { seedSessions } from './support/seed.ts';
import { openWorld } from './support/world.ts';

const SESSIONS = 10_000;

/** One look of the watchdog at a large fleet in which everybody is at work. */
export async function benchWatch({ small }: Scale): Promise<Figure[]> {
  const world = await openWorld();
  await seedSessions(world, { count: SESSIONS, live: SESSIONS });
  await world.store.write((tx) => {
    const now = systemClock.now();
    tx.run("UPDATE sessions SET state = 'working', tool_calls = 2");
    tx.run('UPDATE turns SET ended_at = NULL, outcome = NULL, first_event_at = :now, last_event_at = :now', { now });
  });
  const log = (line: string) => console.error(line);
  const watcher = new Watcher({
    deps: world.deps,
    awake: new Awake(systemClock.now(), systemClock.monotonic()),
    kills: new Kills(systemClock, log),
    may_act: true,
    log,
  });
  const samples: number[] = [];
  for (let round = 0; round <= (small ? 10 : 40); round += 1) {
    const start = performance.now();
    const report = await watcher.tick(30_000);
    if (report.watched !== SESSIONS || report.looked !== 0 || report.failures.length > 0)
      throw new Error(`the look went wrong: ${JSON.stringify(report)}`);
    if (round > 0) samples.push(performance.now() - start);
  }
  await world.close();
  const name = `watchdog tick over ${SESSIONS.toLocaleString('en')} live sessions`;
  return [
    atMost(50, { name, unit: 'ms', product: median(samples) }),
    information({ name: 'the slowest tenth begins at', unit: 'ms', product: percentile(samples, 90) }),
  ];
}
