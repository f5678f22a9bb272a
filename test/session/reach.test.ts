import { expect, test } from 'bun:test';
import type { Capability } from '../../src/model/role.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { ownDesks } from '../../src/session/own-desks.ts';
import { demandOwnChildren, reachOf } from '../../src/session/reach.ts';
import { ensureRun } from '../../src/store/run.ts';
import { seedSession, type TestStore, testStore } from '../support/store.ts';

/** Two teams of a person's, one of them in a run, and what is beside them. */
async function village(): Promise<{ world: TestStore; rows: Record<string, SessionRow> }> {
  const world = await testStore();
  const run_id = await world.store.write((tx) => ensureRun(tx, 'night', 1));
  const rows: Record<string, SessionRow> = {};
  const add = async (name: string, draft: Parameters<typeof seedSession>[1]) => {
    rows[name] = await seedSession(world, { name, ...draft });
  };
  const id = (name: string) => rows[name]?.id ?? null;
  await add('chief', { role: 'coordinator', is_persistent: 1, run_id });
  await add('boss', { role: 'lead' });
  await add('lead', { role: 'lead', parent_id: id('boss'), run_id });
  await add('brother', { parent_id: id('boss') });
  await add('child', { parent_id: id('lead') });
  await add('grandchild', { parent_id: id('child') });
  // What a session before it started is its own as well.
  await add('before', { role: 'lead' });
  await add('orphan', { parent_id: id('before') });
  await add('after', { role: 'lead', recovered_from: id('before') });
  await add('merger', { role: 'merger', parent_id: id('boss') });
  await add('lone-merger', { role: 'merger' });
  await add('watcher', { role: 'monitor', is_persistent: 1 });
  await add('stranger', {});
  await add('abroad', { repo_root: '/elsewhere', working_dir: '/elsewhere' });
  await add('mate', { repo_root: '/elsewhere', working_dir: '/elsewhere', run_id });
  const [desk = ''] = ownDesks(world.home);
  await add('patrol', { role: 'monitor', is_persistent: 1, repo_root: desk, working_dir: desk });
  return { world, rows };
}

const AT_HOME = [
  ...['after', 'before', 'boss', 'brother', 'chief', 'child', 'grandchild', 'lead', 'lone-merger', 'merger'],
  ...['orphan', 'stranger', 'watcher'],
];
const EVERYBODY = [...AT_HOME, 'abroad', 'mate', 'patrol'].sort();

test('a right reaches whom a session started, its run when it lives on, and nobody else', async () => {
  const { world, rows } = await village();
  const reached = async (name: string | null, right: Capability) => {
    const session = name === null ? null : (rows[name] ?? null);
    const reach = await reachOf(world.deps, { name: name ?? 'operator', session }, right);
    return Object.values(rows)
      .filter(reach)
      .map((row) => row.name)
      .sort();
  };
  for (const right of ['sling', 'nudge', 'stop', 'merge'] as const) {
    expect(await reached(null, right)).toEqual(EVERYBODY);
    expect(await reached('patrol', right)).toEqual(EVERYBODY);
    // In a run, and no more than a worker in it.
    expect(await reached('lead', right)).toEqual(['child', 'grandchild']);
    expect(await reached('child', right)).toEqual(['grandchild']);
    expect(await reached('after', right)).toEqual(['orphan']);
    expect(await reached('stranger', right)).toEqual([]);
    expect(await reached('boss', right)).toEqual(['brother', 'child', 'grandchild', 'lead', 'merger']);
  }
  expect(await reached('chief', 'stop')).toEqual(['lead', 'mate']);
  expect(await reached('watcher', 'stop')).toEqual([]);
  expect(await reached('watcher', 'nudge')).toEqual(AT_HOME.filter((name) => name !== 'watcher'));
  expect(await reached('merger', 'merge')).toEqual(['brother', 'child', 'grandchild', 'lead']);
  expect(await reached('merger', 'stop')).toEqual([]);
  expect(await reached('lone-merger', 'merge')).toEqual(AT_HOME.filter((name) => name !== 'lone-merger'));
});

test('a session recovers its own children and those of the session it took over from, not theirs', async () => {
  const { world, rows } = await village();
  const ask = async (name: string, wanted: string) => {
    const [session, row] = [rows[name], rows[wanted]];
    if (session === undefined || row === undefined) throw new Error(`${name} or ${wanted} is nobody`);
    await demandOwnChildren(world.deps, { name, session }, [row]);
  };
  await ask('lead', 'child');
  await ask('after', 'orphan');
  for (const [name, wanted] of [
    ['boss', 'child'],
    ['lead', 'brother'],
    ['lead', 'lead'],
    ['chief', 'mate'],
    ['chief', 'stranger'],
  ])
    await expect(ask(name ?? '', wanted ?? '')).rejects.toMatchObject({ kind: 'refused', code: 'out_of_reach' });
});
