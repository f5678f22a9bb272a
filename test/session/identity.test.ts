import { expect, test } from 'bun:test';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { newSecret } from '../../src/model/id.ts';
import { runGates } from '../../src/session/gate.ts';
import { newCommandMarker } from '../../src/session/identity.ts';
import { makeGroup, removeGroup } from '../../src/sys/cgroup.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { launchTurn } from '../../src/sys/launch.ts';
import { runProgram } from '../../src/sys/run.ts';
import { killTree } from '../../src/sys/tree.ts';
import { turnProcesses } from '../../src/sys/turn-files.ts';
import { NO_GROUPS } from '../support/group.ts';
import { endTurn, seedSession, takeTurn, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';
import { ask, askAlone } from './who-calls.ts';

const PATH = process.env.PATH ?? '/usr/bin:/bin';

/** Runs a line of shell as a turn of this home, and what is left of it is ended. */
async function asTurn(home: string, marker: string, line: string): Promise<void> {
  const dir = join(tempDir('turn'), 'turn');
  mkdirSync(dir);
  const env = { PATH, DROVER_HOME: home };
  const turn = { dir, program: '/bin/sh', args: ['-c', line], cwd: '/', env, stdin_path: null, marker };
  await launchTurn(turn).exited;
  await killTree(turnProcesses(dir, marker), { clock: systemClock, spare_ms: 0 });
}

test.skipIf(NO_GROUPS !== '')(
  `what a turn starts is not the operator, without environment, session and parents too (ARCHITECTURE §6)${NO_GROUPS}`,
  async () => {
    const world = await testStore();
    const taken = await takeTurn(world, (await seedSession(world, { name: 'forger' })).id);
    const answers = ['flight', 'link', 'over'].map((name) => join(tempDir('answer'), name));
    const [flight = '', link = '', over = ''] = answers;
    await asTurn(world.home, taken.turn.marker, askAlone(world.home, flight));
    const other = join(tempDir('link'), 'home');
    symlinkSync(world.home, other);
    await asTurn(other, taken.turn.marker, askAlone(world.home, link));
    await endTurn(world, taken);
    await asTurn(world.home, taken.turn.marker, askAlone(world.home, over));
    expect(answers.map((path) => readFileSync(path, 'utf8').trim())).toEqual([
      'This process was started by the session forger and has no token.',
      'This process was started by the session forger and has no token.',
      'This process was started by a turn that is over, and has no token.',
    ]);
  },
  60_000,
);

test.skipIf(NO_GROUPS !== '')(
  `what a gate starts is not the operator, without environment, session and parents too${NO_GROUPS}`,
  async () => {
    const world = await testStore();
    const answer = join(tempDir('answer'), 'gate');
    const marker = await newCommandMarker(world.deps, 'gate');
    const run = {
      commands: [askAlone(world.home, answer)],
      cwd: '/',
      timeout_ms: 20_000,
      log: `${answer}.log`,
      marker,
    };
    expect(await runGates(world.deps, run)).toMatchObject({ verdict: 'green' });
    expect(readFileSync(answer, 'utf8')).toBe('This process was started by a gate, and has no token.\n');
  },
  60_000,
);

test('a turn of another home, and a shell of nobody, is a person to this one', async () => {
  const [here, there] = [await testStore(), await testStore()];
  const [foreign, plain] = ['foreign', 'plain'].map((name) => join(tempDir('answer'), name)) as [string, string];
  await asTurn(there.home, newSecret(), askAlone(here.home, foreign));
  await runProgram('/bin/sh', ['-c', askAlone(here.home, plain)], {
    ...{ cwd: '/', env: { PATH }, timeout_ms: 20_000, max_output_bytes: 1_000 },
  });
  expect([foreign, plain].map((path) => readFileSync(path, 'utf8').trim())).toEqual(['operator', 'operator']);
}, 60_000);

test.skipIf(NO_GROUPS !== '')(
  `who has moved itself out of a turn’s group is still known by an ancestor in it${NO_GROUPS}`,
  async () => {
    const world = await testStore();
    const marker = newSecret();
    const group = makeGroup(world.home, marker) ?? '';
    const answer = join(tempDir('answer'), 'moved');
    const line = `sh -c 'echo $$ >${group}/../cgroup.procs; exec ${ask(world.home)}' >${answer}; true`;
    const child = Bun.spawn(['env', '-i', `PATH=${PATH}`, 'sh', '-c', line], { cgroup: group });
    expect(await child.exited).toBe(0);
    removeGroup(group);
    expect(readFileSync(answer, 'utf8')).toBe('This process was started by a turn that is over, and has no token.\n');
  },
  60_000,
);
