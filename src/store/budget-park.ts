import { type BudgetScope, budgetText, EVERY_DAY, raiseCommand, spendingText } from '../model/budget.ts';
import { MAIL_SUBJECT_LIMIT } from '../model/mail.ts';
import type { SessionRow } from '../model/session.ts';
import {
  type BudgetKey,
  boundOf,
  firstSpent,
  hasBudget,
  nameOf,
  newlyCrossed,
  noteCrossed,
  readBudget,
  readSpent,
  type Spender,
  type Spent,
  scopesOf,
} from './budget.ts';
import { tellOperatorIn } from './operator-mail.ts';
import { readSession } from './session.ts';
import type { Store, Tx } from './store.ts';
import { transition } from './transition.ts';

export interface BudgetLook {
  /** Whose budgets; null: of everybody that could go on. */
  spenders: readonly Spender[] | null;
  /** Midnight at which the day of daily budgets began. */
  day: number;
  /** Percent at which the operator is told, each once. */
  thresholds: readonly number[];
  now: number;
}

export interface Enforced {
  /** Newly parked, each once (E-125). */
  parked: Pick<SessionRow, 'id' | 'name'>[];
  /** Some budget is spent: somebody may still have to be parked, who was about to end well. */
  is_spent: boolean;
  /** What was done, for the log. */
  lines: string[];
}

/** A session's usage, for whoever wants to know whether it has grown. */
export type SpenderUse = Spender & Pick<SessionRow, 'input_tokens' | 'output_tokens' | 'cost_micros'>;

/** What these sessions have used; null while nothing at all has a budget, which one row tells. */
export async function budgetedUse(store: Store, ids: readonly string[]): Promise<SpenderUse[] | null> {
  return store.read((tx) =>
    hasBudget(tx)
      ? tx.all<SpenderUse>(
          `SELECT s.id, s.run_id, s.profile_name, s.input_tokens, s.output_tokens, s.cost_micros
           FROM json_each(:ids) CROSS JOIN sessions AS s ON s.id = json_each.value`,
          { ids: JSON.stringify(ids) },
        )
      : null,
  );
}

/**
 * Tells which thresholds were crossed, each once, and parks whom a spent budget covers, before their turns in flight are
 * ended (I18, E-120…E-125, MODEL §2.5): thresholds, parked sessions and the operator's question are one transaction. A turn
 * that has told its good result already is left to end by itself: what it did counts, and whatever is left to do afterwards
 * is parked before it starts. Costs small reads alone while there is nothing to do.
 */
export async function enforceBudgets(store: Store, look: BudgetLook): Promise<Enforced> {
  const { is_spent, isDue } = await store.read((tx) => {
    if (!hasBudget(tx)) return { is_spent: false, isDue: false };
    const found = spentOf(tx, look);
    return {
      is_spent: found.some(({ percent }) => percent >= 100),
      isDue: found.some((each) => isDueIn(tx, each, look)),
    };
  });
  if (!isDue) return { parked: [], is_spent, lines: [] };
  return store.write((tx) => {
    const done: Enforced = { parked: [], is_spent, lines: [] };
    for (const found of spentOf(tx, look)) enforceOne(tx, found, look, done);
    return done;
  });
}

const STARTABLE_STATES = "('queued','booting','working','stalled','idle')";
const COVERED: Record<BudgetScope, string> = {
  global: 'TRUE',
  run: 's.run_id = :key',
  profile: '+s.profile_name = :key',
  session: 's.id = :key',
};
/** Its turn has ended well, but for the telling: a gate judges it, or its process is about to go. */
const ENDS_WELL = `EXISTS (SELECT 1 FROM turns AS t WHERE t.session_id = s.id AND t.ended_at IS NULL
  AND (t.gating_since IS NOT NULL OR (t.result_at IS NOT NULL AND t.result_ok = 1)))`;
const LIVE = 'SELECT s.id, s.run_id, s.profile_name FROM sessions AS s WHERE s.ended_at IS NULL';

/** How far the budgets are spent that a look asks for, in the order of the scopes. */
function spentOf(tx: Tx, { spenders, day }: BudgetLook): Spent[] {
  const keys = spenders === null ? liveKeys(tx) : distinct(spenders.flatMap(scopesOf));
  return keys.flatMap((key) => {
    const budget = readBudget(tx, key);
    return budget === null ? [] : [readSpent(tx, budget, day)];
  });
}

function distinct(keys: readonly BudgetKey[]): BudgetKey[] {
  const byName = new Map(keys.map((key) => [`${key.scope} ${key.key}`, key]));
  return [...byName.values()];
}

/** Of everybody that could go on. Budgets of single sessions are many, and few of them are spent. */
function liveKeys(tx: Tx): BudgetKey[] {
  const among = `${LIVE} AND s.state IN ${STARTABLE_STATES}`;
  return tx.all<BudgetKey>(
    `WITH live AS MATERIALIZED (${among})
     SELECT 'global' AS scope, :every_day AS key WHERE EXISTS (SELECT 1 FROM live)
     UNION ALL SELECT DISTINCT 'run', run_id FROM live WHERE run_id IS NOT NULL
     UNION ALL SELECT DISTINCT 'profile', profile_name FROM live WHERE profile_name IS NOT NULL
     UNION ALL SELECT 'session', s.id FROM live CROSS JOIN budgets AS b ON b.scope = 'session' AND b.key = live.id
       CROSS JOIN sessions AS s ON s.id = live.id
       WHERE s.input_tokens + s.output_tokens >= b.tokens OR s.cost_micros >= b.cost_micros`,
    { every_day: EVERY_DAY },
  );
}

function isDueIn(tx: Tx, found: Spent, { thresholds, day }: BudgetLook): boolean {
  if (newlyCrossed(found, thresholds, day).length > 0) return true;
  return found.percent >= 100 && coveredBy(tx, found.budget).length > 0;
}

type Covered = Pick<SessionRow, 'id' | 'name' | 'state' | 'turn'>;

/** Whom a spent budget holds, in the order of lists. */
function coveredBy(tx: Tx, { scope, key }: BudgetKey): Covered[] {
  return tx.all<Covered>(
    `SELECT s.id, s.name, s.state, s.turn FROM sessions AS s
     WHERE ${COVERED[scope]} AND s.ended_at IS NULL AND s.state IN ${STARTABLE_STATES} AND NOT ${ENDS_WELL}
     ORDER BY s.created_at DESC, s.id`,
    scope === 'global' ? {} : { key },
  );
}

function enforceOne(tx: Tx, found: Spent, look: BudgetLook, done: Enforced): void {
  const { budget, spent, percent } = found;
  const crossed = newlyCrossed(found, look.thresholds, look.day);
  if (crossed.length > 0) noteCrossed(tx, budget, crossed, look.now);
  const name = nameOf(tx, budget);
  const what = budgetText(budget.scope, name);
  if (percent < 100) {
    if (crossed.length > 0) tellAlert(tx, { ...found, name }, Math.max(...crossed), look.now);
    if (crossed.length > 0) done.lines.push(`${what}: ${spendingText(budget, spent)}`);
    return;
  }
  const text = spentText(found, name);
  const parked = coveredBy(tx, budget).filter((session) => park(tx, session, found, { text, now: look.now }));
  done.parked.push(...parked);
  if (parked.length === 0 && crossed.length === 0) return;
  tellSpent(tx, { ...found, name }, parked, look.now);
  done.lines.push(`${text}; parked: ${parked.map((each) => each.name).join(', ') || 'nobody'}`);
}

/** Whom one budget has parked is now held by the first of its budgets that is spent still. */
export async function blameBudget(store: Store, session: Spender, day: number, now: number): Promise<void> {
  await store.write((tx) => {
    const found = firstSpent(tx, session, day);
    const row = readSession(tx, session.id);
    if (found === null || row?.parked_reason !== 'budget') return;
    const { from } = JSON.parse(row.parked_evidence ?? '{}') as { from?: string };
    const reason = spentText(found, nameOf(tx, found.budget));
    const { id: session_id, turn: fence, interrupt_reason } = row;
    transition(tx, {
      ...{ session_id, event: 'park', actor: 'cli', reason, fence, now },
      set: {
        ...{ parked_reason: 'budget', parked_evidence: evidenceOf(found, reason, from ?? row.state) },
        ...{ resume_at: null, parked_pool: null, interrupt_reason },
      },
    });
  });
}

/** What a parked session keeps of the budget that holds it. */
function evidenceOf({ budget, spent }: Spent, text: string, from: string): string {
  const { scope, key } = budget;
  return JSON.stringify({ kind: 'budget', text, scope, key, spent, bound: boundOf(budget), from });
}

function spentText({ budget, spent }: Spent, name: string): string {
  return `${budgetText(budget.scope, name)} is spent: ${spendingText(budget, spent, 100)}`;
}

/** The worktree stays as it is (E-121). False: somebody was first. */
function park(tx: Tx, session: Covered, found: Spent, { text, now }: { text: string; now: number }): boolean {
  const { id, state, turn } = session;
  const moved = transition(tx, {
    ...{ session_id: id, event: 'park', actor: 'supervisor', reason: text, fence: turn, now },
    set: {
      ...{
        parked_reason: 'budget',
        parked_evidence: evidenceOf(found, text, state),
        resume_at: null,
        parked_pool: null,
      },
      // Who never began was not interrupted.
      ...(turn === 0 ? {} : { interrupt_reason: text }),
    },
  });
  if (!moved.ok) return false;
  tx.run("UPDATE turns SET end_cause = coalesce(end_cause, 'pause') WHERE session_id = :id AND ended_at IS NULL", {
    id,
  });
  return true;
}

type Named = Spent & { name: string };

function tellAlert(tx: Tx, { budget, spent, name }: Named, percent: number, now: number): void {
  const what = budgetText(budget.scope, name);
  const body = `Of ${what} ${spendingText(budget, spent)} are spent. When nothing is left, what it covers is parked with its work kept.`;
  tellOperatorIn(tx, { ...mailOf(`${percent} % of ${what}`, body, budget), type: 'status', priority: 'normal' }, now);
}

const NAMED = 20;

/** The question that only a person answers: may it spend more? */
function tellSpent(tx: Tx, found: Named, parked: readonly Covered[], now: number): void {
  const { budget, spent, name } = found;
  const what = budgetText(budget.scope, name);
  const names = parked.slice(0, NAMED).map((each) => each.name);
  const more = parked.length > NAMED ? ` and ${parked.length - NAMED} more` : '';
  const whom =
    parked.length === 0 ? 'Nobody had to be parked.' : `Parked, with all work kept: ${names.join(', ')}${more}.`;
  const body = [
    `${spendingText(budget, spent, 100)}: nothing that it covers starts any more. ${whom}`,
    'May it go on? Raise the budget, which puts back to work whom it parked:',
    `  ${raiseCommand({ budget, name, spent })} --resume`,
    'See all of them: drover budget list. One that is not worth more: drover stop <session>',
  ].join('\n\n');
  const mail = mailOf(`Spent: ${what}`, body, budget);
  tellOperatorIn(tx, { ...mail, type: 'question', priority: 'high' }, now);
}

function mailOf(subject: string, body: string, { scope, key }: BudgetKey) {
  return {
    ...{ subject: subject.slice(0, MAIL_SUBJECT_LIMIT), body },
    payload_json: JSON.stringify({ kind: 'budget', scope, key }),
  };
}
