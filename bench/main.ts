/**
 * `npm run bench [-- --small] [-- --only NAME] [-- --json FILE]`: what drover costs, as ratios to the same work without it.
 *
 * Floor and product are measured in turns within one run, so the ratios mean the same on every machine; the absolute
 * numbers do not. A goal that is missed is shown, not an error: the exit code is 1 only when a bench could not run.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Figure, table } from './support/figure.ts';
import type { Scale } from './support/scale.ts';
import { closeWorlds, ROOT } from './support/world.ts';

type Bench = (scale: Scale) => Promise<Figure[]>;

const BENCHES: Record<string, () => Promise<Bench>> = {
  start: async () => (await import('./start.ts')).benchStart,
  spawn: async () => (await import('./spawn.ts')).benchSpawn,
  ingest: async () => (await import('./ingest.ts')).benchIngest,
  recovery: async () => (await import('./recovery.ts')).benchRecovery,
  fleet: async () => (await import('./fleet.ts')).benchFleet,
  mail: async () => (await import('./mail.ts')).benchMail,
  watch: async () => (await import('./watch.ts')).benchWatch,
  store: async () => (await import('./store.ts')).benchStore,
  reserve: async () => (await import('./reserve.ts')).benchReserve,
  queue: async () => (await import('./queue.ts')).benchQueue,
  plan: async () => (await import('./plan.ts')).benchPlan,
};

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      small: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true },
      json: { type: 'string', default: join(ROOT, '.tmp/bench.json') },
    },
  });
  const names = values.only ?? Object.keys(BENCHES);
  const groups = new Map<string, Figure[]>();
  let failed = 0;
  for (const name of names) {
    const load = BENCHES[name];
    if (load === undefined) {
      console.error(`bench: no bench ${name} (${Object.keys(BENCHES).join(', ')})`);
      return 2;
    }
    console.error(`bench: ${name} …`);
    try {
      groups.set(name, await (await load())({ small: values.small }));
    } catch (error) {
      failed += 1;
      console.error(`bench: ${name} could not run:`, error);
    } finally {
      await closeWorlds();
    }
  }
  console.log(table(groups));
  mkdirSync(dirname(values.json), { recursive: true });
  const machine = { bun: Bun.version, cpus: cpus().length, model: cpus()[0]?.model ?? 'unknown' };
  const benches = Object.fromEntries(groups);
  writeFileSync(values.json, `${JSON.stringify({ small: values.small, machine, benches }, null, 2)}\n`);
  return failed === 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void closeWorlds().finally(() => process.exit(130)));
}
process.exit(await main());
