import { describe, expect, test } from 'bun:test';
import { checkConfig, mergeConfig, resolveProfile } from '../../src/model/config-schema.ts';
import { looserBy } from '../../src/model/repository-choice.ts';

const REPO = '/srv/repo';

function merged(user: object, project: object) {
  const [own, theirs] = [checkConfig(user, 'user'), checkConfig(project, 'project')];
  expect([own.issues, theirs.issues]).toEqual([[], []]);
  return mergeConfig(own.file, theirs.file, REPO);
}

describe('defaults of a repository (docs/adr/0007)', () => {
  const project = { default_profile: 'theirs', default_role: 'builder', profiles: { theirs: {} } };

  test('count when the user has set none', () => {
    const config = merged({}, project);
    expect(config).toMatchObject({ default_profile: 'theirs', default_role: 'builder' });
    expect(config.repository_choice).toEqual({
      ...{ repo_root: REPO, keys: ['default_profile', 'default_role'], overruled: [] },
      ...{ profiles: ['theirs'], ceiling: null },
    });
  });

  test('give way to those of the user, key by key, which is told', () => {
    const user = { default_profile: 'careful', profiles: { careful: { permission_mode: 'plan' } } };
    const config = merged(user, project);
    expect(config).toMatchObject({ default_profile: 'careful', default_role: 'builder' });
    expect(config.repository_choice).toMatchObject({ keys: ['default_role'], overruled: ['default_profile'] });
    expect(config.repository_choice?.ceiling).toMatchObject({ profile_name: 'careful', permission_mode: 'plan' });
    const both = merged({ ...user, default_role: 'solo' }, project);
    expect(both).toMatchObject({ default_profile: 'careful', default_role: 'solo' });
    expect(both.repository_choice).toMatchObject({ keys: [], overruled: ['default_profile', 'default_role'] });
  });

  test('win where the user trusts it, and then nothing of it is bounded', () => {
    const user = { default_profile: 'careful', profiles: { careful: {} }, trusted_repositories: [REPO] };
    const config = merged(user, project);
    expect(config.default_profile).toBe('theirs');
    expect(config.repository_choice).toBeUndefined();
  });

  test('a profile that the user only names and the repository defines bounds nothing', () => {
    expect(merged({ default_profile: 'theirs' }, project).repository_choice?.ceiling).toBeNull();
  });
});

describe('a profile allows more than another', () => {
  const of = (raw: object) => {
    const { file } = checkConfig({ profiles: { p: raw } }, 'user');
    return resolveProfile('p', file?.profiles ?? {}, []);
  };
  const careful = {
    ...{ allowed_tools: ['Read', 'Grep'], disallowed_tools: ['Bash'], permission_mode: 'acceptEdits' },
    ...{ max_budget_usd: 1, token_budget: 1000 },
  };

  test.each<[string, object, string[]]>([
    ['itself', {}, []],
    ['fewer tools', { allowed_tools: ['Read'] }, []],
    ['another tool', { allowed_tools: ['Read', 'Edit'] }, ['allowed_tools']],
    ['all tools', { allowed_tools: [] }, ['allowed_tools']],
    ['more that is forbidden', { disallowed_tools: ['Bash', 'WebFetch'] }, []],
    ['less that is forbidden', { disallowed_tools: [] }, ['disallowed_tools']],
    ['a stricter mode', { permission_mode: 'plan' }, []],
    ['the same mode by another name', { permission_mode: 'auto_edit' }, []],
    ['no mode, in which everything headless may be done', { permission_mode: undefined }, ['permission_mode']],
    ['a loose mode', { permission_mode: 'yolo' }, ['permission_mode']],
    ['a mode that nobody knows', { permission_mode: 'dontAsk' }, ['permission_mode']],
    ['less money', { max_budget_usd: 0.5, token_budget: 10 }, []],
    ['more money', { max_budget_usd: 2 }, ['max_budget_usd']],
    ['any number of tokens', { token_budget: undefined }, ['token_budget']],
  ])('%s', (_what, change, expected) => {
    expect(looserBy(of({ ...careful, ...change }), of(careful))).toEqual(expected);
  });

  test('a default that says nothing bounds nothing; one with a mode and no tools lets none be added', () => {
    expect(looserBy(of({ allowed_tools: ['Bash'], permission_mode: 'acceptEdits' }), of({}))).toEqual([]);
    expect(looserBy(of({ allowed_tools: ['Bash'], permission_mode: 'plan' }), of({ permission_mode: 'plan' }))).toEqual(
      ['allowed_tools'],
    );
  });
});
