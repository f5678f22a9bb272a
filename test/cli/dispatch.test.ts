import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import type { SessionRow } from '../../src/model/session.ts';
import { insertDispatch } from '../../src/store/dispatch.ts';
import { ensureRun } from '../../src/store/run.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { seedSession, takeTurn, testStore } from '../support/store.ts';

const quiet = () => droverBench({ config: { default_harness: 'rehearsal', watchdog: { enabled: false } } });
const refused = async (bench: Bench, args: string[], code: number) =>
  (await bench.json<{ error: { code: string } }>(['dispatch', ...args], code)).error.code;

test('a mistake in a request is told, and nothing is stored (E-061)', async () => {
  const bench = quiet();
  const bad: [string[], string, number?][] = [
    [['add'], 'usage'],
    [['add', 't', '--computer-use', 'g'], 'usage'],
    [['add', 't', '--url', 'https://example.test'], 'usage'],
    [['add', 't', '--priority', 'soon'], 'usage'],
    [['add', ' '], 'task_empty'],
    [['add', '--computer-use', ' '], 'goal_empty'],
    [['add', '--computer-use', 'g', '--url', 'not one'], 'url_invalid'],
    [['add', 't', '--profile', 'nope'], 'unknown_profile'],
    [['add', 't', '--harness', 'nope'], 'unknown_harness'],
    [['add', 't', '--to', 'nobody'], 'session_not_found', 4],
    [['list', '--limit', '0'], 'usage'],
  ];
  for (const [args, code, exit = 2] of bad) expect([args, await refused(bench, args, exit)]).toEqual([args, code]);
  expect(await bench.json(['dispatch', 'list', '--all'])).toMatchObject({ requests: [] });
  expect((await bench.run(['dispatch'])).stdout).toContain('no requests wait');
}, 60_000);

test('a request is stored and started by the supervisor; run and list tell of it (E-064, E-069)', async () => {
  const bench = quiet();
  const { request } = await bench.json<{ request: { id: string } }>([
    ...['dispatch', 'add', 'count the sheep', '--priority', 'urgent', '--source', 'phone', '--requester', 'ann'],
    ...['--label', 'farm', '--group', 'evening'],
  ]);
  expect(request).toMatchObject({
    ...{ state: 'pending', priority: 'critical', source: 'phone', requester: 'ann', kind: 'standard' },
    ...{ project: 'farm', task_group: 'evening' },
  });
  const deadline = performance.now() + 20_000;
  let row: { state?: string; result_session_id?: string } = {};
  while (row.state !== 'dispatched' && performance.now() < deadline) {
    const { requests } = await bench.json<{ requests: (typeof row)[] }>(['dispatch', 'list', '--all']);
    row = requests[0] ?? {};
  }
  expect(row).toMatchObject({ state: 'dispatched', result_action: 'spawned_top_level' });
  const session = await bench.until(row.result_session_id ?? '', ({ state }) => state === 'completed');
  expect(session).toMatchObject({ project: 'farm', task_group: 'evening', task: 'count the sheep' });
  expect(await bench.json(['dispatch', 'run'])).toMatchObject({ outcomes: [] });
  expect((await bench.run(['dispatch', 'list', '--all'])).stdout).toMatch(/critical +dispatched .*spawned_top_level/);
}, 60_000);

test('run processes what waits in its own process, and preview says what would be done (E-069, E-099)', async () => {
  const bench = quiet();
  expect(await bench.json(['dispatch', 'preview'])).toMatchObject({ previews: [] });
  expect(existsSync(bench.drover_home)).toBe(false);
  const world = await testStore();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const wish = { ...{ target_session_id: null, target_url: null, harness: null, profile_name: null, worktree: 0 } };
  const place = { repo_root: bench.repo, working_dir: bench.repo, project: 'p', task_group: 'g', requester: null };
  const waiting = (id: string, working_dir: string) =>
    insertDispatch(
      world.store,
      { ...wish, ...place, id, kind: 'standard', task: id, priority: 'high', source: 'cli', working_dir },
      1,
    );
  await waiting('request-a', '/nowhere');
  await waiting('request-b', bench.repo);
  expect(await bench.json(['dispatch', 'preview'])).toMatchObject({
    previews: [
      { request_id: 'request-a', error: 'No such directory: /nowhere' },
      { request_id: 'request-b', error: null, session_id: null, action: 'spawned' },
    ],
  });
  expect(await bench.json(['dispatch', 'run', '--limit', '1'])).toMatchObject({
    outcomes: [{ request_id: 'request-a', action: { type: 'failed', details: 'No such directory: /nowhere' } }],
  });
  const ran = await bench.run(['dispatch', 'run']);
  expect(ran.stdout).toMatch(/^request-b +spawned_top_level agent-\w+ +request-b$/m);
  for (const args of [['stop', '--all'], ['down']]) await bench.run(args);
}, 60_000);

test('a session, of a role that may start others too, asks for no work and keeps no schedules; it may look', async () => {
  const bench = quiet();
  const world = await testStore();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const row = await seedSession(world, { role: 'lead', repo_root: bench.repo, working_dir: bench.repo });
  const { token } = await takeTurn(world, row.id);
  Object.assign(bench.env, { DROVER_TOKEN: token, DROVER_SESSION_ID: row.id });
  for (const args of [
    ['dispatch', 'add', 't'],
    ['dispatch', 'run'],
    ['schedule', 'add', '--cron', '* * * * *', 't'],
    ['schedule', 'run', 'x'],
    ['schedule', 'enable', 'x'],
    ['schedule', 'disable', 'x'],
    ['schedule', 'rm', 'x'],
  ])
    expect(await bench.json<{ error: { code: string } }>(args, 3)).toMatchObject({ error: { code: 'not_allowed' } });
  expect(await bench.json(['schedule', 'list'])).toMatchObject({ schedules: [] });
  expect(await bench.json(['dispatch', 'list', '--all'])).toMatchObject({ requests: [] });
  expect(await bench.json(['dispatch', 'preview'])).toMatchObject({ previews: [] });
}, 60_000);

test('a session starts others in its own run, and in no other one: what it starts is within the budget of its run', async () => {
  const bench = quiet();
  const world = await testStore();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const place = { role: 'lead', repo_root: bench.repo, working_dir: bench.repo };
  const run_id = await world.store.write((tx) => ensureRun(tx, 'night', world.clock.now()));
  const [bound, free] = [await seedSession(world, { ...place, run_id }), await seedSession(world, place)];
  const [token, other] = [(await takeTurn(world, bound.id)).token, (await takeTurn(world, free.id)).token];
  const as = (row: SessionRow, secret: string) =>
    Object.assign(bench.env, { DROVER_TOKEN: secret, DROVER_SESSION_ID: row.id });
  const sling = (run: string, code = 0) =>
    bench.json<{ session: SessionRow; error: { code: string } }>(['sling', '--run', run, 'mow'], code);
  as(free, other);
  expect((await sling('night', 3)).error.code).toBe('run_not_own');
  as(bound, token);
  expect((await sling('fresh', 3)).error).toMatchObject({ code: 'run_not_own', preserved: 'nothing was stored' });
  expect((await sling('night')).session).toMatchObject({ run_id, parent_id: bound.id });
  expect(await world.store.read((tx) => tx.all('SELECT name FROM runs'))).toEqual([{ name: 'night' }]);
  for (const name of ['DROVER_TOKEN', 'DROVER_SESSION_ID']) delete bench.env[name];
  for (const args of [['stop', '--all'], ['down']]) await bench.run(args);
}, 60_000);
