import { beforeAll, expect, test } from 'bun:test';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GateRunRow } from '../../src/model/gate-run.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import {
  peek,
  promptOf,
  refused,
  sessionOf,
  supervisorPid,
  turnDir,
  turnsOf,
  untilSession,
  untilState,
} from '../support/peek.ts';
import { until } from '../support/until.ts';

let bench: Bench;

beforeAll(() => {
  bench = droverBench({
    config: {
      turn: { backoff_ms: 100 },
      gate: { commands: ['test -e mended || { echo "mended is missing"; exit 3; }'], max_rounds: 2 },
    },
  });
});

const runsOf = (name: string) =>
  peek<GateRunRow>(bench, 'SELECT * FROM gate_runs WHERE session_id = :id ORDER BY seq', {
    id: sessionOf(bench, name).id,
  });
const write = (path: string) => ({ write: { path, content: 'x' } });

/** Slings with the script in the task: every turn of it plays its own part. */
async function rehearse(name: string, turns: object[][], args: string[]): Promise<void> {
  const task = `rehearse\nrehearsal-script: |\n  ${JSON.stringify({ turns })}`;
  const ran = await bench.run(['sling', '--harness', 'rehearsal', '--name', name, ...args, '-'], { stdin: task });
  expect([ran.code, ran.stderr]).toEqual([0, ran.stderr]);
}

/** A gate that says when it began and waits for `go`; how often it has begun. */
function waiting(name: string) {
  const [begun, go] = [join(bench.home, `${name}-begun`), join(bench.home, `${name}-go`)];
  const command = `echo run >> ${begun}; until test -e ${go}; do sleep 0.05; done`;
  const times = () => (existsSync(begun) ? readFileSync(begun, 'utf8').split('\n').length - 1 : 0);
  return { go, command, times };
}

test('red, then green: two turns, the complaint in the second prompt; who changed nothing is not judged', async () => {
  await rehearse('scout', [[{ say: 'looked at it' }]], ['--worktree']);
  await rehearse('mender', [[write('half')], [write('mended')]], ['--worktree']);
  const row = await untilState(bench, 'mender', 'completed');
  expect([row.turn, row.gate_round]).toEqual([2, 0]);
  const prompt = promptOf(bench, 'mender', 2);
  for (const part of ['The gate is red', 'exit code 3', 'mended is missing', 'test -e mended'])
    expect(prompt).toContain(part);
  expect(runsOf('mender').map(({ turn, round, verdict, reason }) => [turn, round, verdict, reason])).toEqual([
    [1, 1, 'red', 'exit code 3'],
    [2, 2, 'green', null],
  ]);
  expect(readFileSync(join(turnDir(bench, 'mender', 1), 'gate.log'), 'utf8')).toBe('mended is missing\n');
  const shown = (await bench.run(['show', 'mender'])).stdout;
  expect(shown).toContain('green, turn 2');
  expect(shown).toContain('GATES');
  expect((await bench.run(['logs', 'mender'])).stdout).toContain('gate red: test -e mended');
  await untilState(bench, 'scout', 'completed');
  expect([sessionOf(bench, 'scout').turn, runsOf('scout')]).toEqual([1, []]);
}, 60_000);

test('red to the end: parked (gate), exit 75, the operator knows; a resume lets it go on and be judged anew', async () => {
  const turns = [[write('a')], [write('b')], [write('c')]];
  await rehearse('stubborn', turns, ['--gate', 'true', '--gate', 'echo no; test -e c', '--worktree']);
  expect((await bench.run(['wait', 'stubborn'])).code).toBe(75);
  const row = sessionOf(bench, 'stubborn');
  expect([row.state, row.parked_reason, row.turn, row.gate_round]).toEqual(['parked', 'gate', 2, 2]);
  expect(JSON.parse(row.parked_evidence ?? '')).toMatchObject({
    ...{ kind: 'gate', command: 'echo no; test -e c', reason: 'exit code 1', output: 'no', rounds: 2 },
  });
  const inbox = await bench.run(['mail', 'list']);
  expect(inbox.stdout).toContain('stubborn is held: its gate stays red');
  expect((await bench.run(['resume', 'stubborn'])).code).toBe(0);
  const done = await untilState(bench, 'stubborn', 'completed');
  expect([done.turn, done.gate_round]).toEqual([3, 0]);
  expect(promptOf(bench, 'stubborn', 3)).toContain('echo no; test -e c');
}, 60_000);

test('kill -9 of the supervisor while a gate runs: nothing of it is left, it is run again, and settled once', async () => {
  const gate = waiting('killed');
  await rehearse('killed', [[{ say: 'done' }]], ['--gate', gate.command]);
  await until('the gate runs', () => gate.times() === 1);
  const first = supervisorPid(bench);
  const marker = readFileSync(join(turnDir(bench, 'killed'), 'gate.marker'), 'utf8').trim();
  process.kill(first, 'SIGKILL');
  await until('it is gone', () => !existsSync(`/proc/${first}`));
  expect((await bench.run(['up'])).code).toBe(0);
  await until('the gate runs again', () => gate.times() === 2);
  await assertNoLeaks(marker, 0);
  expect(turnsOf(bench, 'killed').map(({ ended_at }) => ended_at)).toEqual([null]);
  const status = await bench.json<{ sessions: Record<string, unknown>[] }>(['status', '--all']);
  const seen = status.sessions.find(({ name }) => name === 'killed');
  expect(seen).toMatchObject({ state: 'working', verdict: 'ok', gated_at: expect.stringContaining('T') });
  expect((await bench.run(['status'])).stdout).toMatch(/killed .*gate, for /);
  expect((await bench.run(['show', 'killed'])).stdout).toContain('(gate, for ');
  writeFileSync(gate.go, '');
  expect((await untilState(bench, 'killed', 'completed')).turn).toBe(1);
  expect(runsOf('killed')).toHaveLength(1);
  expect(
    peek(bench, "SELECT 1 FROM state_log WHERE to_state = 'completed' AND session_id = :id", {
      id: sessionOf(bench, 'killed').id,
    }),
  ).toHaveLength(1);
}, 60_000);

test.each(['stop', 'pause'])(
  '%s during a gate does not wait for it',
  async (verb) => {
    const name = `${verb}ped`;
    const gate = waiting(name);
    await rehearse(name, [[{ say: 'done' }]], ['--gate', gate.command]);
    await until('the gate runs', () => gate.times() === 1);
    const marker = readFileSync(join(turnDir(bench, name), 'gate.marker'), 'utf8').trim();
    expect((await bench.run([verb, name])).code).toBe(0);
    await until('the turn is settled', () => turnsOf(bench, name)[0]?.ended_at !== null);
    await assertNoLeaks(marker, 0);
    const row = await untilSession(bench, name, ({ state }) => state === 'stopped' || state === 'parked');
    expect([row.parked_reason, runsOf(name)]).toEqual([verb === 'pause' ? 'operator' : null, []]);
    if (verb === 'stop') return;
    // It is judged at the end of its next turn.
    writeFileSync(gate.go, '');
    await bench.run(['resume', name]);
    expect((await untilState(bench, name, 'completed')).turn).toBe(2);
    expect(runsOf(name).map(({ turn, verdict }) => [turn, verdict])).toEqual([[2, 'green']]);
  },
  60_000,
);

test('an empty gate is refused, and one that a session names for another', async () => {
  await refused(bench, ['sling', '--gate', ' ', 'a task'], [2, 'usage']);
  const child = '"$DROVER_BIN" sling --harness rehearsal --gate true --name child x; true';
  await rehearse('lead', [[{ run: child }, { done: 'done' }]], ['--role', 'lead', '--no-worktree']);
  await untilState(bench, 'lead', 'completed');
  expect((await bench.run(['logs', 'lead'])).stdout).toContain('gate_in_turn');
  expect((await bench.run(['show', 'child'])).code).toBe(4);
}, 60_000);
