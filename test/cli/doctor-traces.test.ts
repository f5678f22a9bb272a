import { expect, test } from 'bun:test';
import { existsSync, mkdirSync, rmdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { probeCgroup } from '../../src/sys/cgroup.ts';
import { prepareTurn } from '../../src/sys/launch.ts';
import { doctor, of, problems, soundWorld, tamper } from '../support/doctor.ts';
import { droverBench } from '../support/drover.ts';
import { NO_GROUPS } from '../support/group.ts';
import { sessionOf } from '../support/peek.ts';
import { seedSession, type TestStore, takeTurn } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

const commandsIn = (hint: string | null | undefined) =>
  hint?.split('\n').filter((line) => /^(?:git|rm) /.test(line)) ?? [];

test('every command that is told does what it says and nothing else, whatever the paths are called', async () => {
  const root = tempDir('blank');
  const place = join(root, "sp ace'$HOME");
  const decoy = join(root, 'sp');
  for (const dir of [place, decoy]) mkdirSync(dir);
  writeFileSync(join(decoy, 'letter.txt'), 'dear');
  const bench = droverBench({ root: place });
  await bench.json(['sling', '--harness', 'rehearsal', '--name', 'wool', 'graze']);
  await bench.run(['wait', 'wool']);
  await bench.run(['down']);
  const { id } = sessionOf(bench, 'wool');
  const gone = join(bench.drover_home, 'worktrees/farm-gone01');
  const lonely = join(bench.drover_home, 'worktrees/farm-abc123');
  bench.git('worktree', 'add', '-q', '-b', 'drover/wool', gone);
  bench.git('worktree', 'add', '-q', '-b', 'lonely', lonely);
  rmSync(gone, { recursive: true });
  const quotedPath = gone.replaceAll("'", "''");
  const world = { home: bench.drover_home } as TestStore;
  tamper(
    world,
    `UPDATE sessions SET state = 'stopped', worktree_path = '${quotedPath}', branch = 'drover/wool' WHERE id = '${id}'`,
  );
  const strays = ['agent-one', 'agent-two', 'agent-three'].map((name) => join(bench.drover_home, 'sessions', name));
  for (const dir of strays) mkdirSync(join(dir, 'turns/1'), { recursive: true, mode: 0o700 });
  // 1: its state was changed behind its log.
  const report = await doctor(bench, 1);
  const commands = [...of(report, 'worktrees'), ...of(report, 'logs')].flatMap(({ hint }) => commandsIn(hint));
  // Two for the worktree that went, one for the other, one for each directory.
  expect(commands).toHaveLength(6);
  for (const line of commands) {
    const ran = Bun.spawnSync(['sh', '-c', line], { env: bench.env, cwd: root });
    expect([line, ran.exitCode, ran.stderr.toString().includes('No such')]).toEqual([line, 0, false]);
  }
  expect([gone, lonely, ...strays].map(existsSync)).toEqual([true, false, false, false, false]);
  expect(existsSync(join(decoy, 'letter.txt'))).toBe(true);
}, 60_000);

test('a directory that was made ahead for a turn that never came is nothing to speak of', async () => {
  const { world, bench } = await soundWorld();
  const row = await seedSession(world, { name: 'wool' });
  const taken = await takeTurn(world, row.id);
  mkdirSync(join(taken.turn.dir, '..'), { recursive: true, mode: 0o700 });
  await prepareTurn(homePaths.turn(world.home, row.id, 2));
  mkdirSync(homePaths.turn(world.home, row.id, 3));
  expect(of(await doctor(bench, 0), 'logs')).toMatchObject([{ level: 'ok' }]);
  writeFileSync(join(homePaths.turn(world.home, row.id, 2), 'stdout.jsonl'), '{}\n');
  expect(of(await doctor(bench, 0), 'logs')).toMatchObject([
    { level: 'warning', what: `turns that the database does not know: ${homePaths.turn(world.home, row.id, 2)}` },
  ]);
}, 60_000);

test('files that are gone under a turn in flight are a problem', async () => {
  const { world, bench } = await soundWorld();
  const row = await seedSession(world, { name: 'wool' });
  const { turn } = await takeTurn(world, row.id);
  // Claimed and not started yet: its files are only about to be made.
  expect(of(await doctor(bench, 0), 'logs')).toMatchObject([{ level: 'ok' }]);
  tamper(world, `UPDATE turns SET pid = 1, pid_start_time = '1', boot_id = 'b' WHERE session_id = '${row.id}'`);
  const report = await doctor(bench, 1);
  expect(problems(report)).toEqual(['logs']);
  expect(of(report, 'logs')[0]).toMatchObject({
    what: `turn 1 of wool (${row.id}) is in flight, and its files in ${turn.dir} are gone`,
    hint: expect.stringContaining(`drover stop ${row.id}`),
  });
  mkdirSync(turn.dir, { recursive: true, mode: 0o700 });
  writeFileSync(join(turn.dir, 'stdout.jsonl'), '');
  expect(problems(await doctor(bench, 0))).toEqual([]);
}, 60_000);

test('a harness for drover’s own sessions that nobody knows is a problem with its line', async () => {
  const bench = droverBench({ config: {} });
  const file = join(bench.home, '.config/drover/config.yaml');
  writeFileSync(file, 'max_depth: 2\nwatchdog:\n  triage_harness: nosuch\n  patrol_harness: alsonot\n');
  const found = of(await doctor(bench, 1), 'config');
  expect(found.map(({ level, what }) => [level, what])).toEqual([
    ['problem', `${file}:3: watchdog.triage_harness: Unsupported agent type: nosuch`],
    ['problem', `${file}:4: watchdog.patrol_harness: Unsupported agent type: alsonot`],
  ]);
  expect(found[0]?.hint).toContain('Use one of: claude');
  writeFileSync(file, 'watchdog:\n  triage_harness: claude-code\n  patrol_harness: auto\n');
  expect(of(await doctor(bench, 0), 'config')).toMatchObject([{ level: 'ok' }]);
}, 60_000);

test.skipIf(NO_GROUPS !== '')(
  `empty control groups of turns that are over are told, with what removes them${NO_GROUPS}`,
  async () => {
    const { bench } = await soundWorld();
    const [old, young] = ['0', '1'].map(
      (digit) => `${probeCgroup().base}/drover-${digit.repeat(8)}-${digit.repeat(24)}`,
    );
    try {
      for (const group of [old, `${old}/inner`, young]) mkdirSync(`${group}`);
      // Older than whatever else is left over on this machine.
      utimesSync(`${old}`, 1, 1);
      const [found] = of(await doctor(bench, 0), 'control groups');
      expect(found?.level).toBe('warning');
      const line = found?.hint?.split('\n')[1] ?? '';
      expect(line).toBe(`rmdir ${old}/inner ${old}`);
      expect(Bun.spawnSync(['sh', '-c', line]).exitCode).toBe(0);
      mkdirSync(`${old}`);
      utimesSync(`${old}`, 1, 1);
      expect(of(await doctor(bench, 0, '--fix'), 'control groups')).toMatchObject([{ fixed: true }]);
      expect([old, young].map((group) => existsSync(`${group}`))).toEqual([false, true]);
    } finally {
      for (const group of [`${old}/inner`, old, young]) if (existsSync(`${group}`)) rmdirSync(`${group}`);
    }
  },
);
