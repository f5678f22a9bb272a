import { join } from 'node:path';
import { advance } from '../src/model/plan-advance.ts';
import type { PlanFacts, StepFact } from '../src/model/plan-facts.ts';
import { draftPlan } from '../src/plan/draft.ts';
import { advancePlan } from '../src/plan/run.ts';
import { newMemory } from '../src/plan/scene.ts';
import { getPlan, insertPlan } from '../src/store/plan.ts';
import { ring } from '../src/supervisor/ensure.ts';
import { atMost, type Figure, information, timesFloor } from './support/figure.ts';
import { interleave, median, percentile, until } from './support/measure.ts';
import type { Scale } from './support/scale.ts';
import { openWorld, ROOT, runner, type World } from './support/world.ts';

const WIDE = 8;
const STEPS = 10_000;
/** Seconds; far less than any model takes for a turn. */
const THINK = '0.5';

/** A plan of steps that do nothing, against the same program without drover; and what one look at a large plan costs. */
export async function benchPlan({ small }: Scale): Promise<Figure[]> {
  return [...(await noops(small ? 100 : 1_000, small ? 32 : 160)), ...(await looks(small ? 30 : 200))];
}

async function noops(steps: number, thinking: number): Promise<Figure[]> {
  const world = await openWorld(() => ({
    ...{ max_live_sessions: 10_000, watchdog: { is_enabled: false } },
    harness_runners: { noop: runner('noop.sh'), thinker: runner('noop.sh', [], { THINK }) },
  }));
  await world.supervise();
  const samples = await interleave(1, {
    floor: () => xargs(world, steps, ''),
    product: () => plan(world, steps, 'noop'),
    floor_thinking: () => xargs(world, thinking, THINK),
    product_thinking: () => plan(world, thinking, 'thinker'),
  });
  await world.close();
  const of = (name: keyof typeof samples) => ({ unit: 'ms', product: median(samples[name]) });
  const floor = median(samples.floor);
  return [
    timesFloor(1.6, {
      ...{ ...of('product'), name: `${steps} steps that do nothing, ${WIDE} wide`, floor },
      note: `floor: xargs -P ${WIDE} of the same program, ${(floor / steps).toFixed(1)} ms each; drover: ${(of('product').product / steps).toFixed(1)} ms`,
    }),
    information({
      ...of('product_thinking'),
      ...{ name: `${thinking} steps that think ${THINK} s, ${WIDE} wide`, floor: median(samples.floor_thinking) },
      note: 'what drover adds to work that takes its time',
    }),
  ];
}

async function xargs(world: World, steps: number, think: string): Promise<number> {
  const noop = join(ROOT, 'bench/bin/noop.sh');
  const start = performance.now();
  const child = Bun.spawn(['xargs', '-P', String(WIDE), '-n', '1', noop], {
    ...{ cwd: world.repo, env: { ...world.env, THINK: think }, stdout: 'ignore', stderr: 'inherit' },
    stdin: new Blob([Array.from({ length: steps }, (_, i) => `${i}\n`).join('')]),
  });
  if ((await child.exited) !== 0) throw new Error(`xargs: exit ${child.exitCode}`);
  return performance.now() - start;
}

/** From the stored plan to its end. */
async function plan(world: World, steps: number, harness: string): Promise<number> {
  const text = JSON.stringify({
    ...{ name: 'noops', concurrency: WIDE, defaults: { worktree: false, harness } },
    steps: Array.from({ length: steps }, (_, i) => ({ id: `s${i}`, task: `do nothing, ${i}` })),
  });
  const draft = await draftPlan(world.deps, { text, file: null, cwd: world.repo });
  const start = performance.now();
  const { id } = await insertPlan(world.store, draft);
  await ring(world.home);
  const ended = await until('the plan to end', () => endedPlan(world, id), 600_000);
  const taken = performance.now() - start;
  if (ended.state !== 'completed') throw new Error(`the plan is ${ended.state}: ${ended.reason}`);
  return taken;
}

/** A look now and then, so that it costs the supervisor nothing. */
async function endedPlan(world: World, id: string) {
  await Bun.sleep(20);
  const row = await getPlan(world.store, id);
  return row === null || row.ended_at === null ? null : row;
}

async function looks(rounds: number): Promise<Figure[]> {
  const shapes = {
    'nothing done': graph(0),
    'half done': graph(STEPS / 2),
    'a chain, half done': graph(STEPS / 2, true),
  };
  const samples = await interleave(
    rounds,
    Object.fromEntries(Object.entries(shapes).map(([name, facts]) => [name, () => timed(() => advance(facts, 1_000))])),
  );
  const figures = Object.entries(samples).map(([name, times]) =>
    atMost(10, {
      ...{ name: `advance, ${STEPS} steps, ${name}`, unit: 'ms', product: median(times) },
      note: `p95 ${percentile(times, 95).toFixed(1)} ms`,
    }),
  );
  return [...figures, await fromDatabase(Math.min(rounds, 10))];
}

function timed(work: () => unknown): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

/** Every step needs up to three of the hundred before it (of a chain, the one before); the first `done` are done. */
function graph(done: number, is_chain = false): PlanFacts {
  let seed = 1;
  const random = (below: number) => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  const steps = Array.from({ length: STEPS }, (_, i): StepFact => {
    const near = Array.from({ length: random(4) }, () => `s${i - 1 - random(Math.min(i, 100))}`);
    const needs = i === 0 ? [] : is_chain ? [`s${i - 1}`] : [...new Set(near)];
    return {
      ...{ id: `s${i}`, kind: 'task', group_id: null, needs, foreach: null, list: null, when: 'all_ok', attempts: 1 },
      ...{ retry: { max: 0, on: [] }, merge: 'none', pool: 'p', state: i < done ? 'done' : 'pending', outcome: null },
      ...{ round: 1, dropped: 0, not_before_at: null, session_id: i < done ? `agent-${i}` : null, sessions: [] },
    };
  });
  return {
    plan: {
      ...{ concurrency: WIDE, pools: {}, budget: null, window: null, on_failure: 'continue', state: 'active' },
      ...{ stop_when: { failed_steps: null, cost_micros: null, quota_left: null }, stopping: null },
      is_window_open: null,
    },
    ...{ spent: { cost_micros: 0, tokens: 0 }, quota_left: null, shut_pools: new Map(), steps },
  };
}

/** The whole of a look at as many steps in the database, with nothing to do: reading, joining, deciding. */
async function fromDatabase(rounds: number): Promise<Figure> {
  const world = await openWorld(() => ({ default_harness: 'noop', harness_runners: { noop: runner('noop.sh') } }));
  const text = JSON.stringify({
    ...{ name: 'large', concurrency: WIDE, window: { start: '00:00', stop: '00:01', timezone: 'UTC' } },
    steps: Array.from({ length: STEPS }, (_, i) => ({ id: `s${i}`, task: 't', needs: i < 3 ? [] : [`s${i - 3}`] })),
  });
  const { id } = await insertPlan(world.store, await draftPlan(world.deps, { text, file: null, cwd: world.repo }));
  const memory = newMemory();
  const noon = Date.UTC(2026, 0, 1, 12);
  const samples = await interleave(rounds, {
    look: async () => {
      const start = performance.now();
      await advancePlan(world.deps, id, noon, memory);
      return performance.now() - start;
    },
  });
  await world.close();
  return information({ name: `a whole look at ${STEPS} stored steps`, unit: 'ms', product: median(samples.look) });
}
