import { expect, test } from 'bun:test';
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { field, writeConfig } from '../merge/field.ts';
import { DROVER, droverBench } from '../support/drover.ts';
import { tempDir } from '../support/temp.ts';

/** A repository with a session `done` to merge or to clean, and a live one that commands of the repository try to stop. */
async function bench() {
  const world = await field();
  const bench = droverBench();
  const env = { ...bench.env, DROVER_HOME: world.home, XDG_CONFIG_HOME: world.deps.env.XDG_CONFIG_HOME ?? '' };
  await world.session('done', { commits: [{ 'a.txt': 'a\n' }] });
  const victim = await world.session('victim', { state: 'idle' });
  const said = join(tempDir('said'), 'said');
  const stop = (home: string, before = '') =>
    `${before} env -u DROVER_SESSION_ID -u DROVER_TURN_MARKER DROVER_HOME=${home} ${DROVER} stop victim >>${said} 2>&1; echo "code $?" >>${said}`;
  const run = (args: string[]) => bench.run(args, { cwd: world.repo, env });
  return { world, victim, run, stop, said: () => readFileSync(said, 'utf8') };
}

test('the commands of a gate are not the operator, whatever they unset and by whatever path they come', async () => {
  const { world, victim, run, stop, said } = await bench();
  const link = join(tempDir('link'), 'home');
  symlinkSync(world.home, link);
  const look = `env -u DROVER_SESSION_ID DROVER_HOME=${world.home} ${DROVER} status --all`;
  writeConfig(world, { gate: { commands: [stop(world.home), stop(link), stop(world.home, 'setsid -w'), look] } });
  expect(await run(['merge', 'done'])).toMatchObject({ code: 0 });
  expect(said().match(/code \d+/g)).toEqual(['code 3', 'code 3', 'code 3']);
  expect(said().match(/started by a gate, and has no token/g)).toHaveLength(3);
  expect(await world.rowOf(victim)).toMatchObject({ state: 'idle', ended_at: null });
}, 60_000);

test('nor is a hook; in the home of somebody else both are', async () => {
  const { world, victim, run, stop, said } = await bench();
  const other = droverBench();
  const elsewhere = `env -u DROVER_SESSION_ID DROVER_HOME=${other.drover_home} ${DROVER} pause --all`;
  writeConfig(world, {
    worktree: { hooks: { before_remove: `${stop(world.home)}; ${elsewhere}` } },
    gate: { commands: [elsewhere] },
  });
  expect(await run(['merge', 'done'])).toMatchObject({ code: 0 });
  expect(said()).toContain('started by a hook, and has no token');
  expect(said()).toContain('code 3');
  expect(await world.rowOf(victim)).toMatchObject({ state: 'idle', ended_at: null });
}, 60_000);
