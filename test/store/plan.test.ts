import { Database, type SQLQueryBindings } from 'bun:sqlite';
import { afterEach, expect, spyOn, test } from 'bun:test';
import { type BudgetScope, EVERY_DAY } from '../../src/model/budget.ts';
import { homePaths } from '../../src/model/home.ts';
import { LIVE_STATES } from '../../src/model/session.ts';
import { setBudget } from '../../src/store/budget.ts';
import { budgetedUse, enforceBudgets } from '../../src/store/budget-park.ts';
import { nudgeSession, pauseSession, resumeSession, stopSession } from '../../src/store/control.ts';
import { listEvents, listStateLog } from '../../src/store/event.ts';
import { claimNow, liveByName } from '../../src/store/mail.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { findSession, listSessions, sessionByToken } from '../../src/store/session.ts';
import { type Params, Tx } from '../../src/store/store.ts';
import { claimedInput, dispatchable, nextDueAt, openTurns, releaseDue, turnsToEnd } from '../../src/store/turn.ts';
import { listTurns } from '../../src/store/turn-list.ts';
import { endTurn, feedTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

const spies: { mockRestore(): void }[] = [];
afterEach(() => {
  for (const spy of spies.splice(0)) spy.mockRestore();
});

/** Every statement that is run from now on, with the values of one of its runs. */
function recorded(): Map<string, Params> {
  const seen = new Map<string, Params>();
  for (const name of ['get', 'all', 'run'] as const) {
    const original = Tx.prototype[name] as (this: Tx, sql: string, params?: Params) => unknown;
    const spy = spyOn(Tx.prototype, name) as unknown as { mockImplementation(f: unknown): { mockRestore(): void } };
    const record = function (this: Tx, sql: string, params?: Params) {
      seen.set(sql, params ?? {});
      return original.call(this, sql, params);
    };
    spies.push(spy.mockImplementation(record));
  }
  return seen;
}

const NUDGE = {
  from_name: 'o',
  from_id: null,
  type: 'nudge',
  priority: 'high',
  subject: 's',
  body: 'b',
  payload_json: null,
} as const;

/** What a supervisor and its users ask for all day. */
async function everydayWork(world: TestStore): Promise<void> {
  const { store } = world;
  const parent = await seedSession(world);
  const { id, name } = await seedSession(world, { parent_id: parent.id });
  const taken = await takeTurn(world, id);
  await claimNow(store, id);
  await nudgeSession(store, { session_id: id, draft: NUDGE, interrupt: false, now: 1 });
  await endTurn(world, taken, { settle: { has_contract: true } });
  await takeTurn(world, id);
  await pauseSession(store, { session_id: parent.id, reason: '', now: 1 });
  await world.store.write((tx) => tx.run('UPDATE sessions SET resume_at = 2 WHERE id = :id', { id: parent.id }));
  await releaseDue(store, 3, 'supervisor');
  for (const look of [
    dispatchable(store, 1, 9),
    nextDueAt(store, 1),
    openTurns(store),
    turnsToEnd(store),
    listTurns(store, id),
  ])
    await look;
  await claimedInput(store, id, 1);
  await Promise.allSettled([
    findSession(store, name, null),
    findSession(store, id.slice(0, 12), null),
    findSession(store, 'latest', '/farm'),
    findSession(store, 'latest', null),
  ]);
  await listSessions(store, { states: [...LIVE_STATES] });
  await listSessions(store, { states: [...LIVE_STATES], repo_root: '/farm' });
  await sessionByToken(store, 'x');
  await liveByName(store, name);
  await listMail(store, { to_id: id });
  await listMail(store, { to_id: null, unread: true });
  await listEvents(store, { session_id: id });
  await listStateLog(store, id);
  await stopSession(store, { session_id: id, actor: 'cli', reason: '', now: 4 });
  await endTurn(world, { ...taken, turn: { ...taken.turn, turn: 2 } });
  await resumeSession(store, { session_id: id, brief: NUDGE, interrupt_reason: '', always_brief: false, now: 5 });
  await spendBudgets(world);
}

/** Budgets of every scope, looked at before anything starts and after a stream has grown, until they are spent. */
async function spendBudgets(world: TestStore): Promise<void> {
  const { store } = world;
  const { id } = await seedSession(world, { run_id: 'run-1', profile_name: 'fast' });
  const scopes = { global: EVERY_DAY, run: 'run-1', profile: 'fast', session: id };
  for (const [scope, key] of Object.entries(scopes) as [BudgetScope, string][])
    await setBudget(store, { scope, key, tokens: 5, cost_micros: 5, now: 1 });
  const turn = await takeTurn(world, id);
  const spenders = await budgetedUse(store, [id]);
  const look = { spenders, day: 0, thresholds: [50, 100], now: 9 };
  await enforceBudgets(store, look);
  await feedTurn(world, turn, [{ type: 'cost', mode: 'turn', cost_micros: 5 }]);
  const { parked } = await enforceBudgets(store, { ...look, spenders: null });
  expect(parked.map((session) => session.id)).toContain(id);
}

/** Asked on a connection of its own, because the explanation of an update leaves its statement unfinished. */
function detailsOf(home: string, [sql, params]: [string, Params]): string[] {
  const db = new Database(homePaths.database(home), { readonly: true, strict: true });
  try {
    const rows = db
      .prepare<{ detail: string }, SQLQueryBindings>(`EXPLAIN QUERY PLAN ${sql}`)
      .all(params as SQLQueryBindings);
    return rows.map(({ detail }) => detail);
  } finally {
    db.close();
  }
}

function scans(home: string, statement: [string, Params]): string[] {
  const plan = detailsOf(home, statement);
  // A partial index is as short as what it holds; what is scanned without any is the whole history.
  return plan.filter(
    (detail) =>
      /^SCAN (?!CONSTANT|\(|w\b|json_each\b)/.test(detail) &&
      !/USING (?:COVERING )?INDEX (?:one_turn|turns_to_end|live_|waiting_|sessions_by_update)/.test(detail),
  );
}

test('nothing that is asked all day walks through the history', async () => {
  const world = await testStore();
  const seen = recorded();
  await everydayWork(world);
  const found: Record<string, string[]> = {};
  for (const [sql, params] of seen) {
    if (!/^\s*(?:SELECT|UPDATE|DELETE)/.test(sql)) continue;
    const bad = scans(world.home, [sql, params]);
    if (bad.length > 0) found[sql.replace(/\s+/g, ' ')] = bad;
  }
  expect(seen.size).toBeGreaterThan(30);
  expect(found).toEqual({});
});

test('with ten thousand sessions the timer and the queue are looked up, not searched', async () => {
  const { store, home } = await testStore();
  const seen = recorded();
  await nextDueAt(store, 5);
  const plansOf = (word: string) => {
    const statements = [...seen].filter(([sql]) => sql.includes(word));
    return statements.map((each) => detailsOf(home, each).join('; '));
  };
  const [timer] = plansOf('resume_at');
  expect(timer).toContain('sessions_with_next_turn');
  expect(timer).toContain('sessions_to_release');
  seen.clear();
  await dispatchable(store, 5, 1);
  const plans = plansOf('sessions AS s');
  expect(plans).toHaveLength(2);
  for (const plan of plans) expect(plan).toContain('SEARCH s USING INDEX live_sessions (state=?)');
  expect(plans[0]).toContain('waiting_mail (to_id=?)');
  expect(plans[0]).toContain('notifications_by_parent (parent_id=? AND delivered_turn=?)');
});
