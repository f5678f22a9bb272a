import { expect, test } from 'bun:test';
import { handedOnByGroup, taskOf } from '../../src/model/plan-values.ts';

const STEP = {
  task: '{{ who }}: {{ steps.a.output }} {{ steps.a.outputs.page }} {{ inputs.how }} {{ foreach.item }}',
  inputs: { how: 'as {{ steps.a.output }}' },
  values: { who: 'me', 'foreach.item': '3' },
};

test('every hole is filled from what the needed steps handed on, and no value opens another', () => {
  const needs = new Map([['a', { answer: '{{ inputs.how }}', outputs: { page: '# {{ who }}' } }]]);
  expect(taskOf(STEP, needs)).toEqual({ task: 'me: {{ inputs.how }} # {{ who }} as {{ inputs.how }} 3', missing: [] });
});

test('what there is no value for is named, once', () => {
  expect(taskOf(STEP, new Map()).missing).toEqual(['steps.a.output', 'steps.a.outputs.page']);
});

test('a group hands on lists', () => {
  const members = [
    { answer: 'x', outputs: { page: '1' } },
    { answer: '"y"', outputs: {} },
  ];
  expect(handedOnByGroup(members)).toEqual({ answer: '["x","\\"y\\""]', outputs: { page: '["1",""]' } });
});
