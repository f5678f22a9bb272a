import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { listVerdicts } from '../../src/store/verdict.ts';
import { Awake } from '../../src/watchdog/awake.ts';
import { Kills } from '../../src/watchdog/kills.ts';
import { Watcher } from '../../src/watchdog/watcher.ts';
import { feedTurn, seedSession, type TakenTurn, type TestStore, takeTurn, testStore } from '../support/store.ts';

export const TEXT: HarnessEvent = { type: 'text', text: 'hm' };
export const SETTINGS = { stale_ms: 300_000, zombie_ms: 900_000, nudge_interval_ms: 60_000, loop_repeats: 3 };
export const STALE = SETTINGS.stale_ms + 1;
export const STEP = SETTINGS.nudge_interval_ms + 1;

export async function watched(watchdog: Record<string, unknown> = {}, timers: Record<string, unknown> = {}) {
  const world = await testStore();
  const dir = join(world.deps.env.XDG_CONFIG_HOME ?? '', 'drover');
  mkdirSync(dir, { recursive: true });
  // The supervisor's timers are out of reach.
  const turn = { between_events_ms: '300d', first_event_ms: 0, tool_ms: 0, ...timers };
  writeFileSync(join(dir, 'config.yaml'), JSON.stringify({ turn, watchdog: { ...SETTINGS, ...watchdog } }));
  const log: string[] = [];
  const watcher = (may_act = true) =>
    new Watcher({
      deps: world.deps,
      awake: new Awake(world.clock.now(), world.clock.monotonic()),
      kills: new Kills(world.clock, (line) => log.push(line)),
      may_act,
      log: (line) => log.push(line),
    });
  return { world, watcher, log };
}

export async function atWork(world: TestStore, name: string, events: HarnessEvent[] = [TEXT]): Promise<TakenTurn> {
  const taken = await takeTurn(world, (await seedSession(world, { name })).id);
  mkdirSync(taken.turn.dir, { recursive: true });
  await feedTurn(world, taken, events);
  return taken;
}

/** Moves the clock as a machine that was awake all the time would see it: both hands. */
export function pass(world: TestStore, ms: number): void {
  world.clock.advance(ms);
  const before = world.clock.monotonic;
  world.clock.monotonic = () => before() + ms;
}

export const actsOf = async (world: TestStore, { session }: TakenTurn) =>
  (await listVerdicts(world.store, session.id)).map(({ health, act }) => `${health} ${act}`);
