import { describe, expect, test } from 'bun:test';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { getSession } from '../../src/store/session.ts';
import type { Store } from '../../src/store/store.ts';
import { getTurn } from '../../src/store/turn.ts';
import { feedTurn, type TakenTurn, type TestStore } from '../support/store.ts';
import { actsOf, atWork, pass, SETTINGS, TEXT, watched } from './watched.ts';

const LOOK = 30_000;
const use = (id: string, input: string): HarnessEvent => ({
  ...{ type: 'tool_use', tool: 'Bash', tool_id: id, input, files: [] },
});
const poll = (id: string, output = 'pending'): HarnessEvent[] => [
  use(id, 'gh pr checks'),
  { type: 'tool_result', tool_id: id, output, is_error: false },
];
const DONE: HarnessEvent = { type: 'result', ok: true, reason: 'success', text: 'done', model_turns: 1, denials: [] };
const polls = (times: number) => Array.from({ length: times }, (_, i) => poll(`p${i}`)).flat();

async function stateOf(world: TestStore, { session }: TakenTurn) {
  const turn = await getTurn(world.store, session.id, 1);
  return [(await getSession(world.store, session.id))?.state, turn?.end_cause];
}

/** Runs `during` once, in the middle of the next look: between its first read and all that come after. */
function inTheMiddle(world: TestStore, during: () => Promise<void>): void {
  const store = world.deps.store as { -readonly [key in keyof Store]: Store[key] };
  const read = store.read.bind(store);
  let reads = 0;
  store.read = (async (work: Parameters<Store['read']>[0]) => {
    reads += 1;
    if (reads === 2) await during();
    return read(work);
  }) as Store['read'];
}

/** A session that has been talking for two hours, with so many new words that the next look is a close one. */
async function talking() {
  const bench = await watched({}, { between_events_ms: 600_000 });
  const { world } = bench;
  const taken = await atWork(world, 'busy');
  const one = bench.watcher();
  for (let i = 0; i < 240; i += 1) {
    pass(world, LOOK);
    await feedTurn(world, taken, [TEXT]);
    await one.tick(LOOK);
  }
  await feedTurn(
    world,
    taken,
    Array.from({ length: 16 }, () => TEXT),
  );
  pass(world, LOOK);
  return { world, taken, one };
}

describe('a look that takes long ends nobody (faults 13, 14)', () => {
  test('what is said while a slow look lasts is no event from the future', async () => {
    const { world, taken, one } = await talking();
    inTheMiddle(world, async () => {
      pass(world, 2_500);
      await feedTurn(world, taken, [TEXT]);
    });
    expect(await one.tick(LOOK)).toMatchObject({ looked: 1, findings: [], wakefulness: 'steady' });
    expect(await stateOf(world, taken)).toEqual(['working', null]);
  }, 60_000);

  test.each([
    ['the machine sleeps', 0],
    ['everybody is stopped', 8 * 3_600_000],
  ])(
    '%s in the middle of a look: every age starts anew',
    async (_, monotonic) => {
      const { world, taken, one } = await talking();
      inTheMiddle(world, async () => {
        world.clock.advance(8 * 3_600_000);
        const before = world.clock.monotonic;
        world.clock.monotonic = () => before() + monotonic;
      });
      const report = await one.tick(24 * 3_600_000);
      expect([report.looked, report.findings, report.wakefulness]).toEqual([1, [], monotonic > 0 ? 'gap' : 'jump']);
      expect(await stateOf(world, taken)).toEqual(['working', null]);
    },
    20_000,
  );
});

describe('a loop that has been left is none (fault 49)', () => {
  /** Eight polls that said the same, then something else, and six minutes of looks. */
  async function after(events: HarnessEvent[], each: (i: number) => HarnessEvent[] = () => []) {
    const { world, watcher } = await watched({ loop_repeats: 8, stale_ms: 3_600_000, zombie_ms: 7_200_000 });
    const taken = await atWork(world, 'poller', polls(8));
    const one = watcher();
    const found: string[] = [];
    const look = async () => {
      pass(world, LOOK);
      found.push(...(await one.tick(LOOK)).findings.map(({ health, act }) => `${health} ${act}`));
    };
    await look();
    await feedTurn(world, taken, events);
    for (let i = 0; i < 12; i += 1) {
      await feedTurn(world, taken, each(i));
      await look();
    }
    return { world, taken, found };
  }

  test('another, long tool call: noted before it, and nothing afterwards', async () => {
    const { world, taken, found } = await after([use('b', 'make -j all')]);
    expect(found).toEqual(['looping note']);
    expect(await stateOf(world, taken)).toEqual(['working', null]);
  }, 60_000);

  test('one that was begun before the first look: not even noted', async () => {
    const { world, watcher } = await watched({ loop_repeats: 8 });
    const taken = await atWork(world, 'poller', [...polls(8), use('b', 'make -j all')]);
    pass(world, LOOK);
    expect((await watcher().tick(LOOK)).findings).toEqual([]);
    expect(await actsOf(world, taken)).toEqual([]);
  }, 60_000);

  test('minutes of prose: no step after the note, and at last it is well', async () => {
    const { world, taken, found } = await after([], (i) => [
      { type: 'text', text: `paragraph ${i}: ${'x'.repeat(180)}` },
    ]);
    expect([found[0], found.includes('looping nudge'), found.at(-1)]).toEqual(['looping note', false, 'looping none']);
    expect(found.length).toBeLessThan(8);
    expect((await actsOf(world, taken)).at(-1)).toBe('ok none');
    expect(await stateOf(world, taken)).toEqual(['working', null]);
  }, 60_000);

  test('it goes on polling: then it is one, and ended', async () => {
    const { world, taken } = await after([], (i) => poll(`q${i}`));
    const acts = (await actsOf(world, taken)).slice(0, 3);
    expect(acts).toEqual(['looping note', 'looping nudge', 'looping terminate']);
    expect(await stateOf(world, taken)).toEqual(['zombie', 'stuck']);
  }, 60_000);

  test.each([
    ['its result', DONE],
    ['another call', use('b', 'make')],
  ])(
    '%s comes between look and act: nothing is done',
    async (_, event) => {
      const { world, watcher } = await watched({ loop_repeats: 8 });
      const taken = await atWork(world, 'poller', polls(8));
      const one = watcher();
      const step = async () => {
        // Later than the step before, and not in the same millisecond.
        pass(world, 1);
        await feedTurn(world, taken, poll('again'));
        pass(world, SETTINGS.nudge_interval_ms + 1);
        return (await one.tick(SETTINGS.nudge_interval_ms + 1)).findings[0];
      };
      expect([(await step())?.act, (await step())?.act]).toEqual(['note', 'nudge']);
      const store = world.deps.store as { -readonly [key in keyof Store]: Store[key] };
      const write = store.write.bind(store);
      store.write = (async (work: Parameters<Store['write']>[0]) => {
        store.write = write;
        await feedTurn(world, taken, [event]);
        return write(work);
      }) as Store['write'];
      await feedTurn({ ...world, store: await world.second() }, taken, poll('last'));
      pass(world, SETTINGS.nudge_interval_ms + 1);
      const report = await one.tick(SETTINGS.nudge_interval_ms + 1);
      expect(report.findings).toMatchObject([{ act: 'terminate', landed: false }]);
      expect(await stateOf(world, taken)).toEqual(['working', null]);
    },
    20_000,
  );
});
