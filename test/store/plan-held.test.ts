import { expect, test } from 'bun:test';
import type { PlanRow, StopCause } from '../../src/model/plan.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { resumeSession, stopSession } from '../../src/store/control.ts';
import { movePlan, setPlanWindow, stopPlan } from '../../src/store/plan.ts';
import { cancelPlan, sessionsCalledOff, startStep } from '../../src/store/plan-step.ts';
import { getSession } from '../../src/store/session.ts';
import { dispatchable } from '../../src/store/turn.ts';
import { slingOf, storePlan } from '../support/plan.ts';
import { endTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

const PLAN = `
name: night
steps:
  - {id: a, task: first}
  - {id: b, task: second}
`;

/** Two sessions of a plan that were slung, the first has had a turn and waits for its next one; and one of no plan. */
async function slung(text = PLAN): Promise<{ world: TestStore; plan: PlanRow; begun: SessionRow; fresh: SessionRow }> {
  const world = await testStore();
  const now = world.clock.now();
  const plan = await storePlan(world.store, text, now);
  const start = async (step_id: string) => {
    const key = { plan_id: plan.id, step_id, round: 1, slot: 1 };
    const row = await startStep(world.store, { ...key, sling: slingOf('do it', now), actor: 'supervisor', now });
    return row as SessionRow;
  };
  const [begun, fresh] = [await start('a'), await start('b')];
  await endTurn(world, await takeTurn(world, begun.id), { ok: false, settle: { max_attempts: 3, backoff_ms: 0 } });
  return { world, plan, begun, fresh };
}
const startable = async ({ store, clock }: TestStore) => new Set(await dispatchable(store, clock.now() + 1, 10));

type Rest = (world: TestStore, id: string) => Promise<unknown>;
const move =
  (to: 'paused' | 'active'): Rest =>
  ({ store, clock }, id) =>
    movePlan(store, { id, to, reason: null, now: clock.now() });
const window =
  (is_open: boolean): Rest =>
  ({ store, clock }, id) =>
    setPlanWindow(store, { id, is_open, now: clock.now() });

test.each<[what: string, rest: Rest, goOn: Rest]>([
  ['is paused', move('paused'), move('active')],
  ['has its window closed', window(false), window(true)],
])(
  'while a plan %s no session of it begins, whoever dispatches; who has begun goes on (C-12)',
  async (_, rest, goOn) => {
    const { world, plan, begun, fresh } = await slung();
    const other = await seedSession(world);
    await rest(world, plan.id);
    expect(await startable(world)).toEqual(new Set([begun.id, other.id]));
    await expect(takeTurn(world, fresh.id)).rejects.toThrow('no turn to claim');
    expect(await getSession(world.store, fresh.id)).toMatchObject({ state: 'queued', turn: 0 });
    world.clock.advance(10);
    expect((await takeTurn(world, begun.id)).turn.turn).toBe(2);
    await goOn(world, plan.id);
    expect(await startable(world)).toEqual(new Set([fresh.id, other.id]));
    expect((await takeTurn(world, fresh.id)).turn.turn).toBe(1);
  },
);

test.each<[cause: StopCause, when: string, begins: boolean]>([
  ['usd', 'all_ok', false],
  ['on_failure', 'all_ok', false],
  ['on_failure', 'always', true],
  ['usd', 'always', false],
])(
  'once a plan stops early (%s) a session of a step that is to come %s begins: %p (C-12)',
  async (cause, when, begins) => {
    const { world, plan, begun, fresh } = await slung(PLAN.replace('task: second', `task: second, when: ${when}`));
    await stopPlan(world.store, { id: plan.id, cause, now: world.clock.now() });
    expect(await startable(world)).toEqual(new Set(begins ? [begun.id, fresh.id] : [begun.id]));
    if (begins) expect((await takeTurn(world, fresh.id)).turn.turn).toBe(1);
    else {
      await expect(takeTurn(world, fresh.id)).rejects.toThrow('no turn to claim');
      await cancelPlan(world.store, { id: plan.id, reason: 'r', now: world.clock.now() });
      // Also when whoever was to stop it died: it never begins by itself, and is found.
      expect(await startable(world)).toEqual(new Set([begun.id]));
      expect(await sessionsCalledOff(world.store)).toEqual([fresh.id]);
      await stopSession(world.store, {
        session_id: fresh.id,
        actor: 'supervisor',
        reason: 'r',
        now: world.clock.now(),
      });
      expect(await sessionsCalledOff(world.store)).toEqual([]);
      const brief = { ...slingOf('go', 1).brief, from_id: null };
      const asked = { session_id: fresh.id, brief, interrupt_reason: 'r', always_brief: true, now: world.clock.now() };
      await resumeSession(world.store, asked);
      expect(await startable(world)).toEqual(new Set([begun.id, fresh.id]));
    }
  },
);
