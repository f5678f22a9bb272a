import { expect, test } from 'bun:test';
import { membersOf } from '../../src/model/plan-expand.ts';
import { readPlan } from '../../src/plan/read.ts';

const told = (text: string, variables = {}, known = {}) =>
  readPlan(text, variables, known).issues.map(({ line, column, message }) => `${line}:${column} ${message}`);
const steps = (...lines: string[]) => `name: n\nsteps:\n${lines.map((line) => `  - ${line}\n`).join('')}`;

test('a role whose sessions never end is refused where it is written, or where it is left out', () => {
  const known = {
    roles: new Set(['solo', 'coordinator', 'lead']),
    is_persistent: (role: string) => role === 'coordinator',
    default_role: 'solo',
  };
  const text = steps('{id: a, task: t, role: coordinator}', '{id: b, task: t, role: lead}', '{id: c, task: t}');
  expect(told(text, {}, known)).toEqual(['3:28 the role coordinator is persistent: a step with it never ends']);
  expect(told(`defaults: {role: coordinator}\n${steps('{task: t}', '{task: u}')}`, {}, known)).toEqual([
    '1:18 the role coordinator is persistent: a step with it never ends',
  ]);
  const holes = steps('{task: t, role: "{{ matrix.r }}", matrix: {r: [lead, coordinator]}}');
  expect(told(holes, {}, known).join()).toContain('3:21 the role coordinator is persistent');
  expect(told(text.replace('coordinator', 'lead'), {}, { ...known, default_role: 'coordinator' })).toEqual([
    '5:5 the default role coordinator is persistent: a step with it never ends',
  ]);
});

test('a mistake of the defaults is told once, where it stands; what only one step is wrong about, at that step', () => {
  const known = { profiles: new Set<string>(), harnesses: new Set(['claude']) };
  const text = `defaults:
  harness: nosuch
  profile: nope
  base: "{{ who }}"
  gate: "x {{ matrix.y }}"
${steps('{task: t}', '{task: t, harness: cloud}', '{task: t, matrix: {y: [1]}}')}`;
  expect(told(text, {}, known)).toEqual([
    '2:12 there is no harness "nosuch"',
    '3:12 there is no profile "nope"',
    '4:9 {{ who }}: no value was given',
    '8:5 {{ matrix.y }}: there is no list "y" in the matrix',
    '9:5 {{ matrix.y }}: there is no list "y" in the matrix',
    '9:24 there is no harness "cloud"; did you mean claude?',
  ]);
});

test('a key that stands there twice, or is no word, hides no other mistake', () => {
  expect(told(`budget: {}\nbudget: {usd: 1}\n? [x]\n: 1\nretry: {on: []}\n${steps('{task: "", base: *no}')}`)).toEqual([
    '2:1 the key "budget" stands here twice',
    '3:3 a key must be a word',
    '5:1 unknown key "retry"; known are name, concurrency, pools, budget, window, stop_when, on_failure, report, defaults, steps',
    '8:12 a task must not be empty',
    '8:22 *no names no anchor before it',
  ]);
});

test('what is missing at the end is missing behind the last word', () => {
  expect(told('name: n\na: [1\n\n')[0]).toStartWith('2:6 ');
});

test('the gate of a combination and of an item gets its values, each as one word of the shell', () => {
  const text = steps(
    `{id: m, task: t, matrix: {p: [a b, "$(x)"]}, gate: ["test {{ matrix.p }} = {{ who }}", "echo \\\\{{ x \\\\}}"]}`,
    `{id: l, task: t}`,
    `{id: f, task: t, foreach: l, gate: "check {{ foreach.item }} {{ foreach.index }} {{ who }}"}`,
  );
  const { plan, issues } = readPlan(text, { who: "it's {{ foreach.item }}" });
  expect(issues).toEqual([]);
  const gateOf = (id: string) => plan?.steps.find((step) => step.id === id)?.gate;
  const who = `'it'\\''s {{ foreach.item }}'`;
  expect(gateOf('m.1')).toEqual([`test 'a b' = ${who}`, 'echo {{ x }}']);
  expect(gateOf('m.2')).toEqual([`test '$(x)' = ${who}`, 'echo {{ x }}']);
  const group = plan?.steps.find(({ id }) => id === 'f');
  if (group === undefined) throw new Error('there is no group');
  expect(membersOf(group, ["a'; rm -rf x", '{{ who }}']).map(({ gate }) => gate)).toEqual([
    [`check 'a'\\''; rm -rf x' '1' ${who}`],
    [`check '{{ who }}' '2' ${who}`],
  ]);
});
