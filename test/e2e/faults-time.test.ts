import { expect, test } from 'bun:test';
import { renameSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import type { TickRow, VerdictRow } from '../../src/model/verdict.ts';
import { isFlocked } from '../../src/sys/flock.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { freeze } from '../support/freeze.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { ownSeconds } from '../support/own-seconds.ts';
import {
  peek,
  promptOf,
  rehearse,
  sessionOf,
  supervisorPid,
  turnsOf,
  untilSession,
  untilState,
  untilTalking,
} from '../support/peek.ts';
import { beforeRemoval } from '../support/temp.ts';
import { until } from '../support/until.ts';

const bin = (name: string) => resolve(import.meta.dir, '../fixtures/bin', name);
const HOUR_MS = 3_600_000;
/** No healthy test comes near these, and every jump goes far beyond them. */
const FAR = { between_events_ms: 60_000, tool_ms: 60_000, after_result_ms: 60_000 };

/** Sets the wall clock of every process of this bench that runs under it; never seen half written. */
function setClock(bench: Bench, ms: number): void {
  const path = join(bench.home, 'ahead');
  writeFileSync(`${path}.new`, String(ms));
  renameSync(`${path}.new`, path);
}

async function underShiftedClock(bench: Bench): Promise<void> {
  setClock(bench, 0);
  for (const what of ['supervisor', 'watchdog'] as const) {
    const child = Bun.spawn([process.execPath, bin('shifted-clock.ts'), what, join(bench.home, 'ahead')], {
      ...{ cwd: bench.repo, env: bench.env, stdin: 'ignore', stdout: 'ignore' },
      stderr: Bun.file(join(bench.home, `${what}.log`)),
    });
    beforeRemoval(() => child.kill('SIGTERM'));
    await until(`the ${what} is up`, () => isFlocked(homePaths.lock(bench.drover_home, what)), 20_000);
  }
}

const actsOn = (bench: Bench) => peek<VerdictRow>(bench, "SELECT * FROM verdicts WHERE act <> 'none' ORDER BY seq");
const jumps = (bench: Bench) =>
  peek<TickRow>(bench, 'SELECT * FROM ticks').filter(({ report_json }) => report_json.includes('"jump"'));

test.each([
  ['back by two hours', -2 * HOUR_MS],
  ['forward by ten hours', 10 * HOUR_MS],
])(
  'a clock that is set %s while turns run: nobody is judged by it, and every timer goes on (fault 11)',
  async (_how, ms) => {
    const seconds = ownSeconds();
    const mute = { program: 'sh', base_args: ['-c', `cat >/dev/null; sleep ${seconds}`], event_format: 'ndjson' };
    const bench = droverBench({
      config: {
        turn: { max_attempts: 2, backoff_ms: 400, sigkill_delay_ms: 300, first_event_ms: 5_000, ...FAR },
        watchdog: { is_enabled: false, stale_ms: 30_000, zombie_ms: 60_000 },
        harness_runners: { mute },
      },
    });
    await underShiftedClock(bench);
    const go = join(bench.home, 'go');
    const held = { turns: [[{ say: 'at work' }, { wait_for_file: go }]] };
    await rehearse(bench, 'silent', held);
    await rehearse(bench, 'timed', held, ['--timeout', '30m']);
    await rehearse(bench, 'tool', { turns: [[{ tool: { tool: 'Bash', ms: 4_000 } }, { wait_for_file: go }]] });
    const names = ['silent', 'timed', 'tool'];
    for (const name of names) await untilTalking(bench, name);
    setClock(bench, ms);
    await until('the watchdog has noticed', () => jumps(bench).length > 0, 20_000);
    // What is begun afterwards runs into its timers as ever: the first event, and the pause before another try.
    await bench.run(['sling', '--harness', 'mute', '--name', 'mute', 'go']);
    await rehearse(bench, 'again', { turns: [[{ say: 'hi' }, { exit: 3 }], [{ say: 'better' }]] });
    const row = await untilState(bench, 'mute', 'zombie', 30_000);
    expect(row.end_reason).toBe('first_event');
    await assertNoLeaks(seconds);
    expect((await untilState(bench, 'again', 'completed', 30_000)).turn).toBe(2);
    for (const name of names) {
      expect([name, sessionOf(bench, name).state]).toEqual([name, 'working']);
      expect(turnsOf(bench, name)).toMatchObject([{ end_cause: null, ended_at: null }]);
    }
    // By the supervisor, and about that one alone.
    expect(actsOn(bench).map(({ session_id }) => session_id)).toEqual([row.id]);
    writeFileSync(go, '');
    for (const name of names) await untilState(bench, name, 'completed');
  },
  120_000,
);

test('drover stops for longer than its timers while the agents go on: nobody is judged, mail of that time arrives (faults 13, 14)', async () => {
  const timers = { first_event_ms: 8_000, between_events_ms: 8_000, tool_ms: 8_000, sigkill_delay_ms: 300 };
  const bench = droverBench({
    config: { turn: timers, watchdog: { is_enabled: false, interval_ms: 200, stale_ms: 7_500, zombie_ms: 8_000 } },
  });
  const go = join(bench.home, 'go');
  const held = { turns: [[{ say: 'at work' }, { wait_for_file: go }, { say: 'done' }]] };
  await rehearse(bench, 'silent', held);
  await rehearse(bench, 'box', { ...held, on_mail: [{ say: 'read' }] }, ['--role', 'monitor']);
  for (const name of ['silent', 'box']) await untilTalking(bench, name);
  const { pid } = await bench.json<{ pid: number }>(['watch', '--background']);
  // One that has not looked yet has nothing that it could come back to too late.
  const lock = homePaths.lock(bench.drover_home, 'watchdog');
  const before = statSync(lock).mtimeMs;
  await until('a sign of life', () => statSync(lock).mtimeMs > before);
  const goOn = await freeze(bench, pid, supervisorPid(bench));
  const start = performance.now();
  try {
    // Nobody answers, so nobody can be promised that it is delivered soon; but it is stored, and the answer says that.
    const sent = await bench.run(['mail', 'send', '--to', 'box', '--subject', 'while you slept']);
    expect([sent.code, sent.stderr]).toEqual([69, expect.stringContaining('what was stored stays stored')]);
    await Bun.sleep(Math.max(0, 14_000 - (performance.now() - start)));
  } finally {
    goOn();
  }
  const gap = () =>
    peek<TickRow>(bench, 'SELECT * FROM ticks').some(({ report_json }) => report_json.includes('"gap"'));
  await until('it has looked again', gap);
  await Bun.sleep(1_500);
  expect(actsOn(bench)).toEqual([]);
  for (const name of ['silent', 'box']) expect([name, sessionOf(bench, name).state]).toEqual([name, 'working']);
  writeFileSync(go, '');
  await untilState(bench, 'silent', 'completed');
  await untilSession(bench, 'box', (row) => row.turn === 2 && row.state === 'idle');
  expect(promptOf(bench, 'box', 2)).toContain('while you slept');
}, 120_000);
