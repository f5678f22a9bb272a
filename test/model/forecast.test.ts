import { describe, expect, test } from 'bun:test';
import { forecast, type Launch, type PastSession } from '../../src/model/forecast.ts';
import { readPlan } from '../../src/plan/read.ts';

const plan = (text: string, concurrency = 2) => {
  const { plan: read, issues } = readPlan(text);
  if (read === null) throw new Error(issues.map(({ message }) => message).join('\n'));
  return { name: read.file.name, concurrency, steps: read.steps };
};
const launch = (more: Partial<Launch> = {}): Launch => ({
  harness: 'claude',
  profile_name: null,
  role: 'solo',
  pool: 'claude',
  ...more,
});
const launches = (steps: { id: string }[], more: Record<string, Partial<Launch>> = {}) =>
  new Map(steps.map(({ id }) => [id, launch(more[id])]));
const past = (took_ms: number, cost_micros: number | null, more: Partial<PastSession> = {}): PastSession => ({
  ...{ plan_name: null, step_id: null, harness: 'claude', profile_name: null, role: 'solo', cost_micros, took_ms },
  ...more,
});
const NIGHT = plan(`
name: night
steps:
  - {id: a, task: t}
  - {id: b, task: t, needs: a, attempts: 2}
  - {id: c, task: t, needs: a, retry: {max: 2}}
  - {id: d, task: t, needs: [b, c]}
`);

test('without any past it says so, and counts what can be counted', () => {
  expect(forecast(NIGHT, launches(NIGHT.steps), [])).toMatchObject({
    sessions: { least: 5, most: 7 },
    longest_path: { steps: ['a', 'b', 'd'], took_ms: { median: null, worst: null } },
    took_ms: { median: null, worst: null },
    cost_micros: { median: null, worst: null },
    without_history: ['a', 'b', 'c', 'd'],
    pools: [{ pool: 'claude', sessions: 5 }],
  });
});

test('the median and the worst of the past, over the longest way and as wide as the plan allows', () => {
  const found = forecast(NIGHT, launches(NIGHT.steps), [past(10, 5), past(30, 7), past(1_000, null)]);
  expect(found.steps[0]).toEqual({
    ...{ step_id: 'a', basis: 'profile', samples: 3, sessions: { least: 1, most: 1 } },
    ...{ cost_micros: { median: 6, worst: 7 }, took_ms: { median: 30, worst: 1_000 } },
  });
  expect(found.longest_path).toEqual({ steps: ['a', 'b', 'd'], took_ms: { median: 90, worst: 3_000 } });
  // Five sessions of 30, two side by side, are shorter than the way.
  expect(found.took_ms).toEqual({ median: 90, worst: 3_000 });
  expect(forecast({ ...NIGHT, concurrency: 1 }, launches(NIGHT.steps), [past(30, 1)]).took_ms.median).toBe(150);
  expect(found.cost_micros).toEqual({ median: 30, worst: 35 });
});

test('a step is told by its own past first, then by those that are started alike, then by its harness', () => {
  const rows = [
    past(1, 1, { plan_name: 'night', step_id: 'a', harness: 'gemini' }),
    past(2, 2, { role: 'lead' }),
    past(3, 3, { role: 'lead', profile_name: 'fast' }),
  ];
  const alike = launches(NIGHT.steps, {
    a: {},
    b: { role: 'lead' },
    c: { role: 'tester' },
    d: { harness: 'codex', pool: 'codex' },
  });
  const { steps, without_history, pools } = forecast(NIGHT, alike, rows);
  expect(steps.map(({ basis, samples }) => [basis, samples])).toEqual([
    ['step', 1],
    ['profile', 1],
    ['harness', 2],
    [null, 0],
  ]);
  expect(without_history).toEqual(['d']);
  expect(pools).toEqual([
    { pool: 'claude', sessions: 4 },
    { pool: 'codex', sessions: 1 },
  ]);
});

describe('what is repeated', () => {
  const { steps, ...rest } = plan(`
name: n
steps:
  - {id: l, task: t}
  - {id: f, task: t, foreach: {step: l, max: 6}}
  - {id: m, task: t, matrix: {x: [1, 2, 3]}, needs: l}
  - {id: z, task: t, needs: [f, m]}
`);
  test('a list counts with its bound, a matrix with its combinations, and the past of a step is that of its repetitions', () => {
    const rows = [past(10, 1, { plan_name: 'n', step_id: 'f' }), past(4, 1, { plan_name: 'n', step_id: 'm' })];
    const found = forecast({ ...rest, steps }, launches(steps), rows);
    expect(found.sessions).toEqual({ least: 11, most: 11 });
    expect(found.steps.map(({ step_id, basis }) => [step_id, basis])).toEqual([
      ['l', 'profile'],
      ['f', 'step'],
      ['m.1', 'step'],
      ['m.2', 'step'],
      ['m.3', 'step'],
      ['z', 'profile'],
    ]);
    // l, then six in three pairs, then z.
    expect(found.longest_path).toEqual({
      steps: ['l', 'f', 'z'],
      took_ms: { median: 7 + 30 + 7, worst: 10 + 30 + 10 },
    });
  });
});

test('10,000 steps', () => {
  const all = NIGHT.steps[0];
  if (all === undefined) throw new Error('no step');
  const many = Array.from({ length: 10_000 }, (_, i) => ({ ...all, id: `s${i}`, needs: i === 0 ? [] : [`s${i - 1}`] }));
  expect(forecast({ ...NIGHT, steps: many }, launches(many), [past(2, 3)]).longest_path.took_ms.median).toBe(20_000);
});
