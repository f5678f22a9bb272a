import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../support/until.ts';
import { type RealHarness, type Shown, say, shell } from './support.ts';

/** What differs between the CLIs when something goes wrong. */
export interface TroubleQuirks {
  /** How long the CLI may be silent before its first event: its start, or its start and a model call. */
  first_event: string;
}

/** Waits until the model is asked or a tool has made `file`, and returns the turn that is in flight. */
async function inFlight(real: RealHarness, name: string, file: string): Promise<Shown['turns'][number]> {
  await until(`${file} of ${name}`, () => Bun.file(join(real.bench.repo, file)).exists(), 60_000);
  const turn = (await real.show(name)).turns.at(-1);
  if (turn === undefined) throw new Error(`${name} has no turn`);
  return turn;
}

/** The CLI itself: the launcher's only child. */
function harnessPid(turn: Shown['turns'][number]): number {
  const [pid = ''] = readFileSync(`/proc/${turn.pid}/task/${turn.pid}/children`, 'utf8').split(' ');
  expect(Number(pid)).toBeGreaterThan(1);
  return Number(pid);
}

/** Ignores every polite signal; makes `file` once it does. */
const deaf = (file: string) => shell(`trap "" TERM INT HUP; touch ${file}; sleep 600; sleep 600`);

export function troubleTests(real: RealHarness, quirks: TroubleQuirks): void {
  test(`${real.id}: a rate limit that passes is recorded and costs nothing (C-03)`, async () => {
    real.play([{ kind: 'status', status: 429, headers: { 'retry-after': '1' } }, say('All done.')]);
    const name = await real.sling('Wait your turn.');
    const shown = await real.over(name);
    await real.expectEnd(shown, 'completed', 'completed');
    expect(real.asked.length).toBeGreaterThan(1);
    const limits = (await real.events(name)).filter((event) => event.type === 'limit');
    expect(limits[0]?.data).toMatchObject({ limit: { kind: 'rate_limit', final: false } });
    expect(shown.turns).toHaveLength(1);
  });

  test(`${real.id}: a model that hangs is ended by a timer, whole tree (O-53, C-12)`, async () => {
    real.configure({
      turn: { first_event_ms: '20s', first_event_late_ms: quirks.first_event, between_events_ms: '2s' },
    });
    real.play([{ kind: 'hang' }]);
    const name = await real.sling('Think for ever.');
    const shown = await real.over(name);
    await real.expectEnd(shown, 'zombie', 'stalled');
    expect(shown.turns[0]).toMatchObject({ tree_empty: 1, survivors: 0 });
    expect(['silent', 'first_event']).toContain(shown.turns[0]?.end_cause ?? '');
    expect(real.processesOf(shown.session.id)).toEqual([]);
  });

  test(`${real.id}: a tool that is deaf to signals does not outlive its turn (O-53, C-12)`, async () => {
    real.configure({ turn: { tool_ms: '2s', between_events_ms: '2s' } });
    const file = real.fresh('started');
    real.play([deaf(file)]);
    const name = await real.sling('Run it.');
    const turn = await inFlight(real, name, file);
    expect(real.processesOf(turn.session_id).some(({ command }) => command.includes('sleep 600'))).toBe(true);
    const shown = await real.over(name);
    await real.expectEnd(shown, 'zombie', 'stalled');
    expect(shown.turns[0]).toMatchObject({ end_cause: 'silent', tree_empty: 1, survivors: 0 });
    expect(real.processesOf(turn.session_id)).toEqual([]);
  });

  test(`${real.id}: killed in mid-turn, it is resumed with its mail, and leaves no orphan (C-10, O-52)`, async () => {
    const file = real.fresh('started');
    real.play([deaf(file), say('Recovered.')]);
    const name = await real.sling('Survive this.');
    const turn = await inFlight(real, name, file);
    process.kill(harnessPid(turn), 'SIGKILL');
    const between = await real.when(name, ({ session, turns }) => session.state === 'idle' || turns.length > 1);
    expect(between.turns[0]).toMatchObject({ outcome: 'crashed', reason: 'signal SIGKILL', tree_empty: 1 });
    expect(real.processesOf(turn.session_id)).toEqual([]);
    expect(between.session.attempt).toBe(1);

    const shown = await real.over(name);
    await real.expectEnd(shown, 'completed', 'completed');
    expect(shown.turns).toHaveLength(2);
    expect(shown.mail.find((mail) => mail.type === 'task')).toMatchObject({ deliveries: 2, delivered_turn: 2 });
    expect(real.prompt(real.asked.at(-1))).toContain('turn 2, role solo');
    expect(real.prompt(real.asked.at(-1))).toContain('Survive this.');
    expect(shown.turns[1]?.native_session_before).toBe(turn.native_session_after ?? shown.session.native_session_id);
    expect(shown.turns[1]?.native_session_after).toBe(shown.turns[1]?.native_session_before ?? 'none');
  });
}

/**
 * A limit that lasts: the session is held until it is lifted, and whoever waits is told by the exit code. A CLI that tries
 * again for ever is ended by the timer first.
 */
export function usageLimitTest(real: RealHarness): void {
  test(`${real.id}: a usage limit parks the session with the time to come back (C-03, C-13)`, async () => {
    real.configure({ turn: { first_event_late_ms: '12s', between_events_ms: '8s' } });
    real.play([{ kind: 'status', status: 429, flavour: 'usage_limit', times: 'forever' }]);
    const before = Date.now();
    const name = await real.sling('Spend more.');
    const shown = await real.over(name);
    await real.expectEnd(shown, 'parked', 'limited');
    expect([shown.session.parked_reason, shown.session.parked_pool]).toEqual(['usage_limit', real.id]);
    const { pools } = await real.bench.json<{ pools: { opens_at: string }[] }>(['pools']);
    expect(Date.parse(pools[0]?.opens_at ?? '')).toBeGreaterThan(before + 60_000);
    expect((await real.bench.run(['wait', name])).code).toBe(75);
    expect(shown.mail.find((mail) => mail.type === 'task')).toMatchObject({ read_at: null });
    expect((await real.bench.run(['stop', name])).code).toBe(0);
    expect((await real.bench.run(['pools', 'release', real.id])).code).toBe(0);
  });
}
