import { expect, test } from 'bun:test';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isFlocked } from '../../src/sys/flock.ts';
import { DROVER, droverBench } from '../support/drover.ts';
import { rehearse, supervisorPid, untilState } from '../support/peek.ts';
import { until } from '../support/until.ts';

test('who comes up late or by itself finds that drover was taken down; a person brings it back (ARCHITECTURE §2)', async () => {
  const bench = droverBench({ config: { watchdog: { is_enabled: false } } });
  await rehearse(bench, 'one', { turns: [[{ say: 'done' }]] });
  await untilState(bench, 'one', 'completed');
  const before = Date.now();
  expect((await bench.run(['down'])).code).toBe(0);
  const lock = (name: string) => join(bench.drover_home, `run/${name}.lock`);
  // Those of a verb that was killed before it was down, of a watchdog, and a watchdog.
  for (const words of [
    ['up', '--foreground', '--asked-at', String(before)],
    ['up', '--foreground', '--existing'],
    ['watch', '--companion'],
  ]) {
    const late = await bench.run(words);
    expect([words, late.code, late.stderr]).toEqual([words, 0, expect.stringContaining('taken down before it was up')]);
    expect([isFlocked(lock('supervisor')), isFlocked(lock('watchdog'))]).toEqual([false, false]);
  }
  // A clock that was set back is no reason not to start for a person.
  const future = () => writeFileSync(join(bench.drover_home, 'run/down'), `${Date.now() + 3_600_000}\n`);
  future();
  const own = Bun.spawn([DROVER, 'up', '--foreground'], { cwd: bench.repo, env: bench.env, stderr: 'ignore' });
  await until('it answers', () => existsSync(join(bench.drover_home, 'run/supervisor.sock')));
  expect((await bench.run(['down'])).code).toBe(0);
  expect(await own.exited).toBe(0);
  future();
  expect((await bench.run(['up'])).code).toBe(0);
  expect(supervisorPid(bench)).toBeGreaterThan(1);
  const again = await bench.run(['up', '--foreground', '--existing']);
  expect([again.code, again.stderr]).toEqual([3, expect.stringContaining('already_running')]);
}, 90_000);

test('down where nothing ever was makes nothing', async () => {
  const bench = droverBench();
  expect((await bench.run(['down'])).code).toBe(0);
  expect(existsSync(bench.drover_home)).toBe(false);
}, 30_000);

test('a supervisor that cannot hang its doorbell says why and is gone: nobody holds a home and serves nobody', async () => {
  const bench = droverBench();
  mkdirSync(join(bench.drover_home, 'run/supervisor.sock/taken'), { recursive: true });
  const up = await bench.run(['up', '--foreground']);
  expect([up.code, up.stderr]).toEqual([1, expect.stringContaining('supervisor.sock')]);
  expect(isFlocked(join(bench.drover_home, 'run/supervisor.lock'))).toBe(false);
}, 30_000);
