import { expect, test } from 'bun:test';
import { projectTask } from '../../src/harness/projection.ts';
import type { ProjectionSupport } from '../../src/model/harness.ts';
import { profileOf } from './turn-spec.ts';

const NOTHING: ProjectionSupport = {
  model: false,
  add_dirs: false,
  allowed_tools: false,
  disallowed_tools: false,
  permission_mode: false,
  max_budget_usd: false,
  append_system_prompt: false,
};
const ALL: ProjectionSupport = {
  model: true,
  add_dirs: true,
  allowed_tools: true,
  disallowed_tools: true,
  permission_mode: true,
  max_budget_usd: true,
  append_system_prompt: true,
};
const FULL = profileOf({
  model: 'm1',
  add_dirs: ['docs', '../x'],
  allowed_tools: ['A', 'B'],
  disallowed_tools: ['C'],
  permission_mode: 'plan',
  max_budget_usd: 0.5,
  token_budget: 9,
  append_system_prompt: 'Be kind.',
});

test('no profile leaves the task verbatim (E-038)', () => {
  expect(projectTask(' task\n', null, NOTHING)).toBe(' task\n');
});

test('nothing to say leaves the task verbatim, without a header (E-041)', () => {
  expect(projectTask('task', profileOf(), NOTHING)).toBe('task');
  expect(projectTask('task', profileOf({ append_system_prompt: '  ' }), NOTHING)).toBe('task');
});

test('sections and directives in their order, joined by blank lines (E-041)', () => {
  expect(projectTask('task', FULL, NOTHING)).toBe(
    'System instructions:\nBe kind.\n\n' +
      'Execution profile:\n- Preferred model: m1\n- Additional context dirs: docs, ../x\n- Allowed tools: A, B\n' +
      '- Disallowed tools: C\n- Permission mode: plan\n- Max budget USD: 0.5\n- Token budget: 9\n\n' +
      'Task:\ntask',
  );
});

test('the token budget is always told, no flag carries it (E-041)', () => {
  expect(projectTask('task', FULL, ALL)).toBe('Execution profile:\n- Token budget: 9\n\nTask:\ntask');
});

test('each supported field is left out of the text (E-040)', () => {
  const labels: [keyof ProjectionSupport, string][] = [
    ['model', 'Preferred model'],
    ['add_dirs', 'Additional context dirs'],
    ['allowed_tools', '- Allowed tools'],
    ['disallowed_tools', 'Disallowed tools'],
    ['permission_mode', 'Permission mode'],
    ['max_budget_usd', 'Max budget USD'],
    ['append_system_prompt', 'System instructions'],
  ];
  for (const [field, label] of labels) {
    expect(projectTask('task', FULL, NOTHING)).toContain(label);
    expect(projectTask('task', FULL, { ...NOTHING, [field]: true })).not.toContain(label);
  }
});
