import { beforeAll, describe, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PlanRow } from '../../src/model/plan.ts';
import { type Bench, DROVER, droverBench } from '../support/drover.ts';
import { until } from '../support/until.ts';

let bench: Bench;

beforeAll(() => {
  // What fails is not tried again by the session itself: that would take half a minute.
  bench = droverBench({ config: { turn: { max_attempts: 1 } } });
  bench.script('say', { turns: [[{ say: 'done' }]] });
  bench.script('wait', { turns: [[{ wait_for_file: join(bench.home, 'go') }, { say: 'done' }]] });
  bench.script('fail', { turns: [[{ say: 'no' }, { exit: 3 }]] });
  bench.script('ask', { turns: [[{ ask: 'May I?' }], [{ say: 'thank you' }]] });
});

const plan = (name: string, ...steps: string[]): string => {
  const file = join(bench.repo, `${name}.yaml`);
  writeFileSync(
    file,
    `name: ${name}\ndefaults: {harness: rehearsal}\nsteps:\n${steps.map((s) => `  - ${s}\n`).join('')}`,
  );
  return file;
};
const step = (id: string, script: string, more = '') =>
  `{id: ${id}, task: "rehearsal-script: ${join(bench.home, '..', script)}.json"${more}}`;
const stored = async (name: string) => (await bench.json<{ plan: PlanRow }>(['plan', 'show', name])).plan;

function start(args: string[]) {
  const child = Bun.spawn([DROVER, 'plan', 'run', ...args], {
    ...{ cwd: bench.repo, env: bench.env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  });
  const seen = { out: '' };
  const reader = child.stdout.getReader();
  const read = (async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      seen.out += new TextDecoder().decode(value);
    }
  })();
  return { child, seen, read, reader };
}

describe('plan run follows a plan (C-12)', () => {
  test('Ctrl-C and a reader that goes leave it running; whoever waits gets its exit code: 1, some failed', async () => {
    plan(
      'night',
      step('a', 'say'),
      step('b', 'wait', ', needs: a'),
      step('c', 'fail', ', needs: b'),
      step('d', 'say', ', needs: c'),
    );
    const first = start(['night.yaml']);
    await until('the first step is done', () => first.seen.out.includes('a: done'), 20_000);
    first.child.kill('SIGINT');
    expect(await first.child.exited).toBe(130);
    expect(await first.child.stderr.text()).toContain('detached; the plan goes on. Look again: drover plan run plan-');
    expect(first.seen.out).toMatch(/^plan-\w+ {2}night {2}4 steps\n +\+\ds {2}plan: created/);

    const second = start(['night', '--json']);
    await until('it is seen', () => second.seen.out.includes('"event":"follow"'));
    await second.reader.cancel();
    await bench.run(['plan', 'pause', 'night']);
    expect(await second.child.exited).toBe(130);
    expect(await stored('night')).toMatchObject({ state: 'paused' });

    const third = start(['night', '--wait', '--json']);
    await bench.run(['plan', 'resume', 'night']);
    writeFileSync(join(bench.home, 'go'), '');
    expect(await third.child.exited).toBe(1);
    await third.read;
    const lines = third.seen.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const changes = lines.filter(({ event }) => event === 'step').map(({ step_id, change }) => `${step_id} ${change}`);
    expect(changes).toEqual(['a started', 'a done', 'b started', 'b done', 'c started', 'c failed', 'd skipped']);
    expect(lines.at(-1)).toMatchObject({
      ...{ schema_version: 1, event: 'end', exit_code: 1, plan: { state: 'failed' }, waiting: [] },
      counts: { done: 2, failed: 1, skipped: 1, total: 4 },
    });
    expect((await bench.run(['plan', 'run', 'night'])).stdout).toContain(
      `report: drover report ${(await stored('night')).id}`,
    );
  }, 60_000);

  test('who waits for a person is told the exact command: 75, and 0 when that was done', async () => {
    plan('asks', step('q', 'ask'), step('r', 'say', ', needs: q'));
    const asked = await bench.run(['plan', 'run', 'asks.yaml', '--wait']);
    expect(asked.code).toBe(75);
    expect((await bench.run(['report', 'asks'])).stdout).toStartWith('# PARKED: 1 of 2 steps waiting, 1 not started.');
    const [, mail = ''] = /^ {4}drover mail reply (mail-\w+) --body/m.exec(asked.stdout) ?? [];
    await bench.run(['plan', 'pause', 'asks']);
    await bench.run(['mail', 'reply', mail, '--body', 'yes']);
    await bench.until('q', ({ state }) => state === 'completed');
    const paused = await bench.run(['plan', 'run', 'asks', '--wait']);
    expect(paused.code).toBe(75);
    const [, resume = ''] = /^ {4}drover (plan resume plan-\w+)$/m.exec(paused.stdout) ?? [];
    expect(await bench.run(resume.split(' '))).toMatchObject({ code: 0 });
    const done = await bench.run(['plan', 'run', 'asks', '--wait']);
    expect(done).toMatchObject({ code: 0, stdout: expect.stringContaining('asks: completed: 2 done') });
  }, 60_000);

  test('resume --sessions goes on with those a person has parked, cancel ends what runs', async () => {
    writeFileSync(join(bench.home, 'go'), '');
    const held = bench.script('held', { turns: [[{ wait_for_file: join(bench.home, 'never') }]] });
    plan('held', `{id: h, task: "rehearsal-script: ${held}"}`);
    const { plan: row } = await bench.json<{ plan: PlanRow }>([
      'plan',
      'run',
      'held.yaml',
      '--name',
      'own',
      '--detach',
    ]);
    expect(row).toMatchObject({ name: 'own', state: 'active', file: join(bench.repo, 'held.yaml') });
    // The supervisor makes its session when it looks at the plan.
    await until('its session is there', async () => (await bench.run(['show', 'h'])).code === 0, 20_000);
    await bench.until('h', ({ state }) => state === 'working');
    await bench.run(['pause', 'h']);
    expect(await bench.run(['plan', 'run', 'own', '--wait'])).toMatchObject({ code: 75 });
    expect(await bench.json(['plan', 'resume', 'own'])).toMatchObject({
      resumed: [],
      waiting: [{ step_id: 'h', reason: 'operator' }],
    });
    expect((await bench.session('h')).state).toBe('parked');
    expect(await bench.json(['plan', 'resume', 'own', '--sessions'])).toMatchObject({ resumed: [{ name: 'h' }] });
    await bench.until('h', ({ state }) => state === 'working');
    expect(await bench.json(['plan', 'cancel', 'own'])).toMatchObject({ changed: true, stopped: [{ name: 'h' }] });
    expect(await bench.session('h')).toMatchObject({ state: 'stopped', end_reason: 'plan cancelled: operator' });
    expect((await bench.run(['plan', 'run', 'own'])).code).toBe(1);
  }, 60_000);

  test('a terminal is drawn over, row by row, and only where something differs', async () => {
    plan('live', step('a', 'say'), step('b', 'say', ', needs: a'));
    let seen = '';
    const child = Bun.spawn([DROVER, 'plan', 'run', 'live.yaml'], {
      ...{ cwd: bench.repo, env: { ...bench.env, NO_COLOR: '1', TERM: 'xterm' } },
      terminal: {
        ...{ cols: 60, rows: 20 },
        data: (_terminal, data) => {
          seen += new TextDecoder().decode(data);
        },
      },
    });
    expect(await child.exited).toBe(0);
    child.terminal?.close();
    const frames = seen.split('\x1b[J');
    expect(frames.length).toBeGreaterThan(2);
    // A title, two steps and the bar: every later frame begins four rows higher.
    expect(frames.slice(1, -1).every((frame) => frame.startsWith('\x1b[4A'))).toBe(true);
    expect(frames.at(-2)).toContain('[########################] 2/2 steps');
    expect(frames.at(-1)).toContain('live: completed: 2 done');
    const wide = seen.split(/\r?\n/).filter((row) => Bun.stringWidth(Bun.stripANSI(row)) > 60);
    expect(wide.filter((row) => !row.includes('completed'))).toEqual([]);
  }, 60_000);
});

test('whoever waits without being able to write hears of it, and the plan is what decides: 1 in the place of 0', async () => {
  plan('mute', step('a', 'say'));
  plan('dumb', step('a', 'fail'));
  const wait = async (name: string) => {
    const child = Bun.spawn(['sh', '-c', '"$0" plan run --wait "$1" >/dev/full', DROVER, `${name}.yaml`], {
      ...{ cwd: bench.repo, env: bench.env, stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' },
    });
    return { stderr: await child.stderr.text(), code: await child.exited, state: (await stored(name)).state };
  };
  const [good, bad] = [await wait('mute'), await wait('dumb')];
  expect([good.code, good.state, bad.code, bad.state]).toEqual([1, 'completed', 1, 'failed']);
  expect(good.stderr).toContain('[output_failed]');
  expect(bad.stderr).toContain('Standard output could not be written: ENOSPC');
}, 60_000);
