import { expect, test } from 'bun:test';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TreeEnd } from '../../src/session/end-tree.ts';
import { stopSession } from '../../src/store/control.ts';
import { listGateRuns } from '../../src/store/gate-list.ts';
import { getTurn } from '../../src/store/turn.ts';
import { RunningTurn } from '../../src/supervisor/running.ts';
import { TurnGates } from '../../src/supervisor/turn-gates.ts';
import { field } from '../session/field.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { CLEAN_EVENTS, feedTurn, takeTurn } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const TREE: TreeEnd = { proven_empty: true, killed: [], survivors: [], leftovers: 0 };

/** A turn that claims to be done in a worktree with changes, and a gate that runs as long as the test wants. */
async function claiming() {
  const here = await field();
  const marks = tempDir('gate-marks');
  const [runs, go] = [join(marks, 'runs'), join(marks, 'go')];
  const wait = `echo run >> ${runs}; until test -e ${go}; do sleep 0.02; done; cat ${go}; ! grep -q red ${go}`;
  here.config.gate = { commands: [wait], timeout_ms: 60_000, max_rounds: 2 };
  const row = await here.settled('builder');
  writeFileSync(join(row.worktree_path, 'work.txt'), 'x');
  const claim = async () => {
    const taken = await takeTurn(here.world, row.id);
    mkdirSync(taken.turn.dir, { recursive: true, mode: 0o700 });
    writeFileSync(join(taken.turn.dir, 'exit.json'), JSON.stringify({ code: 0, uptime: '1.00' }));
    await feedTurn(here.world, taken, CLEAN_EVENTS);
    return new RunningTurn({
      ...{ session: taken.session, row: taken.turn, harness: null, identity: null, max_line_bytes: 1_000 },
    });
  };
  const supervisor = () => {
    const stop = new AbortController();
    return { stop, gates: new TurnGates({ deps: here.deps, log: () => undefined }, stop.signal) };
  };
  const begun = (times: number) =>
    until(`gate ${times} runs`, () => existsSync(runs) && readFileSync(runs, 'utf8').split('\n').length > times);
  return { here, row, claim, supervisor, begun, go, now: () => here.now(row) };
}

test('the session is at work until its gate has spoken; red sends it back, red again holds it, green completes', async () => {
  const { here, row, claim, supervisor, begun, go, now } = await claiming();
  const { gates } = supervisor();
  const work = gates.settle(await claim(), TREE);
  await begun(1);
  expect((await now()).state).toBe('working');
  writeFileSync(go, 'red\n');
  await work;
  expect(await now()).toMatchObject({ state: 'idle', gate_round: 1 });
  await gates.settle(await claim(), TREE);
  expect(await now()).toMatchObject({ state: 'parked', parked_reason: 'gate', gate_round: 2 });
  await here.resume(row);
  writeFileSync(go, 'green\n');
  await gates.settle(await claim(), TREE);
  expect(await now()).toMatchObject({ state: 'completed', gate_round: 0 });
  const runs = await listGateRuns(here.world.store, row.id);
  expect(runs.map(({ turn, verdict, output }) => [turn, verdict, output])).toEqual([
    [1, 'red', 'red'],
    [2, 'red', 'red'],
    [3, 'green', ''],
  ]);
}, 60_000);

test('a supervisor that ends settles nothing; the next one runs the gate again, and settles once', async () => {
  const { here, row, claim, supervisor, begun, go, now } = await claiming();
  const first = supervisor();
  const turn = await claim();
  const work = first.gates.settle(turn, TREE);
  await begun(1);
  first.stop.abort();
  await work;
  await assertNoLeaks(row.worktree_path, 0);
  expect((await now()).state).toBe('working');
  expect((await getTurn(here.world.store, row.id, 1))?.ended_at).toBeNull();
  writeFileSync(go, 'green\n');
  await Promise.all([supervisor().gates.settle(turn, TREE), begun(2)]);
  expect((await now()).state).toBe('completed');
  expect(await listGateRuns(here.world.store, row.id)).toHaveLength(1);
  await supervisor().gates.settle(turn, TREE);
  expect(await listGateRuns(here.world.store, row.id)).toHaveLength(1);
}, 60_000);

test('a stop is not made to wait for the gate', async () => {
  const { here, row, claim, supervisor, begun, now } = await claiming();
  const { gates } = supervisor();
  const work = gates.settle(await claim(), TREE);
  await begun(1);
  await stopSession(here.world.store, { session_id: row.id, actor: 'cli', reason: 'enough', now: 9 });
  gates.interrupt(row.id);
  await work;
  expect((await now()).state).toBe('stopped');
  expect((await getTurn(here.world.store, row.id, 1))?.ended_at).not.toBeNull();
  expect(await listGateRuns(here.world.store, row.id)).toEqual([]);
  await assertNoLeaks(row.worktree_path, 0);
}, 60_000);

test('stopped while the worktree was looked at: the gate never begins, although nobody says so again', async () => {
  const { here, row, claim, supervisor, go } = await claiming();
  let isClaimed = false;
  // Its settlement asked for a gate: what is written from here on is written before that begins.
  const config_for = async (root: string) => {
    if (isClaimed) await stopSession(here.world.store, { session_id: row.id, actor: 'cli', reason: 'enough', now: 9 });
    return here.deps.config_for(root);
  };
  const store = new Proxy(here.world.store, {
    get: (target, key) => {
      return async (work: never) => {
        try {
          return await target[key as 'read' | 'write'](work);
        } catch (error) {
          isClaimed = true;
          throw error;
        }
      };
    },
  });
  const { stop } = supervisor();
  const turn = await claim();
  const gates = new TurnGates({ deps: { ...here.deps, store, config_for }, log: () => undefined }, stop.signal);
  await gates.settle(turn, TREE);
  expect(isClaimed).toBe(true);
  expect(existsSync(join(go, '../runs'))).toBe(false);
  expect((await here.now(row)).state).toBe('stopped');
}, 60_000);

test('a turn that drover ended after its result is judged like any other, however often the loop names it', async () => {
  const { here, row, claim, supervisor, begun, go, now } = await claiming();
  const turn = await claim();
  await here.world.store.write((tx) =>
    tx.run("UPDATE turns SET end_cause = 'lingering' WHERE session_id = :id", { id: row.id }),
  );
  const { gates } = supervisor();
  const work = gates.settle(turn, TREE);
  await begun(1);
  for (let i = 0; i < 5; i += 1) {
    gates.interrupt(row.id);
    await Bun.sleep(1);
  }
  appendFileSync(go, 'green\n');
  await work;
  expect((await now()).state).toBe('completed');
  expect(readFileSync(join(go, '../runs'), 'utf8')).toBe('run\n');
}, 60_000);
