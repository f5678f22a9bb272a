import { beforeAll, expect, test } from 'bun:test';
import type { MailRow } from '../../src/model/mail.ts';
import type { PoolUse } from '../../src/store/pool.ts';
import { type Bench, DROVER, droverBench } from '../support/drover.ts';
import { errorOf, peek, refused, rehearse, sessionOf, turnDir, turnsOf, untilState } from '../support/peek.ts';
import { until } from '../support/until.ts';

const POOLS = ['wall', 'login', 'hand', 'first', 'over', 'rights', 'off'];
const DONE = { turns: [[{ say: 'done' }]] };

let bench: Bench;

beforeAll(() => {
  const profiles = Object.fromEntries(POOLS.map((pool) => [pool, { pool }]));
  const limits = { stagger_ms: 400, usage_wait_ms: 1_500 };
  bench = droverBench({ config: { profiles, limits, turn: { max_attempts: 2, backoff_ms: 50 } } });
});

/** A session that shares the credential `pool`. */
const start = (pool: string, name: string, script: unknown) => rehearse(bench, name, script, ['--profile', pool]);
const poolOf = async (name: string): Promise<PoolUse> => {
  const { pools } = await bench.json<{ pools: PoolUse[] }>(['pools']);
  const pool = pools.find((each) => each.name === name);
  if (pool === undefined) throw new Error(`no pool ${name}`);
  return pool;
};
const untilParked = (name: string) => untilState(bench, name, 'parked');
const outcomes = (name: string) => turnsOf(bench, name).map(({ outcome }) => outcome);

test('one session meets a limit: all wait, one tries, a false reset costs one call, then the others follow one by one', async () => {
  const limit = { limit: { kind: 'usage_limit', message: 'all spent', resets_in_ms: 12_000 } };
  // The first reset that was told is false; after it nobody says when.
  await start('wall', 'wall-1', {
    turns: [[{ say: 'hi' }, limit], [{ say: 'again' }, { limit: 'usage_limit' }], [{ say: 'rich' }]],
  });
  await untilParked('wall-1');
  for (const name of ['wall-2', 'wall-3']) await start('wall', name, DONE);
  for (const name of ['wall-2', 'wall-3']) expect((await untilParked(name)).parked_pool).toBe('wall');
  expect(await poolOf('wall')).toMatchObject({
    state: 'blocked',
    reason: 'usage_limit',
    live_count: 3,
    parked_count: 3,
  });
  expect((await bench.run(['status'])).stdout).toMatch(/wall-2 .*usage_limit, pool wall opens in \d+s/);
  expect((await bench.run(['show', 'wall-3'])).stdout).toMatch(
    /Pool +wall {2}blocked, usage_limit: all spent, opens in/,
  );
  expect((await bench.run(['pools'])).stdout).toMatch(/wall +blocked +3 +3 +usage_limit: all spent, opens in/);
  expect((await bench.run(['wait', 'wall-2'])).code).toBe(75);
  for (const name of ['wall-1', 'wall-2', 'wall-3']) await untilState(bench, name, 'completed', 40_000);
  expect(['wall-1', 'wall-2', 'wall-3'].map(outcomes)).toEqual([
    ['limited', 'limited', 'completed'],
    ['completed'],
    ['completed'],
  ]);
  const opened = turnsOf(bench, 'wall-1')[2]?.started_at ?? 0;
  const [second, third] = ['wall-2', 'wall-3'].map((name) => turnsOf(bench, name)[0]?.started_at ?? 0) as [
    number,
    number,
  ];
  expect(second).toBeGreaterThan(opened);
  expect(third - second).toBeGreaterThan(200);
  expect(['wall-1', 'wall-2', 'wall-3'].map((name) => sessionOf(bench, name).attempt)).toEqual([0, 0, 0]);
  expect(await poolOf('wall')).toMatchObject({ state: 'open', strikes: 0 });
  expect((await bench.run(['logs', 'wall-1'])).stdout).toContain('pool wall: blocked (usage_limit)');
}, 90_000);

test('a refused login parks every session until a person acts, and tells that person once', async () => {
  const script = {
    turns: [[{ say: 'hi' }, { limit: { kind: 'auth', status: 401, message: 'log in' } }], [{ say: 'in' }]],
  };
  await start('login', 'login-1', script);
  await untilParked('login-1');
  await start('login', 'login-2', DONE);
  for (const name of ['login-1', 'login-2'])
    expect(await untilParked(name)).toMatchObject({ parked_reason: 'operator', parked_pool: 'login', resume_at: null });
  const told = () => peek<MailRow>(bench, "SELECT * FROM mail WHERE to_id IS NULL AND subject LIKE '%pool login%'");
  expect(told().map(({ type, subject }) => [type, subject])).toEqual([
    ['escalation', 'The login of pool login is refused; then: drover pools release login'],
  ]);
  expect((await bench.run(['status'])).stdout).toContain('operator, pool login until: drover pools release login');
  const released = await bench.json(['pools', 'release', 'login']);
  expect(released).toMatchObject({ changed: true, prev: 'blocked', pool: { state: 'open' } });
  for (const name of ['login-1', 'login-2']) await untilState(bench, name, 'completed');
  expect(told()).toHaveLength(1);
  expect((await bench.run(['pools', 'release', 'login'])).stdout).toBe('login: already open\n');
}, 60_000);

test('a person blocks a pool for a while or until released, and words that make no sense are refused', async () => {
  const blocked = await bench.json(['pools', 'block', 'hand', '--reason', 'lunch']);
  expect(blocked).toMatchObject({ prev: 'open', pool: { state: 'blocked', reason: 'operator', opens_at: null } });
  await start('hand', 'hand-1', DONE);
  expect(await untilParked('hand-1')).toMatchObject({ turn: 0, parked_reason: 'operator' });
  expect((await bench.run(['pools'])).stdout).toContain('operator: lunch, until: drover pools release hand');
  const until_at = new Date(Date.now() + 3_600_000).toISOString();
  const shorter = await bench.run(['pools', 'block', 'hand', '--until', until_at]);
  expect(shorter.stdout).toContain('to make it shorter: drover pools release hand');
  expect(await poolOf('hand')).toMatchObject({ state: 'blocked', opens_at: null });
  await bench.run(['stop', 'hand-1']);
  await bench.json(['pools', 'release', 'hand']);
  const short = await bench.json<{ pool: { opens_at: string } }>(['pools', 'block', 'hand', '--for', '1s']);
  await start('hand', 'hand-2', DONE);
  const blockUntil = ['pools', 'block', 'login', '--until', until_at];
  expect(await bench.json(blockUntil)).toMatchObject({ changed: true, pool: { opens_at: until_at } });
  await bench.json(['pools', 'release', 'login']);
  await untilState(bench, 'hand-2', 'completed');
  expect(turnsOf(bench, 'hand-2')[0]?.started_at).toBeGreaterThanOrEqual(Date.parse(short.pool.opens_at));
  const unknown = await refused(bench, ['pools', 'block', 'nobody'], [4, 'pool_not_found']);
  expect(unknown.data?.known).toEqual(expect.arrayContaining(['claude', 'hand', 'wall']));
  for (const args of [
    ['--for', 'soon'],
    ['--for', '0s'],
    ['--until', 'noon'],
    ['--until', '2020-01-01'],
    ['--for', '1h', '--until', until_at],
  ])
    await refused(bench, ['pools', 'block', 'hand', ...args], [2, 'usage']);
}, 60_000);

test('who is resumed by a person tries first; a second one waits, and all of them may be asked for', async () => {
  const file = `${bench.home}/go-first`;
  const held = { turns: [[{ wait_for_file: file }, { say: 'done' }]] };
  await bench.json(['pools', 'block', 'first']);
  for (const name of ['first-1', 'first-2']) await start('first', name, held);
  for (const name of ['first-1', 'first-2']) await untilParked(name);
  expect((await bench.run(['resume', 'first-2'])).stdout).toBe('first-2: parked → queued\n');
  const error = await refused(bench, ['resume', 'first-1'], [3, 'pool_probing']);
  expect(error.recovery_commands).toContain('drover pools release first');
  const all = await bench.json<{ resumed: unknown[]; waiting: { name: string }[] }>(['resume', '--all']);
  expect([all.resumed, all.waiting.map(({ name }) => name)]).toEqual([[], ['first-1']]);
  expect(await poolOf('first')).toMatchObject({ state: 'probing', probe_name: 'first-2' });
  await Bun.write(file, '');
  await untilState(bench, 'first-2', 'completed');
  // One session was let through, the person's block was not.
  expect(await poolOf('first')).toMatchObject({
    state: 'blocked',
    reason: 'operator',
    opens_at: null,
    parked_count: 1,
  });
  expect(sessionOf(bench, 'first-1')).toMatchObject({ state: 'parked', turn: 0 });
  await bench.json(['pools', 'release', 'first']);
  await untilState(bench, 'first-1', 'completed');
}, 60_000);

test("a person's block over a limit keeps the later instant, and its sessions show what holds the pool now", async () => {
  const limit = { limit: { kind: 'usage_limit', message: 'all spent', resets_in_ms: 3_600_000 } };
  await start('over', 'over-1', { turns: [[{ say: 'hi' }, limit], [{ say: 'in' }]] });
  await untilParked('over-1');
  const { opens_at } = await poolOf('over');
  const short = await bench.json(['pools', 'block', 'over', '--for', '1s']);
  expect(short).toMatchObject({ prev: 'blocked', pool: { state: 'blocked', reason: 'usage_limit', opens_at } });
  await bench.json(['pools', 'block', 'over', '--for', '5h']);
  expect((await bench.run(['status'])).stdout).toMatch(/over-1 .*operator, pool over opens in [45]h/);
  expect((await bench.run(['show', 'over-1'])).stdout).toMatch(/operator, pool over opens in [45]h/);
  await bench.json(['pools', 'release', 'over']);
  await untilState(bench, 'over-1', 'completed');
}, 60_000);

test('a session may look at the pools and change none', async () => {
  const run = (args: string) => ({
    run: { command: `${DROVER} ${args} --json > $PWD/said-${args.replaceAll(' ', '-')}` },
  });
  await start('rights', 'rights-1', { turns: [[run('pools list'), run('pools off rights'), { say: 'done' }]] });
  await untilState(bench, 'rights-1', 'completed');
  expect((await Bun.file(`${bench.repo}/said-pools-list`).json()).ok).toBe(true);
  const refusal = errorOf({
    code: 3,
    stdout: await Bun.file(`${bench.repo}/said-pools-off-rights`).text(),
    stderr: '',
  });
  expect(refusal.code).toBe('not_allowed');
  expect(await bench.json(['pools', 'on', 'rights'])).toMatchObject({ changed: false });
}, 60_000);

test('with its guard off every session of a pool waits for itself', async () => {
  await bench.json(['pools', 'off', 'off']);
  const limit = { limit: { kind: 'usage_limit', resets_in_ms: 60_000 } };
  await start('off', 'off-1', { turns: [[{ say: 'hi' }, limit]] });
  const row = await untilParked('off-1');
  expect([row.parked_pool, row.resume_at === null]).toEqual([null, false]);
  await start('off', 'off-2', DONE);
  await untilState(bench, 'off-2', 'completed');
  const error = await refused(bench, ['pools', 'block', 'off', '--for', '1h'], [3, 'pool_off']);
  expect(error).toMatchObject({ recovery_commands: ['drover pools on off'], preserved: 'nothing was changed' });
  expect(await poolOf('off')).toMatchObject({ state: 'off', opens_at: null });
  expect(await bench.json(['pools', 'on', 'off'])).toMatchObject({ prev: 'off', pool: { state: 'open' } });
  await bench.run(['stop', 'off-1']);
}, 60_000);

test('a supervisor that dies while a pool is blocked changes nothing: the next one sends the probe', async () => {
  await bench.json(['pools', 'block', 'hand', '--for', '6s']);
  await start('hand', 'hand-3', DONE);
  await untilParked('hand-3');
  expect((await bench.run(['down'])).code).toBe(0);
  await until(
    'the time has come',
    async () => Date.parse((await poolOf('hand')).opens_at as unknown as string) < Date.now(),
    20_000,
  );
  expect((await bench.run(['up'])).code).toBe(0);
  await untilState(bench, 'hand-3', 'completed');
  expect(turnDir(bench, 'hand-3', 1)).toContain('turns/1');
}, 60_000);
