import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type Bench, DROVER, droverBench, writeConfig } from '../support/drover.ts';
import { errorOf, refused, rehearse, untilState } from '../support/peek.ts';

const IS_ROOT = process.getuid?.() === 0;

/** Another user can only be tried by root, and only where the checkout and its Bun are readable for everybody. */
function canBeNobody(): boolean {
  if (!IS_ROOT || Bun.which('setpriv') === null) return false;
  return Bun.spawnSync([...AS_NOBODY, DROVER, '--version'], { cwd: '/' }).exitCode === 0;
}

const AS_NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];

/** A filesystem of a size of its own, in a mount namespace of its own. */
function canMount(): boolean {
  if (!IS_ROOT || Bun.which('unshare') === null) return false;
  return Bun.spawnSync(['unshare', '-m', 'mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', '/mnt']).exitCode === 0;
}

async function runIn(command: string[], env: Record<string, string>) {
  const child = Bun.spawn(command, { cwd: '/', env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { stdout, stderr, code };
}

test('a home that cannot be made is 69 and says what to do (fault 23)', async () => {
  const bench = droverBench();
  const file = join(bench.home, 'a-file');
  writeFileSync(file, '');
  for (const DROVER_HOME of ['/proc/drover', `${file}/state`]) {
    const options = { env: { DROVER_HOME } };
    const error = await refused(bench, ['sling', '--harness', 'rehearsal', 'x'], [69, 'home_unwritable'], options);
    expect([error.hint, error.preserved]).toEqual([expect.stringContaining(DROVER_HOME), 'nothing was stored']);
  }
}, 60_000);

// reason: needs root and setpriv, and a checkout that everybody may read
const NOT_NOBODY = canBeNobody() ? '' : ' [skipped: needs root, setpriv and a checkout that others may read]';

test.skipIf(NOT_NOBODY !== '')(
  `a home of somebody else is refused, and nothing of it is touched (fault 23)${NOT_NOBODY}`,
  async () => {
    const bench = droverBench();
    for (let dir = dirname(bench.drover_home); dir !== '/'; dir = dirname(dir)) {
      const { mode } = statSync(dir);
      if ((mode & 0o001) === 0) chmodSync(dir, mode | 0o011);
    }
    mkdirSync(bench.drover_home, { mode: 0o755 });
    const sling = [...AS_NOBODY, DROVER, '--json', 'sling', '--harness', 'rehearsal', 'x'];
    const ran = await runIn(sling, { ...bench.env, HOME: '/nonexistent' });
    expect([ran.code, errorOf(ran).code]).toEqual([69, 'home_unwritable']);
    expect(existsSync(join(bench.drover_home, 'drover.db'))).toBe(false);
  },
  60_000,
);

// reason: needs the right to mount a filesystem of its own
const NO_MOUNT = canMount() ? '' : ' [skipped: needs root and the right to mount]';

test.skipIf(NO_MOUNT !== '')(
  `a full disk is 69, loses nothing, and work goes on when there is room again (fault 17)${NO_MOUNT}`,
  async () => {
    // Smaller than the floor below which no turn starts.
    const bench = droverBench({ config: { limits: { min_free_mb: 0 } } });
    const state = bench.drover_home;
    const script = bench.script('small', { turns: [[{ say: 'done' }]] });
    const steps = `set -u
    mkdir -p ${state}; mount -t tmpfs -o size=6m none ${state} || exit 99
    sling() { ${DROVER} --json sling --harness rehearsal --cwd ${bench.repo} --name "$1" "rehearsal-script: ${script}"; }
    sling first >/dev/null; ${DROVER} --quiet wait first >/dev/null 2>&1; echo "first $?"
    cat /dev/zero >${state}/ballast 2>/dev/null
    sling second; echo "second $?"
    ${DROVER} --json status --all
    rm ${state}/ballast
    sling third >/dev/null; ${DROVER} --quiet wait third >/dev/null 2>&1; echo "third $?"
    ${DROVER} stop --all >/dev/null 2>&1; ${DROVER} down >/dev/null 2>&1`;
    const ran = await runIn(['unshare', '-m', 'sh', '-c', steps], bench.env);
    const lines = ran.stdout.trim().split('\n');
    expect([lines[0], lines[2], lines[4]]).toEqual(['first 0', 'second 69', 'third 0']);
    expect(JSON.parse(lines[1] ?? '').error.code).toBe('disk_full');
    const status = JSON.parse(lines[3] ?? '') as { sessions: { name: string; state: string }[] };
    expect(status.sessions.map(({ name, state: is }) => [name, is])).toEqual([['first', 'completed']]);
  },
  60_000,
);

test('a database of a newer drover is left alone by every verb (fault 16)', async () => {
  const bench = droverBench();
  await rehearse(bench, 'old', { turns: [[{ say: 'done' }]] });
  await untilState(bench, 'old', 'completed');
  await bench.run(['down']);
  const db = new Database(join(bench.drover_home, 'drover.db'));
  const { user_version } = db.query('PRAGMA user_version').get() as { user_version: number };
  db.run('PRAGMA user_version = 999');
  for (const args of [['sling', 'x'], ['status'], ['show', 'old'], ['stop', '--all'], ['mail', 'list']]) {
    const error = await refused(bench, args, [69, 'schema_newer']);
    expect(error.message).toContain('999');
  }
  const up = await bench.run(['up', '--foreground']);
  expect([up.code, up.stderr]).toEqual([69, expect.stringContaining('schema_newer')]);
  expect(db.query('PRAGMA user_version').get()).toEqual({ user_version: 999 });
  db.run(`PRAGMA user_version = ${user_version}`);
  db.close();
}, 60_000);

function withConfig(text: string): { bench: Bench; path: string } {
  const bench = droverBench();
  writeConfig(bench.home, {});
  const path = join(bench.home, '.config/drover/config.yaml');
  writeFileSync(path, text);
  return { bench, path };
}

interface Issues {
  issues: { file: string; line: number; message: string }[];
}

test('every problem of a config is told at once, each with its file and line (E-174)', async () => {
  const { bench, path } = withConfig(
    ['max_live_sessions: none', 'turn:', '  backoff_ms: soon', 'profiles:', '  Fast: {}', 'max_depth: -1'].join('\n'),
  );
  mkdirSync(join(bench.repo, '.drover'));
  const project = join(bench.repo, '.drover/config.yaml');
  writeFileSync(project, 'default_role: 7\nharness_runners:\n  mine:\n    program: /repo/evil\n');
  const error = await refused(bench, ['sling', '--harness', 'rehearsal', 'x'], [2, 'config_invalid']);
  const { issues } = error.data as unknown as Issues;
  expect(issues.map(({ file, line }) => `${file}:${line}`)).toEqual(
    expect.arrayContaining([`${path}:1`, `${path}:3`, `${path}:5`, `${path}:6`, `${project}:1`]),
  );
  for (const { file, line } of issues) expect(error.message).toContain(`${file}:${line}: `);
}, 60_000);

test('a broken file is told with its line; a repository may not name programs (E-174)', async () => {
  const { bench, path } = withConfig('default_role: solo\nturn: {a: 1\n');
  const broken = await refused(bench, ['sling', '--harness', 'rehearsal', 'x'], [2, 'config_invalid']);
  expect(broken.message).toMatch(new RegExp(`${path}:[23]: `));
  expect(broken.preserved).toBe('nothing was stored');
  writeFileSync(path, '');
  mkdirSync(join(bench.repo, '.drover'));
  const project = join(bench.repo, '.drover/config.yaml');
  writeFileSync(project, 'default_role: solo\nharness_runners:\n  rehearsal:\n    program: /repo/evil\n');
  const evil = await refused(bench, ['sling', '--harness', 'rehearsal', 'x'], [2, 'config_invalid']);
  expect(evil.message).toContain(`${project}:2: harness_runners: a repository may not name programs`);
  expect(resolve(project)).toBe(project);
}, 60_000);
