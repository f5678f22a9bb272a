import { expect, test } from 'bun:test';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PlanRow } from '../../src/model/plan.ts';
import { reportOf } from '../../src/plan/report.ts';
import { recover } from '../../src/session/control.ts';
import { prepareWorktree } from '../../src/session/worktree.ts';
import { pruneOne } from '../../src/session/worktree-slots.ts';
import { getPlan } from '../../src/store/plan.ts';
import { planPulse } from '../../src/store/plan-pulse.ts';
import { planView } from '../../src/store/plan-view.ts';
import { commitFile, plainGit } from '../git/plain.ts';
import { type Field, field, isThere } from '../session/field.ts';
import { endTurn, takeTurn } from '../support/store.ts';
import { look as lookAt, type Slung, sessionsOf, statesOf, stepsOf, storePlanAt } from './run-field.ts';

const NO_SLOT =
  'no worktree slot: 2 of 2 are taken (drover worktree list; drover worktree clean; or raise max_worktrees)';

async function made(text: string) {
  const at = await field();
  at.config.max_worktrees = 2;
  at.config.default_harness = 'rehearsal';
  const plan = await storePlanAt(at.world, at.repo, text);
  const view = async () => (await getPlan(at.world.store, plan.id)) as PlanRow;
  const states = () => statesOf(at.world, plan);
  return { at, plan, view, states, look: () => lookAt(at.world, plan, at.deps) };
}

const steps = (n: number, more = '') =>
  Array.from({ length: n }, (_, i) => `  - {id: s${i + 1}, task: t, worktree: true, merge: none${more}}\n`).join('');

/** Starts what has a slot or gets one; returns them. */
async function start(at: Field, plan: PlanRow): Promise<Slung[]> {
  const started: Slung[] = [];
  for (const session of await sessionsOf(at.world, plan)) {
    if (session.state !== 'queued') continue;
    if ((await prepareWorktree(at.deps, await at.now(session))) === 'ready') started.push(session);
  }
  return started;
}

/** Commits on the branch of each, leaves a file in those of `dirty`, and ends them well. */
async function finish(at: Field, sessions: readonly Slung[], dirty = false): Promise<void> {
  for (const session of sessions) {
    const path = (await at.now(session)).worktree_path ?? '';
    commitFile(path, `${session.name}.txt`, `${session.name}\n`, session.name);
    if (dirty) writeFileSync(join(path, 'left'), 'x');
    await endTurn(at.world, await takeTurn(at.world, session.id));
    at.world.clock.advance(10);
  }
}

test('four steps whose branches nobody merges go through two slots: branches stay, directories go (E-012, CX-23)', async () => {
  const { at, plan, look, view, states } = await made(`name: n\nconcurrency: 4\nsteps:\n${steps(4)}`);
  await look();
  const first = await start(at, plan);
  expect(first.map(({ step_id }) => step_id)).toEqual(['s1', 's2']);
  // Two are at work: who waits for their end is no standstill.
  await look();
  expect(Object.values(await states())).toEqual(['running', 'running', 'running', 'running']);
  await finish(at, first);
  // Their plan has not judged them yet.
  expect(await pruneOne(at.deps, at.repo)).toBeNull();
  await look();
  expect([await states(), (await view()).state]).toEqual([
    { s1: 'done', s2: 'done', s3: 'running', s4: 'running' },
    'active',
  ]);
  const path = (await at.now(first[0] as Slung)).worktree_path ?? '';
  const { branch } = await at.now(first[0] as Slung);
  expect(await pruneOne(at.deps, at.repo)).toMatchObject({ name: 's1', path, kept_branch: branch });
  expect(await pruneOne(at.deps, at.repo)).toMatchObject({ name: 's2' });
  const row = await at.now(first[0] as Slung);
  expect(row).toMatchObject({
    worktree_path: null,
    working_dir: at.repo,
    branch,
    state: 'completed',
  });
  expect([isThere(path), plainGit(at.repo, 'log', '-1', '--format=%s', branch ?? '')]).toEqual([false, 's1']);
  await finish(at, await start(at, plan));
  await look();
  expect(await view()).toMatchObject({ state: 'completed' });
  expect(at.branches()).toHaveLength(5);
  // Who is recovered goes on from the branch.
  await pruneOne(at.deps, at.repo);
  const again = await recover(at.deps, { name: 'operator', session: null }, row, undefined);
  expect(await prepareWorktree(at.deps, again)).toBe('ready');
  expect(isThere((await at.now(again)).worktree_path ?? '', 's1.txt')).toBe(true);
});

test('slots that only a person can free park who waits, and no more is begun that would; it goes on when one is free', async () => {
  const { at, plan, look, view, states } = await made(
    `name: n\nconcurrency: 3\nsteps:\n${steps(4)}  - {id: z, task: plain, needs: s1, worktree: false}\n`,
  );
  await look();
  const first = await start(at, plan);
  await finish(at, first, true);
  await look();
  expect(await states()).toMatchObject({ s1: 'done', s2: 'done', s3: 'running', s4: 'running', z: 'running' });
  const before = await planPulse(at.world.store);
  expect(await pruneOne(at.deps, at.repo)).toBeNull();
  expect(await planPulse(at.world.store)).not.toBe(before);
  await look();
  expect(await stepsOf(at.world, plan)).toMatchObject({
    s3: { state: 'parked', reason: NO_SLOT },
    s4: { state: 'parked', reason: NO_SLOT },
    z: { state: 'running' },
  });
  expect((await view()).state).toBe('active');
  const plain = (await sessionsOf(at.world, plan)).find(({ step_id }) => step_id === 'z') as Slung;
  await endTurn(at.world, await takeTurn(at.world, plain.id));
  await look();
  expect(await view()).toMatchObject({ state: 'parked', reason: '2 parked' });
  const report = await reportOf(at.world.store, plan.run_id, at.world.clock.now());
  expect(report).toMatchObject({ verdict: 'parked', counts: { parked: 2 } });
  expect(report?.waiting).toMatchObject(
    ['s3', 's4'].map((step_id) => ({
      ...{ kind: 'step', step_id, name: step_id, reason: 'worktree', evidence: NO_SLOT, by_itself: false },
      ...{ since_at: expect.any(Number), commands: ['drover worktree list', 'drover worktree clean'] },
    })),
  );
  // A person clears one away.
  const held = (await at.now(first[0] as Slung)).worktree_path ?? '';
  rmSync(join(held, 'left'));
  const parked = await planPulse(at.world.store);
  expect(await pruneOne(at.deps, at.repo)).toMatchObject({ path: held });
  expect(await planPulse(at.world.store)).not.toBe(parked);
  await look();
  expect([await states(), (await view()).state]).toMatchObject([{ s3: 'running', s4: 'running' }, 'active']);
  await finish(at, await start(at, plan));
  await look();
  // Its own slot can be free in time: the last one waits and is not parked.
  expect(await states()).toMatchObject({ s3: 'done', s4: 'running' });
  expect(await pruneOne(at.deps, at.repo)).toMatchObject({ name: 's3' });
  await finish(at, await start(at, plan));
  await look();
  expect(await view()).toMatchObject({ state: 'completed' });
  expect(isThere((await at.now(first[1] as Slung)).worktree_path ?? '', 'left')).toBe(true);
});

test('while slots are short nothing more is started that wants one, and other steps go on', async () => {
  const { at, plan, look, states } = await made(
    `name: n\nconcurrency: 3\nsteps:\n${steps(6)}  - {id: z, task: plain, worktree: false}\n`,
  );
  await look();
  await finish(at, await start(at, plan), true);
  await pruneOne(at.deps, at.repo);
  await look();
  await look();
  await pruneOne(at.deps, at.repo);
  await look();
  // Of six, those were begun that there was room for before anybody knew.
  const begun = (await sessionsOf(at.world, plan)).map(({ step_id }) => step_id);
  expect(begun).toContain('z');
  expect(await states()).toMatchObject({ s3: 'parked', s6: 'pending', z: 'running' });
  at.config.max_worktrees = 3;
  await look();
  expect((await states()).s3).toBe('running');
});

test('a merge that was refused, an attempt that is not judged and a session of nobody’s plan keep their worktrees', async () => {
  const { at, plan, look } = await made(
    'name: n\nsteps:\n  - {id: m, task: t, worktree: true, merge: queue}\n  - {id: a, task: t, worktree: true, merge: none, attempts: 2}\n',
  );
  at.config.max_worktrees = 9;
  await look();
  const all = await start(at, plan);
  expect(all.map(({ step_id }) => step_id)).toEqual(['a', 'a', 'm']);
  await finish(at, [all[0], all[2]] as Slung[]);
  const loose = await at.completed('loose');
  commitFile(loose.worktree_path, 'x', 'x', 'x');
  await look();
  expect(await pruneOne(at.deps, at.repo)).toBeNull();
  await at.world.store.write((tx) => tx.run("UPDATE plan_steps SET state = 'parked' WHERE step_id = 'm'"));
  expect(await pruneOne(at.deps, at.repo)).toBeNull();
  expect(at.trees()).toHaveLength(4);
  expect((await planView(at.world.store, plan.id))?.slots).toBeNull();
});
