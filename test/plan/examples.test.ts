import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPlan } from '../../src/plan/read.ts';
import { knownRoles } from '../../src/session/roles.ts';
import { PACKAGE_DIR } from '../support/store.ts';

const DIR = join(PACKAGE_DIR, 'templates/plans');
const EXAMPLES: Record<string, Record<string, string>> = {
  'dependency-upgrade': {},
  'fix-failing-tests': { test_command: 'npm test --' },
  'migrate-files': { pattern: 'src/**/*.js', goal: 'TypeScript', check: 'npx tsc --noEmit' },
  night: {},
  'review-branches': { target: 'main' },
};
const KNOWN = {
  roles: new Set(knownRoles({ package_dir: PACKAGE_DIR, env: {} })),
  harnesses: new Set(['rehearsal']),
  profiles: new Set<string>(),
  can_open_pr: true,
};
const textOf = (name: string) => readFileSync(join(DIR, `${name}.yaml`), 'utf8');

test('every plan that is shipped is an example here', () => {
  expect(readdirSync(DIR).sort()).toEqual(Object.keys(EXAMPLES).map((name) => `${name}.yaml`));
});

describe.each(Object.entries(EXAMPLES))('%s', (name, variables) => {
  const text = textOf(name);

  test('has no mistake, names only roles and harnesses that exist, and is called like its file', () => {
    const { plan, issues } = readPlan(text, variables, KNOWN);
    expect(issues).toEqual([]);
    expect(plan?.file.name).toBe(name);
  });

  test('says in its first lines every variable it asks for, and no other', () => {
    const asked = readPlan(text, {}, KNOWN).issues.map(
      ({ message }) => /^\{\{ (\w+) \}\}: no value/.exec(message)?.[1],
    );
    const head = text.split('\nname: ')[0] ?? '';
    const told = [...head.matchAll(/--var (\w+)=/g)].map(([, word]) => word);
    expect([...new Set(told)].sort()).toEqual([...new Set(asked)].sort());
    expect(Object.keys(variables).sort()).toEqual([...new Set(told)].sort() as string[]);
  });
});

test('the night has eight steps, and everything that can happen in one', () => {
  const { plan } = readPlan(textOf('night'));
  const steps = plan?.file.steps ?? [];
  expect(steps).toHaveLength(8);
  expect(steps.every(({ harness }) => harness === 'rehearsal')).toBe(true);
  const has = (is: (step: (typeof steps)[number]) => boolean) => steps.filter(is).map(({ id }) => id);
  expect(has(({ task }) => task.includes('limit:'))).toEqual(['update-dependencies']);
  expect(has(({ gate }) => gate !== null)).toEqual(['fix-parser', 'speed-up']);
  expect(has(({ foreach }) => foreach !== null)).toEqual(['document']);
  expect(has(({ matrix }) => matrix !== null)).toEqual(['sweep-up']);
  expect(has(({ inputs }) => Object.keys(inputs).length > 0)).toEqual(['release-notes']);
  expect(has(({ when }) => when === 'any_failed')).toEqual(['sweep-up']);
  expect(has(({ merge }) => merge === 'queue').length).toBeGreaterThan(3);
});
