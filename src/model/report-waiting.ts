import { type BudgetRow, percentSpent, raiseCommand, type Spending } from './budget.ts';
import type { ExpandedStep } from './plan.ts';
import type { WayOn } from './plan-step.ts';
import type { Waiting } from './report.ts';
import type { ReportRows, ReportSessionRow, ReportStateRow } from './report-rows.ts';
import type { ParkedReason } from './session.ts';
import { quoted } from './shell.ts';

type Facts = Pick<
  ReportRows,
  'plan' | 'run' | 'steps' | 'plan_log' | 'sessions' | 'merges' | 'incidents' | 'questions' | 'budgets' | 'pools'
>;

/** What holds one thing, and how it goes on; `budget`: the spent one, instead of a command that raises it. */
type Way = Pick<Waiting, 'commands' | 'by_itself' | 'resumes_at'> & { budget?: SpentBudget };
type Entry = Omit<Waiting, 'goes_on_with'> & { budget?: SpentBudget };

interface SpentBudget {
  row: BudgetRow;
  /** What people call whom it bounds. */
  called: string;
  spent: Spending;
}

/** Of the words a session was parked with. */
const EVIDENCE_LENGTH = 300;

/** Everything that waits for a person or for a time, the plan first. `step_of` maps sessions to steps, `spent` is the run's. */
export function waitingOf(
  facts: Facts,
  states: ReadonlyMap<string, readonly ReportStateRow[]>,
  step_of: ReadonlyMap<string, string>,
  spent: Spending,
  now: number,
): Waiting[] {
  const parked = facts.sessions
    .filter(({ state }) => state === 'parked')
    .map((session): Entry => {
      const reason = session.parked_reason ?? 'operator';
      return {
        ...{ kind: 'session', name: session.name, session_id: session.id, step_id: step_of.get(session.id) ?? null },
        ...{ reason, evidence: wordsIn(session.parked_evidence), since_at: lastAt(states.get(session.id) ?? []) },
        ...wayOn(session, reason, facts, now),
      };
    });
  return raisedOnce([
    ...planWaits(facts, spent),
    ...mergeWaits(facts),
    ...slotWaits(facts, step_of),
    ...parked,
    ...questionWaits(facts, step_of),
  ]);
}

/**
 * A budget that holds several is raised by one command, told at the first of them: two commands, one after the other, would
 * give twice the money. It lets everybody go on whom the budget has parked.
 */
function raisedOnce(entries: readonly Entry[]): Waiting[] {
  const held = Map.groupBy(
    entries.filter(({ budget }) => budget !== undefined),
    ({ budget }) => keyOf(budget),
  );
  return entries.map((entry): Waiting => {
    const { budget, ...rest } = entry;
    const [first = entry, ...others] = held.get(keyOf(budget)) ?? [];
    if (budget === undefined) return { ...rest, goes_on_with: null };
    if (first !== entry) return { ...rest, goes_on_with: first.name };
    const all = [first, ...others];
    const most = (side: keyof Spending) => Math.max(...all.map((each) => each.budget?.spent[side] ?? 0));
    const spent = { cost_micros: most('cost_micros'), tokens: most('tokens') };
    const command = raiseCommand({ budget: budget.row, name: budget.called, spent });
    const has_parked = all.some(({ kind }) => kind === 'session');
    return { ...rest, commands: [`${command}${has_parked ? ' --resume' : ''}`], goes_on_with: null };
  });
}

function keyOf(budget: SpentBudget | undefined): string {
  return budget === undefined ? '' : JSON.stringify([budget.row.scope, budget.row.key]);
}

function lastAt(states: readonly ReportStateRow[]): number | null {
  // Several lines may say `parked` one after the other: the wait began with the first of them.
  const other = states.findLastIndex(({ to_state }) => to_state !== 'parked');
  return states[other + 1]?.at ?? null;
}

function wayOn(session: ReportSessionRow, reason: ParkedReason, facts: Facts, now: number): Way {
  const { name, resume_at, parked_pool } = session;
  const resume = `drover resume ${quoted(name)}`;
  const person = (...commands: string[]): Way => ({ commands, by_itself: false, resumes_at: null });
  const incident = facts.incidents.find((each) => each.paused_session_id === session.id && each.resolved_at === null);
  if (incident !== undefined)
    return person(`drover incident show ${incident.id}`, `drover incident resolve ${incident.id} 'how' --resume`);
  if (resume_at !== null) return { commands: [], by_itself: true, resumes_at: Math.max(resume_at, now) };
  const pool = facts.pools.find((each) => each.name === parked_pool);
  if (parked_pool !== null && pool !== undefined) {
    const isShut = pool.state === 'blocked' && pool.opens_at === null;
    if (isShut) return person(`drover pools release ${quoted(parked_pool)}`);
    return { commands: [], by_itself: true, resumes_at: pool.state === 'blocked' ? pool.opens_at : null };
  }
  if (reason === 'gate') return person(`${resume} --text 'what to change'`);
  const budget = reason === 'budget' ? spentBy(session, facts) : null;
  if (budget !== null) return { ...person(), budget };
  const question = facts.questions.findLast(({ from_id }) => from_id === session.id);
  if (reason === 'question' && question !== undefined) return person(replyTo(question.id));
  return person(resume);
}

function replyTo(mail_id: string): string {
  return `drover mail reply ${mail_id} --body 'your answer'`;
}

/** Null when it is no budget of ours that holds it (memory is one as well), or one that has room by now. */
function spentBy({ name, parked_evidence }: ReportSessionRow, { budgets, run }: Facts): SpentBudget | null {
  const { scope, key, spent } = objectIn(parked_evidence) ?? {};
  const row = budgets.find((each) => each.scope === scope && each.key === key);
  if (row === undefined || typeof spent !== 'object' || spent === null) return null;
  const called = { global: '', profile: row.key, session: name, run: run.id }[row.scope];
  return spentOf(row, called, spent as Spending);
}

function spentOf(row: BudgetRow, called: string, spent: Spending): SpentBudget | null {
  return (percentSpent(row, spent) ?? 0) < 100 ? null : { row, called, spent };
}

/** What keeps a whole plan from going on. */
function planWaits({ plan, run, budgets, pools }: Facts, spent: Spending): Entry[] {
  if (plan === null || (plan.state !== 'paused' && plan.state !== 'parked')) return [];
  const entry = {
    ...({ kind: 'plan', name: plan.name, session_id: null, step_id: null, evidence: null } as const),
    ...{ since_at: plan.updated_at, resumes_at: null, by_itself: false },
  };
  if (plan.state === 'paused') return [{ ...entry, reason: 'paused', commands: [`drover plan resume ${plan.id}`] }];
  if (plan.reason === 'budget') {
    const row = budgets.find(({ scope, key }) => scope === 'run' && key === run.id);
    const budget = row === undefined ? null : spentOf(row, run.id, spent);
    return [{ ...entry, reason: 'budget', commands: [], ...(budget === null ? {} : { budget }) }];
  }
  const shut = pools.filter(({ state, opens_at }) => state === 'blocked' && opens_at === null);
  if (plan.reason === 'pool')
    return [{ ...entry, reason: 'pool', commands: shut.map(({ name }) => `drover pools release ${quoted(name)}`) }];
  return [];
}

/** Steps whose work is done and did not get where it is meant to go. */
function mergeWaits({ plan, steps, sessions, merges, plan_log }: Facts): Entry[] {
  return steps
    .filter(({ state, session_id }) => state === 'parked' && session_id !== null)
    .flatMap((step): Entry[] => {
      const { step_id, session_id } = step;
      const session = sessions.find(({ id }) => id === session_id);
      const merge = merges.findLast((each) => each.session_id === session_id);
      if (session === undefined || plan === null) return [];
      const { merge: mode } = JSON.parse(step.spec_json) as Partial<ExpandedStep>;
      const name = quoted(session.name);
      const way = wayOnIn(plan_log, step_id);
      const rebase = merge?.outcome === 'conflict' && way.commands.length === 0 ? [`drover rebase ${name}`] : [];
      const tried = [...way.commands, ...rebase, `drover merge ${name}`];
      const why = [merge?.reason ?? step.reason, way.hint].filter((text) => text !== null).join('. ');
      return [
        {
          ...{ kind: 'step', name: session.name, session_id: session.id, step_id, resumes_at: null, by_itself: false },
          reason: merge?.outcome ?? (mode === 'pr' ? 'pull request' : 'merge'),
          ...{ evidence: clipped(why), since_at: merge?.ended_at ?? null },
          commands: merge === undefined ? untried(session, step.reason, plan.id, way) : tried,
        },
      ];
    });
}

/** What the refusal that parked a step last said is to be done; nothing: it said nothing. */
function wayOnIn(plan_log: Facts['plan_log'], step_id: string): WayOn {
  const last = plan_log.findLast((line) => line.step_id === step_id && ['parked', 'way_on'].includes(line.event));
  if (last?.event !== 'way_on' || last.detail === null) return { hint: null, commands: [] };
  return JSON.parse(last.detail) as WayOn;
}

/** What refused it before there was an attempt is put right by a person; the plan's own way of merging is then tried again. */
function untried({ worktree_path }: ReportSessionRow, reason: string | null, plan_id: string, way: WayOn): string[] {
  const isDirty = worktree_path !== null && /uncommitted changes|not committed/.test(reason ?? '');
  const git = `git -C ${quoted(worktree_path ?? '')}`;
  return [
    ...(isDirty ? [`${git} status --short`, `${git} add --all && ${git} commit -m 'what is left'`] : way.commands),
    `drover plan resume ${plan_id}`,
  ];
}

/** Steps whose session never gets a worktree unless a slot is made free. */
function slotWaits({ steps, sessions, plan_log }: Facts, step_of: ReadonlyMap<string, string>): Entry[] {
  const queued = sessions.filter(({ state }) => state === 'queued');
  return steps
    .filter(({ state, session_id }) => state === 'parked' && session_id === null)
    .flatMap(({ step_id, reason }) => {
      const own = queued.filter(({ id }) => step_of.get(id) === step_id);
      const since_at = plan_log.findLast((line) => line.step_id === step_id && line.event === 'parked')?.at ?? null;
      return own.map(({ id, name }): Entry => {
        return {
          ...{ kind: 'step', name, session_id: id, step_id, reason: 'worktree', evidence: clipped(reason), since_at },
          ...{ resumes_at: null, by_itself: false, commands: ['drover worktree list', 'drover worktree clean'] },
        };
      });
    });
}

/** Sessions that rest until somebody answers them. */
function questionWaits({ questions, sessions }: Facts, step_of: ReadonlyMap<string, string>): Entry[] {
  return questions.flatMap(({ id, from_id, subject, created_at }): Entry[] => {
    const session = sessions.find((each) => each.id === from_id);
    if (session === undefined || session.state !== 'idle') return [];
    return [
      {
        ...{ kind: 'session', name: session.name, session_id: session.id, step_id: step_of.get(session.id) ?? null },
        ...{ reason: 'question', evidence: clipped(subject), since_at: created_at, resumes_at: null, by_itself: false },
        commands: [replyTo(id)],
      },
    ];
  });
}

function clipped(text: string | null | undefined): string | null {
  return text == null || text === '' ? null : text.slice(0, EVIDENCE_LENGTH);
}

function objectIn(json: string | null): Record<string, unknown> | null {
  if (json === null) return null;
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** The sentence in the evidence of a park, whoever wrote it. */
function wordsIn(json: string | null): string | null {
  const told = objectIn(json);
  if (told === null) return clipped(json);
  const deeper = typeof told.told === 'object' && told.told !== null ? (told.told as Record<string, unknown>) : {};
  const words = [told.text, told.message, deeper.text, deeper.message].find((each) => typeof each === 'string');
  return clipped(words as string | undefined);
}
