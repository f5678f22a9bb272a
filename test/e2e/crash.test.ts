import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { TurnRow } from '../../src/model/turn.ts';
import { droverBench } from '../support/drover.ts';

const EMITTER = resolve(import.meta.dir, '../fixtures/bin/emitter.sh');
const SESSIONS = 20;
const LINES = 60;

function runner(args: string[]) {
  return { program: EMITTER, base_args: args, event_format: 'ndjson', stdin_prompt: true };
}

test('kill -9 of the supervisor at random points: no event lost or doubled, every exit code true, no turn run twice (C-10)', async () => {
  const bench = droverBench({
    config: {
      max_live_sessions: SESSIONS,
      turn: { max_attempts: 1 },
      harness_runners: { emit: runner([String(LINES), '0']), emit3: runner([String(LINES), '3']) },
    },
  });
  const names: string[] = [];
  for (let i = 0; i < SESSIONS; i += 1) {
    names.push(`s${i}`);
    const harness = i % 5 === 4 ? 'emit3' : 'emit';
    expect((await bench.run(['sling', '--harness', harness, '--name', `s${i}`, `task ${i}`])).code).toBe(0);
    if (i % 4 === 0) killSupervisor(bench.drover_home);
  }
  for (let round = 0; round < 8; round += 1) {
    await Bun.sleep(20 + Math.random() * 180);
    killSupervisor(bench.drover_home);
    expect((await bench.run(['up'])).code).toBe(0);
  }
  for (const [i, name] of names.entries()) {
    const row = await bench.until(name, (session) => session.ended_at !== null, 60_000);
    const isBad = i % 5 === 4;
    expect([row.state, row.turn]).toEqual([isBad ? 'failed' : 'completed', 1]);
    const { turns } = await bench.json<{ turns: TurnRow[] }>(['show', name]);
    expect(turns.map((turn) => [turn.exit_code, turn.outcome])).toEqual([
      [isBad ? 3 : 0, isBad ? 'crashed' : 'completed'],
    ]);
    expect(readFileSync(join(bench.drover_home, `starts-${row.id}`), 'utf8')).toBe('started\n');
    const raw = readFileSync(join(bench.drover_home, 'sessions', row.id, 'turns/1/stdout.jsonl'), 'utf8')
      .trimEnd()
      .split('\n');
    expect(raw).toHaveLength(2 * LINES + 2);
    const logged = (await bench.run(['logs', name, '--json'])).stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const streamed = logged.filter((event) => event.line_offset !== null);
    expect(streamed.map((event) => ({ type: event.type, ...JSON.parse(event.data_json) }))).toEqual(
      raw.map((line) => JSON.parse(line)),
    );
    expect([row.input_tokens, row.output_tokens]).toEqual([LINES, 2 * LINES]);
  }
}, 120_000);

/** By pid, from its own lock file; a supervisor that is not up is fine. */
function killSupervisor(home: string): void {
  const pid = Number(readFileSync(join(home, 'run/supervisor.lock'), 'utf8').split('\n')[0]);
  if (!(pid > 1)) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('ESRCH');
  }
}
