import { beforeAll, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import type { TimerFacts } from '../../src/watchdog/timers.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { errorOf } from '../support/peek.ts';

let bench: Bench;
let file: string;

beforeAll(() => {
  bench = droverBench();
  file = join(bench.home, 'facts.json');
});

const FACTS: TimerFacts = {
  ...{ process: 'alive', started_at: 1_000, first_event_at: 2_000, last_event_at: 3_000, result_at: null },
  ...{ tools_open: 0, end_cause: null, timeout_ms: null, early_first_event: true, log_bytes: 0, awake_since: 0 },
};
const ROW = {
  ...{
    session_id: 'agent-1',
    turn: 1,
    judged_by: 'supervisor',
    health: 'stuck',
    cause: 'silent',
    act: 'end',
    level: 0,
  },
  ...{ evidence: 'no event', facts_json: JSON.stringify(FACTS), at: 3_000 + DEFAULT_CONFIG.turn.between_events_ms + 1 },
  limits_json: JSON.stringify({ turn: DEFAULT_CONFIG.turn }),
};

async function replay(...args: string[]) {
  return bench.run(['watch', 'replay', file, ...args]);
}

test('a recorded verdict is judged again; a threshold that its record does not name has its default', async () => {
  writeFileSync(file, JSON.stringify([ROW, { ...ROW, at: new Date(ROW.at).toISOString(), limits_json: '{}' }]));
  expect(await bench.json(['watch', 'replay', file])).toMatchObject({
    differing: 0,
    verdicts: [{ replayed: { health: 'stuck', cause: 'silent', act: 'end' } }, { replayed: { health: 'stuck' } }],
  });
});

test('what is no verdict is refused with its entry and what is wrong, never judged and never a crash', async () => {
  const odd: [entry: unknown, complaint: string][] = [
    [{ judged_by: 'watchdog', facts_json: 'null', limits_json: 'null' }, 'session_id'],
    [{ ...ROW, facts_json: 'null' }, 'facts_json'],
    [{ ...ROW, judged_by: 'watchdog', facts_json: 'null' }, 'facts_json'],
    [{ ...ROW, judged_by: 'watchdog', facts_json: '{"facts":{}}' }, 'facts_json'],
    [{ ...ROW, limits_json: 'null' }, 'limits_json'],
    [{ ...ROW, limits_json: '{"turn":3}' }, 'limits_json: turn'],
    [{ ...ROW, facts_json: '[1]' }, 'facts_json'],
    [{ ...ROW, facts_json: '{}' }, 'facts_json: process'],
    [{ ...ROW, facts_json: '{' }, 'facts_json is no JSON'],
    [{ ...ROW, at: undefined }, 'at: '],
    [{ ...ROW, at: 'nonsense' }, 'at: '],
    [{ ...ROW, at: 1e300 }, 'at: '],
    [{ ...ROW, health: 'blue' }, 'health'],
    [null, 'no verdict'],
    [[ROW], 'no verdict'],
  ];
  for (const [entry, complaint] of odd) {
    writeFileSync(file, JSON.stringify([ROW, entry]));
    const ran = await replay('--json');
    const { code, message } = errorOf(ran);
    expect([entry, ran.code, code, message]).toEqual([entry, 2, 'not_verdicts', expect.stringContaining(complaint)]);
    expect(message).toContain('entry 2');
  }
}, 60_000);

test('settings that cannot be used are told with their lines', async () => {
  writeFileSync(file, JSON.stringify([ROW]));
  const config = join(bench.home, 'bad.yaml');
  writeFileSync(config, 'turn:\n  tool_ms: soon\nwatchdog:\n  loop_repeats: 1\n');
  const ran = await replay('--config', config);
  expect(ran.code).toBe(2);
  expect(ran.stderr).toContain(`${config}:2: turn.tool_ms: `);
  expect(ran.stderr).toContain(`${config}:4: watchdog.loop_repeats: `);
  writeFileSync(config, 'turn: [\n');
  expect((await replay('--config', config)).stderr).toMatch(new RegExp(`${config}:\\d+: \\w`));
});
