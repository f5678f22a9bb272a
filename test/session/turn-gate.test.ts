import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newSecret } from '../../src/model/id.ts';
import { newCommandMarker } from '../../src/session/identity.ts';
import { endGate, gateOf, judgeTurn, mayHaveGate, type TurnGate } from '../../src/session/turn-gate.ts';
import { beginGate } from '../../src/store/gate-run.ts';
import { getTurn } from '../../src/store/turn.ts';
import { runProgram } from '../../src/sys/run.ts';
import { killTree } from '../../src/sys/tree.ts';
import { plainGit } from '../git/plain.ts';
import { assertNoLeaks, leaksOf } from '../support/leaks.ts';
import { seedSession, takeTurn } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';
import { type Field, field } from './field.ts';

const NEVER = new AbortController().signal;

describe('who is judged, by what, and where', () => {
  test('the repository judges what was changed in a worktree of its own, committed or not', async () => {
    const here = await field();
    here.config.gate = { commands: ['npm test'], timeout_ms: 7_000, max_rounds: 2 };
    const row = await here.settled('scout');
    expect(await gateOf(here.deps, row)).toBeNull();
    writeFileSync(join(row.worktree_path, 'new.txt'), 'x');
    const gate = { commands: ['npm test'], cwd: row.worktree_path, timeout_ms: 7_000, max_rounds: 2 };
    expect(await gateOf(here.deps, row)).toEqual(gate);
    plainGit(row.worktree_path, 'add', '.');
    plainGit(row.worktree_path, 'commit', '-qm', 'work');
    expect(await gateOf(here.deps, row)).toEqual(gate);
    // Of a checkout that git cannot tell about nobody knows that nothing was changed.
    plainGit(row.worktree_path, 'reset', '-q', '--hard', 'HEAD~1');
    plainGit(row.worktree_path, 'checkout', '-q', '--detach');
    expect(await gateOf(here.deps, row)).toEqual(gate);
  });

  test('a checkout that is shared is not judged by it; without gates nobody is', async () => {
    const here = await field();
    const shared = await seedSession(here.world, { repo_root: here.repo, working_dir: here.repo });
    const own = await here.settled('own');
    writeFileSync(join(own.worktree_path, 'new.txt'), 'x');
    expect([await mayHaveGate(here.deps, own), await gateOf(here.deps, own)]).toEqual([false, null]);
    here.config.gate = { ...here.config.gate, commands: ['npm test'] };
    expect([await mayHaveGate(here.deps, shared), await gateOf(here.deps, shared)]).toEqual([false, null]);
  });

  test('a gate of its own is used instead, changed or not, worktree or not', async () => {
    const here = await field();
    here.config.gate = { ...here.config.gate, commands: ['npm test'] };
    here.config.untrusted_keys = ['gate.commands'];
    const draft = { gate_json: '["make check","true"]' };
    const scout = await here.settled('scout', draft);
    expect(await gateOf(here.deps, scout)).toMatchObject({
      commands: ['make check', 'true'],
      cwd: scout.worktree_path,
    });
    const shared = await seedSession(here.world, { ...draft, repo_root: here.repo, working_dir: '/farm/barn' });
    expect(await gateOf(here.deps, shared)).toMatchObject({ commands: ['make check', 'true'], cwd: '/farm/barn' });
    expect(await here.events(scout, 'warning')).toEqual([]);
  });

  test('gates of a repository without trust are not run, which is said once; those of the user are', async () => {
    const here = await field();
    here.config.gate = { ...here.config.gate, commands: [] };
    here.config.untrusted_keys = ['gate.commands'];
    const row = await here.settled('builder');
    expect([await mayHaveGate(here.deps, row), await gateOf(here.deps, row)]).toEqual([true, null]);
    expect(await here.events(row, 'warning')).toEqual([]);
    writeFileSync(join(row.worktree_path, 'new.txt'), 'x');
    for (let i = 0; i < 2; i += 1) expect(await gateOf(here.deps, row)).toBeNull();
    expect(await here.events(row, 'warning')).toMatchObject([{ warning: 'gate_untrusted' }]);
    here.config.gate = { ...here.config.gate, commands: ['mine'] };
    expect(await gateOf(here.deps, row)).toMatchObject({ commands: ['mine'] });
  });
});

/** A turn whose process has ended, with its directory. */
async function endedTurn(here: Field) {
  const row = await here.settled('builder');
  const { turn } = await takeTurn(here.world, row.id);
  mkdirSync(turn.dir, { recursive: true, mode: 0o700 });
  const gate = (commands: string[], more: Partial<TurnGate> = {}): TurnGate => ({
    ...{ commands, cwd: row.worktree_path, timeout_ms: 20_000, max_rounds: 3 },
    ...more,
  });
  return { row, turn, gate, log: join(turn.dir, 'gate.log'), marker: join(turn.dir, 'gate.marker') };
}

describe('judging a turn', () => {
  test('green and red, in the worktree, with a shell’s environment and the output kept', async () => {
    const here = await field();
    const { row, turn, gate, log } = await endedTurn(here);
    const seen = join(tempDir('gate-env'), 'env');
    const deps = { ...here.deps, env: { ...here.deps.env, DROVER_TOKEN: 't', OPENAI_API_KEY: 'k', DROVER_HOME: '/h' } };
    const green = await judgeTurn(deps, turn, gate([`env > ${seen}`, 'pwd']), NEVER);
    expect(green).toMatchObject({ verdict: 'green', command: null, reason: null });
    expect(readFileSync(log, 'utf8').trim()).toBe(row.worktree_path);
    const env = readFileSync(seen, 'utf8');
    expect(env).toContain('DROVER_SESSION_ID=gate');
    for (const secret of ['DROVER_TOKEN', 'OPENAI_API_KEY', 'DROVER_HOME']) expect(env).not.toContain(secret);
    expect((await getTurn(here.world.store, row.id, 1))?.gating_since).toBe(green?.started_at ?? null);
    const red = await judgeTurn(deps, turn, gate(['echo broken; exit 4']), NEVER);
    expect(red).toMatchObject({
      verdict: 'red',
      command: 'echo broken; exit 4',
      reason: 'exit code 4',
      output: 'broken',
    });
    expect((red?.ended_at ?? 0) >= (red?.started_at ?? 1)).toBe(true);
  });

  test('what does not end in time is red, and nothing of it is left; nor of a daemon behind a green one', async () => {
    const here = await field();
    const { turn, gate, row } = await endedTurn(here);
    const slow = await judgeTurn(here.deps, turn, gate(['setsid sleep 300 & sleep 300'], { timeout_ms: 500 }), NEVER);
    expect(slow).toMatchObject({ verdict: 'red', reason: 'not done after 500 ms' });
    const daemon = await judgeTurn(here.deps, turn, gate(['setsid sleep 300 >/dev/null 2>&1 & sleep 0.1']), NEVER);
    expect(daemon).toMatchObject({ verdict: 'green' });
    await assertNoLeaks(row.worktree_path, 0);
  });

  test('an interruption says nothing, and leaves nothing; nor is there anything to say of a turn that is over', async () => {
    const here = await field();
    const { turn, gate, row } = await endedTurn(here);
    const mark = join(tempDir('gate-mark'), 'begun');
    const stop = new AbortController();
    const work = judgeTurn(here.deps, turn, gate([`touch ${mark}; sleep 300`]), stop.signal);
    await until('the gate runs', () => existsSync(mark));
    stop.abort();
    expect(await work).toBeNull();
    await assertNoLeaks(row.worktree_path, 0);
    expect(await judgeTurn(here.deps, { ...turn, turn: 9 }, gate(['touch never']), NEVER)).toBeNull();
    expect(existsSync(join(row.worktree_path, 'never'))).toBe(false);
  });

  test('a directory that is gone is red', async () => {
    const here = await field();
    const { turn, gate } = await endedTurn(here);
    const red = await judgeTurn(here.deps, turn, gate(['true'], { cwd: '/nowhere/at/all' }), NEVER);
    expect(red).toMatchObject({ verdict: 'red', command: 'true', reason: expect.stringContaining('/nowhere/at/all') });
  });

  test('a gate whose supervisor is killed each time is red after three, and is run anew for the next turn', async () => {
    const here = await field();
    const { turn, gate, row } = await endedTurn(here);
    const cut = async () => (await getTurn(here.world.store, row.id, 1))?.gates_cut;
    // One that was seen to end, whatever it said, is none of them.
    expect(await judgeTurn(here.deps, turn, gate(['false']), NEVER)).toMatchObject({ verdict: 'red' });
    expect(await judgeTurn(here.deps, turn, gate(['true']), AbortSignal.abort())).toBeNull();
    expect(await cut()).toBe(0);
    const begin = () => beginGate(here.world.store, { session_id: row.id, turn: 1 }, 5);
    expect([await begin(), await begin()]).toEqual([1, 2]);
    expect(await judgeTurn(here.deps, turn, gate(['true']), NEVER)).toMatchObject({ verdict: 'green' });
    expect(await begin()).toBe(3);
    const deadly = await judgeTurn(here.deps, turn, gate(['touch never']), NEVER);
    expect(deadly).toMatchObject({
      verdict: 'red',
      command: 'touch never',
      reason: expect.stringMatching(/3 times.*killed/),
    });
    expect(existsSync(join(row.worktree_path, 'never'))).toBe(false);
    expect(await cut()).toBe(3);
  });

  /** A process that outlives what started it, known by a marker. */
  async function leaveBehind(cwd: string, marker: string): Promise<void> {
    const env = { PATH: '/usr/bin:/bin', DROVER_TURN_MARKER: marker };
    await runProgram('/bin/sh', ['-c', 'setsid sleep 300 >/dev/null 2>&1 & sleep 0.1'], {
      ...{ cwd, env, timeout_ms: 5_000, max_output_bytes: 10 },
    });
    expect(leaksOf(marker)).toHaveLength(1);
  }

  test('what a dead supervisor’s gate has left is ended, by the marker that was written before it started', async () => {
    const here = await field();
    const { turn, gate, marker } = await endedTurn(here);
    const secret = await newCommandMarker(here.deps, 'gate');
    await leaveBehind(turn.dir, secret);
    writeFileSync(marker, secret);
    expect(await judgeTurn(here.deps, turn, gate([`cat ${marker}`]), NEVER)).toMatchObject({ verdict: 'green' });
    await assertNoLeaks(secret, 0);
    const next = readFileSync(marker, 'utf8');
    expect(next).not.toBe(secret);
    expect(readFileSync(join(turn.dir, 'gate.log'), 'utf8').trim()).toBe(next.trim());
  });

  test('an agent that wrote the marker of another turn there ends nobody', async () => {
    const here = await field();
    const { turn, marker } = await endedTurn(here);
    const other = newSecret();
    await leaveBehind(turn.dir, other);
    writeFileSync(marker, other);
    await endGate(here.deps, turn);
    expect(leaksOf(other)).toHaveLength(1);
    await killTree({ marker: other, launcher: null }, { clock: here.deps.clock, spare_ms: 0 });
  });
});
