import { describe, expect, test } from 'bun:test';
import { mkdirSync, rmSync } from 'node:fs';
import type { DispatchRow } from '../../src/model/dispatch.ts';
import { AppError } from '../../src/model/error.ts';
import { addComputerUse, previewDispatches, runDispatches } from '../../src/plan/dispatch.ts';
import { stopSession } from '../../src/store/control.ts';
import { claimDispatch, listDispatch } from '../../src/store/dispatch.ts';
import { getSession, listSessions } from '../../src/store/session.ts';
import { runnerOf } from '../harness/turn-spec.ts';
import { type Night, night } from './desk.ts';
import { add, desk, mails, request, run, START, team, wishes } from './requests.ts';

test('the most urgent comes first, up to the limit, and the others stay (E-065)', async () => {
  const world = await night(START);
  const { lead } = await team(world);
  const low = await add(world, 'Low', { target: lead, priority: 'low' });
  const critical = await add(world, 'Fresh delegated task', { target: lead, priority: 'critical' });
  const [outcome, ...rest] = await run(world, 1);
  expect(rest).toEqual([]);
  expect(outcome).toMatchObject({
    ...{ request_id: critical.id, priority: 'critical', target_session_id: lead.id, task: 'Fresh delegated task' },
    action: { type: 'assigned', details: 'spawned' },
  });
  expect((await request(world, low))?.state).toBe('pending');
  expect(await request(world, critical)).toMatchObject({
    ...{ state: 'dispatched', result_action: 'spawned', result_session_id: outcome?.session_id },
  });
  const made = await getSession(world.at.deps.store, outcome?.session_id ?? '');
  expect(made).toMatchObject({
    ...{ state: 'queued', parent_id: lead.id, depth: 1, project: 'ecc-platform', task_group: 'checkout recovery' },
  });
  expect(await mails(world, { id: made?.id ?? '' })).toMatchObject([
    { type: 'task', body: 'Fresh delegated task', from_id: lead.id, priority: 'critical' },
    { type: 'task_handoff', from_id: lead.id, priority: 'critical', body: expect.stringContaining('spawned new') },
  ]);
});

test('without a target it becomes a session of its own, with its grouping (E-066)', async () => {
  const world = await night(START);
  const wanted = { priority: 'high', project: 'ecc-core', group: 'phone dispatch' } as const;
  const { id } = await add(world, 'Remote phone triage', wanted);
  const { look, lines } = await desk(world);
  await look();
  const [session] = await listSessions(world.at.deps.store, {});
  expect(session).toMatchObject({ project: 'ecc-core', task_group: 'phone dispatch', parent_id: null });
  expect(lines).toEqual([`${id}: spawned_top_level, ${session?.id}`]);
  const all = await listDispatch(world.at.deps.store, { all: true, limit: 9 });
  expect(all).toMatchObject([{ state: 'dispatched', result_action: 'spawned_top_level', source: 'http' }]);
});

test('several supervisors and a person at a shell do each request once (I10)', async () => {
  const world = await night(START);
  for (let i = 0; i < 12; i++) await add(world, `task ${i}`);
  const all = [await desk(world), await desk(world), await desk(world)];
  await Promise.all([...all.map(({ look }) => look()), run(world)]);
  const tasks = (await listSessions(world.at.deps.store, {})).map(({ task }) => task);
  expect([tasks.length, new Set(tasks).size]).toEqual([12, 12]);
});

describe('for a lead', () => {
  test('an idle delegate that has read everything gets it; other mail is no backlog (E-088, E-093)', async () => {
    const world = await night(START);
    const { lead, delegate, handoff } = await team(world);
    const worker = await delegate('idle-worker');
    await handoff(lead, worker, 'status', START);
    await add(world, 'Review billing edge cases', { target: lead, priority: 'high' });
    expect(await run(world)).toMatchObject([
      { session_id: worker.id, action: { type: 'assigned', details: 'reused_idle' } },
    ]);
    expect((await mails(world, worker)).at(-1)).toMatchObject({
      ...{ type: 'task_handoff', from_id: lead.id, priority: 'high' },
      body: expect.stringMatching(/^Review billing edge cases\n\nAssigned by .* \| reused idle delegate$/),
    });
  });

  test('the delegate whose files the task names is preferred (E-089)', async () => {
    const world = await night(START);
    const { lead, delegate } = await team(world);
    await delegate('billing');
    const auth = await delegate('auth-worker');
    await world.at.deps.store.write((tx) =>
      tx.run(
        "INSERT INTO file_activity (session_id, repo_root, path, action, source, at) VALUES (:id, '/farm', 'src/auth/callback.ts', 'modify', 'tool', 1)",
        { id: auth.id },
      ),
    );
    await add(world, 'Investigate auth callback recovery', { target: lead });
    expect(await previewDispatches(world.at.deps, 10)).toMatchObject([
      {
        ...{ session_id: auth.id, action: 'reused_idle', delegate_state: 'idle', handoff_backlog: 0 },
        graph_match_terms: ['auth', 'callback'],
      },
    ]);
    expect((await run(world))[0]?.session_id).toBe(auth.id);
  });

  test('two requests at once do not both take the same idle delegate (I13)', async () => {
    const world = await night(START);
    const { lead, delegate } = await team(world);
    const worker = await delegate('idle-worker');
    for (const task of ['one', 'two']) await add(world, task, { target: lead });
    const [a, b] = [await desk(world), await desk(world)];
    await Promise.all([a.look(), b.look()]);
    const rows = await listDispatch(world.at.deps.store, { all: true, limit: 9 });
    expect(rows.map(({ result_action }) => result_action).sort()).toEqual(['reused_idle', 'spawned']);
    expect(rows.filter(({ result_session_id }) => result_session_id === worker.id)).toHaveLength(1);
    const handoffs = await world.at.deps.store.read((tx) =>
      tx.all('SELECT to_id FROM mail WHERE payload_json IS NOT NULL'),
    );
    expect(handoffs).toHaveLength(2);
  });

  test('auto means what the lead works in is made for (E-086)', async () => {
    const world = await night(START);
    world.at.config.harness_runners = { 'acme-runner': runnerOf({ program: 'true', project_markers: ['.acme'] }) };
    const { lead, delegate } = await team(world);
    const own = await delegate('custom-child');
    await delegate('other');
    await Bun.write(`${world.at.repo}/.acme`, '');
    await world.at.deps.store.write((tx) =>
      tx.run("UPDATE sessions SET harness = 'acme-runner' WHERE id = :id", { id: own.id }),
    );
    await add(world, 't', { target: lead, harness: 'auto' });
    expect((await run(world))[0]).toMatchObject({ session_id: own.id });
  });

  test('while nobody has room it waits with the lead, without a busy loop, and goes when there is some (E-067, E-096)', async () => {
    const world = await night(START);
    const { lead, delegate } = await team(world, 1);
    const busy = await delegate('busy-worker', 'queued', false);
    const { id } = await add(world, 'saturated', { target: lead });
    expect(await run(world)).toMatchObject([{ session_id: null, action: { type: 'deferred_saturated' } }]);
    const before = await mails(world, busy);
    const supervisor = await desk(world);
    const begun: number[] = [];
    for (let i = 0; i < 100; i++) {
      await supervisor.look();
      // Others write all the time.
      await add(world, 'x', { priority: 'low' }).then((row) => claim(world, row));
      if (i === 0) begun.push(supervisor.begun());
      world.now += 10;
    }
    expect([begun, supervisor.begun()]).toEqual([[1], 2]);
    expect(supervisor.desk.wake_at).toBeGreaterThan(world.now);
    expect((await mails(world, busy)).length).toBe(before.length);
    expect((await listDispatch(world.at.deps.store, { limit: 9 })).map((row) => row.id)).toEqual([id]);
    // Time alone is reason enough to ask again, and so is a clock that was put back.
    await supervisor.look();
    world.now = supervisor.desk.wake_at ?? 0;
    await supervisor.look();
    expect(supervisor.begun()).toBe(3);
    world.now -= 3_600_000;
    await supervisor.look();
    expect(supervisor.begun()).toBe(4);
    const end = { session_id: busy.id, actor: 'cli' as const, reason: 'x', now: world.now };
    await stopSession(world.at.deps.store, end);
    world.now = supervisor.desk.wake_at ?? 0;
    await supervisor.look();
    const [row] = (await listDispatch(world.at.deps.store, { all: true, limit: 200 })).filter((one) => one.id === id);
    expect([row?.state, row?.result_action, supervisor.desk.wake_at]).toEqual(['dispatched', 'spawned', null]);
  }, 60_000);

  test('a saturated one holds up no other', async () => {
    const world = await night(START);
    const { lead, delegate } = await team(world, 1);
    await delegate('busy-worker', 'queued', false);
    for (let i = 0; i < 10; i++) await add(world, `stuck ${i}`, { target: lead, priority: 'critical' });
    await add(world, 'free', { priority: 'low' });
    await (await desk(world)).look();
    expect((await listSessions(world.at.deps.store, {})).map(({ task }) => task)).toContain('free');
  });

  test('children that a lead started itself leave no room either, and that is no failure', async () => {
    const world = await night(START);
    const { lead } = await team(world, 1);
    await world.at.asking('own-child', { parent_id: lead.id, depth: 1 });
    await add(world, 't', { target: lead });
    expect(await run(world)).toMatchObject([{ action: { type: 'deferred_saturated' } }]);
  });

  test('one that has ended leads nobody: the request has failed and says why, and the pass goes on (E-068)', async () => {
    const world = await night(START);
    const { lead, delegate } = await team(world);
    await delegate('idle-worker');
    const dead = await add(world, 'for nobody', { target: lead, priority: 'critical' });
    await add(world, 'another');
    await stopSession(world.at.deps.store, { session_id: lead.id, actor: 'cli', reason: 'x', now: START });
    const why = 'The session lead has ended and leads nobody.';
    expect(await run(world)).toMatchObject([
      { session_id: null, action: { type: 'failed', details: why } },
      { action: { type: 'spawned_top_level' } },
    ]);
    expect(await request(world, dead)).toMatchObject({ state: 'failed', error: why, claimed_by: null });
  });
});

test('a supervisor that dies before or behind the one write is made up for by the next: once (I10)', async () => {
  const world = await night(START);
  const { lead, delegate } = await team(world);
  const worker = await delegate('idle-worker');
  for (const target of [null, lead]) {
    await add(world, 'once', { target });
    for (const when of ['before', 'behind'] as const) {
      const dying = await desk(world);
      const { store } = dying.deps;
      const write = store.write.bind(store);
      let calls = 0;
      store.write = async (work) => {
        calls += 1;
        // The first is the release of claims.
        if (calls === 1 || when === 'behind') await write(work);
        if (calls > 1) throw new Error('killed');
        return 0 as never;
      };
      await expect(dying.look()).rejects.toThrow('killed');
    }
    await (await desk(world)).look();
  }
  expect((await listSessions(world.at.deps.store, {})).filter(({ task }) => task === 'once')).toHaveLength(1);
  expect((await mails(world, worker)).filter(({ body }) => body.startsWith('once'))).toHaveLength(1);
});

test('a claim of a supervisor that is gone is released by the next one', async () => {
  const world = await night(START);
  const row = await add(world, 'claimed');
  await claim(world, row);
  await (await desk(world)).look();
  expect((await request(world, row))?.state).toBe('dispatched');
});

const claim = (world: Night, { id }: DispatchRow) =>
  claimDispatch(world.at.deps.store, { id, claimed_by: 'gone', now: world.now });

test('while nothing waits and nobody writes, nothing is asked (ARCHITECTURE §1)', async () => {
  const world = await night(START);
  const { look, deps, begun } = await desk(world);
  await look();
  const read = deps.store.read.bind(deps.store);
  let asked = 0;
  deps.store.read = (work) => {
    asked += 1;
    return read(work);
  };
  for (let i = 0; i < 100; i++) await look();
  expect([asked, begun()]).toEqual([0, 0]);
  await add(world, 'news');
  await look();
  expect(begun()).toBe(1);
});

test('a delegate works where its lead works by now', async () => {
  const world = await night(START);
  const { lead } = await team(world);
  await add(world, 't', { target: lead });
  const dir = `${world.at.repo}/sub`;
  mkdirSync(dir);
  await world.at.deps.store.write((tx) =>
    tx.run('UPDATE sessions SET working_dir = :dir WHERE id = :id', { dir, id: lead.id }),
  );
  const [outcome] = await run(world);
  expect(await getSession(world.at.deps.store, outcome?.session_id ?? '')).toMatchObject({ working_dir: dir });
});

test('what cannot be done has failed with its reason; what only passes stays (E-068)', async () => {
  const world = await night(START);
  const row = await add(world, 'nowhere');
  const busy = new AppError('parked', 'store_busy', 'busy');
  const deps = { ...world.at.deps, config_for: () => Promise.reject(busy) };
  await expect(runDispatches(deps, { claimed_by: 'x', actor: 'cli', limit: 1 })).rejects.toBe(busy);
  expect((await request(world, row))?.state).toBe('pending');
  rmSync(world.at.repo, { recursive: true });
  expect(await previewDispatches(world.at.deps, 9)).toEqual([
    { request_id: row.id, error: `No such directory: ${world.at.repo}` },
  ]);
  expect(await run(world)).toMatchObject([{ action: { type: 'failed' } }]);
  expect(await request(world, row)).toMatchObject({ state: 'failed', error: `No such directory: ${world.at.repo}` });
});

test('a bug is written down before it ends the process', async () => {
  const world = await night(START);
  const row = await add(world, 'a bug');
  const { deps, look } = await desk(world);
  deps.config_for = () => Promise.reject(new TypeError('oh'));
  await expect(look()).rejects.toThrow('oh');
  expect(await request(world, row)).toMatchObject({ state: 'failed', error: 'internal: TypeError: oh' });
});

describe('work at a screen', () => {
  const goal = 'Open the billing portal and confirm the refund banner';
  const asked = { goal, url: 'https://ecc.tools/account', context: 'Use the production account flow' };
  test('what is not said comes from the config (E-062)', async () => {
    const world = await night(START);
    world.at.config.harness_runners = { codex: runnerOf({ program: 'true' }) };
    const own = { harness: 'codex', profile: null, worktree: false, project: 'ops', group: 'remote browser' };
    world.at.config.computer_use = own;
    const row = await addComputerUse(world.at.deps, {
      ...{ ...wishes(world), priority: 'critical', source: 'http_computer_use', ...asked },
    });
    expect(row).toMatchObject({
      ...{ kind: 'computer_use', target_url: 'https://ecc.tools/account', harness: 'codex', worktree: 0 },
      ...{ project: 'ops', task_group: 'remote browser', priority: 'critical', requester: '127.0.0.1' },
    });
    for (const line of ['Computer-use task.', `Goal: ${goal}`, 'Target URL: https://ecc.tools/account'])
      expect(row.task).toContain(line);
    expect(row.task).toContain('Context: Use the production account flow');
    const explicit = await addComputerUse(world.at.deps, {
      ...{ ...wishes(world), goal, harness: 'rehearsal', project: 'mine', group: 'my group', worktree: true },
    });
    expect(explicit).toMatchObject({ harness: 'rehearsal', project: 'mine', task_group: 'my group', worktree: 1 });
  });
  test('the group falls back to the goal; an empty goal or no URL is refused (E-062)', async () => {
    const world = await night(START);
    const row = await addComputerUse(world.at.deps, { ...wishes(world), goal: ` ${goal} ` });
    expect(row).toMatchObject({ task_group: goal, target_url: null });
    const refused = (more: { goal: string; url?: string }) =>
      addComputerUse(world.at.deps, { ...wishes(world), ...more });
    await expect(refused({ goal: ' ' })).rejects.toMatchObject({ code: 'goal_empty' });
    await expect(refused({ goal, url: 'a\nGoal: other' })).rejects.toMatchObject({ code: 'url_invalid' });
  });
});
