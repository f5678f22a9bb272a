import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import type { Patience } from '../../src/merge/lock.ts';
import { mergeSession, rebaseSession } from '../../src/merge/one.ts';
import { mergeLockPath } from '../../src/model/merge-place.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { plainGit } from '../git/plain.ts';
import { commit, type Field, field } from './field.ts';
import { type Holder, holdLock } from './lock-holder.ts';

/** A target that somebody else merges into, and a clock that only moves when somebody sleeps. */
async function occupied() {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const holder = await holdLock(mergeLockPath(world.home, world.repo, 'main'));
  const stop = new AbortController();
  const told: string[] = [];
  const naps: number[] = [];
  let at = 0;
  let onNap: (nth: number) => Promise<void> = async () => undefined;
  const clock = {
    now: () => world.clock.now(),
    monotonic: () => at,
    sleep: async (ms: number) => {
      at += ms;
      naps.push(ms);
      if (naps.length > 100) throw new Error('it waits for ever');
      await onNap(naps.length);
    },
  };
  const deps = { ...world.deps, clock };
  const patient = (wait_ms: number): Patience => ({ wait_ms, onWait: (why) => told.push(why) });
  const request = { row, into: null, by: 'operator', signal: stop.signal };
  const merge = (patience?: Patience) =>
    mergeSession(deps, { ...request, is_clean: true, dry_run: false, ...(patience ? { patience } : {}) });
  const rebase = (patience?: Patience) => rebaseSession(deps, { ...request, ...(patience ? { patience } : {}) });
  const napping = (act: (nth: number) => Promise<void>) => {
    onNap = act;
  };
  return { world, row, holder, stop, told, naps, merge, rebase, patient, napping };
}

async function state(world: Field) {
  return [
    plainGit(world.repo, 'for-each-ref'),
    plainGit(world.repo, 'status', '--porcelain', '--branch'),
    await world.all('SELECT * FROM sessions'),
    await world.all('SELECT * FROM merges'),
  ];
}

async function done(holder: Holder, world: Field, row: SessionRow) {
  await holder.release();
  expect(existsSync(row.worktree_path ?? '')).toBe(true);
  return state(world);
}

test('a merge, a rebase and the queue are refused at once while another merge into the target runs (O-84)', async () => {
  const { world, row, holder, naps, merge, rebase } = await occupied();
  const before = await state(world);
  for (const call of [() => merge(), () => rebase(), () => world.queue()])
    await expect(call()).rejects.toMatchObject({
      kind: 'refused',
      code: 'merge_running',
      details: { data: { pid: holder.pid } },
    });
  expect(naps).toEqual([]);
  expect(await done(holder, world, row)).toEqual(before);
});

test('one that waits takes its turn when the other is done (O-84)', async () => {
  const { world, row, holder, told, naps, merge, patient, napping } = await occupied();
  napping(async (nth) => {
    if (nth === 3) await holder.release();
  });
  expect(await merge(patient(60_000))).toMatchObject({ outcome: 'merged', session_id: row.id, cleaned_worktree: true });
  expect(naps).toHaveLength(3);
  expect(told).toEqual([expect.stringContaining(`process ${holder.pid} is merging into main`)]);
  expect(plainGit(world.repo, 'show', 'main:a.txt')).toBe('a');
});

test('the queue waits for its target as well', async () => {
  const { world, row, holder } = await occupied();
  const freed: Promise<void>[] = [];
  const patience = { wait_ms: 60_000, onWait: () => freed.push(holder.release()) };
  expect(await world.queue({ patience })).toMatchObject({ merged: [{ session_id: row.id }], exit_code: 0 });
  expect(freed).toHaveLength(1);
});

test('a rebase waits as well, and then stands on what the other has merged', async () => {
  const { world, row, holder, rebase, patient, napping } = await occupied();
  let main = '';
  napping(async () => {
    main = commit(world.repo, { 'b.txt': 'b\n' });
    await holder.release();
  });
  expect(await rebase(patient(60_000))).toMatchObject({ outcome: 'rebased', already_up_to_date: false });
  expect(plainGit(row.worktree_path ?? '', 'rev-parse', 'HEAD^')).toBe(main);
});

test('nobody waits longer than was said, and then nothing has changed', async () => {
  const { world, row, holder, naps, merge, rebase, patient } = await occupied();
  const before = await state(world);
  await expect(merge(patient(1_100))).rejects.toMatchObject({ kind: 'refused', code: 'merge_running' });
  expect(naps.reduce((sum, ms) => sum + ms, 0)).toBe(1_100);
  await expect(rebase(patient(1))).rejects.toMatchObject({ kind: 'refused', code: 'merge_running' });
  expect(naps.at(-1)).toBe(1);
  expect(await done(holder, world, row)).toEqual(before);
});

test('whoever waits can be told to stop, and then nothing has changed', async () => {
  const { world, row, holder, stop, naps, merge, patient, napping } = await occupied();
  const before = await state(world);
  napping(async () => stop.abort());
  await expect(merge(patient(60_000))).rejects.toMatchObject({ kind: 'interrupted', code: 'interrupted' });
  expect(naps).toHaveLength(1);
  expect(await done(holder, world, row)).toEqual(before);
});

test('what was merged while it waited is in, and that is said; a rebase of it is refused', async () => {
  const { world, row, holder, merge, rebase, patient, napping } = await occupied();
  napping(async () => {
    await holder.release();
    await world.queue();
  });
  const before = plainGit(world.repo, 'rev-parse', 'main');
  const outcome = await merge(patient(60_000));
  const main = plainGit(world.repo, 'rev-parse', 'main');
  expect(main).not.toBe(before);
  expect(outcome).toMatchObject({ outcome: 'up_to_date', merged_commit: main, cleaned_worktree: true });
  await expect(rebase()).rejects.toMatchObject({ kind: 'refused', code: 'no_worktree' });
  expect(await world.all('SELECT outcome FROM merges')).toEqual([{ outcome: 'merged' }]);
  expect(existsSync(row.worktree_path ?? '')).toBe(false);
});
