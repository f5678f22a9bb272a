import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { PLAN_LIMITS } from '../../src/model/plan.ts';
import { planJsonSchema } from '../../src/model/plan-schema.ts';
import { readPlan } from '../../src/plan/read.ts';

const told = (text: string, variables = {}, known = {}) =>
  readPlan(text, variables, known).issues.map(({ line, column, message }) => `${line}:${column} ${message}`);
const steps = (...lines: string[]) => `name: n\nsteps:\n${lines.map((line) => `  - ${line}\n`).join('')}`;

test('a whole plan is read, with the defaults of the plan and of its keys (C-12)', () => {
  const { plan, issues } = readPlan(
    `
name: night
concurrency: 3
pools: {claude: 2}
budget: {usd: 12.5, tokens: 4000}
window: {start: "22:00", stop: "06:30", timezone: Europe/Berlin}
stop_when: {failed_steps: 2, usd: 10, quota_left: 15%}
on_failure: stop
report: reports/night.md
defaults: {harness: claude, timeout: 30m, retry: {max: 2, on: [lost, lost]}, merge: queue}
steps:
  - id: list
    task: print a list for {{ who }}
    merge: none
    gate: make check
  - id: fix
    task: fix {{ foreach.item }} as {{ inputs.how }}
    foreach: {step: list, max: 7}
    inputs: {how: "{{ steps.list.output }}"}
  - task: look
    needs: [fix]
    when: always
    outputs: {page: out/page.md}
`,
    { who: 'me' },
  );
  expect(issues).toEqual([]);
  expect(plan?.file).toMatchObject({
    ...{ name: 'night', concurrency: 3, pools: { claude: 2 }, on_failure: 'stop', report: 'reports/night.md' },
    budget: { cost_micros: 12_500_000, tokens: 4000 },
    stop_when: { failed_steps: 2, cost_micros: 10_000_000, quota_left: 0.15 },
    window: { start: '22:00', stop: '06:30', timezone: 'Europe/Berlin', running: 'finish' },
  });
  expect(plan?.steps.map(({ id, kind, harness, merge, retry }) => ({ id, kind, harness, merge, retry }))).toEqual([
    { id: 'list', kind: 'task', harness: 'claude', merge: 'none', retry: { max: 2, on: ['lost'] } },
    { id: 'fix', kind: 'group', harness: 'claude', merge: 'queue', retry: { max: 2, on: ['lost'] } },
    { id: 'step-3', kind: 'task', harness: 'claude', merge: 'queue', retry: { max: 2, on: ['lost'] } },
  ]);
  expect(plan?.steps[0]).toMatchObject({
    gate: ['make check'],
    timeout_ms: 1_800_000,
    values: { who: 'me' },
    worktree: null,
  });
  expect(plan?.steps[1]).toMatchObject({ foreach: { step: 'list', max: 7 }, worktree: true });
});

test('every mistake of a file is told at once, each with line and column', () => {
  expect(
    told(`name: night
concurency: 4
budget: {usd: -3, token: 4}
window: {start: "22:00", stop: "22:00", timezone: Mars/Base}
steps:
  - id: a
    task: "- do it"
    needs: [b, zz]
  - id: b
    tsk: x
    needs: [a]
  - id: b
    task: "x\\0y"
    retry: {max: -1, on: [foo]}
    timeout: 10q
  - task: "{{ steps.{{ inputs.x }}.output }}"
`),
  ).toEqual([
    '2:1 unknown key "concurency"; did you mean concurrency?',
    '3:15 must be more than 0',
    '3:19 unknown key "token"; did you mean tokens?',
    '4:9 never opens: start and stop are the same',
    '4:51 is no time zone such as Europe/Berlin',
    '7:11 a task must not start with "-"',
    '8:13 these 2 wait for one another: a -> b -> a',
    '8:16 there is no step "zz"',
    '9:5 task is missing',
    '10:5 unknown key "tsk"; did you mean task?',
    '12:9 the id b is taken by step 2 of this plan',
    '13:11 a task must not contain a NUL character',
    '14:18 must be 0 or more',
    '14:27 must be one of failed, timed_out, stalled, lost, gate',
    '15:14 must be a number of milliseconds or like 30s, 10m, 2h',
    '16:11 a hole within a hole',
  ]);
});

describe('what is not a plan is told and never thrown', () => {
  test.each([
    ['', 'a plan is a mapping'],
    ['- a', 'a plan is a mapping'],
    ['name: n', 'steps must be a list'],
    ['name: latest\nsteps: [{task: t}]', 'must not be "latest"'],
    ['name: n\nsteps: []', 'steps must be a list'],
    ['name: n\nsteps: [hello]', 'a step is a mapping'],
    ['a: [1\nb: }', 'must be sufficiently indented'],
    ['a: 1\n---\nb: 2', 'a second one'],
    ['a: 1\na: 2', 'stands here twice'],
    ['? [x]\n: 1', 'a key must be a word'],
    ['a: &a [*a]', 'contains itself'],
    ['a: *b', 'names no anchor'],
    ['a: !!binary aGk=', 'is no text, number'],
    ['a: !run x', 'Unresolved tag: !run'],
    [`x: ${'y'.repeat(PLAN_LIMITS.bytes)}`, 'at most 1048576 are read'],
    [`x: ${'['.repeat(100_000)}`, 'levels deep'],
    [`x: ${'{a: '.repeat(100_000)}`, 'levels deep'],
    ['- '.repeat(100_000), 'levels deep'],
    [`x: ${'['.repeat(40)}${']'.repeat(40)}`, 'levels deep'],
    ['---\n'.repeat(20_000), 'no single document'],
    [steps('{task: t, __proto__: {id: q}}'), 'unknown key "__proto__"'],
    [steps('{task: t, "<<": {id: q}}'), 'unknown key "<<"'],
  ])('%p', (text, what) => {
    const { plan, issues } = readPlan(text);
    expect(plan).toBeNull();
    expect(issues.map(({ message }) => message).join('\n')).toContain(what);
    for (const { line, column } of issues) expect([line > 0, column > 0]).toEqual([true, true]);
  });

  test('anchors that multiply are refused before they are multiplied', () => {
    const rows = Array.from({ length: 12 }, (_, i) =>
      i === 0
        ? 'a0: &a0 [x,x,x,x,x,x,x,x,x,x]'
        : `a${i}: &a${i} [${Array(10)
            .fill(`*a${i - 1}`)
            .join(',')}]`,
    );
    expect(told(rows.join('\n')).join()).toContain('aliases make more than 500000 values');
  });

  test('an anchor may be used, and a mistake in it is told where it is used', () => {
    const text =
      'name: n\nsteps:\n  - {task: t, retry: &r {max: 1}}\n  - {task: t, retry: *r}\n  - {task: t, budget: *r}\n';
    expect(told(text)).toEqual(['5:23 unknown key "max"; known are usd, tokens', '5:23 must have usd, tokens or both']);
  });

  test('any text at all', () => {
    const piece = fc.constantFrom(
      ...'name: n\nsteps:\n - id: task: [ ] { } , & * ! | > " \' # --- \t 1 x {{ }}'.split(' '),
      '\n',
      ' ',
      '  - ',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ maxLength: 200 }),
          fc.array(piece, { maxLength: 60 }).map((all) => all.join('')),
        ),
        (text) => {
          const { plan, issues } = readPlan(text);
          expect(plan === null).toBe(issues.length > 0);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('what a plan means', () => {
  test.each<[string, string, string]>([
    [
      'an output of a step that is not needed',
      steps('{id: a, task: t}', '{task: "{{ steps.a.output }}"}'),
      'does not need a',
    ],
    [
      'an output that nobody hands out',
      steps('{id: a, task: t}', '{task: "{{ steps.a.outputs.x }}", needs: a}'),
      'no output "x"',
    ],
    [
      'a file of a step that may have failed',
      steps('{id: a, task: t, outputs: {x: f}}', '{task: "{{ steps.a.outputs.x }}", needs: a, when: always}'),
      'may have failed',
    ],
    [
      'the answer of a step that may have failed',
      steps('{id: a, task: t}', '{task: "{{ steps.a.output }}", needs: a, when: always}'),
      'may have failed and left no answer',
    ],
    [
      'an answer by way of an input',
      steps(
        '{id: a, task: t}',
        '{task: "{{ inputs.x }}", inputs: {x: "{{ steps.a.output }}"}, needs: a, when: any_failed}',
      ),
      'may have failed and left no answer',
    ],
    [
      'an answer in a gate',
      steps('{id: a, task: t}', '{task: t, needs: a, gate: "grep {{ steps.a.output }} x"}'),
      '4:31 {{ steps.a.output }} cannot be used here',
    ],
    [
      'an input in a gate',
      steps('{task: t, gate: ["true", "x {{ inputs.y }}"]}'),
      '3:30 {{ inputs.y }} cannot be used',
    ],
    ['an entry of no matrix in a gate', steps('{task: t, gate: "x {{ matrix.y }}"}'), 'no list "y" in the matrix'],
    ['a variable without a value in a gate', steps('{task: t, gate: "x {{ y }}"}'), 'no value was given'],
    [
      'a hole within quotes of a gate',
      steps(`{task: t, matrix: {p: [a]}, gate: 'test "{{ matrix.p }}" = a'}`),
      '{{ matrix.p }} must stand outside of quotes',
    ],
    [
      'a hole in an output',
      steps('{task: t, matrix: {p: [a]}, outputs: {doc: "docs/{{ matrix.p }}.md"}}'),
      '3:48 an output takes no holes',
    ],
    ['a hole in the name of the report', `${steps('{task: t}')}report: "r-{{ x }}.md"\n`, '4:9 takes no holes'],
    [
      'money that rounds to nothing',
      `budget: {usd: 0.0000001}\n${steps('{task: t}')}`,
      '1:15 must be at least 0.000001',
    ],
    ["a step's money that rounds to nothing", steps('{task: t, budget: {usd: 4e-7}}'), '3:29 must be at least'],
    ['a stop at nothing', `stop_when: {usd: 1e-7}\n${steps('{task: t}')}`, '1:18 must be at least'],
    [
      'a day that begins when it is over',
      `window: {start: "24:00", stop: "00:00"}\n${steps('{task: t}')}`,
      '1:17 must be before 24:00',
    ],
    ['an input that is not there', steps('{task: "{{ inputs.x }}"}'), 'no input "x"'],
    ['an input nobody asks for', steps('{task: t, inputs: {x: y}}'), 'no hole {{ inputs.x }}'],
    [
      'an input of an input',
      steps('{task: "{{ inputs.x }}{{ inputs.y }}", inputs: {x: "{{ inputs.y }}", y: z}}'),
      'cannot be used here',
    ],
    ['a variable without a value (E-072)', steps('{task: "{{ who }}"}'), 'no value was given'],
    ['an item without a list', steps('{task: "{{ foreach.item }}"}'), 'has no foreach'],
    ['an entry of no matrix', steps('{task: "{{ matrix.os }}", matrix: {oz: [a]}}'), 'did you mean oz?'],
    [
      'an output in the name of a profile',
      steps('{id: a, task: t}', '{task: t, needs: a, profile: "{{ steps.a.output }}"}'),
      'cannot be used here',
    ],
    ['attempts without a worktree', steps('{task: t, attempts: 2, worktree: false}'), 'need a worktree each'],
    ['a merge without a worktree', steps('{task: t, merge: queue, worktree: false}'), 'needs a worktree'],
    ['any_failed without needs', steps('{task: t, when: any_failed}'), 'never comes true'],
    ['a need twice', steps('{id: a, task: t}', '{task: t, needs: [a, a]}'), 'needs a twice'],
    ['itself', steps('{id: a, task: t, needs: a}'), 'a -> a'],
    ['a list of itself', steps('{id: a, task: t, foreach: a}'), 'a -> a'],
    [
      'the id of a repetition',
      steps('{id: a, task: t, matrix: {x: [1]}}', '{id: a.1, task: t}'),
      'a repetition of the step a',
    ],
    ['a path outside', steps('{task: t, outputs: {x: ../y}}'), 'must be'],
    [
      'a name that comes out wrong',
      steps('{task: t, harness: "{{ matrix.h }}", matrix: {h: [claude, "-x"]}}'),
      '"-x" is no harness',
    ],
  ])('%s', (_what, text, message) => {
    expect(told(text).join('\n')).toContain(message);
  });

  test('names are checked against what this machine has', () => {
    const known = { profiles: new Set(['fast']), harnesses: new Set(['claude']), roles: new Set(['solo']) };
    expect(told(steps('{task: t, profile: fsat, harness: cloud, role: lead}'), {}, known)).toEqual([
      '3:24 there is no profile "fsat"; did you mean fast?',
      '3:39 there is no harness "cloud"; did you mean claude?',
      '3:52 there is no role "lead"',
    ]);
  });

  test('a matrix becomes one step per combination and a group after them', () => {
    const { plan } = readPlan(
      steps(
        '{id: z, task: t, needs: m}',
        '{id: m, task: "{{ matrix.a }}{{ matrix.b }}", harness: "{{ matrix.b }}", matrix: {a: [1, true], b: [x, y]}}',
      ),
    );
    expect(
      plan?.steps.map(({ id, kind, group_id, harness, values }) => [
        id,
        kind,
        group_id,
        harness,
        Object.values(values).join(),
      ]),
    ).toEqual([
      ['m.1', 'task', 'm', 'x', '1,x'],
      ['m.2', 'task', 'm', 'y', '1,y'],
      ['m.3', 'task', 'm', 'x', 'true,x'],
      ['m.4', 'task', 'm', 'y', 'true,y'],
      ['m', 'group', null, null, ''],
      ['z', 'task', null, null, ''],
    ]);
  });

  test('a cycle of 200 is named in order', () => {
    const ring = Array.from({ length: 200 }, (_, i) => `{id: s${i}, task: t, needs: s${(i + 1) % 200}}`);
    const names = [...Array.from({ length: 200 }, (_, i) => `s${i}`), 's0'].join(' -> ');
    expect(told(steps(...ring))).toEqual([`3:30 these 200 wait for one another: ${names}`]);
  });

  test('10,000 steps are a plan; one more is none, however they come about', () => {
    const chain = Array.from(
      { length: 10_000 },
      (_, i) => `{id: s${i}, task: t${i === 0 ? '' : `, needs: s${i - 1}`}}`,
    );
    expect(readPlan(steps(...chain)).plan?.steps).toHaveLength(10_000);
    const list = JSON.stringify(Array(101).fill(1));
    for (const more of [
      steps(...Array(10_001).fill('{task: t}')),
      steps(`{task: t, matrix: {a: ${list}, b: ${list}}}`),
    ])
      expect(told(more).join()).toMatch(/10001 steps are more|comes to 10201 steps/);
    expect(
      told(steps('{id: a, task: t}', ...Array(11).fill('{task: t, foreach: {step: a, max: 1000}}'))).join(),
    ).toContain('comes to 11001');
  }, 120_000);
});

test('editors get a schema with every key', () => {
  const schema = planJsonSchema() as {
    properties: Record<string, { items?: { properties: object } }>;
    required: string[];
  };
  expect(Object.keys(schema.properties)).toEqual([
    'name',
    'concurrency',
    'pools',
    'budget',
    'window',
    'stop_when',
    'on_failure',
    'report',
    'defaults',
    'steps',
  ]);
  expect(Object.keys(schema.properties.steps?.items?.properties ?? {})).toEqual([
    ...[
      'id',
      'task',
      'needs',
      'harness',
      'profile',
      'role',
      'worktree',
      'base',
      'gate',
      'retry',
      'timeout',
      'budget',
      'when',
    ],
    ...['attempts', 'merge', 'matrix', 'foreach', 'inputs', 'outputs'],
  ]);
  expect(schema.required).toEqual(['name', 'steps']);
  expect(JSON.stringify(schema.properties.steps?.items?.properties)).toContain('each put in as one quoted word');
});
