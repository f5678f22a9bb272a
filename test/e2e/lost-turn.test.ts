import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VerdictRow } from '../../src/model/verdict.ts';
import { droverBench } from '../support/drover.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { peek, rehearse, sessionOf, turnsOf, untilState, untilTalking } from '../support/peek.ts';

test('a launcher that vanishes: the harness it left is ended, and a verdict says so and gives the same again', async () => {
  const bench = droverBench({ config: { turn: { max_attempts: 1 } } });
  await rehearse(bench, 'ewe', { turns: [[{ say: 'hm' }, 'hang']] });
  const { pid, marker } = await untilTalking(bench, 'ewe');
  process.kill(pid ?? 0, 'SIGKILL');
  await untilState(bench, 'ewe', 'zombie');
  await assertNoLeaks(marker);
  const [turn] = turnsOf(bench, 'ewe');
  const verdicts = peek<VerdictRow>(bench, 'SELECT * FROM verdicts WHERE session_id = :id', {
    id: sessionOf(bench, 'ewe').id,
  });
  expect(verdicts).toMatchObject([
    { turn: 1, judged_by: 'supervisor', tier: 0, health: 'dead', cause: null, act: 'end', at: turn?.ended_at },
  ]);
  expect(JSON.parse(verdicts[0]?.facts_json ?? '{}')).toMatchObject({ process: 'gone', killed: expect.any(Number) });
  const text = (await bench.run(['watch', 'explain', 'ewe'])).stdout;
  expect(text).not.toContain('nothing about it was ever found to be wrong');
  expect(text).toMatch(/dead by supervisor: it vanished without an exit status; .+ had to be ended\n {2}act {4}end\n/);
  const file = join(bench.home, 'facts.json');
  writeFileSync(file, (await bench.run(['watch', 'explain', 'ewe', '--json'])).stdout);
  expect(await bench.json(['watch', 'replay', file])).toMatchObject({
    differing: 0,
    verdicts: [{ replayed: { health: 'dead', act: 'end' } }],
  });
}, 60_000);

test('who ends by itself, or is stopped by a person, leaves no such verdict', async () => {
  const bench = droverBench();
  await rehearse(bench, 'well', { turns: [[{ say: 'hm' }, { daemon: 60_000 }, { say: 'done' }]] });
  await rehearse(bench, 'halted', { turns: [[{ say: 'hm' }, 'hang']] });
  await untilTalking(bench, 'halted');
  await bench.json(['stop', 'halted']);
  await untilState(bench, 'halted', 'stopped');
  await untilState(bench, 'well', 'completed');
  await bench.run(['down']);
  expect(peek(bench, 'SELECT * FROM verdicts')).toEqual([]);
}, 60_000);
