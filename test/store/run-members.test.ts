import { expect, test } from 'bun:test';
import { stopSession } from '../../src/store/control.ts';
import { completeRun, createRun, ensureRun, findRun, listRuns } from '../../src/store/run.ts';
import { addToRun, removeFromRun } from '../../src/store/run-members.ts';
import { getSession } from '../../src/store/session.ts';
import { buryTurn } from '../../src/store/watch-act.ts';
import { endTurn, seedSession, type TestStore, takeTurn, testStore, verdictOf } from '../support/store.ts';

const refused = (code: string) => expect.objectContaining({ kind: 'refused', code });
const invalid = expect.objectContaining({ kind: 'usage', code: 'run_name_invalid' });
const unknown = (code: string) => expect.objectContaining({ kind: 'not_found', code });

const done = async (world: TestStore, id: string) => endTurn(world, await takeTurn(world, id));
const fail = async (world: TestStore, id: string) =>
  endTurn(world, await takeTurn(world, id), { ok: false, settle: { max_attempts: 1 } });
const stop = (world: TestStore, session_id: string) =>
  stopSession(world.store, { session_id, actor: 'cli', reason: 'enough', now: 5 });
const runOf = async (world: TestStore, id: string) => (await getSession(world.store, id))?.run_id;

async function group(name = 'cleanup') {
  const world = await testStore();
  const run = await createRun(world.store, { name, now: 1 });
  const seed = async (who: string, more: Parameters<typeof seedSession>[1] = {}) =>
    (await seedSession(world, { name: who, ...more })).id;
  const add = (...session_ids: string[]) => addToRun(world.store, { run_id: run.id, session_ids, now: 7 });
  const remove = (...session_ids: string[]) => removeFromRun(world.store, { run_id: run.id, session_ids, now: 7 });
  const status = async () => (await findRun(world.store, run.id)).status;
  return { world, run, seed, add, remove, status };
}

test('an empty run is started by name, once while it is active, and stays open (O-82)', async () => {
  const { world, run, seed, status } = await group();
  expect(run).toMatchObject({ name: 'cleanup', status: 'active', started_at: 1, agent_count: 0 });
  await expect(createRun(world.store, { name: 'cleanup', now: 2 })).rejects.toEqual(refused('run_name_taken'));
  for (const name of ['latest', run.id, 'No Name', ''])
    await expect(createRun(world.store, { name, now: 2 })).rejects.toEqual(invalid);
  await done(world, await seed('stranger'));
  expect(await status()).toBe('active');
  await completeRun(world.store, { id: run.id, status: 'completed', now: 3 });
  expect((await createRun(world.store, { name: 'cleanup', now: 4 })).id).not.toBe(run.id);
  expect(await listRuns(world.store)).toHaveLength(2);
});

test('sessions are put in and taken out; again changes nothing (O-82)', async () => {
  const { world, run, seed, add, remove } = await group();
  const [a, b] = [await seed('a'), await seed('b')];
  const before = await getSession(world.store, a);
  expect(await add(a, b, a)).toMatchObject({ changed: [a, b], run: { agent_count: 2, live_count: 2 } });
  expect(await add(b)).toMatchObject({ changed: [], run: { agent_count: 2 } });
  expect(await getSession(world.store, a)).toEqual({ ...(before as NonNullable<typeof before>), run_id: run.id });
  expect(await remove(b, b)).toMatchObject({ changed: [b], run: { agent_count: 1, status: 'active' } });
  expect(await runOf(world, b)).toBeNull();
  await expect(remove(b)).rejects.toEqual(refused('not_in_run'));
});

test('all of the sessions are moved or none (O-82)', async () => {
  const { world, run, seed, add, remove } = await group();
  const other = await createRun(world.store, { name: 'other', now: 2 });
  const [a, theirs] = [await seed('a'), await seed('theirs', { run_id: other.id })];
  await expect(add(a, theirs)).rejects.toEqual(refused('in_another_run'));
  expect(await runOf(world, a)).toBeNull();
  await expect(add(a, 'agent-nobody')).rejects.toEqual(unknown('session_not_found'));
  expect(await runOf(world, a)).toBeNull();
  await add(a);
  await expect(remove(a, theirs)).rejects.toEqual(refused('not_in_run'));
  expect(await runOf(world, a)).toBe(run.id);
  const nobody = { run_id: 'run-nobody', session_ids: [a], now: 7 };
  await expect(addToRun(world.store, nobody)).rejects.toEqual(unknown('run_not_found'));
  await expect(removeFromRun(world.store, nobody)).rejects.toEqual(unknown('run_not_found'));
});

test('a session is in one run at most; the way out takes it from the first (O-82)', async () => {
  const { world, run, seed, add } = await group();
  const other = await createRun(world.store, { name: 'other', now: 2 });
  const a = await seed('a', { run_id: other.id });
  const error = await add(a).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ details: { recovery_commands: [`drover run remove ${other.id} ${a}`] } });
  await removeFromRun(world.store, { run_id: other.id, session_ids: [a], now: 7 });
  await add(a);
  expect(await runOf(world, a)).toBe(run.id);
});

test('two people add one session to two runs at once: one of them gets it (O-82)', async () => {
  const world = await testStore();
  const stores = [world.store, await world.second()];
  const runs = await Promise.all(['one', 'two'].map((name) => createRun(world.store, { name, now: 1 })));
  for (let round = 0; round < 5; round += 1) {
    const { id } = await seedSession(world, { name: `s${round}` });
    const tried = await Promise.allSettled(
      runs.map((run, i) => addToRun(stores[i] ?? world.store, { run_id: run.id, session_ids: [id], now: 7 })),
    );
    expect(tried.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await runOf(world, id)).toBe(runs[tried.findIndex(({ status }) => status === 'fulfilled')]?.id ?? '');
  }
});

test('an ended run takes nobody, and what ended in it stays on its record; who lives may leave (O-82)', async () => {
  const { world, run, seed, add, remove, status } = await group();
  const [a, live, late] = [await seed('a'), await seed('live'), await seed('late')];
  await add(a, live);
  await done(world, a);
  await completeRun(world.store, { id: run.id, status: 'completed', now: 3 });
  await expect(add(late)).rejects.toEqual(refused('run_ended'));
  await expect(remove(a)).rejects.toEqual(refused('run_ended'));
  expect([await runOf(world, late), await runOf(world, a)]).toEqual([null, run.id]);
  const other = await createRun(world.store, { name: 'other', now: 4 });
  const move = (id: string) => addToRun(world.store, { run_id: other.id, session_ids: [id], now: 7 });
  const record = await move(a).catch((thrown: unknown) => thrown);
  expect(record).toMatchObject({ code: 'in_another_run', details: { hint: expect.stringContaining('record') } });
  expect(record).not.toHaveProperty('details.recovery_commands');
  expect(await remove(live)).toMatchObject({ changed: [live] });
  await move(live);
  expect(await runOf(world, live)).toBe(other.id);
  expect(await status()).toBe('completed');
});

test('what a plan starts stays in its run, and nothing else comes into it (O-82, C-12)', async () => {
  const { world, seed, add } = await group();
  const plan_run = await world.store.write((tx) => {
    const id = ensureRun(tx, 'night', 1);
    tx.run(
      `INSERT INTO plans (id, name, run_id, repo_root, working_dir, settings_json, state, created_at, updated_at)
       VALUES ('plan-a', 'night', :id, '/farm', '/farm', '{}', 'active', 1, 1)`,
      { id },
    );
    return id;
  });
  const [step, mine] = [await seed('step', { run_id: plan_run }), await seed('mine')];
  const change = { run_id: plan_run, now: 7 };
  const details = expect.objectContaining({ recovery_commands: ['drover plan show plan-a'] });
  const of_plan = expect.objectContaining({ code: 'run_of_plan', details });
  await expect(removeFromRun(world.store, { ...change, session_ids: [step] })).rejects.toEqual(of_plan);
  await expect(addToRun(world.store, { ...change, session_ids: [mine] })).rejects.toEqual(of_plan);
  await expect(add(step)).rejects.toEqual(of_plan);
  expect([await runOf(world, step), await runOf(world, mine)]).toEqual([plan_run, null]);
  await done(world, step);
  expect((await findRun(world.store, plan_run)).status).toBe('active');
});

test('it closes by itself with the last end, and then once (O-82)', async () => {
  const { world, run, seed, add, status } = await group();
  const [a, b] = [await seed('a'), await seed('b')];
  await add(a, b);
  await done(world, a);
  expect(await status()).toBe('active');
  await stop(world, b);
  const closed = await findRun(world.store, run.id);
  expect(closed).toMatchObject({ status: 'completed', live_count: 0 });
  expect(closed.completed_at).toBeGreaterThan(1);
  await fail(world, await seed('late', { run_id: run.id }));
  expect(await findRun(world.store, run.id)).toMatchObject({ status: 'completed', completed_at: closed.completed_at });
});

test('a run that sling has started closes as well (O-82)', async () => {
  const { world, seed } = await group();
  const id = await world.store.write((tx) => ensureRun(tx, 'nightly', 1));
  await done(world, await seed('a', { run_id: id }));
  expect((await findRun(world.store, id)).status).toBe('completed');
});

test('one that failed or died makes it failed, unless somebody took over from it (O-82)', async () => {
  const { world, seed, add, status } = await group();
  const [a, b] = [await seed('a'), await seed('b')];
  await add(a, b);
  await fail(world, a);
  expect(await status()).toBe('active');
  await done(world, b);
  expect(await status()).toBe('failed');

  const silent = await group('silent');
  const gone = await silent.seed('gone', { run_id: silent.run.id });
  const { turn } = await takeTurn(silent.world, gone);
  const verdict = verdictOf({ session_id: gone, turn: turn.turn });
  const end = { reason: 'stuck', terminated_by: 'tier0', notify_parent: true } as const;
  await buryTurn(silent.world.store, { verdict, events: null, rung: { level: 0, cause: 'silent' } }, end);
  expect((await getSession(silent.world.store, gone))?.state).toBe('zombie');
  expect(await silent.status()).toBe('failed');

  const again = await group('again');
  const [first, last] = [await again.seed('first'), await again.seed('last')];
  await again.add(first, last);
  await fail(again.world, first);
  await done(again.world, await again.seed('heir', { run_id: again.run.id, recovered_from: first }));
  await done(again.world, last);
  expect(await again.status()).toBe('completed');
});

test('a persistent session neither holds it open nor closes it; a living coordinator holds it (O-82, CX-52)', async () => {
  const { world, run, seed, add, status } = await group();
  const persistent = { run_id: run.id, is_persistent: 1 };
  const [guard, monitor] = [await seed('guard', persistent), await seed('watcher', { ...persistent, role: 'monitor' })];
  const chief = await seed('chief', { ...persistent, role: 'coordinator' });
  await stop(world, guard);
  const a = await seed('a');
  await add(a);
  await done(world, a);
  expect(await status()).toBe('active');
  await stop(world, chief);
  expect(await status()).toBe('completed');
  expect((await getSession(world.store, monitor))?.ended_at).toBeNull();
});

test('a run of persistent sessions alone waits for its first worker (O-82)', async () => {
  const { world, run, seed, status } = await group();
  await stop(world, await seed('chief', { run_id: run.id, is_persistent: 1, role: 'coordinator' }));
  expect(await findRun(world.store, run.id)).toMatchObject({ status: 'active', notified_at: null });
  await done(world, await seed('a', { run_id: run.id }));
  expect(await status()).toBe('completed');
});

test('taking out the last that lives closes it; taking out the last of all does not (O-82)', async () => {
  const { world, seed, add, remove, status } = await group();
  const [a, b] = [await seed('a'), await seed('b')];
  await add(b);
  await remove(b);
  expect(await status()).toBe('active');
  await add(a, b);
  await done(world, a);
  expect(await remove(b)).toMatchObject({ run: { status: 'completed', agent_count: 1 } });
});

test('an ended session counts as done: with a live one the run goes on, alone it is over at once (O-82)', async () => {
  const { world, seed, add, status } = await group();
  const [old, live] = [await seed('old'), await seed('live')];
  await done(world, old);
  expect(await add(old, live)).toMatchObject({ run: { status: 'active' } });
  await done(world, live);
  expect(await status()).toBe('completed');

  const only = await group('only');
  const ended = await only.seed('ended');
  await fail(only.world, ended);
  expect(await only.add(ended)).toMatchObject({ run: { status: 'failed' } });
});

test('a run is meant by id, then by name with the active one first; a shared prefix names all it fits (O-82)', async () => {
  const { store } = await testStore();
  const start = (id: string, name: string, now: number) => store.write((tx) => ensureRun(tx, name, now, () => id));
  await start('run-dddde', 'run-aaaac', 9);
  await start('run-aaaab', 'nightly', 5);
  await completeRun(store, { id: 'run-aaaab', status: 'completed', now: 6 });
  await start('run-aaaac', 'nightly', 1);
  const found = async (wanted: string) => (await findRun(store, wanted)).id;
  expect(await Promise.all(['nightly', 'run-aaaab', 'run-aaaac', 'dddd'].map(found))).toEqual([
    ...['run-aaaac', 'run-aaaab', 'run-aaaac', 'run-dddde'],
  ]);
  await expect(findRun(store, 'aaaa')).rejects.toMatchObject({
    ...{ kind: 'usage', code: 'run_ambiguous' },
    details: {
      hint: expect.stringMatching(/run-aaaab \(nightly\), run-aaaac \(nightly\)/),
      data: {
        candidates: [
          { id: 'run-aaaab', status: 'completed' },
          { id: 'run-aaaac', status: 'active' },
        ],
      },
    },
  });
});
