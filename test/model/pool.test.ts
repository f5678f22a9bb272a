import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import type { Limit } from '../../src/model/harness.ts';
import { mayStart, newPool, type PoolEvent, type PoolRow, parkedReasonOf, type Refusal } from '../../src/model/pool.ts';
import { poolAfter } from '../../src/model/pool-after.ts';

const NOW = 1_000_000;
const MINUTE = 60_000;
const DAY = 86_400_000;
const { limits } = DEFAULT_CONFIG;

const said = (limit: Partial<Limit>): Limit => ({
  ...{ kind: 'usage_limit', status: 429, message: 'm', resets_at: null, retry_after_ms: null, final: true },
  ...limit,
});
/** A refusal of a turn of session `s` that began just now, without jitter. */
const refusal = (limit: Partial<Limit>, more: Partial<Refusal> = {}): Refusal => ({
  ...{ type: 'limit', limit: said(limit), session_id: 's', started_at: NOW - 1, limits, random: 0.5 },
  ...more,
});
const pool = (more: Partial<PoolRow> = {}): PoolRow => ({ ...newPool('p', 1), ...more });
const shut = (more: Partial<PoolRow> = {}): PoolRow =>
  pool({ state: 'blocked', reason: 'usage_limit', blocked_at: NOW - 10, opens_at: NOW + MINUTE, strikes: 1, ...more });
const probing = (more: Partial<PoolRow> = {}): PoolRow =>
  shut({ state: 'probing', probe_id: 's', opens_at: NOW - 1, struck_at: NOW - 10, ...more });
const after = (row: PoolRow, ...events: PoolEvent[]) => events.reduce((at, event) => poolAfter(at, event, NOW), row);

describe('a refusal blocks an open pool', () => {
  test.each<[string, Partial<Limit>, Partial<PoolRow>]>([
    ['until the instant it names', { resets_at: NOW + 9_000 }, { opens_at: NOW + 9_000, reason: 'usage_limit' }],
    ['for as long as it asks for', { retry_after_ms: 9_000 }, { opens_at: NOW + 9_000 }],
    ['for a while when nobody knows', {}, { opens_at: NOW + limits.usage_wait_ms }],
    ['for money as well', { kind: 'quota_unknown' }, { opens_at: NOW + limits.usage_wait_ms, reason: 'quota_unknown' }],
    ['for a second at least', { resets_at: NOW + 5 }, { opens_at: NOW + 1_000 }],
    [
      'for a moment when the instant it names has passed',
      { resets_at: NOW - 5 },
      { opens_at: NOW + limits.throttle_ms },
    ],
    ['for eight days at most', { resets_at: 1e300 }, { opens_at: NOW + 8 * DAY }],
    ['for whole milliseconds', { resets_at: NOW + 5_000.4 }, { opens_at: NOW + 5_001 }],
    ['until a person acts', { kind: 'auth', resets_at: NOW + 9_000 }, { opens_at: null, reason: 'auth' }],
  ])('%s', (_what, limit, expected) => {
    const blocked = after(pool(), refusal(limit));
    expect(blocked).toMatchObject({ state: 'blocked', blocked_at: NOW, probe_id: null, ...expected });
    expect(JSON.parse(blocked.evidence ?? '')).toEqual(JSON.parse(JSON.stringify(said(limit))));
    expect(mayStart(blocked, 's', NOW + 9 * DAY)).toBe('park');
  });
});

describe('a throttle leaves the pool open and holds it', () => {
  test.each<[string, Partial<Limit>, Partial<Refusal>, number]>([
    ['for the first wait', { kind: 'rate_limit' }, {}, limits.throttle_ms],
    ['a quarter less at least', { kind: 'overloaded' }, { random: 0 }, limits.throttle_ms * 0.75],
    ['a quarter more at most', { kind: 'network' }, { random: 1 }, limits.throttle_ms * 1.25],
    ['for what is told and never less', { kind: 'rate_limit', retry_after_ms: 8_000 }, { random: 0 }, 8_000],
    ['for what is told and a quarter', { kind: 'rate_limit', retry_after_ms: 8_000 }, { random: 1 }, 10_000],
    ['until the told instant', { kind: 'overloaded', resets_at: NOW + 8_000 }, { random: 0 }, 8_000],
  ])('%s', (_what, limit, more, wait) => {
    const held = after(pool(), refusal(limit, more));
    expect(held).toMatchObject({ state: 'open', retry_at: NOW + wait, strikes: 1, struck_at: NOW });
    expect(mayStart(held, 's', NOW + wait - 1)).toBe('hold');
    expect(mayStart(held, 's', NOW + wait)).toBe('go');
  });

  test('every further round doubles the wait up to the cap; sessions of one round count once', () => {
    const throttle = (at: PoolRow, now: number, started_at: number) =>
      poolAfter(at, refusal({ kind: 'rate_limit' }, { started_at }), now);
    let row = pool();
    const waits: number[] = [];
    for (let round = 0, now = NOW; round < 9; round++, now += DAY) {
      row = throttle(row, now, now - 1);
      for (let i = 1; i < 50; i++) row = throttle(row, now + i, now - 1);
      waits.push((row.retry_at ?? 0) - now);
    }
    const { throttle_ms: first, throttle_cap_ms: cap } = limits;
    expect(waits).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8].map((n) => Math.min(first * 2 ** n, cap)));
    expect(row.strikes).toBe(9);
  });

  test('an answer to a turn begun after the strike ends it; one begun before may be older than the strike', () => {
    const held = after(pool(), refusal({ kind: 'rate_limit' }));
    expect(after(held, { type: 'good', session_id: 'x', started_at: NOW - 1 })).toBe(held);
    const well = after(held, { type: 'good', session_id: 'x', started_at: NOW });
    expect(well).toMatchObject({ state: 'open', retry_at: null, strikes: 0 });
  });
});

test('fifty sessions at one wall are one strike, and a guess never moves the instant that stands', () => {
  const first = after(pool(), refusal({ resets_at: NOW + MINUTE }));
  const rest = Array.from({ length: 49 }, (_, i) => refusal({}, { session_id: `s${i}` }));
  expect(after(first, ...rest)).toEqual(first);
  expect(after(first, refusal({ resets_at: NOW + 2 * MINUTE }))).toMatchObject({
    opens_at: NOW + 2 * MINUTE,
    strikes: 1,
  });
  expect(after(first, refusal({ resets_at: NOW + 1_500 }))).toBe(first);
});

test('guesses double from refused probe to refused probe, up to two hours', () => {
  let row = after(pool(), refusal({}));
  const waits = [row.opens_at ?? 0].map((at) => at - NOW);
  for (let round = 1, now = NOW; round < 6; round++) {
    now = row.opens_at ?? 0;
    row = poolAfter(row, { type: 'probe', session_id: 's' }, now);
    row = poolAfter(row, refusal({}, { started_at: now }), now + 5);
    waits.push((row.opens_at ?? 0) - now - 5);
  }
  expect(waits.map((wait) => wait / MINUTE)).toEqual([15, 30, 60, 120, 120, 120]);
});

test('a reset that is told again and again after it has passed is believed less every time', () => {
  let row = after(pool(), refusal({ resets_at: NOW - 1 }));
  const waits = [row.opens_at ?? 0].map((at) => at - NOW);
  for (let round = 1, now = NOW; round < 12; round++) {
    now = row.opens_at ?? 0;
    row = poolAfter(row, { type: 'probe', session_id: 's' }, now);
    row = poolAfter(row, refusal({ resets_at: NOW - 1 }, { started_at: now }), now + 5);
    waits.push((row.opens_at ?? 0) - now - 5);
  }
  const expected = waits.map((_, n) => Math.min(limits.throttle_ms * 2 ** n, 2 * 60 * MINUTE));
  expect(waits).toEqual(expected);
});

describe('while one session probes', () => {
  test('it alone may start, and its answer opens the pool', () => {
    const row = after(shut({ opens_at: NOW }), { type: 'probe', session_id: 's' });
    expect([mayStart(row, 's', NOW), mayStart(row, 'x', NOW)]).toEqual(['go', 'park']);
    expect(after(row, { type: 'good', session_id: 'x', started_at: NOW })).toBe(row);
    const open = after(row, { type: 'good', session_id: 's', started_at: NOW });
    expect(open).toMatchObject({ state: 'open', strikes: 0, opens_at: null, probe_id: null, opened_at: NOW });
  });

  test('what others hear does not disturb it, its own refusal blocks anew', () => {
    for (const kind of ['usage_limit', 'auth', 'rate_limit'] as const)
      expect(after(probing(), refusal({ kind, resets_at: NOW + DAY }, { session_id: 'x' }))).toEqual(probing());
    const [usage, auth, throttle] = (['usage_limit', 'auth', 'network'] as const).map((kind) =>
      after(probing(), refusal({ kind })),
    );
    expect(usage).toMatchObject({ state: 'blocked', strikes: 2, opens_at: NOW + 2 * limits.usage_wait_ms });
    expect(auth).toMatchObject({ state: 'blocked', reason: 'auth', opens_at: null });
    expect(throttle).toMatchObject({ state: 'blocked', strikes: 2, opens_at: NOW + 2 * limits.throttle_ms });
  });

  test('a lost probe leaves the block as it was; nobody else becomes one meanwhile', () => {
    expect(after(probing(), { type: 'probe_lost' })).toMatchObject({ state: 'blocked', opens_at: NOW - 1 });
    expect(after(probing(), { type: 'probe', session_id: 'x' })).toEqual(probing());
    expect(after(pool(), { type: 'probe', session_id: 'x' })).toEqual(pool());
  });
});

test("an old turn's refusal does not shut a pool that was opened since, unless it knows better", () => {
  const open = after(shut(), { type: 'release' });
  expect(after(open, refusal({ kind: 'auth' }))).toBe(open);
  expect(after(open, refusal({}))).toMatchObject({ state: 'open' });
  expect(after(open, refusal({ resets_at: NOW + DAY }))).toMatchObject({ state: 'blocked', opens_at: NOW + DAY });
  expect(after(open, refusal({ kind: 'auth' }, { started_at: NOW }))).toMatchObject({ state: 'blocked' });
});

describe("a person's word", () => {
  const block = { type: 'block', opens_at: NOW + MINUTE, text: 'lunch' } as const;

  test('block, release, off, on', () => {
    const blocked = after(probing(), block);
    expect(blocked).toMatchObject({ state: 'blocked', reason: 'operator', opens_at: NOW + MINUTE, probe_id: null });
    expect(blocked.evidence).toContain('lunch');
    expect(after(blocked, { type: 'release' })).toMatchObject({ state: 'open', reason: null, opens_at: null });
    const off = after(blocked, { type: 'off' });
    expect(off).toMatchObject({ state: 'off', blocked_at: null });
    expect(after(off, refusal({}), { type: 'release' }, { type: 'good', session_id: 's', started_at: NOW })).toBe(off);
    expect(mayStart(off, 's', NOW)).toBe('go');
    expect(after(off, { type: 'on' })).toMatchObject({ state: 'open' });
    // Whose guard is off heeds no block: off stays what it is, so that nothing of it is lost.
    expect(after(off, block, { type: 'block', opens_at: null, text: 'x' }, { type: 'release' })).toBe(off);
  });

  test('is not lifted by an answer to a session sent ahead of it; by its instant, or a release, it is', () => {
    const good = { type: 'good', session_id: 's', started_at: NOW } as const;
    for (const opens_at of [null, NOW + 2 * MINUTE]) {
      const blocked = after(pool(), { ...block, opens_at });
      const tried = after(blocked, { type: 'probe', session_id: 's' });
      expect([mayStart(tried, 's', NOW), mayStart(tried, 'x', NOW)]).toEqual(['go', 'park']);
      // The person's instant and words are as they were, and the next session may be sent ahead as well.
      const answered = after(tried, good);
      expect(answered).toEqual({ ...blocked, updated_at: NOW });
      expect(after(answered, { type: 'probe', session_id: 'x' })).toMatchObject({ state: 'probing', probe_id: 'x' });
      expect(after(tried, { type: 'probe_lost' })).toEqual(blocked);
      expect(after(answered, { type: 'release' })).toMatchObject({ state: 'open', evidence: null });
      const late = poolAfter(tried, good, NOW + 2 * MINUTE);
      expect(late.state).toBe(opens_at === null ? 'blocked' : 'open');
    }
  });

  test('makes nothing shorter that stands, and what stands longer stays the reason', () => {
    const brief = { type: 'block', opens_at: NOW + 1_000, text: 'a moment' } as const;
    const usage = after(pool(), refusal({ resets_at: NOW + 5 * MINUTE }), brief);
    expect(usage).toMatchObject({ state: 'blocked', reason: 'usage_limit', opens_at: NOW + 5 * MINUTE });
    expect(JSON.parse(usage.evidence ?? '')).toMatchObject({ kind: 'usage_limit', by: 'operator', until: NOW + 1_000 });
    expect(after(usage, { ...block, opens_at: NOW + DAY })).toMatchObject({ reason: 'operator', opens_at: NOW + DAY });
    const auth = after(pool(), refusal({ kind: 'auth' }), brief, { ...block, opens_at: null });
    expect(auth).toMatchObject({ state: 'blocked', reason: 'auth', opens_at: null });
    const own = after(pool(), { ...block, opens_at: null }, brief);
    expect(own).toMatchObject({ reason: 'operator', opens_at: null });
    expect(after(pool(), block, brief)).toMatchObject({ opens_at: NOW + MINUTE });
    expect(after(pool({ retry_at: NOW + DAY }), brief)).toMatchObject({ reason: 'operator', opens_at: NOW + DAY });
    expect(after(auth, { type: 'release' })).toMatchObject({ state: 'open', reason: null });
  });

  test('goes on beside a limit that lasts longer: before its instant no answer opens the pool, after it one does', () => {
    const answer = (row: PoolRow, now: number) => {
      const probe = poolAfter(row, { type: 'probe', session_id: 's' }, now);
      return poolAfter(probe, { type: 'good', session_id: 's', started_at: now }, now);
    };
    const limit = refusal({ resets_at: NOW + DAY });
    for (const both of [after(pool(), limit, block), after(pool(), block, limit)]) {
      expect(both).toMatchObject({ reason: 'usage_limit', opens_at: NOW + DAY });
      expect(answer(both, NOW + 1)).toMatchObject({ state: 'blocked', reason: 'usage_limit', opens_at: NOW + DAY });
      expect(answer(both, NOW + MINUTE)).toMatchObject({ state: 'open' });
    }
  });

  test('stands against refusals: of turns in flight, and of a session that was sent ahead of it', () => {
    for (const opens_at of [null, NOW + DAY]) {
      const blocked = after(pool(), { ...block, opens_at });
      expect(after(blocked, refusal({}))).toMatchObject({ reason: 'operator', opens_at });
      const tried = after(blocked, { type: 'probe', session_id: 's' }, refusal({ resets_at: NOW + MINUTE }));
      expect(tried).toMatchObject({ state: 'blocked', reason: 'operator', opens_at });
    }
  });
});

test('as what a session waits', () => {
  const words = ['usage_limit', 'quota_unknown', 'auth', 'operator', null, 'rate_limit', 'overloaded', 'network'];
  const expected = ['usage_limit', 'usage_limit', 'operator', 'operator', 'operator', 'rate_limit', 'rate_limit'];
  expect(words.map(parkedReasonOf)).toEqual([...expected, 'rate_limit'] as never[]);
});

const anyLimit = fc.record({
  kind: fc.constantFrom<Limit['kind']>('usage_limit', 'rate_limit', 'overloaded', 'auth', 'quota_unknown', 'network'),
  resets_at: fc.option(fc.integer({ min: NOW - DAY, max: NOW + 20 * DAY }), { nil: null }),
  retry_after_ms: fc.option(fc.nat(DAY), { nil: null }),
});
const session_id = fc.constantFrom('a', 'b', 'c');
type Make = (now: number) => PoolEvent;
const anyEvent: fc.Arbitrary<Make> = fc.oneof(
  fc.tuple(anyLimit, session_id, fc.nat(1_000), fc.double({ min: 0, max: 0.999, noNaN: true })).map(
    ([limit, id, age, random]): Make =>
      (now) =>
        refusal(limit, { session_id: id, started_at: now - age, random }),
  ),
  fc.tuple(session_id, fc.nat(1_000)).map(
    ([id, age]): Make =>
      (now) => ({ type: 'good', session_id: id, started_at: now - age }),
  ),
  session_id.map(
    (id): Make =>
      () => ({ type: 'probe', session_id: id }),
  ),
  fc.option(fc.nat(DAY), { nil: null }).map(
    (ms): Make =>
      (now) => ({ type: 'block', text: 't', opens_at: ms === null ? null : now + ms }),
  ),
  fc.constantFrom('probe_lost' as const, 'release' as const, 'off' as const, 'on' as const).map(
    (type): Make =>
      () => ({ type }),
  ),
);

test('whatever happens, at most one session probes, and the row keeps its pairings', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anyEvent, fc.nat(10 * MINUTE)), { maxLength: 40 }), (steps) => {
      let row = pool();
      let now = NOW;
      for (const [make, pause] of steps) {
        now += pause;
        const event = make(now);
        const before = row;
        row = poolAfter(row, event, now);
        expect((row.state === 'blocked' || row.state === 'probing') === (row.blocked_at !== null)).toBe(true);
        expect((row.state === 'probing') === (row.probe_id !== null)).toBe(true);
        if (before.state === 'probing' && row.state === 'probing') expect(row.probe_id).toBe(before.probe_id);
        const going = ['a', 'b', 'c'].filter((id) => mayStart(row, id, now) === 'go');
        if (row.blocked_at !== null) expect(going.length).toBeLessThanOrEqual(1);
        const isBlockKept = before.state === 'blocked' && row.state === 'blocked' && event.type === 'limit';
        // No refusal makes a block shorter, and one that knows no instant does not touch it.
        if (isBlockKept && before.opens_at !== null && row.opens_at !== null) {
          expect(row.opens_at).toBeGreaterThanOrEqual(before.opens_at);
          const { resets_at, retry_after_ms } = event.limit;
          if (resets_at === null && retry_after_ms === null) expect(row.opens_at).toBe(before.opens_at);
        }
        if (isBlockKept && before.opens_at === null) expect(row.opens_at).toBeNull();
        if (row.opens_at !== null && row !== before) expect(row.opens_at - now).toBeLessThanOrEqual(8 * DAY);
      }
    }),
    { numRuns: 500 },
  );
});

test("whatever happens, a person's block stands until its instant, unless a person says otherwise", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anyEvent, fc.nat(10 * MINUTE)), { maxLength: 40 }), (steps) => {
      let row = pool();
      let now = NOW;
      let until = 0;
      for (const [make, pause] of steps) {
        now += pause;
        const event = make(now);
        const before = row;
        row = poolAfter(row, event, now);
        if (event.type === 'block' && before.state !== 'off')
          until = Math.max(until, event.opens_at ?? Number.POSITIVE_INFINITY);
        if (event.type === 'release' || event.type === 'off' || event.type === 'on') until = 0;
        if (until > now) expect(row.blocked_at).not.toBeNull();
        if (event.type === 'block' && before.blocked_at !== null)
          expect(row.opens_at ?? Number.POSITIVE_INFINITY).toBeGreaterThanOrEqual(
            before.opens_at ?? Number.POSITIVE_INFINITY,
          );
      }
    }),
    { numRuns: 500 },
  );
});
