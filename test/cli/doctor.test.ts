import { expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { acquirePidLock } from '../../src/sys/lock.ts';
import { listen } from '../../src/sys/socket.ts';
import { doctor, of, problems, soundWorld, tamper } from '../support/doctor.ts';
import { droverBench, writeConfig } from '../support/drover.ts';
import { endTurn, seedSession, takeTurn } from '../support/store.ts';
import { until } from '../support/until.ts';

test('a healthy home has no problem, and looking changes nothing', async () => {
  const bench = droverBench();
  await bench.json(['sling', '--harness', 'rehearsal', '--name', 'ewe', 'graze']);
  await bench.run(['wait', 'ewe']);
  const report = await doctor(bench, 0);
  expect(report).toMatchObject({ schema_version: 1, ok: true });
  expect(problems(report)).toEqual([]);
  for (const check of [
    'bun',
    'git',
    'config',
    'home',
    'file system',
    'disk',
    'database',
    'clock',
    'supervisor',
    'invariants',
    'worktrees',
    'logs',
    'processes',
  ]) {
    expect(of(report, check)).toMatchObject([{ level: 'ok' }]);
  }
  const text = await bench.run(['doctor', '--quick']);
  expect(text).toMatchObject({ code: 0, stderr: '' });
  expect(text.stdout).toMatch(/^ok +supervisor +pid \d+ answers/m);
  expect(text.stdout).toMatch(/^no problem, (?:no|\d+) warning/m);
}, 60_000);

test('without a home it looks at the machine and creates nothing', async () => {
  const bench = droverBench();
  const report = await doctor(bench, 0);
  expect(of(report, 'home')).toMatchObject([{ level: 'ok', what: expect.stringContaining('nothing is stored yet') }]);
  expect(existsSync(bench.drover_home)).toBe(false);
});

test('a directory of somebody else is told and never closed', async () => {
  const bench = droverBench();
  mkdirSync(bench.drover_home, { mode: 0o755 });
  writeFileSync(join(bench.drover_home, 'letter.txt'), 'dear');
  expect(of(await doctor(bench, 1, '--fix'), 'home')).toMatchObject([
    { level: 'problem', what: `${bench.drover_home} is no home of drover and not empty`, fix: null },
  ]);
  expect(statSync(bench.drover_home).mode & 0o777).toBe(0o755);
  rmSync(bench.drover_home, { recursive: true });
});

test('--fix needs the right to stop; looking needs none', async () => {
  const { bench } = await soundWorld();
  const env = { DROVER_TOKEN: 'not-a-token' };
  expect((await bench.run(['doctor', '--quick', '--fix'], { env })).code).toBe(3);
  expect((await bench.run(['doctor', '--quick'], { env })).code).toBe(0);
});

test('open modes are a problem; --fix closes them (0700, 0600)', async () => {
  const { world, bench } = await soundWorld();
  expect(problems(await doctor(bench, 0))).toEqual([]);
  const database = homePaths.database(world.home);
  chmodSync(world.home, 0o755);
  chmodSync(database, 0o644);
  const found = of(await doctor(bench, 1), 'home')[0];
  expect(found?.what).toBe(`${world.home} is 0755, not 0700, ${database} is 0644, not 0600`);
  expect(found?.fix).toBe('close it to others');
  const fixed = of(await doctor(bench, 0, '--fix'), 'home')[0];
  expect(fixed).toMatchObject({ level: 'problem', fixed: true, fix: expect.stringContaining('changed the mode') });
  expect([world.home, database].map((path) => statSync(path).mode & 0o777)).toEqual([0o700, 0o600]);
  expect(of(await doctor(bench, 0), 'home')).toMatchObject([{ level: 'ok' }]);
});

test('what a killed supervisor left is told, and cleared by --fix; its work is told of', async () => {
  const { world, bench } = await soundWorld();
  writeFileSync(homePaths.lock(world.home, 'supervisor'), '4194000\n1\nanother-boot\n', { mode: 0o600 });
  writeFileSync(homePaths.socket(world.home), '');
  const report = await doctor(bench, 0);
  expect(of(report, 'supervisor')).toMatchObject([{ level: 'warning', what: expect.stringContaining('4194000') }]);
  expect(of(report, 'work')).toMatchObject([{ what: '0 turns in flight and 1 queued sessions have no supervisor' }]);
  expect(of(await doctor(bench, 0, '--fix'), 'supervisor')).toMatchObject([{ fixed: true }]);
  expect(readFileSync(homePaths.lock(world.home, 'supervisor'), 'utf8')).toBe('');
  expect(existsSync(homePaths.socket(world.home))).toBe(false);
  expect(of(await doctor(bench, 0), 'supervisor')).toMatchObject([{ level: 'ok', what: 'none is up' }]);
});

test('a lock that is held by somebody who does not answer is a problem', async () => {
  const { world, bench } = await soundWorld();
  const lock = homePaths.lock(world.home, 'supervisor');
  writeFileSync(lock, '');
  const holder = Bun.spawn(['flock', lock, 'sleep', '60'], { stdio: ['ignore', 'ignore', 'ignore'], detached: true });
  try {
    await until('the lock is held', () => Bun.spawnSync(['flock', '-n', lock, 'true']).exitCode !== 0);
    const found = of(await doctor(bench, 1, '--fix'), 'supervisor')[0];
    expect(found).toMatchObject({ level: 'problem', what: expect.stringContaining('does not answer'), fix: null });
    expect(found?.hint).toContain('drover up');
  } finally {
    process.kill(-holder.pid, 'SIGKILL');
    await holder.exited;
  }
}, 60_000);

test('who holds a lock has to be who it says, and of our version', async () => {
  const { world, bench } = await soundWorld();
  const path = homePaths.lock(world.home, 'supervisor');
  const taken = acquirePidLock(path);
  const bell = await listen(
    homePaths.socket(world.home),
    () => '{"version":"0.0.1","running":2}',
    () => undefined,
  );
  try {
    expect(taken.acquired).toBe(true);
    expect(of(await doctor(bench, 0), 'supervisor')).toMatchObject([
      { level: 'warning', what: expect.stringMatching(/is of version 0\.0\.1, this is/) },
    ]);
    writeFileSync(path, '4194000\n1\nanother-boot\n');
    expect(of(await doctor(bench, 1), 'supervisor')).toMatchObject([
      { level: 'problem', what: 'its lock is held, but the process it names (4194000) is not alive' },
    ]);
  } finally {
    bell.close();
    if (taken.acquired) taken.lock.release();
  }
});

test('a watchdog that was killed is told and cleared', async () => {
  const { world, bench } = await soundWorld();
  writeFileSync(homePaths.lock(world.home, 'watchdog'), '4194000\n1\nanother-boot\n');
  expect(of(await doctor(bench, 0), 'watchdog')).toMatchObject([{ level: 'warning' }]);
  expect(of(await doctor(bench, 0, '--fix'), 'watchdog')).toMatchObject([{ fixed: true }]);
  expect(readFileSync(homePaths.lock(world.home, 'watchdog'), 'utf8')).toBe('');
});

test('an invariant that is broken is told by its id, its rows and a way out', async () => {
  const { world, bench } = await soundWorld();
  tamper(world, "UPDATE sessions SET token_hash = 'h' WHERE name = 'ewe'");
  const report = await doctor(bench, 1);
  expect(problems(report)).toEqual(['I19']);
  expect(of(report, 'I19')[0]?.what).toMatch(/agent-\S+ queued with a valid token/);
  const text = await bench.run(['doctor', '--quick']);
  expect(text.code).toBe(1);
  expect(text.stdout).toMatch(/^problem +I19 .*\n {4}.*drover stop agent-/m);
});

test('a pool whose probe is gone is let go by --fix', async () => {
  const { world, bench } = await soundWorld();
  tamper(
    world,
    "INSERT INTO pools (name, state, blocked_at, probe_id, updated_at) VALUES ('claude', 'probing', 1, 'agent-x', 1)",
  );
  expect(problems(await doctor(bench, 1))).toEqual(['pool']);
  expect(of(await doctor(bench, 0, '--fix'), 'pool')).toMatchObject([{ fixed: true }]);
  expect(problems(await doctor(bench, 0))).toEqual([]);
});

/** A process as a turn leaves it, in a session of its own. */
function stray(home: string, marker: string): Bun.Subprocess {
  const env = {
    PATH: process.env.PATH ?? '',
    DROVER_HOME: home,
    DROVER_TURN_MARKER: marker,
    DROVER_SESSION_ID: 'agent-lost',
  };
  return Bun.spawn(['sh', '-c', 'sleep 300 & wait'], { env, stdio: ['ignore', 'ignore', 'ignore'], detached: true });
}

test('processes of a turn that is over, or that nobody knows, are proven ours and ended by --fix; others are let be', async () => {
  const { world, bench } = await soundWorld();
  const over = await takeTurn(world, (await seedSession(world, { name: 'over' })).id);
  await endTurn(world, over);
  const open = await takeTurn(world, (await seedSession(world, { name: 'open' })).id);
  const [dead, lost, busy, foreign] = [
    stray(world.home, over.turn.marker),
    stray(world.home, 'a-marker-of-nobody'),
    stray(world.home, open.turn.marker),
    stray('/another/home', 'a-marker-of-theirs'),
  ];
  try {
    for (const { pid } of [dead, lost, busy, foreign])
      await until('its own process', () => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
    const found = of(await doctor(bench, 1), 'processes');
    expect(found.map(({ what }) => what).sort()).toMatchObject([
      expect.stringMatching(
        new RegExp(`^2 alive of a turn of agent-lost that this database does not know: ${lost.pid} `),
      ),
      expect.stringMatching(new RegExp(`^2 alive of turn 1 of over .* which is over: ${dead.pid} `)),
    ]);
    const fixed = of(await doctor(bench, 0, '--fix'), 'processes');
    expect(fixed).toMatchObject([{ fixed: true }, { fixed: true }]);
    await Promise.all([dead.exited, lost.exited]);
    expect([busy.exitCode, busy.signalCode, foreign.exitCode, foreign.signalCode]).toEqual([null, null, null, null]);
    expect(of(await doctor(bench, 0), 'processes')).toMatchObject([{ level: 'ok', what: '2, all of turns in flight' }]);
  } finally {
    for (const child of [dead, lost, busy, foreign]) {
      if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL');
      await child.exited;
    }
  }
}, 60_000);

test('a worktree that went, one that nobody has, and logs without rows are told and never touched', async () => {
  const { world, bench } = await soundWorld();
  const root = join(world.home, 'worktrees');
  mkdirSync(root);
  const gone = join(root, 'farm-gone01');
  const place = { repo_root: bench.repo, branch: 'drover/wool', worktree_path: gone, working_dir: gone };
  const row = await seedSession(world, { name: 'wool', ...place });
  bench.git('worktree', 'add', '-q', '-b', 'drover/wool', gone);
  const lonely = join(root, 'farm-abc123');
  bench.git('worktree', 'add', '-q', '-b', 'lonely', lonely);
  mkdirSync(join(root, 'mine-abc123'));
  mkdirSync(homePaths.turn(world.home, 'agent-unknown', 1), { recursive: true, mode: 0o700 });
  chmodSync(join(world.home, 'sessions'), 0o700);
  mkdirSync(homePaths.turn(world.home, row.id, 7), { recursive: true });
  writeFileSync(join(homePaths.turn(world.home, row.id, 7), 'stdout.jsonl'), '{}\n');
  expect(of(await doctor(bench, 0), 'worktrees')).toMatchObject([
    { level: 'warning', what: `${lonely} belongs to no session` },
  ]);
  rmSync(gone, { recursive: true });
  const report = await doctor(bench, 1, '--fix');
  const [missing, other] = of(report, 'worktrees');
  expect(missing).toMatchObject({
    level: 'problem',
    what: `wool (${row.id}, queued) works in ${gone}, which does not exist`,
  });
  expect(of(report, 'logs').map(({ what }) => what)).toEqual([
    `1 log directories belong to no session: ${world.home}/sessions/agent-unknown`,
    `turns that the database does not know: ${world.home}/sessions/${row.id}/turns/7`,
  ]);
  expect([lonely, join(world.home, 'sessions/agent-unknown')].map(existsSync)).toEqual([true, true]);
  // The commands that are told do what they say.
  const follow = (hint: string | null | undefined) => hint?.split('\n').filter((line) => line.startsWith('git ')) ?? [];
  for (const line of [...follow(missing?.hint), ...follow(other?.hint)]) {
    expect(Bun.spawnSync(['sh', '-c', line], { env: bench.env })).toMatchObject({ exitCode: 0 });
  }
  expect([existsSync(join(gone, '.git')), existsSync(lonely)]).toEqual([true, false]);
  expect(of(await doctor(bench, 0), 'worktrees')).toMatchObject([{ level: 'ok' }]);
}, 60_000);

test('every error of the config is told with its line, and a misspelling is a warning', async () => {
  const bench = droverBench();
  writeConfig(bench.home, {});
  const file = join(bench.home, '.config/drover/config.yaml');
  writeFileSync(file, 'max_depth: 2\nmax_dept: 3\n');
  expect(of(await doctor(bench, 0), 'config')).toMatchObject([
    { level: 'warning', what: expect.stringContaining('max_dept') },
  ]);
  writeFileSync(file, 'max_depth: deep\n\nmax_children: many\n');
  const found = of(await doctor(bench, 1), 'config');
  expect(found.map(({ level, what }) => [level, what.split(' ')[0]])).toEqual([
    ['problem', `${file}:1:`],
    ['problem', `${file}:3:`],
  ]);
});
