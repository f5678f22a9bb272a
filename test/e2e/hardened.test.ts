import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { droverBench, writeConfig } from '../support/drover.ts';
import { leaksOf } from '../support/leaks.ts';
import { ownSeconds } from '../support/own-seconds.ts';
import { sessionOf, turnsOf, untilTalking } from '../support/peek.ts';
import { until } from '../support/until.ts';

const bin = (name: string) => resolve(import.meta.dir, '../fixtures/bin', name);
const runner = (program: string, base_args: string[] = []) => ({ program, base_args, event_format: 'ndjson' });
const seconds = ownSeconds();
const config = {
  harness_runners: {
    overflow: runner(bin('overflow.sh')),
    odd: runner(bin('odd-exit.sh')),
    spoils: runner(bin('spoils-records.sh'), [seconds]),
    late: runner(bin('emitter.sh'), ['60']),
  },
};
const bench = droverBench({ config });
const supervisor = () => Number(readFileSync(join(bench.drover_home, 'run/supervisor.lock'), 'utf8').split('\n')[0]);

test('sums that no number holds are capped, and the supervisor of everybody else lives on (I18)', async () => {
  expect((await bench.run(['sling', '--harness', 'overflow', '--name', 'over', 'count', '--wait'])).code).toBe(0);
  expect(await bench.session('over')).toMatchObject({ state: 'completed', input_tokens: Number.MAX_SAFE_INTEGER });
}, 60_000);

test('an exit record that is no file is no record: the turn ends, and others are not troubled (C-10)', async () => {
  await bench.run(['sling', '--harness', 'odd', '--name', 'odd', 'x']);
  const row = await bench.until('odd', (session) => session.ended_at !== null);
  expect([row.state, row.end_reason]).toEqual(['zombie', 'no_exit_status']);
  expect((await bench.run(['ps'])).code).toBe(0);
}, 60_000);

test('a harness that makes its records unreadable is stopped like any other, and nobody else notices (C-10)', async () => {
  await bench.run(['sling', '--harness', 'spoils', '--name', 'spoils', 'x']);
  const { marker } = await untilTalking(bench, 'spoils');
  const pid = supervisor();
  await until('both of them', () => leaksOf(seconds).length >= 2);
  expect((await bench.run(['ps'])).code).toBe(0);
  expect((await bench.run(['stop', 'spoils'])).code).toBe(0);
  expect([leaksOf(seconds), leaksOf(marker)]).toEqual([[], []]);
  await until('its turn is over', () => turnsOf(bench, 'spoils')[0]?.ended_at);
  expect(turnsOf(bench, 'spoils')[0]).toMatchObject({ outcome: 'cancelled', tree_empty: 1, survivors: 0 });
  expect(sessionOf(bench, 'spoils')).toMatchObject({ state: 'stopped' });
  expect((await bench.run(['ps'])).code).toBe(0);
  expect(supervisor()).toBe(pid);
}, 60_000);

test('who waits is not left alone by a supervisor that died', async () => {
  const waiting = bench.run(['sling', '--harness', 'late', '--name', 'late', 'x', '--wait']);
  const shown = () => bench.run(['show', 'late', '--json']);
  await until('the late one at work', async () => (await shown()).stdout.includes('"state":"working"'), 20_000);
  process.kill(supervisor(), 'SIGKILL');
  expect((await waiting).code).toBe(0);
}, 60_000);

test('settings that changed a moment before a sling are those it is started with', async () => {
  for (let i = 0; i < 3; i += 1) {
    expect((await bench.run(['sling', '--harness', 'late', '--name', `warm-${i}`, 'x'])).code).toBe(0);
    const harness_runners = { ...config.harness_runners, [`new${i}`]: runner(bin('emitter.sh'), ['1']) };
    writeConfig(bench.home, { harness_runners });
    expect((await bench.run(['sling', '--harness', `new${i}`, `task ${i}`, '--wait'])).code).toBe(0);
  }
}, 60_000);
