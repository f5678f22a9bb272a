import { expect, test } from 'bun:test';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BudgetGuard } from '../../src/guard/budgets.ts';
import { changeBudget, dropBudget, raise } from '../../src/guard/spending.ts';
import { type BudgetScope, EVERY_DAY } from '../../src/model/budget.ts';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { resume } from '../../src/session/control.ts';
import { setBudget } from '../../src/store/budget.ts';
import { budgetViews } from '../../src/store/budget-list.ts';
import { stopSession } from '../../src/store/control.ts';
import { listMail } from '../../src/store/mail-list.ts';
import type { NewSession } from '../../src/store/new-session.ts';
import { ensureRun } from '../../src/store/run.ts';
import { turnsToEnd } from '../../src/store/turn.ts';
import { noteStall } from '../../src/store/watch-act.ts';
import { startOfDay } from '../../src/sys/day.ts';
import { row } from '../store/family.ts';
import {
  endTurn,
  feedTurn,
  seedSession,
  type TakenTurn,
  type TestStore,
  takeTurn,
  testStore,
  verdictOf,
} from '../support/store.ts';

const PERSON = { name: 'operator', session: null };

const used = (input_tokens: number, output_tokens = 0): HarnessEvent => ({
  type: 'usage',
  mode: 'add',
  tokens: { input_tokens, output_tokens, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0 },
});
const cost = (cost_micros: number): HarnessEvent => ({ type: 'cost', mode: 'add', cost_micros });
const RESULT: HarnessEvent = {
  ...{ type: 'result', ok: true, reason: 'success', text: 'the result', model_turns: 1, denials: [] },
};
const bound = (
  world: TestStore,
  scope: BudgetScope,
  key: string,
  tokens: number | null,
  cost_micros: number | null = null,
) => setBudget(world.store, { scope, key, tokens, cost_micros, now: world.clock.now() });

/** A session in the middle of a turn in which it has used so much. */
async function working(world: TestStore, name: string, events: HarnessEvent[], draft: Partial<NewSession> = {}) {
  const { id } = await seedSession(world, { name, id: name, ...draft });
  world.clock.advance(1);
  const turn = await takeTurn(world, id);
  await feedTurn(world, turn, [{ type: 'text', text: 'hm' }, ...events]);
  return turn;
}
const spent = (guard: BudgetGuard, ...turns: TakenTurn[]) => guard.spent(turns.map(({ session }) => session));
const states = async (world: TestStore, ...names: string[]) =>
  Promise.all(names.map(async (name) => (await row(world, name)).state));
async function mails(world: TestStore) {
  const all = await listMail(world.store, { to_id: null });
  return all.filter(({ from_name }) => from_name === 'drover');
}

test('global: 120 of 100 tokens parks who works, is queued, idle or stalled, with the worktree kept (E-120, E-121, CX-21)', async () => {
  const world = await testStore();
  const worktree = join(world.home, 'tree');
  mkdirSync(worktree);
  const over = await working(world, 'active-over-budget', [used(90, 30)], { worktree_path: worktree });
  const idle = await working(world, 'idle', [], { is_persistent: 1 });
  await endTurn(world, idle, { settle: { is_persistent: true } });
  const stalled = await working(world, 'stalled', []);
  await noteStall(world.store, {
    ...{ verdict: verdictOf({ session_id: 'stalled', turn: stalled.turn.turn }), events: null, rung: null },
  });
  await seedSession(world, { id: 'queued', name: 'queued' });
  const names = ['active-over-budget', 'idle', 'stalled', 'queued'];
  expect(await states(world, ...names)).toEqual(['working', 'idle', 'stalled', 'queued']);
  const guard = new BudgetGuard(world.deps);
  expect(await spent(guard, over)).toBe(false);
  await bound(world, 'global', EVERY_DAY, 100);
  expect(await spent(guard, over)).toBe(true);
  expect(await states(world, ...names)).toEqual(['parked', 'parked', 'parked', 'parked']);
  const after = await row(world, 'active-over-budget');
  expect([after.parked_reason, after.worktree_path, existsSync(worktree)]).toEqual(['budget', worktree, true]);
  expect(JSON.parse(after.parked_evidence ?? '')).toEqual({
    ...{ kind: 'budget', text: 'the budget of the day is spent: 120 of 100 tokens', from: 'working' },
    ...{ scope: 'global', key: 'default', spent: { cost_micros: 0, tokens: 120 } },
    bound: { cost_micros: null, tokens: 100 },
  });
  expect(await turnsToEnd(world.store)).toEqual([
    { session_id: 'active-over-budget', turn: 1, end_cause: 'pause' },
    { session_id: 'stalled', turn: 1, end_cause: 'pause' },
  ]);
  const [mail, ...more] = await mails(world);
  expect([mail?.type, mail?.subject, more]).toEqual(['question', 'Spent: the budget of the day', []]);
  expect(mail?.body).toContain('Parked, with all work kept: queued, stalled, idle, active-over-budget.');
  expect(mail?.body).toContain('drover budget raise global --tokens 100 --resume');
  const [view] = await budgetViews(world.store, startOfDay(world.clock.now()));
  expect(view).toMatchObject({ parked_count: 4, percent: 120, is_over: false });
});

test('what has ended is left alone although it counts, and the day is told to be spent (E-122)', async () => {
  const world = await testStore();
  const done = await working(world, 'done', [used(120)]);
  await endTurn(world, done);
  await bound(world, 'global', EVERY_DAY, 100);
  const guard = new BudgetGuard(world.deps);
  expect(await spent(guard, done)).toBe(false);
  expect(await states(world, 'done')).toEqual(['completed']);
  const [mail, ...more] = await mails(world);
  expect([mail?.subject, more]).toEqual(['Spent: the budget of the day', []]);
  expect(mail?.body).toContain('Nobody had to be parked.');
  expect((await budgetViews(world.store, 0))[0]).toMatchObject({ percent: 120, parked_count: 0 });
});

test('a session over its own 75 tokens is parked alone, with 500000 for all (E-124)', async () => {
  const world = await testStore();
  await bound(world, 'global', EVERY_DAY, 500_000);
  const over = await working(world, 'profile-over-budget', [used(90)]);
  const other = await working(world, 'other', [used(90)]);
  await bound(world, 'session', 'profile-over-budget', 75);
  expect(await spent(new BudgetGuard(world.deps), over, other)).toBe(true);
  expect(await states(world, 'profile-over-budget', 'other')).toEqual(['parked', 'working']);
  expect(await turnsToEnd(world.store)).toMatchObject([{ session_id: 'profile-over-budget' }]);
});

test('run and profile bound only their own; of several budgets each session is parked by the first, once (E-125)', async () => {
  const world = await testStore();
  const run_id = await world.store.write((tx) => ensureRun(tx, 'nightly', 1));
  const one = await working(world, 'one', [cost(600_000)], { run_id, profile_name: 'fast' });
  const two = await working(world, 'two', [cost(500_000)], { run_id });
  const three = await working(world, 'three', [], { profile_name: 'fast' });
  await working(world, 'four', []);
  await bound(world, 'run', run_id, null, 1_000_000);
  await bound(world, 'profile', 'fast', null, 100_000);
  await bound(world, 'session', 'one', null, 1);
  expect(await spent(new BudgetGuard(world.deps), one, two, three)).toBe(true);
  expect(await states(world, 'one', 'two', 'three', 'four')).toEqual(['parked', 'parked', 'parked', 'working']);
  const by = await Promise.all(
    ['one', 'two', 'three'].map(async (name) => JSON.parse((await row(world, name)).parked_evidence ?? '').scope),
  );
  expect(by).toEqual(['run', 'run', 'profile']);
  const log = await world.store.read((tx) => tx.all("SELECT session_id FROM state_log WHERE event = 'park'"));
  expect(log).toHaveLength(3);
  const texts = (await mails(world)).map(({ subject }) => subject).sort();
  expect(texts).toEqual([
    'Spent: the budget of the profile fast for the day',
    'Spent: the budget of the run nightly',
    'Spent: the budget of the session one',
  ]);
});

test('two guards at once tell each threshold once and park once (E-126)', async () => {
  const world = await testStore();
  const guards = [new BudgetGuard(world.deps), new BudgetGuard({ ...world.deps, store: await world.second() })];
  const turn = await working(world, 'racer', []);
  await bound(world, 'session', 'racer', 100);
  const look = async () => (await Promise.all(guards.map((guard) => spent(guard, turn)))).filter(Boolean).length;
  const told = async () => (await mails(world)).map(({ subject }) => subject).reverse();
  await feedTurn(world, turn, [used(49)]);
  expect([await look(), await told()]).toEqual([0, []]);
  await feedTurn(world, turn, [used(2)]);
  expect(await look()).toBe(0);
  await feedTurn(world, turn, [used(30)]);
  expect([await look(), await look()]).toEqual([0, 0]);
  await feedTurn(world, turn, [used(19)]);
  expect([await look(), await look()]).toEqual([1, 0]);
  expect((await told()).sort()).toEqual([
    '50 % of the budget of the session racer',
    '80 % of the budget of the session racer',
    'Spent: the budget of the session racer',
  ]);
  expect((await mails(world)).filter(({ type }) => type === 'question')).toHaveLength(1);
});

test('the percentages are those of the user, and 100 is always one of them (E-126)', async () => {
  const world = await testStore({ XDG_CONFIG_HOME: '' });
  mkdirSync(join(world.deps.env.HOME ?? '', '.config/drover'), { recursive: true });
  writeFileSync(join(world.deps.env.HOME ?? '', '.config/drover/config.yaml'), 'budget: {alert_percent: [25]}\n');
  const turn = await working(world, 'one', [used(60)]);
  await bound(world, 'session', 'one', 100);
  const guard = new BudgetGuard(world.deps);
  await spent(guard, turn);
  await feedTurn(world, turn, [used(40)]);
  expect(await spent(guard, turn)).toBe(true);
  expect((await mails(world)).map(({ subject }) => subject).sort()).toEqual([
    '25 % of the budget of the session one',
    'Spent: the budget of the session one',
  ]);
  await bound(world, 'session', 'done', 100);
  const done = await working(world, 'done', [used(30)]);
  await spent(guard, done);
  await feedTurn(world, done, [used(70), RESULT]);
  await endTurn(world, done);
  await spent(guard, done);
  expect((await mails(world)).at(-1)?.subject).toBe('Spent: the budget of the session done');
});

test('a turn that has told its good result when it crosses ends by itself; what is left to do does not start', async () => {
  const world = await testStore();
  const done = await working(world, 'done', [used(120), RESULT], { run_id: 'run-1' });
  const more = await working(world, 'more', [RESULT], { run_id: 'run-1', is_persistent: 1 });
  await bound(world, 'run', 'run-1', 100);
  const guard = new BudgetGuard(world.deps);
  expect(await spent(guard, done, more)).toBe(false);
  expect(await turnsToEnd(world.store)).toEqual([]);
  await endTurn(world, done);
  await endTurn(world, more, { settle: { is_persistent: true } });
  expect(await states(world, 'done', 'more')).toEqual(['completed', 'idle']);
  expect(await guard.look(world.clock.now())).toEqual([
    'the budget of the run run-1 is spent: 120 of 100 tokens; parked: more',
  ]);
  expect(await states(world, 'done', 'more')).toEqual(['completed', 'parked']);
  expect(await guard.look(world.clock.now())).toEqual([]);
});

test('a process that goes on after its result is ended at its next word', async () => {
  const world = await testStore();
  await bound(world, 'session', 'one', 100);
  const turn = await working(world, 'one', [used(120), RESULT]);
  const guard = new BudgetGuard(world.deps);
  expect(await spent(guard, turn)).toBe(false);
  await feedTurn(world, turn, [{ type: 'text', text: 'and another thing' }]);
  expect(await spent(guard, turn)).toBe(true);
  expect(await states(world, 'one')).toEqual(['parked']);
});

test('nothing starts without a budget: not the queued, nor who is claimed between two looks', async () => {
  const world = await testStore();
  const guard = new BudgetGuard(world.deps);
  await endTurn(world, await working(world, 'done', [used(100)], { run_id: 'run-1' }));
  await bound(world, 'run', 'run-1', 100);
  await seedSession(world, { id: 'next', name: 'next', run_id: 'run-1' });
  await expect(takeTurn(world, 'next')).rejects.toThrow('no turn to claim');
  expect(await guard.look(world.clock.now())).toHaveLength(1);
  expect(await row(world, 'next')).toMatchObject({ state: 'parked', parked_reason: 'budget', interrupt_reason: null });
  await seedSession(world, { id: 'free', name: 'free' });
  expect((await takeTurn(world, 'free')).turn.turn).toBe(1);
});

test('resume is refused while the budget is spent, says how to raise it, and goes on afterwards', async () => {
  const world = await testStore();
  await bound(world, 'session', 'one', 100, 1_000_000);
  const turn = await working(world, 'one', [used(350), cost(1_500_000)]);
  const guard = new BudgetGuard(world.deps);
  await spent(guard, turn);
  await endTurn(world, turn, { ok: false });
  const attempt = async () => resume(world.deps, PERSON, await row(world, 'one'), {});
  await expect(attempt()).rejects.toMatchObject({
    ...{ kind: 'refused', code: 'budget_spent' },
    message: 'The budget of the session one is spent: $1.50 of $1.00, 350 of 100 tokens.',
    details: {
      recovery_commands: ['drover budget raise session one --usd 1.00 --tokens 300', 'drover resume one'],
      hint: 'Raise it first: drover budget raise session one --usd 1.00 --tokens 300',
    },
  });
  const key = { scope: 'session', key: 'one' } as const;
  const raised = (tokens: number | null, cost_micros: number | null) =>
    raise(world.deps, PERSON, key, { more: { tokens, cost_micros }, resume: true });
  const [still] = (await raised(300, null)).not_resumed;
  expect(still?.error.message).toBe('The budget of the session one is spent: $1.50 of $1.00.');
  expect(await states(world, 'one')).toEqual(['parked']);
  expect(await raised(null, 1_000_000)).toEqual({ resumed: ['one'], not_resumed: [] });
  expect(await row(world, 'one')).toMatchObject({
    state: 'queued',
    interrupt_reason: 'parked: budget: the budget of the session one is spent: $1.50 of $1.00',
  });
  expect(await guard.look(world.clock.now())).toEqual([]);
});

test('raising one budget puts back only whom it parked, and not who lacks another', async () => {
  const world = await testStore();
  const one = await working(world, 'one', [used(120)], { run_id: 'run-1' });
  const two = await working(world, 'two', [used(10)], { run_id: 'run-1' });
  const other = await working(world, 'other', [used(10)]);
  await bound(world, 'run', 'run-1', 100);
  await bound(world, 'session', 'one', 50);
  await bound(world, 'session', 'other', 5);
  await bound(world, 'run', 'run-2', 5);
  const third = await working(world, 'third', [used(10)], { run_id: 'run-2' });
  await spent(new BudgetGuard(world.deps), one, two, other, third);
  for (const turn of [one, two, other, third]) await endTurn(world, turn, { ok: false });
  const key = { scope: 'run', key: 'run-1' } as const;
  const done = await raise(world.deps, PERSON, key, { more: { tokens: 100, cost_micros: null }, resume: true });
  expect([done.resumed, done.not_resumed.map(({ name, error }) => [name, error.code])]).toEqual([
    ['two'],
    [['one', 'budget_spent']],
  ]);
  expect(await states(world, 'one', 'two', 'other', 'third')).toEqual(['parked', 'queued', 'parked', 'parked']);
  const own = { scope: 'session', key: 'one' } as const;
  expect(JSON.parse((await row(world, 'one')).parked_evidence ?? '')).toMatchObject({ ...own, from: 'working' });
  const again = await raise(world.deps, PERSON, own, { more: { tokens: 100, cost_micros: null }, resume: true });
  expect(again).toEqual({ resumed: ['one'], not_resumed: [] });
});

test('a new day has its budget anew and tells its thresholds anew; what still runs counts on both days', async () => {
  const world = await testStore();
  const noon = startOfDay(world.clock.now()) + 36 * 3_600_000;
  world.clock.advance(noon - world.clock.now());
  await bound(world, 'global', EVERY_DAY, 100);
  await bound(world, 'profile', 'fast', 100);
  const guard = new BudgetGuard(world.deps);
  await endTurn(world, await working(world, 'one', [used(60)], { profile_name: 'fast' }));
  const turn = await working(world, 'two', [used(30)], { profile_name: 'fast' });
  await spent(guard, turn);
  const told = async () => (await mails(world)).map(({ subject }) => subject.split(' of ')[0]);
  expect(await told()).toEqual(['80 %', '80 %']);
  world.clock.advance(24 * 3_600_000);
  await feedTurn(world, turn, [used(30)]);
  expect(await spent(guard, turn)).toBe(false);
  expect(await told()).toEqual(['80 %', '80 %', '50 %', '50 %']);
  await feedTurn(world, turn, [used(45)]);
  expect(await spent(guard, turn)).toBe(true);
  await endTurn(world, turn, { ok: false });
  world.clock.advance(24 * 3_600_000);
  expect((await resume(world.deps, PERSON, await row(world, 'two'), {})).changed).toBe(true);
});

test('only a person changes budgets; what does not exist is not raised or taken away', async () => {
  const world = await testStore();
  const session = await seedSession(world, { id: 'one', name: 'one' });
  const agent = { name: 'one', session } as never;
  const key = { scope: 'session', key: 'one' } as const;
  const more = { tokens: 1, cost_micros: null };
  for (const attempt of [
    changeBudget(world.deps, agent, key, more),
    raise(world.deps, agent, key, { more, resume: false }),
    dropBudget(world.deps, agent, key),
  ])
    await expect(attempt).rejects.toMatchObject({ code: 'not_allowed' });
  await expect(raise(world.deps, PERSON, key, { more, resume: false })).rejects.toMatchObject({
    code: 'budget_not_found',
  });
  await expect(dropBudget(world.deps, PERSON, key)).rejects.toMatchObject({ code: 'budget_not_found' });
  await changeBudget(world.deps, PERSON, key, more);
  await dropBudget(world.deps, PERSON, key);
  expect(await budgetViews(world.store, 0)).toEqual([]);
});

test('who was stopped meanwhile is not parked', async () => {
  const world = await testStore();
  await bound(world, 'session', 'one', 100);
  const turn = await working(world, 'one', [used(120)]);
  await stopSession(world.store, { session_id: 'one', actor: 'cli', reason: 'operator', now: world.clock.now() });
  expect(await spent(new BudgetGuard(world.deps), turn)).toBe(false);
  expect(await states(world, 'one')).toEqual(['stopped']);
});
