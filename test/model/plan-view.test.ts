import { describe, expect, test } from 'bun:test';
import { ANSWER_LIMIT, keptAnswer } from '../../src/model/harness.ts';
import type { ExpandedStep, PlanRow } from '../../src/model/plan.ts';
import type { StepRow } from '../../src/model/plan-step.ts';
import { factsOf, listIn, type PlanView, type StepSession } from '../../src/model/plan-view.ts';

const NOW = 1_000_000;
const SPEC: ExpandedStep = {
  ...{
    id: 'a',
    task: 't',
    needs: [],
    harness: null,
    profile: null,
    role: null,
    worktree: null,
    base: null,
    gate: null,
  },
  ...{ retry: { max: 0, on: ['lost'] }, timeout_ms: null, budget: null, when: 'all_ok', attempts: 1, foreach: null },
  ...{ inputs: {}, outputs: {}, merge: 'none', kind: 'task', group_id: null, values: {} },
};
const row = (step_id: string, more: Partial<StepRow> = {}, spec: Partial<ExpandedStep> = {}): StepRow => ({
  ...{
    plan_id: 'p',
    step_id,
    position: 0,
    child_no: 0,
    kind: 'task',
    group_id: null,
    pool: 'claude',
    state: 'running',
  },
  ...{ outcome: null, reason: null, round: 1, not_before_at: null, session_id: null, outputs_json: null, dropped: 0 },
  ...{ started_at: null, ended_at: null, spec_json: JSON.stringify({ ...SPEC, id: step_id, ...spec }), ...more },
});
const session = (more: Partial<StepSession> = {}): StepSession => ({
  ...{ id: 's', name: 's', step_id: 'a', round: 1, slot: 1, state: 'working', end_reason: null, parked_reason: null },
  ...{
    parked_evidence: null,
    parked_pool: null,
    resume_at: null,
    result_text: null,
    pool: 'claude',
    merged_commit: null,
  },
  ...{
    cost_micros: null,
    input_tokens: 0,
    output_tokens: 0,
    diff_lines: null,
    wants_slot: 0,
    is_begun: 1,
    outcome: null,
    merge: null,
    ...more,
  },
});
const plan: PlanRow = {
  ...{
    id: 'p',
    name: 'n',
    run_id: 'r',
    repo_root: '/',
    working_dir: '/',
    file: null,
    schedule_id: null,
    state: 'active',
  },
  ...{
    reason: null,
    stopping: null,
    is_window_open: null,
    created_at: 1,
    updated_at: 1,
    ended_at: null,
    reported_at: null,
  },
  settings_json: JSON.stringify({
    ...{ name: 'n', concurrency: 2, pools: {}, budget: null, window: null, on_failure: 'stop', report: null },
    stop_when: { failed_steps: null, cost_micros: null, quota_left: null },
  }),
};
const SPENT = { cost_micros: 5, tokens: 13 };
const facts = (steps: StepRow[], sessions: StepSession[], pools: PlanView['pools'] = []) =>
  factsOf({ plan, budget: null, steps, sessions, pools, slots: null, spent: SPENT }, new Map(), 0.5, NOW);
const fact = (one: Partial<StepSession>, step: Partial<StepRow> = {}, pools: PlanView['pools'] = []) =>
  facts([row('a', step)], [session(one)], pools).steps[0]?.sessions[0];

describe('how a session ended (C-12)', () => {
  test.each<[Partial<StepSession>, string | null]>([
    [{ state: 'completed', outcome: 'completed' }, null],
    [{ state: 'completed', outcome: 'handed_off' }, null],
    // Only cleaned up: its process was found dead.
    [{ state: 'completed', outcome: 'lost' }, 'lost'],
    [{ state: 'completed', outcome: null }, 'failed'],
    [{ state: 'failed', outcome: 'crashed' }, 'failed'],
    [{ state: 'failed', outcome: 'timed_out' }, 'timed_out'],
    [{ state: 'zombie', outcome: 'stalled' }, 'stalled'],
    [{ state: 'zombie', outcome: 'crashed' }, 'lost'],
    [{ state: 'stopped', outcome: 'lost' }, 'stopped'],
  ])('%j: %p', (one, cause) => expect(fact(one)).toMatchObject({ state: 'ended', cause }));
});

describe('what a parked session waits for', () => {
  const pool = (more: Partial<PlanView['pools'][number]>): PlanView['pools'] => [
    { name: 'claude', state: 'blocked', opens_at: null, retry_at: null, ...more },
  ];
  test.each<[Partial<StepSession>, PlanView['pools'], string]>([
    [{ parked_reason: 'gate' }, [], 'gate'],
    [{ parked_reason: 'question' }, [], 'person'],
    [{ parked_reason: 'operator', resume_at: NOW + 1 }, [], 'time'],
    [{ parked_reason: 'usage_limit', parked_pool: 'claude' }, pool({ opens_at: NOW + 1 }), 'time'],
    [{ parked_reason: 'operator', parked_pool: 'claude' }, pool({}), 'person'],
    [{ parked_reason: 'usage_limit', parked_pool: 'claude' }, pool({ state: 'probing' }), 'time'],
    [{ parked_reason: 'usage_limit', parked_pool: 'claude' }, [], 'time'],
  ])('%j', (one, pools, waits_for) => {
    expect(fact({ state: 'parked', ...one }, {}, pools)).toMatchObject({ state: 'parked', waits_for });
  });
});

test('idle, stalled and queued sessions live; only the current round counts', () => {
  for (const state of ['idle', 'stalled', 'queued', 'booting'] as const) expect(fact({ state })?.state).toBe('live');
  expect(fact({ round: 1 }, { round: 2 })).toBeUndefined();
});

describe('a session without a slot for its worktree (CX-23)', () => {
  const steps = [row('a'), row('b', { state: 'pending' }, { worktree: true }), row('c', { state: 'pending' })];
  const sessions = [session({ state: 'queued', wants_slot: 1 })];
  const of = (slots: PlanView['slots'], worktrees: { max: number; by_default: boolean } | null) =>
    factsOf({ plan, budget: null, steps, sessions, pools: [], slots, spent: SPENT }, new Map(), null, NOW, worktrees);
  const settings = { max: 6, by_default: false };

  test('waits for a person when nothing frees one, and steps with worktrees are held back', () => {
    const found = of({ held: 6, coming: 0 }, settings);
    expect(found.steps[0]?.sessions[0]).toMatchObject({
      ...{ state: 'parked', waits_for: 'person', cause: null },
      reason:
        'no worktree slot: 6 of 6 are taken (drover worktree list; drover worktree clean; or raise max_worktrees)',
    });
    expect(found.steps.map(({ pool }) => found.shut_pools.has(pool))).toEqual([false, true, false]);
    const all = of({ held: 6, coming: 0 }, { max: 6, by_default: true });
    expect(all.steps.map(({ pool }) => all.shut_pools.has(pool))).toEqual([true, true, true]);
  });

  test.each<[PlanView['slots'], typeof settings | null]>([
    [{ held: 5, coming: 0 }, settings],
    [{ held: 6, coming: 1 }, settings],
    [{ held: 8, coming: 3 }, settings],
    [null, settings],
    [{ held: 6, coming: 0 }, null],
  ])('lives while one is free or comes free: %j', (slots, given) => {
    const found = of(slots, given);
    expect([found.steps[0]?.sessions[0]?.state, found.shut_pools.size]).toEqual(['live', 0]);
  });

  test('a step with a session that has its slot still counts in its pool', () => {
    const rows = [row('a', {}, { worktree: true })];
    const both = [...sessions, session({ id: 'l', slot: 2, state: 'queued' })];
    const view: PlanView = {
      plan,
      budget: null,
      steps: rows,
      sessions: both,
      pools: [],
      slots: { held: 6, coming: 0 },
      spent: SPENT,
    };
    const [step] = factsOf(view, new Map(), null, NOW, settings).steps;
    expect([step?.pool, step?.sessions.map(({ state }) => state)]).toEqual(['claude', ['parked', 'live']]);
  });

  test('of more slots than there may be, what comes free has to suffice', () => {
    expect(of({ held: 8, coming: 2 }, settings).steps[0]?.sessions[0]?.state).toBe('parked');
  });
});

test('a merge: wanted and waiting, refused, or done', () => {
  const done = { state: 'completed', outcome: 'completed' } as const;
  const merging = { state: 'merging', session_id: 's' } as const;
  const of = (one: Partial<StepSession>, step: Partial<StepRow> = merging) => fact({ ...done, ...one }, step)?.merge;
  expect(of({}, {})).toBe('none');
  expect(of({})).toBe('waiting');
  expect(of({ merge: { outcome: null, reason: null } })).toBe('waiting');
  expect(of({ merge: { outcome: 'conflict', reason: null } })).toBe('refused');
  expect(of({ merge: { outcome: 'gate', reason: null } }, { state: 'parked', session_id: 's' })).toBe('refused');
  // Whoever wanted it died: it is begun again, unless a person has to act anyhow.
  const interrupted = { merge: { outcome: 'failed', reason: 'interrupted' } } as const;
  expect(of(interrupted)).toBe('waiting');
  expect(of(interrupted, { state: 'parked', session_id: 's' })).toBe('refused');
  expect(of({ merge: { outcome: 'failed', reason: 'other' } })).toBe('refused');
  // Refused before there was an attempt: it is not tried again before a person does.
  expect(of({}, { state: 'parked', session_id: 's' })).toBe('refused');
  expect(of({ merge: { outcome: null, reason: null } }, { state: 'parked', session_id: 's' })).toBe('waiting');
  expect(of({}, { state: 'parked', session_id: null })).toBe('none');
  expect(
    fact({ ...done, end_reason: 'well', merge: { outcome: 'gate', reason: 'exit code 2' } }, merging)?.reason,
  ).toBe('exit code 2');
  for (const outcome of ['merged', 'up_to_date'] as const)
    expect(of({ merge: { outcome, reason: null } })).toBe('merged');
  expect(of({ merged_commit: 'c0ffee' }, {})).toBe('merged');
});

test('pools that are shut, money and tokens of all rounds, stalled ones included (CX-21)', () => {
  const pools: PlanView['pools'] = [
    { name: 'a', state: 'blocked', opens_at: 7, retry_at: null },
    { name: 'b', state: 'open', opens_at: null, retry_at: NOW + 5 },
    { name: 'c', state: 'open', opens_at: null, retry_at: NOW },
  ];
  const spending = [
    session({ id: 'x', state: 'failed', round: 1, cost_micros: 5, input_tokens: 1, output_tokens: 2 }),
    session({ id: 'y', state: 'stalled', round: 2, cost_micros: null, input_tokens: 10 }),
  ];
  const found = facts([row('a', { round: 2 })], spending, pools);
  expect([...found.shut_pools]).toEqual([
    ['a', 7],
    ['b', NOW + 5],
  ]);
  expect(found).toMatchObject({
    spent: { cost_micros: 5, tokens: 13 },
    quota_left: 0.5,
    plan: { on_failure: 'stop', state: 'active' },
  });
});

test('a list is there once its step is done, with its cap, and stays away before and after', () => {
  const over = { kind: 'group', state: 'pending' } as const;
  const spec = { kind: 'group', foreach: { step: 'l', max: 2 } } as const;
  const answer = session({ id: 'l1', step_id: 'l', state: 'completed', outcome: 'completed', result_text: '[1,2,3]' });
  const list = (source: Partial<StepRow>, group: Partial<StepRow> = over) =>
    facts([row('l', source), row('g', group, spec)], [answer]).steps[1];
  expect(list({ state: 'running' })).toMatchObject({ list: null, foreach: 'l', needs: ['l'] });
  expect(list({ state: 'done', session_id: 'l1' })?.list).toEqual({ items: 2 });
  expect(list({ state: 'done', outputs_json: '{"answer":"[1]"}' })?.list).toEqual({ items: 1 });
  expect(list({ state: 'done' })?.list).toEqual({ problem: 'the answer is empty' });
  expect(list({ state: 'done', session_id: 'l1' }, { ...over, state: 'running' })?.list).toBeNull();
});

test('half a list is none, whatever it ends with; and no answer keeps the look at it busy', () => {
  const cut = keptAnswer(`\`\`\`\n["a"]\n\`\`\`\n${'x'.repeat(ANSWER_LIMIT)}`);
  expect(listIn(cut)).toEqual({ problem: `the answer is longer than ${ANSWER_LIMIT} characters and was cut` });
  const started = performance.now();
  for (const odd of ['\n', '```\n', '```', '``` \n\n', '[\n'])
    expect(listIn(`\`\`\`${odd.repeat(ANSWER_LIMIT / 8)}`)).toMatchObject({ problem: 'the answer has no JSON list' });
  expect(performance.now() - started).toBeLessThan(2_000);
});

test.each<[string, string[] | null]>([
  ['["a", "b"]', ['a', 'b']],
  ['  []\n', []],
  ['Here:\n```json\n["a",\n {"b": 1}]\n```\nthat is all', ['a', '{"b":1}']],
  ['```\n[1]\n```\n and ```json\n[2]\n```', ['2']],
  ['I found two.\n[1, null]', ['1', 'null']],
  ['[x]', null],
  ['{"a": []}', null],
  ['nothing', null],
])('the list in %p', (text, items) => {
  const found = listIn(text);
  expect('items' in found ? found.items : null).toEqual(items);
});
