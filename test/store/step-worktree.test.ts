import { expect, test } from 'bun:test';
import { planPulse } from '../../src/store/plan-pulse.ts';
import { planView } from '../../src/store/plan-view.ts';
import { noteKept, sessionsOfEndedSteps } from '../../src/store/step-worktree.ts';
import { storePlanAt } from '../plan/run-field.ts';
import { seedSession, type TestStore, testStore } from '../support/store.ts';

/** A plan of two steps in a repository; `held` has a slot and is the try of `a`, another session wants one for `b`. */
async function made() {
  const world = await testStore();
  const plan = await storePlanAt(world, '/farm', 'name: n\nsteps:\n  - {id: a, task: t}\n  - {id: b, task: t}\n');
  const place = { repo_root: '/farm', working_dir: '/farm', base_ref: 'c0ffee', base_branch: 'main' };
  const held = await seedSession(world, { name: 'held', role: 'solo', ...place, branch: 'drover/held' });
  const wants = await seedSession(world, { name: 'wants', role: 'solo', ...place, branch: 'drover/wants' });
  await world.store.write((tx) => {
    for (const [step, { id }] of [
      ['a', held],
      ['b', wants],
    ] as const)
      tx.run(
        'INSERT INTO step_sessions (plan_id, step_id, round, slot, session_id, created_at) VALUES (:plan, :step, 1, 1, :id, 1)',
        { plan: plan.id, step, id },
      );
    tx.run(
      "INSERT INTO worktrees (path, session_id, repo_root, branch, base_commit, claimed_at, created_at) VALUES ('/w', :id, '/farm', 'drover/held', 'c0ffee', 1, 1)",
      { id: held.id },
    );
    tx.run("UPDATE sessions SET worktree_path = '/w', state = 'working' WHERE id = :id", { id: held.id });
    tx.run("UPDATE plan_steps SET state = 'running'");
  });
  return { world, plan, held, wants };
}

const write = ({ store }: TestStore, sql: string) => store.write((tx) => tx.run(sql));
const ENDED = "state = 'completed', end_reason = 'ok', ended_at = 100";

test.each<[what: string, sql: string[], coming: number]>([
  ['at work', [], 1],
  ['parked for a person', ["UPDATE sessions SET state = 'parked', parked_reason = 'question' WHERE name = 'held'"], 0],
  [
    'parked until a time',
    ["UPDATE sessions SET state = 'parked', parked_reason = 'operator', resume_at = 9 WHERE name = 'held'"],
    1,
  ],
  [
    'parked for a pool that opens by itself',
    [
      "UPDATE sessions SET state = 'parked', parked_reason = 'usage_limit', parked_pool = 'p' WHERE name = 'held'",
      "INSERT INTO pools (name, state, reason, blocked_at, opens_at, updated_at) VALUES ('p', 'blocked', 'usage_limit', 1, 9, 1)",
    ],
    1,
  ],
  [
    'parked for a pool that does not',
    [
      "UPDATE sessions SET state = 'parked', parked_reason = 'usage_limit', parked_pool = 'p' WHERE name = 'held'",
      "INSERT INTO pools (name, state, reason, blocked_at, updated_at) VALUES ('p', 'blocked', 'usage_limit', 1, 1)",
    ],
    0,
  ],
  [
    'ended, its plan has not looked yet',
    [`UPDATE sessions SET ${ENDED} WHERE name = 'held'`, 'UPDATE worktrees SET kept_at = 200'],
    1,
  ],
  [
    'ended, of several attempts of which others are to come',
    [
      `UPDATE sessions SET ${ENDED} WHERE name = 'held'`,
      'UPDATE worktrees SET kept_at = 200',
      "UPDATE plan_steps SET spec_json = json_set(spec_json, '$.attempts', 2) WHERE step_id = 'a'",
    ],
    0,
  ],
  [
    'to be merged',
    [
      `UPDATE sessions SET ${ENDED} WHERE name = 'held'`,
      'UPDATE worktrees SET kept_at = 200',
      "UPDATE plan_steps SET state = 'merging', session_id = (SELECT id FROM sessions WHERE name = 'held') WHERE step_id = 'a'",
    ],
    1,
  ],
  [
    'its merge was refused',
    [
      `UPDATE sessions SET ${ENDED} WHERE name = 'held'`,
      'UPDATE worktrees SET kept_at = 200',
      "UPDATE plan_steps SET state = 'parked', session_id = (SELECT id FROM sessions WHERE name = 'held') WHERE step_id = 'a'",
    ],
    0,
  ],
  [
    'its step has ended, and nobody has looked at it since',
    [
      `UPDATE sessions SET ${ENDED} WHERE name = 'held'`,
      'UPDATE worktrees SET kept_at = 200',
      "UPDATE plan_steps SET state = 'done', ended_at = 300 WHERE step_id = 'a'",
    ],
    1,
  ],
  [
    'its step has ended, and it has to stay',
    [
      `UPDATE sessions SET ${ENDED} WHERE name = 'held'`,
      'UPDATE worktrees SET kept_at = 400',
      "UPDATE plan_steps SET state = 'done', ended_at = 300 WHERE step_id = 'a'",
    ],
    0,
  ],
  [
    'ended again since it had to stay',
    [
      `UPDATE sessions SET ${ENDED} WHERE name = 'held'`,
      'UPDATE worktrees SET kept_at = 80',
      "UPDATE plan_steps SET state = 'done', ended_at = 50 WHERE step_id = 'a'",
    ],
    1,
  ],
  [
    'it is just being removed',
    [
      `UPDATE sessions SET ${ENDED} WHERE name = 'held'`,
      'UPDATE worktrees SET kept_at = 400, removing_at = 400',
      "UPDATE plan_steps SET state = 'done', ended_at = 300 WHERE step_id = 'a'",
    ],
    1,
  ],
])('a slot whose session is %s comes free by itself or not (CX-23)', async (_what, statements, coming) => {
  const { world, plan } = await made();
  for (const sql of statements) await write(world, sql);
  const view = await planView(world.store, plan.id);
  expect(view?.slots).toEqual({ held: 1, coming });
  expect(view?.sessions.map(({ name, wants_slot }) => [name, wants_slot])).toEqual([
    ['held', 0],
    ['wants', 1],
  ]);
});

test('slots are counted only while a session wants one, and only those of its repository', async () => {
  const { world, plan, wants } = await made();
  await write(world, "UPDATE worktrees SET repo_root = '/other'");
  expect((await planView(world.store, plan.id))?.slots).toEqual({ held: 0, coming: 0 });
  await write(world, `UPDATE sessions SET branch = NULL WHERE id = '${wants.id}'`);
  expect((await planView(world.store, plan.id))?.slots).toBeNull();
});

test('plans are looked at again whenever no worktree could make room, and not for every slot that is taken', async () => {
  const { world } = await made();
  const steady = await planPulse(world.store);
  await write(
    world,
    "INSERT INTO worktrees (path, session_id, repo_root, branch, base_commit, claimed_at) VALUES ('/x', 'x', '/farm', 'x', 'c0ffee', 1)",
  );
  const seen = new Set([steady, await planPulse(world.store)]);
  expect(seen.size).toBe(1);
  for (const at of [7, 8]) {
    await noteKept(world.store, ['/w'], at);
    seen.add(await planPulse(world.store));
  }
  await write(world, "DELETE FROM worktrees WHERE path = '/x'");
  expect(seen.add(await planPulse(world.store)).size).toBe(4);
});

test('only ended sessions of steps that have ended or are tried anew may lose what is not merged', async () => {
  const { world, held } = await made();
  const found = async () => [...(await sessionsOfEndedSteps(world.store, '/farm'))];
  await write(world, "UPDATE plan_steps SET state = 'failed', ended_at = 3 WHERE step_id = 'a'");
  expect(await found()).toEqual([]);
  await write(world, `UPDATE sessions SET ${ENDED} WHERE name = 'held'`);
  expect(await found()).toEqual([held.id]);
  expect(await sessionsOfEndedSteps(world.store, '/other')).toEqual(new Set());
  for (const state of ['running', 'merging', 'parked']) {
    await write(world, `UPDATE plan_steps SET state = '${state}', ended_at = NULL WHERE step_id = 'a'`);
    expect(await found()).toEqual([]);
  }
  await write(world, "UPDATE plan_steps SET state = 'pending', round = 2 WHERE step_id = 'a'");
  expect(await found()).toEqual([held.id]);
  await noteKept(world.store, ['/w'], 7);
  expect(await world.store.read((tx) => tx.get('SELECT kept_at FROM worktrees'))).toEqual({ kept_at: 7 });
});
