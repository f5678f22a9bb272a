import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { checkConfig, mergeConfig, resolveProfile } from '../../src/model/config-schema.ts';
import { parseDuration } from '../../src/model/duration.ts';

const file = (raw: unknown, scope: 'user' | 'project' = 'user') => {
  const checked = checkConfig(raw, scope);
  if (checked.file === null) throw new Error(JSON.stringify(checked.issues));
  return checked.file;
};
const paths = (issues: { path: (string | number)[] }[]) => issues.map(({ path }) => path.join('.'));

describe('checking one file (O-94)', () => {
  test('an empty file is a good file', () => {
    for (const raw of [null, undefined, {}]) {
      expect(checkConfig(raw, 'project')).toEqual({ file: {}, issues: [], warnings: [] });
    }
  });

  test('every error is told at once, by its path', () => {
    const checked = checkConfig(
      {
        max_depth: 0,
        default_role: 'No Such Name',
        turn: { tool_ms: '5 minutes', max_attempts: 1.5 },
        profiles: { careful: { max_budget_usd: -1, allowed_tools: 'Read' } },
        groups: { all: [''] },
      },
      'user',
    );
    expect(checked.file).toBeNull();
    expect(paths(checked.issues).sort()).toEqual([
      'default_role',
      'groups.all.0',
      'max_depth',
      'profiles.careful.allowed_tools',
      'profiles.careful.max_budget_usd',
      'turn.max_attempts',
      'turn.tool_ms',
    ]);
    for (const { message } of checked.issues) expect(message).not.toBe('');
  });

  test('a file that is no mapping is refused', () => {
    for (const raw of ['text', 7, ['a'], true]) expect(checkConfig(raw, 'user').issues).toHaveLength(1);
  });

  test('unknown keys are warned about on every level and ignored', () => {
    const checked = checkConfig(
      {
        theme: 'dark',
        toString: 1,
        turn: { retries: 3, max_attempts: 2 },
        watchdog: { stale: 1 },
        worktree: { directory: '/x' },
        profiles: { careful: { budget: 3 } },
        harness_runners: { cursor: { program: 'cursor-agent', flag: '-x' } },
      },
      'user',
    );
    expect(checked.issues).toEqual([]);
    expect(paths(checked.warnings).sort()).toEqual([
      'harness_runners.cursor.flag',
      'profiles.careful.budget',
      'theme',
      'toString',
      'turn.retries',
      'watchdog.stale',
      'worktree.directory',
    ]);
    expect(mergeConfig(checked.file, null).turn).toEqual({ ...DEFAULT_CONFIG.turn, max_attempts: 2 });
  });

  test('how many at once, where their worktrees are, what they may spend and what is done about conflicts (E-173)', () => {
    const raw = {
      ...{ default_harness: 'codex', default_profile: 'careful', max_live_sessions: 3, max_worktrees: 2 },
      worktree: { root: '/srv/trees', branch_prefix: 'team', retention_ms: '2h', by_default: true },
      watchdog: { stale_ms: '1m', zombie_ms: '5m' },
      harness_runners: { cursor: { program: 'cursor-agent' } },
      profiles: { careful: { max_budget_usd: 1.5, token_budget: 1_000 } },
      conflicts: { is_enabled: false, strategy: 'merge', notify_lead: false },
    };
    expect(mergeConfig(file(raw), null)).toMatchObject({
      ...raw,
      worktree: { ...DEFAULT_CONFIG.worktree, ...raw.worktree, retention_ms: 7_200_000 },
      watchdog: { ...DEFAULT_CONFIG.watchdog, stale_ms: 60_000, zombie_ms: 300_000 },
    });
    expect(mergeConfig(file({}), null).conflicts).toEqual({
      ...{ is_enabled: true, strategy: 'escalate', notify_lead: true },
    });
    // The repository knows best what its own sessions do to each other.
    expect(mergeConfig(file(raw), file({ conflicts: { strategy: 'last_write_wins' } }, 'project')).conflicts).toEqual({
      ...{ is_enabled: false, strategy: 'last_write_wins', notify_lead: false },
    });
    for (const wrong of [
      { conflicts: { strategy: 'flip a coin' } },
      { max_worktrees: 0 },
      { worktree: { retention_ms: -1 } },
    ])
      expect(checkConfig(wrong, 'user').issues).toHaveLength(1);
  });

  test('a place for worktrees in a .git, however it is spelt or filled in, is refused', () => {
    const issues = (path: string) =>
      checkConfig({ worktree: { path } }, 'user').issues.map(({ path }) => path.join('.'));
    for (const path of [
      '.git/{id}',
      '{project}/.GIT/{id}',
      'x/.Git/y-{id}',
      '{id}/.git',
      '.{name}/{id}',
      '.g{project}/{id}',
    ])
      expect([path, issues(path)]).toEqual([path, ['worktree.path']]);
    for (const path of [
      '{project}-{id}',
      '.github/{id}',
      '{project}.git/{id}',
      '.x{name}/{id}',
      'git/{id}',
      '.drover/{name}-{id}',
    ])
      expect([path, issues(path)]).toEqual([path, []]);
  });

  test('keys of a time with terminals are taken, ignored and told: headless is the only mode (O-28)', () => {
    const checked = checkConfig({ runtime: { shellInitDelayMs: 0, claudeHeadlessByDefault: false } }, 'user');
    expect(checked).toEqual({
      file: {},
      issues: [],
      warnings: [{ path: ['runtime'], message: 'unknown key, ignored' }],
    });
  });
});

describe('what a repository may not set', () => {
  const refused = (raw: unknown) => paths(checkConfig(raw, 'project').issues);

  test('programs, places outside, permissions', () => {
    expect(refused({ harness_runners: { mine: { program: './evil.sh' } } })).toEqual(['harness_runners']);
    expect(refused({ worktree: { root: '/tmp' } })).toEqual(['worktree.root']);
    for (const mode of ['bypassPermissions', 'yolo', 'danger-full-access', 'full-auto', 'BYPASS']) {
      expect(refused({ profiles: { p: { permission_mode: mode } } })).toEqual(['profiles.p.permission_mode']);
    }
    expect(refused({ profiles: { p: { add_dirs: ['docs', '/etc', '~/x', 'a/../..', '..'] } } })).toEqual([
      'profiles.p.add_dirs.1',
      'profiles.p.add_dirs.2',
      'profiles.p.add_dirs.3',
      'profiles.p.add_dirs.4',
    ]);
  });

  test('its errors come together, and the user may set all of that', () => {
    const raw = {
      worktree: { root: '/srv/trees' },
      harness_runners: { mine: { program: 'mine' } },
      profiles: { p: { permission_mode: 'bypassPermissions', add_dirs: ['/srv'] } },
    };
    expect(refused(raw)).toHaveLength(4);
    expect(checkConfig(raw, 'user').issues).toEqual([]);
  });

  test('harmless settings pass', () => {
    const raw = {
      default_harness: 'codex',
      worktree: { by_default: true },
      profiles: { p: { permission_mode: 'plan', add_dirs: ['docs'] } },
    };
    expect(refused(raw)).toEqual([]);
  });
});

test('durations: milliseconds or a number with a unit', () => {
  expect(['90', '500ms', '30s', '10m', '2h', '1d'].map(parseDuration)).toEqual([
    90, 500, 30_000, 600_000, 7_200_000, 86_400_000,
  ]);
  for (const bad of ['', 's', '-1s', '1.5s', '1 s', '1w', '1e3', '0x10']) expect(parseDuration(bad)).toBeNaN();
  expect(file({ turn: { tool_ms: '90m', backoff_ms: 0 } }).turn).toEqual({ tool_ms: 5_400_000, backoff_ms: 0 });
  const huge = ['99999999999999999d', '400d'].map(
    (tool_ms) => checkConfig({ turn: { tool_ms } }, 'user').issues.length,
  );
  expect(huge).toEqual([1, 1]);
  expect(checkConfig({ watchdog: { stale_ms: 4e11 } }, 'user').issues).toHaveLength(1);
});

describe('merging', () => {
  test('defaults, then the user, then the project; key by key', () => {
    const merged = mergeConfig(
      file({ max_depth: 5, turn: { max_attempts: 9, tool_ms: '1m' }, groups: { a: ['x'] }, watchdog: { stale_ms: 1 } }),
      file({ max_depth: 2, turn: { tool_ms: '2m' }, groups: { b: ['y'] }, worktree: { by_default: true } }, 'project'),
    );
    expect(merged).toMatchObject({
      max_depth: 2,
      max_children: DEFAULT_CONFIG.max_children,
      groups: { a: ['x'], b: ['y'] },
      worktree: { ...DEFAULT_CONFIG.worktree, by_default: true },
      watchdog: { ...DEFAULT_CONFIG.watchdog, stale_ms: 1 },
    });
    expect(merged.turn).toEqual({ ...DEFAULT_CONFIG.turn, max_attempts: 9, tool_ms: 120_000 });
  });

  test('without files there are the defaults, and merging never changes them', () => {
    const before = structuredClone(DEFAULT_CONFIG);
    expect(mergeConfig(null, null)).toEqual(before);
    mergeConfig(file({ turn: { max_attempts: 1 }, groups: { a: ['x'] }, profiles: { p: {} } }), null);
    expect(DEFAULT_CONFIG).toEqual(before);
  });
});

describe('profiles (E-021, E-022)', () => {
  test('all fields survive, what is unset is null', () => {
    const reviewer = {
      model: 'sonnet',
      allowed_tools: ['Read', 'Edit'],
      disallowed_tools: ['Bash'],
      permission_mode: 'plan',
      add_dirs: ['docs'],
      token_budget: 800,
      append_system_prompt: 'Review thoroughly.',
    };
    const merged = mergeConfig(file({ profiles: { reviewer } }, 'project'), null);
    expect(merged.profiles.reviewer).toEqual({
      profile_name: 'reviewer',
      agent: null,
      max_budget_usd: null,
      pool: null,
      ...reviewer,
    });
  });

  test('lists are joined without doubles, prompts appended parent first, single values replaced', () => {
    const { profiles } = mergeConfig(
      file({
        profiles: {
          base: {
            model: 'a',
            agent: 'claude',
            allowed_tools: ['Read', 'Edit'],
            append_system_prompt: 'First.',
            max_budget_usd: 1,
          },
          mid: { inherits: 'base', allowed_tools: ['Edit', 'Grep'], append_system_prompt: 'Second.' },
        },
      }),
      file({ profiles: { leaf: { inherits: 'mid', model: 'b', disallowed_tools: ['Bash'] } } }, 'project'),
    );
    expect(profiles.leaf).toMatchObject({
      profile_name: 'leaf',
      agent: 'claude',
      model: 'b',
      max_budget_usd: 1,
      allowed_tools: ['Read', 'Edit', 'Grep'],
      disallowed_tools: ['Bash'],
      append_system_prompt: 'First.\n\nSecond.',
    });
  });

  test('a cycle and a missing parent are named', () => {
    const { profiles = {} } = file({
      profiles: { a: { inherits: 'b' }, b: { inherits: 'a' }, c: { inherits: 'ghost' } },
    });
    expect(() => resolveProfile('a', profiles, [])).toThrow('agent profile inheritance cycle: a -> b -> a');
    expect(() => mergeConfig({ profiles }, null)).toThrow('agent profile inheritance cycle: a -> b -> a');
    expect(() => resolveProfile('c', profiles, [])).toThrow('profile c inherits from ghost, which does not exist');
  });
});

describe('the defaults, the schema and templates/config.yaml say the same', () => {
  const shape = (value: unknown): unknown =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, shape(each)]))
      : typeof value;

  test('the schema takes every default as it is and knows no other key', () => {
    const { worktree, default_profile: _none, ...rest } = DEFAULT_CONFIG;
    const raw = { ...rest, worktree: { ...worktree, root: '/srv' }, default_profile: 'careful' };
    const checked = checkConfig(raw, 'user');
    expect(checked.issues).toEqual([]);
    expect(checked.warnings).toEqual([]);
    expect(shape(mergeConfig(checked.file, null))).toEqual(shape({ ...raw }));
  });

  test('every default is in the template, with its value', () => {
    const template = readFileSync(join(import.meta.dir, '../../templates/config.yaml'), 'utf8');
    const wanted = { default_profile: 'careful', root: '/srv/worktrees' };
    const uncommented = template
      .split('\n')
      .filter((line) => /^#\s{1,3}(?:# )?[a-z_]+:(?: |$)/.test(line))
      .map((line) => line.replace(/^# /, '').replace(/^ {2}# /, '  '));
    const top = uncommented.slice(0, uncommented.indexOf('profiles: {}'));
    const shown = Bun.YAML.parse(top.join('\n')) as Record<string, unknown>;
    const checked = checkConfig(shown, 'user');
    expect(checked.issues).toEqual([]);
    expect(checked.warnings).toEqual([]);
    const merged = mergeConfig(checked.file, null);
    const expected = { ...DEFAULT_CONFIG, default_profile: wanted.default_profile };
    expect(merged).toEqual({ ...expected, worktree: { ...expected.worktree, root: wanted.root } });
    const { profiles: _p, harness_runners: _h, groups: _g, ...scalars } = DEFAULT_CONFIG;
    expect(Object.keys(shown).sort()).toEqual(Object.keys(scalars).sort());
    for (const room of ['turn', 'watchdog', 'worktree'] as const) {
      expect(Object.keys(shown[room] as object).sort()).toEqual(Object.keys(DEFAULT_CONFIG[room]).sort());
    }
    for (const line of ['# profiles: {}', '# harness_runners: {}', '# groups: {}'])
      expect(template).toContain(`\n${line}\n`);
  });

  test('as it is, the template sets nothing', () => {
    const template = readFileSync(join(import.meta.dir, '../../templates/config.yaml'), 'utf8');
    expect(checkConfig(Bun.YAML.parse(template), 'project')).toEqual({ file: {}, issues: [], warnings: [] });
  });
});

describe('what a repository may not reach by way of the user (docs/adr/0007)', () => {
  const user = (raw: unknown) => checkConfig(raw, 'user').file;
  const project = (raw: unknown) => checkConfig(raw, 'project').file;

  test('a profile of the user is not replaced by one of the same name', () => {
    const merged = mergeConfig(
      user({ profiles: { careful: { disallowed_tools: ['Bash'] } } }),
      project({ profiles: { careful: { model: 'opus' } } }),
    );
    expect(merged.profiles.careful).toMatchObject({ disallowed_tools: ['Bash'], model: null });
  });

  test('loose permissions of a user profile are neither inherited nor chosen', () => {
    const loose = user({ profiles: { free: { permission_mode: 'bypassPermissions' } } });
    expect(() => mergeConfig(loose, null)).not.toThrow();
    expect(() => mergeConfig(loose, project({ default_profile: 'free' }))).toThrow('bypassPermissions');
    expect(() => mergeConfig(loose, project({ profiles: { mine: { inherits: 'free' } } }))).toThrow(
      'bypassPermissions',
    );
    expect(() => mergeConfig(user({ ...loose, default_profile: 'free' }), project({ max_depth: 1 }))).not.toThrow();
  });

  test('limits are lowered, never raised', () => {
    const lowered = mergeConfig(user({ max_live_sessions: 4 }), project({ max_live_sessions: 2, max_children: 99 }));
    expect([lowered.max_live_sessions, lowered.max_children]).toEqual([2, DEFAULT_CONFIG.max_children]);
    expect(mergeConfig(user({ max_live_sessions: 4 }), project({ max_live_sessions: 9 })).max_live_sessions).toBe(4);
    expect(mergeConfig(user({ max_live_sessions: 40 }), null).max_live_sessions).toBe(40);
  });

  test('what only the user may say is refused beside other mistakes, all at once', () => {
    const { issues } = checkConfig({ harness_runners: {}, trusted_repositories: ['/'], max_depth: -1 }, 'project');
    expect(issues.map(({ path }) => path[0]).sort()).toEqual(['harness_runners', 'max_depth', 'trusted_repositories']);
  });
});
