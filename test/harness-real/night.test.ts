import { afterAll, beforeAll, expect, test } from 'bun:test';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Report } from '../../src/model/report.ts';
import { type Bench, droverBench, writeConfig } from '../support/drover.ts';
import { HARNESS_MODELS, type HarnessHome, makeHarnessHome } from '../support/harness-home.ts';
import { HARNESS_IDS, type HarnessId, installHarnesses } from '../support/harness-install.ts';
import { assertNoLeaks, leaksOf } from '../support/leaks.ts';
import type { Step } from '../support/model/scenario.ts';
import { type ModelServer, startModelServer } from '../support/model-server.ts';
import { until } from '../support/until.ts';
import { say, shell } from './support.ts';

const NIGHT_MS = 9 * 60_000;

/** What each step's model says, told apart by a word of its task. */
const WORDS: Record<string, Step[]> = {
  'write-1': [{ kind: 'status', status: 429, headers: { 'retry-after': '1' } }, ...work('one')],
  'write-2': work('two'),
  'write-3': [{ kind: 'status', status: 429, headers: { 'retry-after': '1' } }, ...work('three')],
  'write-4': work('four'),
  mends: [say('I think it is done.'), ...work('mended')],
  waits: [{ kind: 'status', status: 429, flavour: 'usage_limit', resets_in_s: 12 }, ...work('waited')],
  never: Array.from({ length: 6 }, () => say('It must be right by now.')),
  after: [say('nobody asks me')],
  comfort: [say('So be it.')],
  joins: [say('Joined.')],
  merges: work('merged'),
  last: [say('Good night.')],
};

function work(name: string): Step[] {
  return [shell(`echo ${name} > ${name}.txt && git add -A && git commit -qm "write ${name}"`), say(`answer ${name}`)];
}

const task = (step: string, more = '') => `NIGHT-${step}. Do your part of the night.${more}`;

const STEPS: { id: string; harness: HarnessId; [key: string]: unknown }[] = [
  { id: 'write-1', harness: 'claude' },
  { id: 'write-2', harness: 'codex' },
  { id: 'write-3', harness: 'gemini' },
  { id: 'write-4', harness: 'opencode' },
  { id: 'mends', harness: 'claude', needs: ['write-1'], gate: ['test -e mended.txt'] },
  { id: 'waits', harness: 'codex', needs: ['write-2'] },
  { id: 'never', harness: 'gemini', needs: ['write-3'], gate: ['echo it will not do; exit 3'] },
  { id: 'after', harness: 'opencode', needs: ['never'] },
  { id: 'comfort', harness: 'claude', needs: ['never'], when: 'any_failed' },
  { id: 'joins', harness: 'codex', needs: ['write-1', 'write-4'] },
  { id: 'merges', harness: 'opencode', needs: ['write-4'], merge: 'queue' },
  { id: 'last', harness: 'claude', needs: ['mends', 'waits', 'joins'] },
];

function planText(): string {
  const steps = STEPS.map(({ id, harness, ...more }) => {
    const handed = id === 'joins' ? ' They said: {{ steps.write-1.output }} and {{ steps.write-4.output }}.' : '';
    return { id, harness, profile: harness, task: task(id, handed), ...more };
  });
  return JSON.stringify({ name: 'night', concurrency: 4, defaults: { worktree: true }, steps });
}

const scenario = Object.entries(WORDS).flatMap(([id, steps]) =>
  steps.map((step) => ({ ...step, when: { conversation_contains: `NIGHT-${id}.` } })),
);

let server: ModelServer;
let home: HarnessHome;
let bench: Bench;

beforeAll(async () => {
  const { bin_dir } = await installHarnesses();
  server = await startModelServer({ steps: scenario, default_text: 'Nothing is left in the script.' });
  home = makeHarnessHome(server.url, bin_dir, HARNESS_IDS);
  bench = droverBench({ root: home.home, env: { ...home.env, HOME: home.home } });
  for (const [key, value] of Object.entries({ 'user.name': 'Scratch', 'user.email': 'scratch@localhost' }))
    bench.git('config', key, value);
  writeConfig(home.home, {
    turn: { backoff_ms: '1s', sigkill_delay_ms: '500ms' },
    watchdog: { interval_ms: '500ms' },
    gate: { max_rounds: 2 },
    // One for every step: what is to be merged by hand keeps its own.
    max_worktrees: 16,
    limits: { stagger_ms: 100, throttle_ms: '1s', usage_wait_ms: '15s' },
    profiles: Object.fromEntries(HARNESS_IDS.map((id) => [id, { agent: id, model: HARNESS_MODELS[id] }])),
  });
}, 16 * 60_000);

afterAll(async () => {
  await bench?.down();
  await server?.stop();
  if (home === undefined) return;
  try {
    await assertNoLeaks(home.home, 5_000);
  } finally {
    for (const { pid } of leaksOf(home.home)) process.kill(pid, 'SIGKILL');
    home.remove();
  }
});

/** The one that runs now; -1 between two. */
function supervisor(): number {
  const lock = join(bench.drover_home, 'run/supervisor.lock');
  return existsSync(lock) ? Number(readFileSync(lock, 'utf8').split('\n')[0] || -1) : -1;
}

async function ended(): Promise<number> {
  const ran = await bench.run(['report', 'night', '--format', 'json']);
  if (ran.code !== 0) return 0;
  const { done, failed, skipped } = (JSON.parse(ran.stdout) as Report).counts;
  return done + failed + skipped;
}

test(
  'a night on the real CLIs: limits, gates, three kills, a suspended machine; the report is true (C-12)',
  async () => {
    const file = join(home.home, 'night.yaml');
    writeFileSync(file, planText());
    const night = bench.run(['plan', 'run', file, '--wait', '--json']);
    const killed: number[] = [];
    for (const count of [1, 4, 7]) {
      await until(`${count} steps have ended`, async () => (await ended()) >= count, 90_000).catch(blame);
      await until('another supervisor is up', () => supervisor() > 0 && !killed.includes(supervisor()), 60_000);
      killed.push(supervisor());
      process.kill(supervisor(), 'SIGKILL');
    }
    await until('another supervisor is up', () => supervisor() > 0 && !killed.includes(supervisor()), 60_000);
    // As when the lid is closed: nothing of drover runs, and then it is later.
    process.kill(supervisor(), 'SIGSTOP');
    await Bun.sleep(4_000);
    process.kill(supervisor(), 'SIGCONT');
    const ran = await night;
    const report = JSON.parse((await bench.run(['report', 'night', '--format', 'json'])).stdout) as Report;
    expect({ code: ran.code, stderr: ran.stderr, states: statesOf(report) }).toMatchObject({ code: 1, states: STATES });
    checkNight(report);
  },
  NIGHT_MS,
);

/** What a person would need to see why it did not come to its end. */
async function blame(error: unknown): Promise<never> {
  const told = await bench.run(['plan', 'show', 'night']);
  const log = readFileSync(join(bench.drover_home, 'run/supervisor.log'), 'utf8').slice(-4_000);
  throw new Error(`${error}\n${told.stdout}${told.stderr}\n${log}`);
}

const statesOf = ({ steps }: Report) => Object.fromEntries(steps.map(({ id, state }) => [id, state]));

/** As the script wants it. */
const STATES = {
  ...Object.fromEntries(STEPS.map(({ id }) => [id, 'done'])),
  ...{ never: 'failed', after: 'skipped' },
};

function checkNight(report: Report): void {
  const step = (id: string) => {
    const found = report.steps.find((each) => each.id === id);
    if (found === undefined) throw new Error(`no step ${id}`);
    return found;
  };
  expect(report.verdict).toBe('failed');
  expect(report.counts).toMatchObject({
    of: 'steps',
    total: 12,
    done: 10,
    failed: 1,
    skipped: 1,
    running: 0,
    pending: 0,
  });
  // Slung once each, whatever was killed.
  for (const { id } of STEPS) expect([id, step(id).sessions.length]).toEqual([id, id === 'after' ? 0 : 1]);
  expect(step('mends').gates).toEqual(['red', 'green']);
  expect(step('never')).toMatchObject({ gates: ['red', 'red'], outcome: 'gate' });
  expect(step('after')).toMatchObject({ outcome: 'need_failed', tries: 0 });
  expect(report.gates.filter(({ verdict }) => verdict === 'red').map(({ reason }) => reason)).toContain('exit code 3');
  // One usage limit, with the time it cost.
  expect(report.lost_to_limits.map(({ pool }) => pool)).toEqual(['codex']);
  expect(report.lost_to_limits[0]?.session_ms).toBeGreaterThan(0);
  // The merged work is in the checkout's branch, and so the report says.
  expect(step('merges').merged_commit).toBe(bench.git('rev-parse', 'main'));
  expect(bench.git('show', 'main:merged.txt')).toBe('merged');
  // What each step handed on reached the one that asked for it.
  const asked = server.turns().map(({ model }) => model.texts.map(({ text }) => text).join('\n'));
  expect(asked.filter((text) => text.includes('They said: answer one and answer four.'))).not.toEqual([]);
  // Money and tokens: what the CLIs told, none of it twice.
  const turns = server.turns().filter(({ outcome }) => outcome === 'answered');
  expect(report.spent.turns).toBeGreaterThanOrEqual(12);
  expect(report.spent.output_tokens).toBeLessThanOrEqual(turns.length * 10);
  expect(report.spent.output_tokens).toBeGreaterThan(0);
  const total = (key: 'output_tokens' | 'input_tokens') =>
    report.spent_by_pool.reduce((sum, each) => sum + each[key], 0);
  expect([total('input_tokens'), total('output_tokens')]).toEqual([
    report.spent.input_tokens,
    report.spent.output_tokens,
  ]);
  expect(report.kills).toEqual([]);
  expect(report.incidents).toEqual([]);
}
