import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { homePaths } from '../src/model/home.ts';
import { sling } from '../src/session/sling.ts';
import { startTurn } from '../src/session/turn.ts';
import { getSession } from '../src/store/session.ts';
import { takeLease } from '../src/store/turn.ts';
import { ring } from '../src/supervisor/ensure.ts';
import { makeSpares } from '../src/sys/spare.ts';
import { aboveFloor, type Figure, information, timesFloor } from './support/figure.ts';
import { interleave, median, percentile, until, wallMs } from './support/measure.ts';
import type { Scale } from './support/scale.ts';
import { stampAfter } from './support/stamp.ts';
import { DROVER, openWorld, queueSession, runner, type World } from './support/world.ts';

/** From a task to the first instruction of the harness, against starting the same program directly. */
export async function benchSpawn({ small }: Scale): Promise<Figure[]> {
  return [...(await slings(small ? 12 : 40)), ...(await turns(small ? 20 : 80))];
}

const config = (dir: string) => ({
  max_live_sessions: 10_000,
  harness_runners: { stamp: runner('stamp.sh', [], { STAMP_FILE: join(dir, 'stamps') }) },
});

async function slings(rounds: number): Promise<Figure[]> {
  const world = await openWorld(config);
  await world.supervise();
  const stamps = join(world.dir, 'stamps');
  const slinging: number[] = [];
  const stored: number[] = [];
  const operator = { name: 'operator', session: null };
  const samples = await interleave(rounds, {
    bare: async () => bare(world, stamps),
    product: async () => {
      const start = wallMs();
      const row = await sling(world.deps, operator, { task: 'count', cwd: world.repo, harness: 'stamp' });
      const between = wallMs();
      slinging.push(between - start);
      const rung = ring(world.home);
      const at = await stampAfter(stamps, between);
      stored.push(at - between);
      await rung;
      await ended(world, row.id);
      return at - start;
    },
    cli: async () => {
      const start = wallMs();
      const child = Bun.spawn([DROVER, 'sling', '--harness', 'stamp', '--quiet', 'count'], {
        ...{ cwd: world.repo, env: world.env, stdio: ['ignore', 'pipe', 'inherit'] },
      });
      const at = await stampAfter(stamps, start);
      await ended(world, (await child.stdout.text()).trim());
      return at - start;
    },
  });
  const floor = median(samples.bare);
  await world.close();
  const what = { unit: 'ms', floor };
  return [
    aboveFloor(25, { name: 'sling() to first instruction, p50', ...what, product: median(samples.product) }),
    information({ name: 'the same, p95', ...what, product: percentile(samples.product, 95) }),
    information({ name: 'stored task to first instruction', ...what, product: median(stored) }),
    information({ name: 'drover sling to first instruction', ...what, product: median(samples.cli) }),
    information({ name: 'sling() in process (git, checks, commit)', unit: 'ms', product: median(slinging) }),
  ];
}

/** One turn started in this process: claim, prompt, files, lock, launcher, row. */
async function turns(rounds: number): Promise<Figure[]> {
  const world = await openWorld(config);
  const stamps = join(world.dir, 'stamps');
  const fence = await takeLease(world.store, 'bench', Date.now());
  const calls: number[] = [];
  let spares = Promise.resolve();
  const samples = await interleave(rounds, {
    bare: () => bare(world, stamps),
    product: async () => {
      const { id } = await queueSession(world, {});
      const start = wallMs();
      const { started } = await startTurn(world.deps, id, fence);
      calls.push(wallMs() - start);
      if (started === null) throw new Error('the turn was not started');
      // As the supervisor does at its next look.
      spares = makeSpares(homePaths.spares(world.home));
      await started.exited;
      return (await stampAfter(stamps, start)) - start;
    },
  });
  await spares;
  await world.close();
  const floor = median(samples.bare);
  return [
    timesFloor(2, { name: 'one turn to its first instruction', unit: 'ms', floor, product: median(samples.product) }),
    information({ name: 'startTurn(), until all is recorded', unit: 'ms', floor, product: median(calls) }),
  ];
}

/** The same program with its output in new files, and nothing else. */
async function bare(world: World, stamps: string): Promise<number> {
  const start = wallMs();
  const dir = join(world.dir, `bare-${start}`);
  mkdirSync(dir);
  const files = ['stdout', 'stderr'].map((name) => openSync(join(dir, name), 'a', 0o600));
  const child = Bun.spawn([runner('stamp.sh').program], {
    ...{ cwd: world.repo, env: { ...world.env, STAMP_FILE: stamps }, detached: true },
    stdio: ['ignore', files[0] ?? null, files[1] ?? null],
  });
  for (const file of files) closeSync(file);
  await child.exited;
  return (await stampAfter(stamps, start)) - start;
}

async function ended(world: World, id: string): Promise<void> {
  await until(`the end of ${id}`, async () => ((await getSession(world.store, id))?.ended_at == null ? null : true));
}
