import { expect, test } from 'bun:test';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PlanRow } from '../../src/model/plan.ts';
import { archiveAttempts, countAttempt } from '../../src/plan/attempts.ts';
import type { Effect } from '../../src/plan/effects.ts';
import { mergeStep } from '../../src/plan/merge-step.ts';
import { reportOf } from '../../src/plan/report.ts';
import { advancePlan } from '../../src/plan/run.ts';
import { newMemory } from '../../src/plan/scene.ts';
import { mergesCutOff } from '../../src/store/merge.ts';
import { getPlan } from '../../src/store/plan.ts';
import { planPulse } from '../../src/store/plan-pulse.ts';
import { reopenMerges } from '../../src/store/plan-step.ts';
import { plainGit } from '../git/plain.ts';
import { commit, write } from '../merge/field.ts';
import { type Field, field } from '../session/field.ts';
import { endTurn, seedSession, takeTurn } from '../support/store.ts';
import { stepsOf, storePlanAt } from './run-field.ts';

const look = ({ world, deps }: Field, { id }: PlanRow, memory = newMemory()) =>
  advancePlan(deps, id, world.clock.now(), memory);

/** The plan of a step `a`, and that step running with these sessions. */
async function stepOf(here: Field, step: string, ids: readonly string[]): Promise<PlanRow> {
  const plan = await storePlanAt(
    here.world,
    here.repo,
    `name: n\nsteps:\n  - {id: a, task: t, worktree: true, ${step}}\n`,
  );
  await here.world.store.write((tx) => {
    tx.run("UPDATE plan_steps SET state = 'running', started_at = 1");
    for (const [i, id] of ids.entries()) {
      tx.run(
        `INSERT INTO step_sessions (plan_id, step_id, round, slot, session_id, created_at) VALUES (:plan, 'a', 1, :slot, :id, 1)`,
        { plan: plan.id, slot: i + 1, id },
      );
    }
  });
  return plan;
}

const mergesOf = (effects: Effect[]) => effects.filter((effect) => effect.do === 'merge');
const { signal } = new AbortController();

/** Looks, and does the merges that are asked for, as whoever runs the plan does. */
async function merge(here: Field, plan: PlanRow): Promise<void> {
  for (const effect of mergesOf((await look(here, plan)).effects)) await mergeStep(here.deps, effect, signal);
  await look(here, plan);
}

test('a step with merge: queue is done when its work is in, and its outputs outlive the worktree (E-153)', async () => {
  const here = await field();
  const first = await here.completed('first');
  commit(first.worktree_path, { 'list.txt': 'one\n' });
  writeFileSync(join(here.repo, '.git/info/exclude'), 'out.txt\n');
  write(first.worktree_path, { 'out.txt': 'not for git\n' });
  const plan = await stepOf(here, 'merge: queue, outputs: {said: out.txt}', [first.id]);

  const { effects } = await look(here, plan);
  expect(await here.world.store.read((tx) => tx.get('SELECT count(*) AS n FROM merges'))).toEqual({ n: 0 });
  // Killed before the merge was begun, or while it was under way: it is asked for again until it is done.
  expect(mergesOf((await look(here, plan)).effects)).toEqual(mergesOf(effects));
  expect(mergesOf(effects)).toMatchObject([{ step_id: 'a', round: 1, session_id: first.id }]);
  await Promise.all(mergesOf(effects).map((effect) => mergeStep(here.deps, effect, signal)));
  await look(here, plan);

  expect(existsSync(first.worktree_path)).toBe(false);
  expect(readFileSync(join(here.repo, 'list.txt'), 'utf8')).toBe('one\n');
  expect((await stepsOf(here.world, plan)).a).toMatchObject({
    ...{ state: 'done', outputs_json: '{"said":"not for git\\n"}' },
  });
  expect(await getPlan(here.world.store, plan.id)).toMatchObject({ state: 'completed' });
});

test('a merge that is refused parks the step until a person has merged it', async () => {
  const here = await field();
  const row = await here.completed('first');
  commit(row.worktree_path, { a: 'mine\n' });
  commit(here.repo, { a: 'theirs\n' });
  const plan = await stepOf(here, 'merge: queue', [row.id]);
  await merge(here, plan);
  const { a } = await stepsOf(here.world, plan);
  expect(a).toMatchObject({ state: 'parked', session_id: row.id });
  expect(a?.reason).toContain('rebase');
  expect(await getPlan(here.world.store, plan.id)).toMatchObject({ state: 'parked' });
  // Nothing is tried again by itself.
  expect((await look(here, plan)).effects).toEqual([]);
  expect((await stepsOf(here.world, plan)).a?.state).toBe('parked');

  // An attempt has refused it: only a merge by hand helps.
  expect(await reopenMerges(here.world.store, { plan_id: plan.id, now: 1 })).toEqual([]);
  plainGit(here.repo, 'merge', '--quiet', '-X', 'ours', row.branch ?? '');
  await here.world.store.write((tx) =>
    tx.run("UPDATE sessions SET merged_commit = 'c0ffee' WHERE id = :id", { id: row.id }),
  );
  await look(here, plan);
  expect((await stepsOf(here.world, plan)).a).toMatchObject({ state: 'done', reason: null });
});

test('a merge in which supervisors are killed again and again parks the step, without another try', async () => {
  const here = await field();
  const row = await here.completed('first');
  commit(row.worktree_path, { 'c.txt': 'c\n' });
  const cutOff = (reason: string) =>
    here.world.store.write((tx) =>
      tx.run(
        `INSERT INTO merges (session_id, repo_root, branch, target, head, base_head, started_at, ended_at, outcome, reason)
         VALUES (:id, :repo, 'b', 'main', 'h', 'h', 1, 2, 'failed', :reason)`,
        { id: row.id, repo: here.repo, reason },
      ),
    );
  for (const reason of ['interrupted', 'interrupted', 'another', 'interrupted', 'interrupted']) await cutOff(reason);
  expect(await mergesCutOff(here.world.store, row.id)).toBe(2);
  await cutOff('interrupted');
  const plan = await stepOf(here, 'merge: queue', [row.id]);
  await merge(here, plan);
  expect((await stepsOf(here.world, plan)).a).toMatchObject({
    state: 'parked',
    reason: expect.stringContaining('killed'),
  });
  expect(existsSync(join(here.repo, 'c.txt'))).toBe(false);
});

test('a merge waits while somebody is in the middle of a turn in the checkout of the target', async () => {
  const here = await field();
  const row = await here.completed('first');
  commit(row.worktree_path, { 'c.txt': 'c\n' });
  const plan = await stepOf(here, 'merge: queue', [row.id]);
  const other = await seedSession(here.world, { name: 'other', repo_root: here.repo, working_dir: here.repo });
  const turn = await takeTurn(here.world, other.id);
  const [effect] = mergesOf((await look(here, plan)).effects);
  if (effect?.do !== 'merge') throw new Error('nothing to merge');
  let waits = 0;
  const sleep = async () => {
    waits += 1;
    expect(existsSync(join(here.repo, 'c.txt'))).toBe(false);
    if (waits === 2) await endTurn(here.world, turn);
  };
  await mergeStep({ ...here.deps, clock: { ...here.deps.clock, sleep } }, effect, signal);
  await look(here, plan);
  expect(waits).toBe(2);
  expect(existsSync(join(here.repo, 'c.txt'))).toBe(true);
  expect((await stepsOf(here.world, plan)).a).toMatchObject({ state: 'done' });
});

test('what was refused before an attempt, as with changes that are not committed, is not tried for ever', async () => {
  const here = await field();
  const row = await here.completed('first');
  write(row.worktree_path, { 'new.txt': 'left behind\n' });
  const plan = await stepOf(here, 'merge: queue', [row.id]);
  await merge(here, plan);
  for (let looks = 0; looks < 3; looks += 1) expect((await look(here, plan)).effects).toEqual([]);
  expect((await stepsOf(here.world, plan)).a).toMatchObject({
    ...{ state: 'parked', reason: 'the worktree of first has uncommitted changes' },
  });
  expect(readFileSync(join(row.worktree_path, 'new.txt'), 'utf8')).toBe('left behind\n');
});

test('a step with merge: pr runs the command of the person with what it needs to know', async () => {
  const here = await field();
  const row = await here.completed('first', { task: 'mend it' });
  commit(row.worktree_path, { 'b.txt': 'b\n' });
  const plan = await stepOf(here, 'merge: pr', [row.id]);
  await merge(here, plan);
  const parked = (await stepsOf(here.world, plan)).a;
  expect(parked).toMatchObject({ state: 'parked', session_id: row.id });
  expect(parked?.reason).toContain('set merge.pr_command');

  const said = join(here.world.home, 'said');
  const again = async (pr_command: string) => {
    here.config.merge = { ...here.config.merge, pr_command };
    const pulse = await planPulse(here.world.store);
    expect(await reopenMerges(here.world.store, { plan_id: plan.id, now: here.world.clock.now() })).toEqual(['a']);
    expect(await planPulse(here.world.store)).not.toBe(pulse);
    await merge(here, plan);
    return (await stepsOf(here.world, plan)).a;
  };
  expect(await again('echo no such remote >&2; exit 3')).toMatchObject({
    ...{ state: 'parked', reason: 'merge.pr_command failed with exit code 3: no such remote' },
  });
  const command = `printf '%s\\n' "$DROVER_BRANCH" "$DROVER_BASE_BRANCH" "$DROVER_TASK" "$PWD" "$DROVER_TOKEN" >'${said}'`;
  expect(await again(command)).toMatchObject({ state: 'done', reason: null });
  expect(readFileSync(said, 'utf8')).toBe(`drover/first\nmain\nmend it\n${row.worktree_path}\n\n`);
  expect((await here.events(row, 'hook')).map(({ hook, ok }) => [hook, ok])).toEqual([
    ['pr_command', false],
    ['pr_command', true],
  ]);
});

test('of three good attempts the smallest is taken; the branches of the others are kept (best of N)', async () => {
  const here = await field();
  const sizes = [5, 2, 9];
  const rows = [];
  for (const [i, lines] of sizes.entries()) {
    const row = await here.completed(`try-${i + 1}`);
    commit(row.worktree_path, { 'work.txt': 'line\n'.repeat(lines) });
    rows.push(row);
  }
  const plan = await stepOf(
    here,
    'attempts: 3',
    rows.map(({ id }) => id),
  );
  const memory = newMemory();
  const { effects } = await look(here, plan, memory);
  // Nothing is judged before all are counted.
  expect((await stepsOf(here.world, plan)).a?.state).toBe('running');
  expect(effects.map((effect) => effect.do)).toEqual(['count', 'count', 'count']);
  for (const { id } of rows) await countAttempt(here.deps, id, memory);
  expect((await look(here, plan)).has_leftovers).toBe(true);
  expect((await stepsOf(here.world, plan)).a).toMatchObject({ state: 'done', session_id: rows[1]?.id });

  expect(await archiveAttempts(here.deps)).toHaveLength(2);
  expect(await archiveAttempts(here.deps)).toEqual([]);
  const refs = plainGit(here.repo, 'for-each-ref', '--format=%(refname) %(objectname)', 'refs/drover')
    .split('\n')
    .sort();
  const wanted = [rows[0], rows[2]].map(
    (row) => `refs/drover/archived/${row?.id} ${plainGit(here.repo, 'rev-parse', row?.branch ?? '')}`,
  );
  expect(refs).toEqual(wanted.sort());
  expect(here.trees()).toHaveLength(3);
});

const waitsOf = async ({ world }: Field, { run_id }: PlanRow) =>
  (await reportOf(world.store, run_id, world.clock.now()))?.waiting.map(({ evidence, commands }) => ({
    ...{ evidence, commands },
  }));

test('the report says what is to be done first, and its commands move the step on (E-153)', async () => {
  const here = await field();
  const row = await here.completed('first');
  commit(row.worktree_path, { 'new.txt': 'mine\n' });
  const plan = await stepOf(here, 'merge: queue', [row.id]);
  await here.world.store.write((tx) => tx.run('UPDATE sessions SET run_id = :run_id', { run_id: plan.run_id }));
  const again = async () => {
    expect(await reopenMerges(here.world.store, { plan_id: plan.id, now: here.world.clock.now() })).toEqual(['a']);
    await merge(here, plan);
  };
  const other = `${here.repo}-other`;
  plainGit(here.repo, 'worktree', 'add', '--quiet', '--force', other, 'main');
  await merge(here, plan);
  expect(await waitsOf(here, plan)).toEqual([
    {
      evidence: expect.stringContaining('Only one of them could follow the branch.'),
      commands: [`git -C ${other} switch --detach`, `drover plan resume ${plan.id}`],
    },
  ]);

  // While it is moved no command helps; what does is said, and nothing of the refusal before.
  renameSync(here.repo, `${here.repo}-moved`);
  await again();
  expect(await waitsOf(here, plan)).toEqual([
    {
      evidence: `the working directory ${here.repo} does not exist. Was it moved or removed? Put it back where it was first.`,
      commands: [`drover plan resume ${plan.id}`],
    },
  ]);
  renameSync(`${here.repo}-moved`, here.repo);
  plainGit(other, 'switch', '--quiet', '--detach');
  await again();
  expect((await stepsOf(here.world, plan)).a).toMatchObject({ state: 'done' });
});
