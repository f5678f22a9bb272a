import { expect, test } from 'bun:test';
import { addVariable, unusedVariables } from '../../src/cli/plan-file.ts';
import { endCode, planLines, type StepLine, type StepNode, stepNodes } from '../../src/cli/plan-lines.ts';
import { waitsText } from '../../src/cli/plan-waits.ts';
import { changeLine, progressLine, shownSteps, stepTable, summary } from '../../src/cli/render-plan.ts';
import { graphMermaid, levelsOf } from '../../src/cli/render-plan-graph.ts';
import { graphSvg } from '../../src/cli/render-plan-svg.ts';
import { PLAN_STATES } from '../../src/model/plan.ts';
import { moveStep, retryStep, startStep } from '../../src/store/plan-step.ts';
import { planView } from '../../src/store/plan-view.ts';
import { slingOf, storePlan } from '../support/plan.ts';
import { testStore } from '../support/store.ts';

const line = (id: string, state: StepLine['state'], more: Partial<StepLine> = {}): StepLine => ({
  ...{ id, kind: 'task', state, why: '', round: 1, cost_micros: null, tokens: 0, started_at: null, ended_at: null },
  session: null,
  ...more,
});

test('what is seen of a plan: states, tries, cost with that of groups, and why', async () => {
  const { store, clock } = await testStore();
  const text = 'name: n\nsteps:\n  - {id: a, task: t}\n  - {id: b, task: t, matrix: {os: [x, y]}}';
  const plan = await storePlan(store, text, clock.now());
  const now = clock.now();
  const start = async (step_id: string, round: number, cost_micros: number) => {
    const key = { plan_id: plan.id, step_id, round, now };
    const row = await startStep(store, { ...key, slot: 1, sling: slingOf(step_id, now), actor: 'supervisor' });
    await store.write((tx) =>
      tx.run('UPDATE sessions SET cost_micros = :cost_micros, input_tokens = 3 WHERE id = :id', {
        cost_micros,
        id: row?.id ?? '',
      }),
    );
    return key;
  };
  const first = await start('a', 1, 5);
  await retryStep(store, { ...first, outcome: 'lost', not_before_at: now + 9_000 });
  const view = async () => planLines((await planView(store, plan.id)) ?? (undefined as never), now);
  expect((await view()).steps[0]).toMatchObject({ state: 'pending', why: 'lost, tries again in 9s', cost_micros: 5 });
  const second = await start('a', 2, 20);
  expect((await view()).steps[0]).toMatchObject({
    state: 'running',
    why: 'solo-a-2, try 2',
    cost_micros: 25,
    tokens: 6,
  });
  await moveStep(store, { ...second, to: 'failed', outcome: 'gate', reason: 'npm test: exit 1' });
  await start('b.1', 1, 100);
  const { steps, counts, cost_micros } = await view();
  expect(steps.map(({ id, state, why, cost_micros }) => [id, state, why, cost_micros])).toEqual([
    ['a', 'failed', 'gate: npm test: exit 1', 25],
    ['b.1', 'running', 'solo-b-1', 100],
    ['b.2', 'pending', '', null],
    // A group is begun as soon as one of its members is.
    ['b', 'running', '', 100],
  ]);
  expect(counts).toMatchObject({ failed: 1, running: 1, pending: 1, total: 3 });
  expect(cost_micros).toBe(125);
});

test('exit codes: 0 all done, 1 some failed; of one that has not ended, none', () => {
  expect(Object.fromEntries(PLAN_STATES.map((state) => [state, endCode(state)]))).toEqual({
    ...{ active: null, paused: null, parked: null, completed: 0, failed: 1, cancelled: 1 },
  });
});

test('a terminal with few rows shows what goes on, in the order of the plan, and says how much it leaves out', () => {
  const steps = [
    ...Array.from({ length: 20 }, (_, i) => line(`d${i}`, 'done')),
    ...[line('f', 'failed'), line('r', 'running'), line('p', 'parked')],
    ...Array.from({ length: 20 }, (_, i) => line(`w${i}`, 'pending')),
  ];
  const { shown, hidden } = shownSteps(steps, 6);
  expect(shown.map(({ id }) => id)).toEqual(['f', 'r', 'p', 'w0', 'w1']);
  expect(hidden).toBe(38);
  expect(shownSteps(steps, 43)).toMatchObject({ hidden: 0 });
});

test('one line per step, within the width; a bar for the whole', () => {
  const steps = [
    line('list', 'done', { started_at: 0, ended_at: 4_000, cost_micros: 120_000 }),
    line('fix', 'failed', { started_at: 4_000, ended_at: 9_000, tokens: 1_500, why: 'gate: \x1b[31mx'.repeat(30) }),
    line('look', 'running', { started_at: 9_000, why: 'looker' }),
    line('later', 'pending'),
  ];
  const text = stepTable(steps, 69_000, 60);
  expect(text.split('\n').map((each) => each.length <= 60)).toEqual([true, true, true, true]);
  expect(text).not.toContain('\x1b[31mx');
  expect(text.split('\n')[0]).toBe('list  done         4s    $0.1200');
  expect(text.split('\n')[2]).toBe('look  running     60s          -  looker');
  const counts = {
    pending: 1,
    running: 1,
    parked: 0,
    merging: 0,
    done: 1,
    failed: 1,
    skipped: 0,
    cancelled: 0,
    total: 4,
  };
  const sums = { steps, counts, dropped: 0, cost_micros: 120_000, tokens: 1_500 };
  expect(progressLine(sums, 69_000)).toBe('[############............] 2/4 steps  1 failed, 1 running  $0.1200  69s');
  expect(progressLine({ ...sums, counts: { ...counts, total: 0 } }, 0)).toContain('] 2/0');
  const plan = {
    id: 'plan-1',
    name: 'n',
    state: 'failed' as const,
    reason: '1 of 4 steps failed',
    created_at: 0,
    ended_at: 70_000,
  };
  const said = summary(plan, { ...sums, steps: [line('fix', 'failed', { why: 'gate: no' })] }, [], 99_000).split('\n');
  expect(said).toEqual([
    'n: failed (1 of 4 steps failed): 1 done, 1 failed, 1 running, 1 pending; $0.1200, 70s',
    '  failed fix  gate: no',
    '  report: drover report plan-1',
  ]);
  expect(summary(plan, { ...sums, steps: [], dropped: 7 }, [], 99_000).split('\n')[0]).toBe(
    'n: failed (1 of 4 steps failed): 1 done, 1 failed, 1 running, 1 pending; 7 items beyond the cap were not worked on; $0.1200, 70s',
  );
});

test('who goes on by the command of another one is told so, and has none of its own', () => {
  const entry = { kind: 'session' as const, session_id: null, step_id: null, reason: 'budget', evidence: null };
  const wait = { ...entry, since_at: null, resumes_at: null, by_itself: false };
  expect(
    waitsText([
      { ...wait, name: 'a', commands: ['drover budget raise run r --usd 1.00 --resume'], goes_on_with: null },
      { ...wait, name: 'b', commands: [], goes_on_with: 'a' },
    ]),
  ).toEqual([
    '  waits a  budget',
    '    drover budget raise run r --usd 1.00 --resume',
    '  waits b  budget',
    '    goes on with a, by the command above',
  ]);
});

test('a change as a line: since when, who, what, and what it took when it is over', () => {
  const row = { seq: 1, plan_id: 'plan-1', step_id: 'a', event: 'done', outcome: null, detail: null, at: 65_000 };
  const step = line('a', 'done', { started_at: 5_000, ended_at: 65_000, cost_micros: 10_000 });
  expect(changeLine(row, step, 0)).toBe('  +65s  a: done  60s, $0.0100');
  expect(changeLine({ ...row, event: 'started', at: 5_000 }, step, 0)).toBe('   +5s  a: started');
  expect(changeLine({ ...row, step_id: null, event: 'window_closed', detail: 'x\x1b]0;y\x07' }, undefined, 0)).toBe(
    '  +65s  plan: window closed  x',
  );
});

const node = (id: string, ...needs: string[]): StepNode => ({ id, kind: 'task', state: 'pending', needs });

test('levels: one more than the highest of what a step needs', () => {
  const levels = levelsOf([node('a'), node('b', 'a'), node('c', 'a', 'b'), node('d'), node('e', 'gone')]);
  expect(levels.map((level) => level.map(({ id }) => id))).toEqual([['a', 'd', 'e'], ['b'], ['c']]);
});

test('a group waits for its members, a step with foreach for its list', () => {
  const base = { needs: ['a'], foreach: null, group_id: null } as const;
  const nodes = stepNodes([
    { ...base, id: 'a', kind: 'task', needs: [] },
    { ...base, id: 'm.1', kind: 'task', needs: ['a'], group_id: 'm' },
    { ...base, id: 'm', kind: 'group', needs: ['a'] },
    { ...base, id: 'f', kind: 'group', needs: [], foreach: { step: 'a', max: 3 } },
  ]);
  expect(nodes.map(({ id, needs }) => [id, ...needs])).toEqual([['a'], ['m.1', 'a'], ['m', 'm.1'], ['f', 'a']]);
});

test('no name opens anything in a drawing', () => {
  const evil = `x"]<script>&'\x00\x1b`;
  const nodes = [node(evil), node('b', evil)];
  const mermaid = graphMermaid(nodes);
  expect(mermaid.split('\n').slice(1, 4)).toEqual([
    '  s0["x#34;#93;#60;script#62;#38;#39;#0;#27;<br/>pending"]:::pending',
    '  s1["b<br/>pending"]:::pending',
    '  s0 --> s1',
  ]);
  const svg = graphSvg(evil, nodes);
  expect(svg).toContain('<title>x&#34;]&#60;script&#62;&#38;&#39;</title>');
  expect(svg).not.toContain('<script');
  expect([...svg].filter((char) => char < ' ' && char !== '\n')).toEqual([]);
  expect(
    svg
      .match(/<[a-z]+/g)
      ?.filter((tag) => !['<svg', '<title', '<defs', '<marker', '<path', '<rect', '<g', '<text'].includes(tag)),
  ).toEqual([]);
});

test('variables: the last one of a name counts, and none means anything but itself', () => {
  let all: Record<string, string> = {};
  for (const pair of ['a=1', 'b=', 'a=2=3', '__proto__=x']) all = addVariable(pair, all);
  expect(Object.entries(all)).toEqual([
    ['a', '2=3'],
    ['b', ''],
    ['__proto__', 'x'],
  ]);
  expect(() => addVariable('novalue', {})).toThrow('name=value');
  expect(() => addVariable('=x', {})).toThrow('name=value');
  expect(unusedVariables('do {{ a }} and {{b}}', { a: '', b: '', c: '' })).toEqual(['c']);
});
