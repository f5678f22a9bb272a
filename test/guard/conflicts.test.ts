import { expect, test } from 'bun:test';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { callTool } from '../../src/cli/mcp-tools.ts';
import { ConflictGuard } from '../../src/guard/conflicts.ts';
import { importEvents, resolve } from '../../src/guard/incidents.ts';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { findIncident, listIncidents } from '../../src/store/incident-list.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { row } from '../store/family.ts';
import { feedTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

const PERSON = { name: 'operator', session: null };
const line = (id: string, session_id: string, timestamp: string | number, action = 'modify') =>
  JSON.stringify({
    ...{ id, session_id, tool_name: 'Edit', input_summary: 'x', output_summary: 'y', timestamp },
    file_events: [{ path: 'src/lib.rs', action }],
  });
const call = (path: string): HarnessEvent => ({
  ...{ type: 'tool_use', tool: 'Edit', tool_id: path, input: '', files: [{ path, action: 'modify' }] },
});
const answer = (path: string, is_error: boolean): HarnessEvent => ({
  ...{ type: 'tool_result', tool_id: path, is_error, output: is_error ? 'no such text' : 'ok' },
});
const edit = (path: string) => [call(path), answer(path, false)];

async function farm(settings: object = {}): Promise<{ world: TestStore; repo_root: string }> {
  const world = await testStore();
  const repo_root = join(world.home, 'farm');
  mkdirSync(join(repo_root, '.drover'), { recursive: true });
  writeFileSync(join(repo_root, '.drover/config.yaml'), JSON.stringify({ conflicts: settings }));
  for (const id of ['session-a', 'session-b'])
    await seedSession(world, { id, name: id, repo_root, working_dir: repo_root });
  return { world, repo_root };
}
const guardOf = (world: TestStore) => new ConflictGuard(world.deps, (work) => void work());
const open = (world: TestStore) => listIncidents(world.store, { repo_root: null, is_open: true });

test('an imported log is judged: the later session of evt-1 and evt-2 is held (E-130, E-142)', async () => {
  const { world } = await farm();
  const log = [
    line('evt-1', 'session-a', '2026-01-01T00:02:00Z'),
    '',
    'no json',
    '{"id": "evt-9"}',
    line('evt-8', 'session-a', '2026-01-01T00:09:00Z', 'sniff'),
    line('evt-2', 'session-b', Date.parse('2026-01-01T00:03:00Z')),
    line('evt-2', 'session-b', '2026-01-01T00:04:00Z'),
    line('evt-3', 'nobody', '2026-01-01T00:04:00Z'),
  ].join('\n');
  expect(await importEvents(world.deps, PERSON, `${log}\n`)).toEqual({
    ...{ imported: 2, files: 2, duplicates: 1, malformed: 3, blank: 1, unknown_sessions: 1, without_files: 0 },
  });
  expect(await importEvents(world.deps, PERSON, log)).toMatchObject({ imported: 0, duplicates: 3, blank: 1 });
  expect(await importEvents(world.deps, PERSON, '')).toMatchObject({ imported: 0, blank: 0 });
  const guard = guardOf(world);
  expect(await guard.look(10)).toEqual([
    'Escalated overlap on src/lib.rs; paused later session session-b while session-a stays active',
  ]);
  expect((await row(world, 'session-b')).state).toBe('parked');
  expect(await guard.look(11)).toEqual([]);
  // Another supervisor knows nothing of what was judged before, and finds it done.
  expect(await guardOf(world).look(12)).toEqual([]);
  expect(await open(world)).toHaveLength(1);
});

test('only a person imports what others did', async () => {
  const { world } = await farm();
  const session = await row(world, 'session-a');
  const asked = importEvents(world.deps, { name: 'session-a', session }, '');
  await expect(asked).rejects.toMatchObject({ code: 'not_allowed' });
});

test('the outcome of a pass says what was done; switched off nothing is (E-127)', async () => {
  const { world, repo_root } = await farm();
  const log = `${line('1', 'session-a', 1)}\n${line('2', 'session-b', 2)}`;
  await importEvents(world.deps, PERSON, log);
  const writes = [{ session_id: 'session-b', repo_root, path: 'src/lib.rs', action: 'modify' as const, at: 2 }];
  const pass = () => guardOf(world).enforce({ repo_root, writes, now: 10 });
  expect(await pass()).toEqual({
    ...{ strategy: 'escalate', created_incidents: 1, resolved_incidents: 0, paused_sessions: ['session-b'] },
    summaries: ['Escalated overlap on src/lib.rs; paused later session session-b while session-a stays active'],
  });
  expect(await pass()).toMatchObject({ created_incidents: 0, resolved_incidents: 0, paused_sessions: [] });
  await world.store.write((tx) => tx.run("UPDATE sessions SET merged_at = 10 WHERE id = 'session-a'"));
  expect(await pass()).toMatchObject({ created_incidents: 0, resolved_incidents: 1 });

  const off = await farm({ is_enabled: false, strategy: 'merge' });
  await importEvents(off.world.deps, PERSON, log);
  const again = writes.map((write) => ({ ...write, repo_root: off.repo_root }));
  const none = await guardOf(off.world).enforce({ repo_root: off.repo_root, writes: again, now: 10 });
  expect(none).toEqual({
    ...{ strategy: 'merge', created_incidents: 0, resolved_incidents: 0, paused_sessions: [], summaries: [] },
  });
  expect(await guardOf(off.world).look(10)).toEqual([]);
  expect(await open(off.world)).toEqual([]);
});

test('what two turns say in their streams is judged, and each write once (E-142)', async () => {
  const { world } = await farm({ strategy: 'last_write_wins', notify_lead: false });
  const guard = guardOf(world);
  expect(await guard.look(10)).toEqual([]);
  const [a, b] = [await takeTurn(world, 'session-a'), await takeTurn(world, 'session-b')];
  await feedTurn(world, a, [...edit('src/lib.rs'), ...edit('own.rs')]);
  expect(await guard.look(11)).toEqual([]);
  world.clock.advance(5);
  await feedTurn(world, b, edit('src/lib.rs'));
  expect(await guard.look(12)).toEqual([
    'Applied last-write-wins on src/lib.rs; kept later session session-b active and paused session-a',
  ]);
  expect([(await row(world, 'session-a')).state, (await row(world, 'session-b')).state]).toEqual(['parked', 'working']);
});

test('nobody is held for a call that is not answered yet, nor for one that failed (E-142)', async () => {
  const { world } = await farm();
  const guard = guardOf(world);
  const [a, b] = [await takeTurn(world, 'session-a'), await takeTurn(world, 'session-b')];
  await feedTurn(world, a, edit('src/lib.rs'));
  await feedTurn(world, b, [call('src/lib.rs')]);
  expect(await guard.look(11)).toEqual([]);
  await feedTurn(world, b, [answer('src/lib.rs', true)]);
  expect(await guard.look(12)).toEqual([]);
  expect([await open(world), (await row(world, 'session-b')).state]).toEqual([[], 'working']);
  await feedTurn(world, b, edit('src/lib.rs'));
  expect(await guard.look(13)).toHaveLength(1);
  expect((await row(world, 'session-b')).state).toBe('parked');
});

test('what was let pass because the other was held is judged when that one goes on', async () => {
  const { world, repo_root } = await farm();
  await seedSession(world, { id: 'session-c', name: 'c', repo_root, working_dir: repo_root });
  const guard = guardOf(world);
  expect(await guard.look(9)).toEqual([]);
  const wrote = async (id: string, at: number, path: string) =>
    importEvents(
      world.deps,
      PERSON,
      JSON.stringify({ id: `${id}-${at}`, session_id: id, timestamp: at, file_events: [{ path, action: 'modify' }] }),
    );
  await wrote('session-a', 1, 'x');
  await wrote('session-b', 2, 'x');
  await wrote('session-b', 3, 'y');
  await wrote('session-c', 4, 'y');
  // The one that c is in the way of is held in the same pass, and what c writes later meets nobody either.
  expect(await guard.look(10)).toEqual([expect.stringContaining('overlap on x; paused later session session-b')]);
  await wrote('session-c', 5, 'z');
  expect(await guard.look(11)).toEqual([]);
  expect((await row(world, 'session-c')).state).toBe('queued');
  const [incident] = await open(world);
  if (incident === undefined) throw new Error('no incident');
  await resolve(world.deps, PERSON, { incident, resolution: 'fine', keep: null, resume: true });
  expect(await guard.look(12)).toEqual([expect.stringContaining('overlap on y; paused later session session-c')]);
  expect([(await row(world, 'session-b')).state, (await row(world, 'session-c')).state]).toEqual(['queued', 'parked']);
  expect(await guard.look(13)).toEqual([]);
});

test('settling is not for the two, nor for who may not stop others or did not start whom it holds; it needs words (CX-27)', async () => {
  const { world } = await farm();
  await importEvents(world.deps, PERSON, `${line('1', 'session-a', 1)}\n${line('2', 'session-b', 2)}`);
  await guardOf(world).look(10);
  const [incident] = await open(world);
  if (incident === undefined) throw new Error('no incident');
  const request = { incident, resolution: 'fine', keep: null, resume: true };
  const session = { ...(await row(world, 'session-a')), role: 'lead' };
  const asked = (caller: typeof session, more = {}) =>
    resolve(world.deps, { name: caller.name, session: caller }, { ...request, ...more });
  await expect(asked(session)).rejects.toMatchObject({ code: 'not_allowed' });
  await expect(asked({ ...session, id: 'session-x', role: 'builder' })).rejects.toMatchObject({ code: 'not_allowed' });
  for (const resolution of [' ', 'x'.repeat(5_000)])
    await expect(resolve(world.deps, PERSON, { ...request, resolution })).rejects.toMatchObject({ code: 'usage' });
  expect(await findIncident(world.store, incident.id)).toEqual(incident);
  await expect(asked({ ...session, id: 'session-x' })).rejects.toMatchObject({ code: 'out_of_reach' });
  expect(await findIncident(world.store, incident.id)).toEqual(incident);
  const boss = await seedSession(world, { id: 'session-x', name: 'boss', role: 'lead' });
  await world.store.write((tx) => tx.run("UPDATE sessions SET parent_id = 'session-x' WHERE id = 'session-b'"));
  const lead = await asked(boss);
  expect(lead).toMatchObject({ changed: true, resumed: 'session-b', not_resumed: null });
  expect(await resolve(world.deps, PERSON, request)).toMatchObject({ changed: false, resumed: null });
});

test('putting back is refused before anything is written while another incident holds it, and told when it cannot be (CX-27)', async () => {
  const { world } = await farm();
  await seedSession(world, { id: 'session-c', name: 'c', repo_root: (await row(world, 'session-a')).repo_root });
  const taken = await takeTurn(world, 'session-b');
  const log = [line('1', 'session-a', 1), line('3', 'session-c', 2), line('2', 'session-b', 3)];
  await importEvents(world.deps, PERSON, log.join('\n'));
  await guardOf(world).look(10);
  const [first, second] = await open(world);
  if (first === undefined || second === undefined) throw new Error('there should be two');
  const request = { incident: first, resolution: 'fine', keep: null };
  const refused = resolve(world.deps, PERSON, { ...request, resume: true });
  await expect(refused).rejects.toMatchObject({ code: 'incident_open' });
  expect(await open(world)).toHaveLength(2);
  await resolve(world.deps, PERSON, { ...request, resume: false });
  // Its turn is still being ended.
  const done = await resolve(world.deps, PERSON, { ...request, incident: second, resume: true });
  expect(done).toMatchObject({ changed: true, resumed: null, not_resumed: { code: 'turn_still_ending' } });
  expect(await open(world)).toEqual([]);
  expect(taken.turn.turn).toBe(1);
  expect((await row(world, 'session-b')).state).toBe('parked');
});

test('an incident is found by its id, the beginning of it, and its key', async () => {
  const { world } = await farm();
  await importEvents(world.deps, PERSON, `${line('1', 'session-a', 1)}\n${line('2', 'session-b', 2)}`);
  await guardOf(world).look(10);
  const [{ id, key } = { id: '', key: '' }] = await open(world);
  for (const wanted of [id, id.slice(0, 16), id.slice('incident-'.length, 18), key])
    expect((await findIncident(world.store, wanted)).id).toBe(id);
  for (const wanted of ['incident-0', 'nothing', `${key}x`])
    await expect(findIncident(world.store, wanted)).rejects.toMatchObject({ code: 'incident_not_found' });
  expect(
    (await listMail(world.store, { to_id: 'session-b', unread: true })).some(({ type }) => type === 'conflict'),
  ).toBe(true);
});

test('a session sees its own and its children’s open incidents in its status, and nobody else’s', async () => {
  const { world, repo_root } = await farm();
  for (const id of ['lead', 'stranger', 'other'])
    await seedSession(world, { id, name: id, repo_root, working_dir: repo_root });
  await world.store.write((tx) => tx.run("UPDATE sessions SET parent_id = 'lead' WHERE id = 'session-b'"));
  await importEvents(world.deps, PERSON, `${line('1', 'session-a', 1)}\n${line('2', 'session-b', 2)}`);
  const ask = async (id: string) => {
    const { token } = await takeTurn(world, id);
    const text = await callTool({ ...world.deps, env: { ...world.deps.env, DROVER_TOKEN: token } }, 'status', {});
    return text.includes('open incident');
  };
  expect(await ask('stranger')).toBe(false);
  await guardOf(world).look(10);
  expect([await ask('session-a'), await ask('lead')]).toEqual([true, true]);
  expect(await ask('other')).toBe(false);
});

test('a file reached by a link is the same file: the two are in each other’s way (E-128)', async () => {
  const { world, repo_root } = await farm();
  mkdirSync(join(repo_root, 'real'));
  symlinkSync('real', join(repo_root, 'lnk'));
  const at = (id: string, path: string) => line(id, id, 1).replace('src/lib.rs', path);
  await importEvents(world.deps, PERSON, [at('session-a', 'real/x'), at('session-b', 'lnk/x')].join('\n'));
  expect((await guardOf(world).look(10)).filter((text) => text.includes('overlap on real/x'))).toHaveLength(1);
  expect((await open(world)).map(({ path }) => path)).toEqual(['real/x']);
});
