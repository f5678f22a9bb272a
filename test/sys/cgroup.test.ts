import { afterEach, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import {
  chargedBytes,
  findGroup,
  groupOutsideTurns,
  makeGroup,
  membersOf,
  probeCgroup,
  removeEmptyGroups,
  removeGroup,
} from '../../src/sys/cgroup.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { startDaemon } from '../../src/sys/daemon.ts';
import { processStat } from '../../src/sys/identity.ts';
import { launchTurn } from '../../src/sys/launch.ts';
import { killTree, treeOf } from '../../src/sys/tree.ts';
import { readExit, turnFiles, turnProcesses } from '../../src/sys/turn-files.ts';
import { groupIn, NO_GROUPS } from '../support/group.ts';
import { leaksOf } from '../support/leaks.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const PATH = '/usr/bin:/bin';
const SOURCE = resolve(import.meta.dir, '../../src/sys/cgroup.ts');
const { base } = probeCgroup();
const groups: string[] = [];
const dirs: string[] = [];

function start(script: string, name = 'turn') {
  const dir = join(tempDir(), name);
  mkdirSync(dir);
  dirs.push(dir);
  const marker = `group-${dir}`;
  const env = { PATH, DROVER_HOME: dirname(dir) };
  const turn = launchTurn({ dir, program: '/bin/sh', args: ['-c', script], cwd: '/', env, stdin_path: null, marker });
  const ready = () => until('ready', () => readFileSync(turnFiles(dir).stdout, 'utf8').includes('ready'));
  const end = (grace_ms = 100) => killTree(turnProcesses(dir, marker), { clock: systemClock, grace_ms });
  return { dir, marker, ...turn, ready, end };
}

function made(home: string, marker: string): string {
  const group = makeGroup(home, marker);
  if (group === null) throw new Error('no group could be made');
  groups.push(group);
  return group;
}

afterEach(async () => {
  for (const dir of dirs.splice(0)) {
    await killTree(turnProcesses(dir, `group-${dir}`), { clock: systemClock, first_signal: 'SIGKILL', spare_ms: 0 });
    expect(leaksOf(dir)).toEqual([]);
  }
  for (const group of groups.splice(0)) removeGroup(group);
});

/**
 * Leaves a process that cleared its environment, has a session of its own and lost its parents before anybody looked:
 * only a group tells whose it is. Its pid is in `pid_file`.
 */
function fugitive(pid_file: string) {
  const script = '(trap "" TERM HUP; sleep 61; :) & echo $! >"$0"';
  return start(`setsid env -i /bin/sh -c '${script}' '${pid_file}'; echo ready`);
}

test.skipIf(NO_GROUPS !== '')(
  `group: what scrubs its environment, leaves the session and loses its parents is found and ended${NO_GROUPS}`,
  async () => {
    const pid_file = join(tempDir(), 'pid');
    const run = fugitive(pid_file);
    await run.exited;
    const pid = Number(readFileSync(pid_file, 'utf8'));
    const { marker } = run;
    expect(treeOf({ marker: 'another', launcher: run.identity })).toEqual([]);
    const left = await until('both of them', () =>
      [treeOf(turnProcesses(run.dir, marker))].find(({ length }) => length === 2),
    );
    const [sh, sleep] = left.map(({ pid: id }) => id);
    expect([sh, processStat(sleep ?? 0)?.parent]).toEqual([pid, pid]);
    const group = groupIn(run.dir) ?? '';
    const result = await run.end();
    expect(result).toMatchObject({ proven_empty: true, survivors: [] });
    expect(result.killed.map((id) => id.pid)).toEqual([pid, sleep ?? 0]);
    expect(existsSync(group)).toBe(false);
  },
);

test.skipIf(NO_GROUPS !== '')(
  `group: a turn is born in its own, and an empty one goes with it${NO_GROUPS}`,
  async () => {
    const run = start('cat /proc/self/cgroup; read -r _; echo ready');
    await run.exited;
    const group = groupIn(run.dir) ?? '';
    expect(dirname(group)).toBe(base ?? '');
    expect(readFileSync(turnFiles(run.dir).stdout, 'utf8')).toContain(`/${basename(group)}\n`);
    // The name is for everybody to see, and the marker is a secret.
    expect(group).not.toContain(run.marker);
    await until('its end', () => !existsSync(group));
  },
);

/** A bounded family: 2 to the 7th at the end, each of which ignores the polite signal. */
const FAMILY =
  'trap "" TERM; f() { if [ $1 -gt 0 ]; then f $(($1-1)) & f $(($1-1)) & fi; sleep 60; }; f 6 & echo ready; sleep 60';

test.skipIf(NO_GROUPS !== '')(
  `group: a whole family falls by one stroke and is counted, and the exit is told${NO_GROUPS}`,
  async () => {
    const run = start(FAMILY);
    await run.ready();
    const group = groupIn(run.dir) ?? '';
    await until('the family', () => membersOf(group).length > 150);
    const members = membersOf(group);
    const result = await run.end(0);
    expect(result).toMatchObject({ proven_empty: true, survivors: [] });
    expect(result.killed.length).toBeGreaterThanOrEqual(members.length - 1);
    expect(result.killed.map(({ pid }) => pid)).not.toContain(run.identity.pid);
    expect(readExit(run.dir)).toMatchObject({ code: null, signal: 'SIGKILL' });
    expect(existsSync(group)).toBe(false);
  },
  20_000,
);

test.skipIf(NO_GROUPS !== '')(
  `group: the note in the turn directory is believed only for this turn’s group${NO_GROUPS}`,
  async () => {
    const own = made('/home', 'mine');
    const other = made('/home', 'theirs');
    expect(findGroup('mine', null)).toBe(own);
    for (const note of [other, base, '/', '/tmp', `${other}/../${basename(own)}x`, `${own}/`, 'x'.repeat(5000), '']) {
      expect(findGroup('mine', note)).toBe(own);
    }
    removeGroup(own);
    expect(findGroup('mine', own)).toBeNull();
    expect(findGroup('mine', other)).toBeNull();
    const fake = join(tempDir(), basename(own));
    mkdirSync(fake);
    expect(findGroup('mine', fake)).toBeNull();
  },
);

test.skipIf(NO_GROUPS !== '')(
  `group: the harness cannot break the end of its turn by the note${NO_GROUPS}`,
  async () => {
    const run = start('read -r _; echo ready; sleep 60');
    const { group } = turnFiles(run.dir);
    await run.ready();
    rmSync(group);
    mkdirSync(group);
    expect(await run.end()).toMatchObject({ proven_empty: true });
    rmdirSync(group);
  },
);

/** Runs `code` (with the module as `g`) in a process that is in `group`. */
async function inside(group: string, code: string): Promise<string> {
  const script = `const g = await import(${JSON.stringify(SOURCE)}); console.log(JSON.stringify(${code}))`;
  const child = Bun.spawn([process.execPath, '-e', script], { cgroup: group, stdout: 'pipe', stderr: 'inherit' });
  return (await child.stdout.text()).trim();
}

test.skipIf(NO_GROUPS !== '')(`group: nobody ends the group that it is in itself${NO_GROUPS}`, async () => {
  const group = made('/home', 'outer');
  expect(await inside(group, `g.killGroup(${JSON.stringify(group)}, null)`)).toBe('false');
  const inner = join(group, 'inner');
  mkdirSync(inner);
  expect(await inside(inner, `g.killGroup(${JSON.stringify(group)}, null)`)).toBe('false');
  expect(await inside(group, `g.killGroup(${JSON.stringify(inner)}, null)`)).toBe('true');
});

test.skipIf(NO_GROUPS !== '')(`group: empty ones of this home are removed, others stay${NO_GROUPS}`, async () => {
  const home = tempDir();
  const empty = [made(home, 'a'), made(home, 'b')];
  const busy = made(home, 'busy');
  const foreign = made(`${home}-other`, 'c');
  const child = Bun.spawn(['sleep', '60'], { cgroup: busy });
  // Of a supervisor that was killed while it tried, and of one that is just trying.
  const nobody = 2 ** 22 + 1;
  const trials = [nobody, process.pid].map((pid) => `${base}/drover-probe-${pid}`);
  for (const path of trials) {
    mkdirSync(path);
    groups.push(path);
  }
  expect(removeEmptyGroups(home)).toBeGreaterThanOrEqual(3);
  expect(trials.map((path) => existsSync(path))).toEqual([false, true]);
  expect([...empty, busy, foreign].map((path) => existsSync(path))).toEqual([false, false, true, true]);
  child.kill();
  await child.exited;
  expect(removeEmptyGroups(home)).toBeGreaterThanOrEqual(1);
  expect(existsSync(busy)).toBe(false);
});

test.skipIf(NO_GROUPS !== '')(
  `group: a server of a home starts outside that home’s turns, and inside those of others${NO_GROUPS}`,
  async () => {
    expect(groupOutsideTurns('/home')).toBeNull();
    const outer = made('/home/a', 'outer');
    const ask = (home: string, group: string) => inside(group, `g.groupOutsideTurns(${JSON.stringify(home)})`);
    expect(await ask('/home/a', outer)).toBe(JSON.stringify(base));
    expect(await ask('/home/b', outer)).toBe('null');
    const log = join(tempDir(), 'log');
    const daemon = startDaemon({
      command: ['/bin/cat', '/proc/self/cgroup'],
      log,
      cwd: '/',
      env: { PATH },
      group: outer,
    });
    await until('its end', () => daemon.hasExited());
    expect(readFileSync(log, 'utf8')).toContain(`/${basename(outer)}\n`);
  },
);

// reason: only root can become somebody who may not make groups
const NOT_ROOT = process.geteuid?.() === 0 && Bun.which('setpriv') !== null ? '' : ' [skipped: needs root and setpriv]';

test.skipIf(NOT_ROOT !== '')(
  `group: without the right to make any, turns run without, and the reason is told${NOT_ROOT}`,
  async () => {
    const dir = tempDir();
    const script = `const g = await import(${JSON.stringify(SOURCE)}); console.log(JSON.stringify([g.probeCgroup(), g.makeGroup('h', 'm'), g.removeEmptyGroups('h')]))`;
    const child = Bun.spawn(['setpriv', '--reuid=65534', '--clear-groups', process.execPath, '-e', script], {
      ...{ cwd: '/', stdout: 'pipe', stderr: 'inherit', env: { PATH, HOME: dir, TMPDIR: '/tmp' } },
    });
    const [probe, group, removed] = JSON.parse(await child.stdout.text());
    expect([probe.base, group, removed]).toEqual([null, null, 0]);
    expect(probe.reason).toMatch(/EACCES|EROFS|no cgroup v2/);
  },
);

test('cgroup: a group is charged for what cannot be dropped, and for nothing that is known without the controller', () => {
  const dir = tempDir('charged');
  expect(chargedBytes(dir)).toBeNull();
  writeFileSync(`${dir}/memory.stat`, 'anon 1000\nfile 999999\nkernel 5\nshmem 24\nfile_mapped 7\nanon_thp 3\n');
  expect(chargedBytes(dir)).toBe(1024);
});
