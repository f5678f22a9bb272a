import { describe, expect, test } from 'bun:test';
import type { PlanRow } from '../../src/model/plan.ts';
import type { StepFact } from '../../src/model/plan-facts.ts';
import { factsOf } from '../../src/model/plan-view.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { startStep } from '../../src/store/plan-step.ts';
import { planView } from '../../src/store/plan-view.ts';
import { getSession } from '../../src/store/session.ts';
import type { SettleInput } from '../../src/store/settle.ts';
import { judge } from '../../src/supervisor/observe.ts';
import { RunningTurn } from '../../src/supervisor/running.ts';
import { slingOf, storePlan } from '../support/plan.ts';
import { endTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

const TIMEOUT = 10_000;

async function slung(): Promise<{ world: TestStore; plan: PlanRow; session: SessionRow }> {
  const world = await testStore();
  const now = world.clock.now();
  const plan = await storePlan(world.store, 'name: n\nsteps: [{id: a, task: t}]\n', now);
  const sling = slingOf('do it', now);
  sling.draft.timeout_ms = TIMEOUT;
  const key = { plan_id: plan.id, step_id: 'a', round: 1, slot: 1 };
  const session = await startStep(world.store, { ...key, sling, actor: 'supervisor', now });
  return { world, plan, session: session as SessionRow };
}
const red = (world: TestStore): Partial<SettleInput> => {
  const at = world.clock.now();
  const run = { verdict: 'red', command: 'npm test', reason: 'exit code 1', output: 'no' } as const;
  return { gate: { run: { ...run, started_at: at, ended_at: at }, max_rounds: 9 } };
};
/** One turn of so long, its gate included, which stays red. */
async function redTurn(world: TestStore, id: string, ms: number): Promise<number | null> {
  const taken = await takeTurn(world, id);
  world.clock.advance(ms);
  await endTurn(world, taken, { settle: { ...red(world), now: world.clock.now() } });
  return taken.turn.allowed_ms;
}
const near = (ms: number | null, wanted: number) => Math.abs((ms ?? Number.NaN) - wanted) < 2_000;

describe('the timeout of a step bounds all turns of a try together', () => {
  test('each turn gets what the ones before have left, and what lies between them does not count', async () => {
    const { world, session } = await slung();
    expect(await redTurn(world, session.id, 3_000)).toBe(TIMEOUT);
    world.clock.advance(3_600_000);
    const left = await redTurn(world, session.id, 3_000);
    expect([left, near(left, 7_000)]).toEqual([left, true]);
    expect(await getSession(world.store, session.id)).toMatchObject({ state: 'idle', gate_round: 2 });
  });

  test('a turn is ended when it has used up what was left at its start', async () => {
    const { world, session } = await slung();
    await redTurn(world, session.id, 6_000);
    const taken = await takeTurn(world, session.id);
    const turn = new RunningTurn({
      ...{ session: taken.session, row: taken.turn, harness: null, identity: null, max_line_bytes: 1_000 },
    });
    const judged = (ran: number) =>
      judge(world.deps, turn, { closely: false, awake_since: 0, now: taken.turn.started_at + ran });
    expect(await judged(1_900)).toMatchObject({ act: 'none' });
    expect(await judged(5_000)).toMatchObject({ act: 'end', cause: 'timeout' });
  });

  test('when nothing is left there is no next turn: the try has timed out', async () => {
    const { world, plan, session } = await slung();
    await redTurn(world, session.id, 6_000);
    await redTurn(world, session.id, 6_000);
    expect(await getSession(world.store, session.id)).toMatchObject({ state: 'failed', end_reason: 'timeout' });
    const view = await planView(world.store, plan.id);
    if (view === null) throw new Error('no plan');
    const [step] = factsOf(view, new Map(), null, world.clock.now()).steps as [StepFact];
    expect(step.sessions).toMatchObject([{ state: 'ended', cause: 'timed_out' }]);
  });

  test('work that is good is taken, however late its gate was through', async () => {
    const { world, session } = await slung();
    const taken = await takeTurn(world, session.id);
    world.clock.advance(60_000);
    await endTurn(world, taken, { settle: { now: world.clock.now() } });
    expect((await getSession(world.store, session.id))?.state).toBe('completed');
  });

  test('a session of no step has it for each turn', async () => {
    const { world } = await slung();
    const { id } = await seedSession(world, { timeout_ms: TIMEOUT });
    expect([await redTurn(world, id, 6_000), await redTurn(world, id, 6_000)]).toEqual([null, null]);
    expect((await getSession(world.store, id))?.state).toBe('idle');
  });
});
