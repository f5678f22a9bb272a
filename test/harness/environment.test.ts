import { describe, expect, test } from 'bun:test';
import { allowEnvironment, BASE_ENV_ALLOW, runtimeEnvironment } from '../../src/harness/environment.ts';
import { LOCK_FILE_NAMES, type PackageManagerFacts, packageManager } from '../../src/harness/package-manager.ts';

function facts(fields: Partial<PackageManagerFacts> = {}): PackageManagerFacts {
  return {
    env_value: null,
    project_settings: null,
    package_json: null,
    lock_files: new Set(),
    user_settings: null,
    ...fields,
  };
}

describe('package manager', () => {
  test('a lock file decides (E-047)', () => {
    expect(packageManager(facts({ lock_files: new Set(['pnpm-lock.yaml']) }))).toBe('pnpm');
    expect(packageManager(facts({ lock_files: new Set(['bun.lock']) }))).toBe('bun');
    expect(packageManager(facts({ lock_files: new Set(['bun.lockb']) }))).toBe('bun');
  });

  test('lock files in the order pnpm, bun, yarn, npm (E-047)', () => {
    const all = [...LOCK_FILE_NAMES];
    const found = all.map((_, index) => packageManager(facts({ lock_files: new Set(all.slice(index)) })));
    expect(found).toEqual(['pnpm', 'bun', 'bun', 'yarn', 'npm']);
  });

  test('the project’s setting beats package.json and lock file (E-048)', () => {
    const found = packageManager(
      facts({
        package_json: '{"packageManager":"pnpm@9.0.0"}',
        lock_files: new Set(['package-lock.json']),
        project_settings: '{"packageManager":"yarn"}',
      }),
    );
    expect(found).toBe('yarn');
  });

  test('precedence of all sources (E-046)', () => {
    const sources: Partial<PackageManagerFacts>[] = [
      { env_value: 'yarn' },
      { project_settings: '{"packageManager":"bun"}' },
      { package_json: '{"packageManager":"pnpm@9.0.0"}' },
      { lock_files: new Set(['yarn.lock']) },
      { user_settings: '{"packageManager":"bun@1"}' },
    ];
    const found = sources.map((_, index) => packageManager(facts(Object.assign({}, ...sources.slice(index)))));
    expect(found).toEqual(['yarn', 'bun', 'pnpm', 'yarn', 'bun']);
    expect(packageManager(facts())).toBe('npm');
  });

  test('unknown names and broken files are passed over (E-049)', () => {
    const lock_files = new Set(['yarn.lock']);
    for (const package_json of ['{', '[]', 'null', '{"packageManager":7}', '{"packageManager":"cargo@1"}', '{}']) {
      expect(packageManager(facts({ package_json, lock_files }))).toBe('yarn');
    }
    expect(packageManager(facts({ env_value: 'deno', lock_files }))).toBe('yarn');
    expect(packageManager(facts({ env_value: ' bun @1.4', lock_files }))).toBe('bun');
  });
});

describe('runtime environment', () => {
  const base = {
    session_id: 'sess-1234',
    harness: 'codex',
    agent_name: 'scout-1',
    working_dir: '/srv/repo/w',
    project_dir: '/srv/repo',
    run_id: 'run-1',
    task_id: null,
    profile_model: 'gpt-5.4',
    package_manager: 'pnpm' as const,
    plugin_root: '/opt/drover',
  };

  test('every harness is told who it works for (E-042, E-043, E-044, E-028)', () => {
    expect(runtimeEnvironment(base)).toEqual({
      DROVER_SESSION_ID: 'sess-1234',
      DROVER_HARNESS: 'codex',
      DROVER_WORKING_DIR: '/srv/repo/w',
      DROVER_PROJECT_DIR: '/srv/repo',
      DROVER_AGENT_NAME: 'scout-1',
      DROVER_RUN_ID: 'run-1',
      DROVER_PLUGIN_ROOT: '/opt/drover',
      CLAUDE_SESSION_ID: 'sess-1234',
      CLAUDE_PROJECT_DIR: '/srv/repo',
      CLAUDE_CODE_ENTRYPOINT: 'cli',
      CLAUDE_PACKAGE_MANAGER: 'pnpm',
      CLAUDE_CODE_PACKAGE_MANAGER: 'pnpm',
      CLAUDE_MODEL: 'gpt-5.4',
      CLAUDE_PLUGIN_ROOT: '/opt/drover',
    });
  });

  test('what is not known is not set (E-044, E-045)', () => {
    const env = runtimeEnvironment({ ...base, profile_model: null, plugin_root: null, run_id: null });
    for (const name of [
      'CLAUDE_MODEL',
      'CLAUDE_PLUGIN_ROOT',
      'DROVER_PLUGIN_ROOT',
      'DROVER_RUN_ID',
      'DROVER_TASK_ID',
    ]) {
      expect(env).not.toHaveProperty(name);
    }
  });
});

describe('environment allow-list', () => {
  test('names and prefixes are let through, everything else stays out', () => {
    const all = {
      PATH: '/bin',
      LC_ALL: 'C',
      LCX: 'no',
      MY_LC_ALL: 'no',
      GITHUB_TOKEN: 'secret',
      DROVER_TOKEN: 'other',
      GONE: undefined,
    };
    expect(allowEnvironment(all, ['PATH', 'LC_*', 'GONE', 'ABSENT'])).toEqual({ PATH: '/bin', LC_ALL: 'C' });
    expect(allowEnvironment(all, [])).toEqual({});
  });

  test('the base list holds no credential and nothing that runs code', () => {
    const risky = ['GITHUB_TOKEN', 'ANTHROPIC_API_KEY', 'NODE_OPTIONS', 'LD_PRELOAD', 'BUN_OPTIONS', 'GIT_SSH_COMMAND'];
    const all = Object.fromEntries([...risky, 'SSH_AUTH_SOCK', 'DROVER_HOME'].map((name) => [name, 'x']));
    expect(allowEnvironment(all, BASE_ENV_ALLOW)).toEqual({});
  });
});
