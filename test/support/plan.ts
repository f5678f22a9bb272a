import { newId } from '../../src/model/id.ts';
import type { ExpandedStep, PlanRow } from '../../src/model/plan.ts';
import { advance } from '../../src/model/plan-advance.ts';
import { membersOf } from '../../src/model/plan-expand.ts';
import type { Decision } from '../../src/model/plan-facts.ts';
import { factsOf, listIn, type PlanView } from '../../src/model/plan-view.ts';
import { nameFor } from '../../src/model/session.ts';
import { readPlan } from '../../src/plan/read.ts';
import type { Sling } from '../../src/store/new-session.ts';
import { insertPlan, movePlan, setPlanWindow, stopPlan } from '../../src/store/plan.ts';
import { reopenStep } from '../../src/store/plan-reopen.ts';
import { fanOutStep, moveStep, retryStep, startStep } from '../../src/store/plan-step.ts';
import { planView } from '../../src/store/plan-view.ts';
import type { Store } from '../../src/store/store.ts';

/** Stores the plan of a text; every step's pool is `p`. */
export async function storePlan(store: Store, text: string, now: number): Promise<PlanRow> {
  const { plan, issues } = readPlan(text);
  if (plan === null) throw new Error(issues.map(({ line, message }) => `${line}: ${message}`).join('\n'));
  const { steps: _steps, ...settings } = plan.file;
  return insertPlan(store, {
    ...{ id: newId('plan'), settings, repo_root: '/farm', working_dir: '/farm', file: null, schedule_id: null, now },
    steps: plan.steps.map((step) => ({ step, pool: 'p' })),
  });
}

/** What `startStep` stores: a session without a worktree. */
export function slingOf(task: string, now: number): Sling {
  const name = nameFor('solo', task);
  return {
    draft: {
      ...{ id: newId('agent'), name, role: 'solo', harness: 'rehearsal', task, project: 'farm', task_group: 'general' },
      ...{
        profile_name: null,
        profile_json: null,
        model: null,
        repo_root: '/farm',
        working_dir: '/farm',
        branch: null,
      },
      ...{ base_ref: null, base_branch: null, parent_id: null, depth: 0, run_id: null, is_persistent: 0, pool: 'p' },
      ...{ recovered_from: null, native_session_id: null, worktree_path: null, max_turns: null, timeout_ms: null },
      prompt_version: null,
    },
    brief: {
      ...{ from_name: 'operator', from_id: null, type: 'task', priority: 'normal', subject: 'Your task', body: task },
      payload_json: null,
    },
    ...{ is_name_chosen: false, limits: { max_children: 1_000 }, new_id: () => newId('agent'), now },
  };
}

/** One look at a plan and everything it decided, as writes. Returns what was decided, with whether it landed. */
export async function turnPlan(
  store: Store,
  id: string,
  now: number,
): Promise<{ decision: Decision; landed: boolean }[]> {
  const view = await planView(store, id);
  if (view === null) throw new Error(`no plan ${id}`);
  const { decisions } = advance(factsOf(view, new Map(), null, now), now);
  const done = [];
  for (const decision of decisions) done.push({ decision, landed: await carryOut(store, view, decision, now) });
  return done;
}

async function carryOut(store: Store, view: PlanView, decision: Decision, now: number): Promise<boolean> {
  const plan_id = view.plan.id;
  if (decision.do === 'plan')
    return (await movePlan(store, { id: plan_id, to: decision.state, reason: decision.reason, now })) !== null;
  if (decision.do === 'stop') return stopPlan(store, { id: plan_id, cause: decision.cause, now });
  if (decision.do === 'window') return setPlanWindow(store, { id: plan_id, is_open: decision.is_open, now });
  if (decision.do === 'hold') return false;
  const row = view.steps.find(({ step_id }) => step_id === decision.step_id);
  if (row === undefined) throw new Error(`no step ${decision.step_id}`);
  const spec = JSON.parse(row.spec_json) as ExpandedStep;
  const key = { plan_id, step_id: row.step_id, round: row.round, now };
  switch (decision.do) {
    case 'start':
      return (
        (await startStep(store, {
          ...key,
          slot: decision.slot,
          sling: slingOf(spec.task, now),
          actor: 'supervisor',
        })) !== null
      );
    case 'fan_out': {
      const source = view.steps.find(({ step_id }) => step_id === spec.foreach?.step);
      const list = listIn(view.sessions.find(({ id }) => id === source?.session_id)?.result_text ?? '');
      const items = 'items' in list ? list.items : [];
      const max = spec.foreach?.max ?? 0;
      const members = membersOf(spec, items.slice(0, max)).map((step) => ({ step, pool: 'p' }));
      return (await fanOutStep(store, { ...key, members, dropped: Math.max(0, items.length - max) })) !== null;
    }
    case 'retry':
      return (
        (await retryStep(store, { ...key, outcome: decision.cause, not_before_at: decision.not_before_at })) !== null
      );
    case 'park':
      return (await moveStep(store, { ...key, to: 'parked', reason: decision.reason })) !== null;
    case 'unpark':
      return (await moveStep(store, { ...key, to: 'running' })) !== null;
    case 'merge':
      return (await moveStep(store, { ...key, to: 'merging', session_id: decision.session_id })) !== null;
    case 'finish':
      return (await moveStep(store, { ...key, to: 'done', session_id: decision.session_id })) !== null;
    case 'fail':
      return (
        (await moveStep(store, { ...key, to: 'failed', outcome: decision.outcome, reason: decision.reason })) !== null
      );
    case 'reopen':
      return (await reopenStep(store, key)) !== null;
    case 'skip':
      return (await moveStep(store, { ...key, to: 'skipped', outcome: decision.outcome })) !== null;
  }
}
