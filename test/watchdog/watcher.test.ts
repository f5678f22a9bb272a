import { describe, expect, test } from 'bun:test';
import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { listStateLog } from '../../src/store/event.ts';
import { getSession } from '../../src/store/session.ts';
import { getTurn } from '../../src/store/turn.ts';
import { lastTick, listVerdicts } from '../../src/store/verdict.ts';
import { rejudge } from '../../src/watchdog/replay.ts';
import { endTurn, feedTurn, seedSession, takeTurn } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';
import { actsOf, atWork, pass, SETTINGS, STALE, STEP, TEXT, watched } from './watched.ts';

describe('a look (O-67, ARCHITECTURE §5)', () => {
  test('a healthy fleet costs no row and no close look', async () => {
    const { world, watcher } = await watched();
    await atWork(world, 'one');
    expect(await watcher().tick(1_000)).toMatchObject({ watched: 1, looked: 0, findings: [], failures: [] });
    expect(await lastTick(world.store)).toBeNull();
  });

  test('tool calls are compared when enough has been said, not at every look', async () => {
    const { world, watcher } = await watched();
    const taken = await atWork(
      world,
      'talks',
      Array.from({ length: 20 }, () => TEXT),
    );
    const one = watcher();
    expect([await one.tick(1_000), await one.tick(1_000)].map(({ looked }) => looked)).toEqual([1, 0]);
    await feedTurn(
      world,
      taken,
      Array.from({ length: 5 }, () => TEXT),
    );
    expect((await one.tick(1_000)).looked).toBe(0);
    await feedTurn(world, taken, [TEXT]);
    expect((await one.tick(1_000)).looked).toBe(1);
  });

  test('silence: noted once, then nothing before the interval is over; the report names it', async () => {
    const { world, watcher } = await watched();
    const taken = await atWork(world, 'mute');
    const one = watcher();
    pass(world, STALE);
    const report = await one.tick(STALE);
    expect(report.findings).toMatchObject([
      { name: 'mute', health: 'late', cause: 'silent', act: 'note', landed: true },
    ]);
    expect(report.rings).toBe(true);
    expect((await one.tick(1_000)).findings).toMatchObject([{ health: 'late', act: 'none' }]);
    expect(await actsOf(world, taken)).toEqual(['late note']);
    expect((await listStateLog(world.store, taken.session.id)).at(-1)).toMatchObject({
      event: 'stall',
      actor: 'watchdog',
    });
    expect(JSON.parse((await lastTick(world.store))?.report_json ?? '{}').findings.length).toBe(1);
  });

  test('a look that came too late judges nobody, and neither does one after a jump (faults 13, 14)', async () => {
    for (const [wall, mono] of [
      [STALE, STALE],
      [STALE, 0],
      [-STALE, 0],
    ] as const) {
      const { world, watcher } = await watched();
      await atWork(world, 'slept');
      const one = watcher();
      const before = world.clock.monotonic;
      world.clock.advance(wall);
      world.clock.monotonic = () => before() + mono;
      const report = await one.tick(1_000);
      expect([report.findings, report.wakefulness]).toEqual([[], mono > 0 ? 'gap' : 'jump']);
    }
  });

  test('one that only looks changes nothing', async () => {
    const { world, watcher } = await watched();
    const taken = await atWork(world, 'mute');
    const one = watcher(false);
    pass(world, STALE);
    expect((await one.tick(STALE)).findings).toMatchObject([{ act: 'note' }]);
    expect([await actsOf(world, taken), await lastTick(world.store)]).toEqual([[], null]);
  });

  test('lines that nobody has read make the supervisor late and not their turn; half a line is a sign of life', async () => {
    const { world, watcher } = await watched({}, { tool_ms: 1_000 });
    const use: HarnessEvent = { type: 'tool_use', tool: 'Bash', tool_id: 't', input: 'make', files: [] };
    const taken = await atWork(world, 'unread', [TEXT, use]);
    const path = join(taken.turn.dir, 'stdout.jsonl');
    // What the row says of its stream is read; the rest is news.
    const write = (text: string) => {
      writeFileSync(path, `..${text}`);
      utimesSync(path, new Date(world.clock.now()), new Date(world.clock.now()));
    };
    const one = watcher();
    write('{"type":"tool_result"}\n{"type":"te');
    for (let i = 0; i < 4; i += 1) {
      pass(world, STALE);
      const report = await one.tick(STALE);
      expect(report).toMatchObject({ rings: true, findings: [{ health: 'ok', act: 'none' }] });
    }
    expect(await actsOf(world, taken)).toEqual([]);
    write('{"type":"te');
    expect((await one.tick(1_000)).findings).toEqual([]);
    pass(world, STALE);
    expect((await one.tick(STALE)).findings).toMatchObject([{ health: 'stuck', cause: 'silent', act: 'end' }]);
  });

  test('queued, resting and ended sessions are not looked at; who is stalled is not reported again; at the limit nobody is late (E-081)', async () => {
    const { world, watcher } = await watched();
    await seedSession(world, { name: 'queued' });
    await endTurn(world, await atWork(world, 'resting'), { settle: { is_persistent: true } });
    await endTurn(world, await atWork(world, 'ended'));
    // Time stands still but for what the test lets pass.
    const now = world.clock.now();
    let passed = 0;
    world.clock.now = () => now + passed;
    world.clock.monotonic = () => passed;
    const taken = await atWork(world, 'mute');
    const one = watcher();
    const lookAt = (age: number) => {
      passed = age;
      return one.tick(10 ** 9);
    };
    expect(await lookAt(SETTINGS.stale_ms)).toMatchObject({ watched: 1, findings: [] });
    expect((await lookAt(STALE)).findings).toMatchObject([{ name: 'mute', health: 'late', act: 'note' }]);
    for (let i = 1; i < 5; i += 1) await lookAt(STALE + i);
    expect(await actsOf(world, taken)).toEqual(['late note']);
    const states = await world.store.read((tx) => tx.all('SELECT name, state FROM sessions ORDER BY name'));
    expect(states).toEqual([
      { name: 'ended', state: 'completed' },
      { name: 'mute', state: 'stalled' },
      { name: 'queued', state: 'queued' },
      { name: 'resting', state: 'idle' },
    ]);
  });

  test('a dead process is the supervisor’s: it is rung, and nothing is buried', async () => {
    const { world, watcher } = await watched();
    const taken = await atWork(world, 'dead');
    writeFileSync(join(taken.turn.dir, 'exit.json'), '{"code":0,"uptime":"1"}');
    const one = watcher();
    pass(world, STALE);
    const report = await one.tick(STALE);
    expect(report).toMatchObject({ rings: true, findings: [{ health: 'dead', act: 'none' }] });
    expect(await actsOf(world, taken)).toEqual(['dead none']);
  });
});

describe('timers that nobody acts on', () => {
  test('the watchdog ends the turn as its timer says, records it once, and ends what is still there again', async () => {
    const { world, watcher, log } = await watched();
    const taken = await atWork(world, 'lingers', [
      TEXT,
      { type: 'result', ok: true, reason: 'success', text: 'done', model_turns: 1, denials: [] },
    ]);
    const one = watcher();
    pass(world, 10_001);
    await one.tick(10_001);
    expect(await actsOf(world, taken)).toEqual(['lingering none']);
    pass(world, 15_000);
    await one.tick(15_000);
    expect((await getTurn(world.store, taken.session.id, 1))?.end_cause).toBe('lingering');
    // An end goes on beside the looks, and is not begun twice at once.
    await until('it was ended again and again', async () => {
      pass(world, 20_000);
      await one.tick(20_000);
      return log.filter((line) => line.includes('processes ended')).length >= 3;
    });
    expect(await actsOf(world, taken)).toEqual(['lingering none', 'lingering end', 'stuck end']);
    expect((await getSession(world.store, taken.session.id))?.state).toBe('working');
  });
});

describe('the ladder of one session', () => {
  test('note, nudge by mail where it cannot be interrupted, terminate; and what it was judged by gives the same again', async () => {
    const { world, watcher } = await watched();
    const taken = await atWork(world, 'mute');
    const one = watcher();
    pass(world, STALE);
    await one.tick(STALE);
    for (let i = 0; i < 3; i += 1) {
      pass(world, STEP);
      await one.tick(STEP);
    }
    expect(await actsOf(world, taken)).toEqual(['late note', 'late nudge', 'late terminate']);
    for (const row of await listVerdicts(world.store, taken.session.id)) {
      const { health, cause, act, level } = row;
      expect(rejudge({ ...row, facts_json: '{"rss_bytes":1}' }, {})).toBeNull();
      expect(rejudge(row, {})).toMatchObject({ health, cause, act, level });
      expect(rejudge(row, { watchdog: { stale_ms: 10 ** 9, zombie_ms: 10 ** 9 } })).toMatchObject({
        health: 'ok',
        act: 'none',
      });
      expect(rejudge(row, { watchdog: { zombie_ms: 1 } })).toMatchObject({ health: 'stuck', act: 'terminate' });
    }
  });

  test('a watchdog that was restarted goes on where the ladder stands', async () => {
    const { world, watcher } = await watched();
    const taken = await atWork(world, 'mute');
    const first = watcher();
    pass(world, STALE);
    await first.tick(STALE);
    const second = watcher();
    pass(world, STALE);
    await second.tick(STALE);
    expect(await actsOf(world, taken)).toEqual(['late note', 'late nudge']);
  });

  test('the same call with the same answer is a loop, however busily it talks', async () => {
    const { world, watcher } = await watched();
    const taken = await atWork(world, 'loop');
    const one = watcher();
    const round = (n: number): HarnessEvent[] => [
      { type: 'tool_use', tool: 'Bash', tool_id: `c${n}`, input: 'make', files: [] },
      { type: 'tool_result', tool_id: `c${n}`, is_error: true, output: 'error' },
    ];
    await feedTurn(world, taken, [round(1), round(2)].flat());
    expect((await one.tick(1_000)).findings).toEqual([]);
    await feedTurn(world, taken, round(3));
    expect((await one.tick(1_000)).findings).toMatchObject([{ health: 'looping', cause: 'repetition', act: 'note' }]);
    expect((await listStateLog(world.store, taken.session.id)).at(-1)?.to_state).toBe('working');
    // Something else, and it is well again.
    await feedTurn(world, taken, [{ ...round(4)[0], input: 'ls' } as HarnessEvent, ...round(4).slice(1)]);
    expect((await one.tick(1_000)).findings).toEqual([]);
    expect(await actsOf(world, taken)).toEqual(['looping note', 'ok none']);
  });
});

/** A look at a worktree is several commands in the background: it is over when none of them has run for a while. */
async function gitRests(): Promise<void> {
  let quiet = 0;
  await until('git rests', () => {
    quiet = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8') === '' ? quiet + 1 : 0;
    return quiet > 30;
  });
}

test('tokens without a change of the worktree: a word, and never the end', async () => {
  const { world, watcher } = await watched();
  const repo = tempDir('work');
  for (const args of [
    ['init', '-q'],
    ['-c', 'user.name=t', '-c', 'user.email=t@l', 'commit', '-q', '--allow-empty', '-m', 'x'],
  ])
    Bun.spawnSync(['git', '-C', repo, ...args]);
  const { id } = await seedSession(world, { name: 'thinks', working_dir: repo, repo_root: repo });
  const taken = await takeTurn(world, id);
  mkdirSync(taken.turn.dir, { recursive: true });
  const one = watcher();
  const write = async (output_tokens: number) => {
    const tokens = { output_tokens, input_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0 };
    await feedTurn(world, taken, [{ type: 'usage', mode: 'add', tokens }]);
    pass(world, STEP);
    await one.tick(STEP);
    // What git says counts at the next look.
    await gitRests();
    return (await one.tick(1_000)).findings.map(({ health, cause, act }) => [health, cause, act]);
  };
  expect(await write(300_000)).toEqual([]);
  writeFileSync(join(repo, 'new.ts'), '');
  expect(await write(2_100_000)).toEqual([]);
  expect(await write(2_100_000)).toEqual([['looping', 'no_change', 'note']]);
  for (let i = 0; i < 4; i += 1) await write(1);
  expect(await actsOf(world, taken)).toEqual(['looping note', 'looping nudge']);
  writeFileSync(join(repo, 'newer.ts'), '');
  expect(await write(300_000)).toEqual([]);
}, 60_000);

describe('whatever the store holds', () => {
  test('one session that cannot be judged does not keep the others from it', async () => {
    const { world, watcher, log } = await watched();
    const odd = await atWork(world, 'odd', [{ type: 'tool_use', tool: 'x', tool_id: null, input: '', files: [] }]);
    await world.store.write((tx) =>
      tx.run("UPDATE event_batches SET events_json = '{' WHERE session_id = :id", { id: odd.session.id }),
    );
    await world.store.write((tx) =>
      tx.run('UPDATE turns SET events = 99, tools_open = 0 WHERE session_id = :id', { id: odd.session.id }),
    );
    await atWork(world, 'mute');
    const one = watcher();
    pass(world, STALE);
    const report = await one.tick(STALE);
    expect(report.findings.map(({ name }) => name)).toEqual(['mute']);
    expect(report.failures.length).toBe(1);
    expect(log.join('\n')).toContain('odd');
  });

  test('more than one look can bear is left for the next ones, and nobody for ever', async () => {
    const { world, watcher } = await watched();
    for (let i = 0; i < 5; i += 1) await atWork(world, `mute-${i}`);
    const one = watcher();
    pass(world, STALE);
    // So short that no time is left after the first read.
    const before = world.clock.monotonic;
    let asked = 0;
    world.clock.monotonic = () => {
      asked += 100;
      return before() + asked;
    };
    const reports = [await one.tick(1_000, 10 ** 9)];
    expect(reports[0]?.left).toBeGreaterThan(0);
    for (let i = 0; i < 20; i += 1) reports.push(await one.tick(1_000, 10 ** 9));
    const noted = reports.flatMap(({ findings }) => findings.filter(({ act }) => act === 'note'));
    expect(noted.map(({ name }) => name).sort()).toEqual(['mute-0', 'mute-1', 'mute-2', 'mute-3', 'mute-4']);
  });

  test('a store that cannot be read is a failure in the report and no exception', async () => {
    const { world, watcher, log } = await watched();
    const one = watcher();
    await world.store.write((tx) => tx.run('ALTER TABLE turns RENAME TO gone'));
    const report = await one.tick(1_000);
    expect(report.failures.length).toBe(1);
    expect(log.length).toBeGreaterThan(0);
  });
});
