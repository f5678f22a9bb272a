import { describe, expect, test } from 'bun:test';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { MailRow } from '../../src/model/mail.ts';
import type { SessionRow } from '../../src/model/session.ts';
import type { VerdictRow } from '../../src/model/verdict.ts';
import { type Bench, droverBench, writeConfig } from '../support/drover.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { peek, promptOf, rehearse, sessionOf, turnDir, turnsOf, untilState, untilTalking } from '../support/peek.ts';
import { until } from '../support/until.ts';

const REHEARSAL = resolve(import.meta.dir, '../../bin/drover-rehearsal');
const FAKE_CLAUDE = resolve(import.meta.dir, '../fixtures/bin/fake-claude');
/** Every timer of a turn is out of reach. */
const TURN = { max_attempts: 1, sigkill_delay_ms: 300, first_event_ms: '1m', between_events_ms: '1m', tool_ms: '1m' };
const HANGS = { turns: [[{ say: 'I wait for the build' }, 'hang']] };

/** A bench whose harnesses `opinion` and `watch` play one script each, whatever they are told. */
function tiers(
  watchdog: Record<string, unknown>,
  scripts: { opinion?: unknown; watch?: unknown } = {},
  more: Record<string, unknown> = {},
): Bench {
  const bench = droverBench();
  const runner = (name: string, script: unknown) => ({
    ...{ program: REHEARSAL, base_args: ['run', '--script', bench.script(name, script)] },
    ...{ resume_flag: '--resume', event_format: 'ndjson' },
  });
  const say = { turns: [[{ say: 'nothing' }]] };
  writeConfig(bench.home, {
    turn: TURN,
    watchdog: { interval_ms: 150, stale_ms: 1_500, zombie_ms: '10m', nudge_interval_ms: 400, ...watchdog },
    harness_runners: {
      opinion: runner('opinion', scripts.opinion ?? say),
      watch: runner('watch', scripts.watch ?? say),
      claude: { program: FAKE_CLAUDE, event_format: 'claude-stream-json' },
    },
    ...more,
  });
  return bench;
}

const answers = (verdict: string) => ({
  turns: [[{ say: `Well: {"verdict": "${verdict}", "reason": "the build is gone"}` }]],
});

const actsOf = (bench: Bench, name: string) =>
  peek<VerdictRow>(bench, "SELECT * FROM verdicts WHERE session_id = :id AND act <> 'none' ORDER BY seq", {
    id: sessionOf(bench, name).id,
  }).map(({ act, tier }) => `${act} ${tier}`);
const ownOf = (bench: Bench, role: string) =>
  peek<SessionRow>(bench, 'SELECT * FROM sessions WHERE role = :role ORDER BY created_at', { role });
/** Who comes up so late that it was nudged before its first word begins at the bottom of the ladder again. */
function climbOf(bench: Bench, name: string): string[] {
  const acts = actsOf(bench, name);
  while (acts.slice(0, 3).join() === 'note 0,nudge 0,note 0') acts.splice(0, 2);
  return acts;
}

const UP_TO_TRIAGE = ['note 0', 'nudge 0', 'triage 0'];

const terminatedBy = (bench: Bench, name: string) =>
  peek<MailRow>(bench, "SELECT * FROM mail WHERE type = 'worker_died' AND from_id = :id", {
    id: sessionOf(bench, name).id,
  }).map(({ payload_json }) => JSON.parse(payload_json ?? '{}').terminatedBy);

async function allEnded(bench: Bench, name: string): Promise<void> {
  await until(
    'its last turn is settled',
    () => turnsOf(bench, name).every(({ ended_at }) => ended_at !== null),
    20_000,
  );
  for (const turn of turnsOf(bench, name)) await assertNoLeaks(turn.marker);
}

describe('tier 1: a second opinion about a stuck session (C-07, O-69)', () => {
  const limits = { triage_harness: 'opinion', triage_timeout_ms: '20s' };

  test('terminate: ended by tier 1, and its parent is told so (O-31)', async () => {
    const bench = tiers(limits, { opinion: answers('terminate') });
    await rehearse(bench, 'chief', { turns: [[{ say: 'go' }, { tool: { tool: 'Wait', ms: 60_000 } }]] });
    await untilTalking(bench, 'chief');
    await rehearse(bench, 'mute', HANGS, ['--parent', 'chief']);
    const row = await untilState(bench, 'mute', 'zombie', 40_000);
    expect([row.end_reason, climbOf(bench, 'mute')]).toEqual(['stuck', [...UP_TO_TRIAGE, 'terminate 1']]);
    expect(terminatedBy(bench, 'mute')).toEqual(['tier1']);
    await allEnded(bench, 'mute');
    const [asked] = ownOf(bench, 'triage');
    expect(asked).toMatchObject({
      state: 'completed',
      name: 'triage-mute',
      working_dir: join(bench.drover_home, 'triage'),
    });
    const prompt = promptOf(bench, 'triage-mute');
    expect(prompt).toContain('| I wait for the build');
    expect(prompt).toContain('You give a second opinion');
    expect(readdirSync(join(bench.drover_home, 'triage'))).toEqual([]);
    const status = await bench.json<{ sessions: { name: string }[] }>(['status']);
    expect(status.sessions.map(({ name }) => name)).not.toContain('triage-mute');
    expect((await bench.run(['watch', 'explain', 'mute'])).stdout).toContain(
      'a second opinion says terminate: the build is gone',
    );
  }, 60_000);

  test('restart: a new turn with brief and reason, even where every place is taken', async () => {
    // Its third turn has the time to come up before it is found silent as well.
    const bench = tiers({ ...limits, stale_ms: 3_000 }, { opinion: answers('restart') }, { max_live_sessions: 1 });
    await rehearse(bench, 'mute', { turns: [...HANGS.turns, ...HANGS.turns, [{ say: 'it goes on' }]] });
    await untilState(bench, 'mute', 'completed', 40_000);
    expect(climbOf(bench, 'mute')).toEqual([...UP_TO_TRIAGE, 'restart 1']);
    expect(turnsOf(bench, 'mute').map(({ outcome }) => outcome)).toEqual(['cancelled', 'cancelled', 'completed']);
    expect(promptOf(bench, 'mute', 3)).toContain('Your previous turn was cut off');
    expect(promptOf(bench, 'mute', 3)).toContain('a second opinion says restart: the build is gone');
    await allEnded(bench, 'mute');
  }, 60_000);

  test('extend: more time and another question, as often as a day allows; then the mechanical end', async () => {
    const bench = tiers({ ...limits, triage_per_day: 2 }, { opinion: answers('extend') });
    await rehearse(bench, 'mute', HANGS);
    await untilState(bench, 'mute', 'zombie', 40_000);
    expect(climbOf(bench, 'mute')).toEqual([...UP_TO_TRIAGE, 'extend 1', 'triage 0', 'extend 1', 'terminate 0']);
    expect(ownOf(bench, 'triage').length).toBe(2);
  }, 60_000);

  test.each([
    ['garbage', { turns: [[{ say: 'hard to tell' }]] }, ['completed']],
    ['a crash', { turns: [[{ say: '{"verdict":"extend"}' }, { exit: 3 }]] }, ['failed']],
    ['silence', { turns: [[{ say: 'hm' }, { daemon: 60_000 }, 'hang']] }, ['stopped', 'failed']],
  ])(
    '%s is no answer: the ladder goes on by itself, and nothing is left running',
    async (_what, opinion, ends) => {
      const bench = tiers({ ...limits, triage_timeout_ms: '1s' }, { opinion });
      await rehearse(bench, 'mute', HANGS);
      await untilState(bench, 'mute', 'zombie', 40_000);
      expect(climbOf(bench, 'mute')).toEqual([...UP_TO_TRIAGE, 'terminate 0']);
      await until(
        'the question is over',
        () => ownOf(bench, 'triage').every(({ ended_at }) => ended_at !== null),
        20_000,
      );
      const asked = ownOf(bench, 'triage');
      expect([asked.length, ends.includes(asked[0]?.state ?? '')]).toEqual([1, true]);
      for (const name of ['mute', 'triage-mute']) await allEnded(bench, name);
    },
    60_000,
  );

  test('it is given no tool, not even drover’s', async () => {
    const bench = tiers({ ...limits, triage_harness: 'claude', triage_model: 'small' });
    await rehearse(bench, 'mute', HANGS);
    await untilState(bench, 'mute', 'zombie', 40_000);
    const { args, cwd } = JSON.parse(readFileSync(join(turnDir(bench, 'triage-mute'), 'command.json'), 'utf8'));
    expect(cwd).toBe(join(bench.drover_home, 'triage'));
    expect(args.slice(args.indexOf('--tools'))[1]).toBe('');
    const seen = join(bench.drover_home, `seen-${sessionOf(bench, 'triage-mute').id}-1`, 'args');
    expect(readFileSync(seen, 'utf8')).toContain('\n--tools\n\n--max-turns\n2\n');
    expect([args.includes('--mcp-config'), args.includes('--allowed-tools')]).toEqual([false, false]);
    expect([args[args.indexOf('--model') + 1], args[args.indexOf('--max-turns') + 1]]).toEqual(['small', '2']);
  }, 60_000);

  test('off by default: no session and no process but the stuck one', async () => {
    const bench = tiers({});
    await rehearse(bench, 'mute', HANGS);
    await untilState(bench, 'mute', 'zombie', 40_000);
    await allEnded(bench, 'mute');
    expect(peek<{ name: string }>(bench, 'SELECT name FROM sessions')).toEqual([{ name: 'mute' }]);
    for (const desk of ['triage', 'patrol']) expect(existsSync(join(bench.drover_home, desk))).toBe(false);
  }, 60_000);
});

describe('tier 2: the patrol (C-07, O-89)', () => {
  const digests = (bench: Bench) =>
    peek<MailRow>(bench, "SELECT * FROM mail WHERE type = 'health_check' AND from_name = 'drover' ORDER BY seq");
  const untilRests = (bench: Bench, turn: number) =>
    until(
      `the patrol rests after turn ${turn}`,
      () => ownOf(bench, 'monitor').some((row) => row.state === 'idle' && row.turn === turn),
      30_000,
    );
  const ticks = (bench: Bench) => peek<{ n: number }>(bench, 'SELECT count(*) AS n FROM ticks')[0]?.n ?? 0;
  /** It only notes: what is stuck stays so, and every look finds it. */
  const noting = { patrol_harness: 'watch', patrol_every_ms: 1_000, max_escalation_level: 0 };

  test('woken once with a digest, and not again while nothing new is wrong; then with what is new', async () => {
    const bench = tiers(noting);
    await rehearse(bench, 'well', { turns: [[{ say: 'done' }]] });
    await untilState(bench, 'well', 'completed');
    expect([digests(bench), ownOf(bench, 'monitor')]).toEqual([[], []]);
    await rehearse(bench, 'mute', HANGS);
    await untilRests(bench, 1);
    const [first] = digests(bench);
    expect(first).toMatchObject({ to_name: 'patrol', from_id: null, subject: 'One session to look at' });
    expect(first?.body).toMatch(
      /mute \(stalled, turn 1, in .*\): late \(silent\), 0 min ago\n {2}evidence: silent for/,
    );
    expect(promptOf(bench, 'patrol')).toContain('You are on patrol');
    expect(promptOf(bench, 'patrol')).toContain('evidence: silent for');
    const before = ticks(bench);
    await until('many more looks at the same trouble', () => ticks(bench) >= before + 15, 30_000);
    expect([digests(bench).length, ownOf(bench, 'monitor').map(({ turn }) => turn)]).toEqual([1, [1]]);
    await rehearse(bench, 'dumb', HANGS);
    await untilRests(bench, 2);
    const [, second, ...more] = digests(bench);
    expect(more).toEqual([]);
    expect([second?.body.includes('dumb ('), second?.body.includes('mute (')]).toEqual([true, false]);
    // It rests for as long as nothing happens, and is not judged for it.
    expect(actsOf(bench, 'patrol')).toEqual([]);
  }, 90_000);

  test('its token may nudge and write, and nothing else; what it may not leaves everything as it was', async () => {
    const bench = tiers(noting);
    const out = join(bench.home, 'out');
    const forbidden = [
      'stop mute',
      'pause mute',
      'clean --all',
      'resume mute',
      'recover mute',
      'sling x',
      'down',
      'watch',
      'merge mute',
      'worktree clean --all-ended',
    ];
    const allowed = ['nudge mute wake', 'mail send --to operator --type escalation --subject s --body b'];
    const lines = [...forbidden, ...allowed].map(
      (verb) => `drover ${verb} --json >>"${out}.log" 2>&1; echo "${verb}=$?" >>"${out}"`,
    );
    const script = { turns: [[{ run: lines.join('; ') }]] };
    bench.script('watch', script);
    await rehearse(bench, 'mute', HANGS);
    await untilRests(bench, 1);
    const codes = Object.fromEntries(
      readFileSync(out, 'utf8')
        .trim()
        .split('\n')
        .map((line) => [line.slice(0, line.lastIndexOf('=')), Number(line.slice(line.lastIndexOf('=') + 1))]),
    );
    const expected = Object.fromEntries(forbidden.map((verb) => [verb, 3]));
    expect(codes).toEqual({ ...expected, ...Object.fromEntries(allowed.map((verb) => [verb, 0])) });
    expect(readFileSync(`${out}.log`, 'utf8').match(/not_allowed/g)?.length).toBe(forbidden.length);
    expect(sessionOf(bench, 'mute').state).toBe('stalled');
    const mail = peek<MailRow>(bench, "SELECT * FROM mail WHERE from_name = 'patrol' ORDER BY seq");
    expect(mail.map(({ type, to_name }) => [type, to_name])).toEqual([
      ['nudge', 'mute'],
      ['escalation', 'operator'],
    ]);
  }, 90_000);

  test('a patrol that fails before it has read is not followed by another at every look', async () => {
    const bench = tiers(noting, { watch: { turns: [[{ exit: 4 }]] } });
    await rehearse(bench, 'mute', HANGS);
    await until('it has failed', () => ownOf(bench, 'monitor').some(({ state }) => state === 'failed'), 30_000);
    const before = ticks(bench);
    await until('many more looks at the same trouble', () => ticks(bench) >= before + 25, 30_000);
    expect(ownOf(bench, 'monitor').map(({ state, name }) => [name, state])).toEqual([['patrol', 'failed']]);
  }, 60_000);

  test('a patrol that was stopped is followed by another when there is news', async () => {
    const bench = tiers(noting);
    await rehearse(bench, 'mute', HANGS);
    await untilRests(bench, 1);
    await bench.run(['stop', 'patrol']);
    await rehearse(bench, 'dumb', HANGS);
    await until('another patrol', () => ownOf(bench, 'monitor').length === 2, 30_000);
  }, 60_000);
});
