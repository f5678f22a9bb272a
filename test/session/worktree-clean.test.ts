import { afterAll, describe, expect, test } from 'bun:test';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { failSession } from '../../src/session/end.ts';
import { prepareWorktree } from '../../src/session/worktree.ts';
import {
  cleanWorktrees,
  listWorktrees,
  pruneOne,
  type WorktreeCleanRequest,
} from '../../src/session/worktree-slots.ts';
import { cleanStopped, refuseWork } from '../../src/session/worktree-stop.ts';
import { slotCounts } from '../../src/store/worktree.ts';
import { commitFile, plainGit } from '../git/plain.ts';
import { endTurn, seedSession, takeTurn } from '../support/store.ts';
import { type Field, field, isThere } from './field.ts';

const clean = async (at: Field, request: Partial<WorktreeCleanRequest> = {}) => {
  const all = { repo_root: at.repo, named: null, all_ended: false, force: false };
  const how = { discard_ignored: false, dry_run: false };
  const { removed, kept } = await cleanWorktrees(at.deps, { ...all, ...how, ...request });
  const of = (group: string) => kept.filter((one) => one.group === group).map(({ name }) => name);
  return {
    cleaned: removed.map(({ name }) => name),
    active: of('active'),
    retained: of('retained'),
    why: Object.fromEntries(kept.filter(({ group }) => group === 'kept').map(({ name, why }) => [name, why])),
    removed,
  };
};

const sleepers: { kill(): void; exited: Promise<number> }[] = [];
afterAll(async () => {
  for (const child of sleepers) child.kill();
  await Promise.all(sleepers.map((child) => child.exited));
});

describe('worktree clean', () => {
  test('takes those of ended sessions, not those of live ones, and says which (E-148, E-150, O-85)', async () => {
    const at = await field();
    const [stopped, running, done] = [
      await at.settled('stopped'),
      await at.settled('running'),
      await at.completed('done'),
    ];
    await at.stop(stopped);
    await takeTurn(at.world, running.id);
    await seedSession(at.world, { name: 'without', repo_root: at.repo });
    expect(await clean(at, { dry_run: true })).toMatchObject({ cleaned: ['done'], active: ['running'], retained: [] });
    expect(at.trees()).toHaveLength(3);
    const first = await clean(at);
    expect(first).toMatchObject({ cleaned: ['done'], active: ['running'], retained: [] });
    expect(first.why).toEqual({ stopped: 'it is stopped; --all-ended takes those as well' });
    expect(await clean(at, { all_ended: true })).toMatchObject({
      cleaned: ['stopped'],
      active: ['running'],
      retained: [],
    });
    expect(at.trees()).toEqual([running.worktree_path]);
    expect(at.branches()).toEqual(['drover/running', 'main']);
    expect(await at.now(stopped)).toMatchObject({
      worktree_path: null,
      working_dir: at.repo,
      branch: 'drover/stopped',
    });
    expect(await at.now(done)).toMatchObject({ worktree_path: null });
    expect(await at.now(running)).toMatchObject({ worktree_path: running.worktree_path });
    expect(isThere(running.worktree_path)).toBe(true);
    expect(await slotCounts(at.world.store)).toEqual([{ repo_root: at.repo, held: 1, held_by_ended: 0 }]);
  });

  test('leaves those alone that are not over for long enough, counted from their end (E-151, CX-47)', async () => {
    const at = await field();
    at.config.worktree.retention_ms = 3_600_000;
    const row = await at.settled('just-stopped');
    at.world.clock.advance(7_200_000);
    await at.stop(row);
    expect(await clean(at, { all_ended: true })).toMatchObject({ cleaned: [], active: [], retained: ['just-stopped'] });
    expect(await at.now(row)).toMatchObject({ worktree_path: row.worktree_path });
    expect(isThere(row.worktree_path)).toBe(true);
    at.world.clock.advance(3_601_000);
    expect(await clean(at, { all_ended: true })).toMatchObject({ cleaned: ['just-stopped'], retained: [] });
  });

  test('a retention keeps nobody who is named; nor does a successor that had the same worktree', async () => {
    const at = await field();
    at.config.worktree.retention_ms = 3_600_000;
    const old = await at.settled('old');
    await at.stop(old);
    const place = { worktree_path: old.worktree_path, working_dir: old.worktree_path, recovered_from: old.id };
    const heir = await at.asking('heir', { ...place, branch: 'drover/old' });
    await endTurn(at.world, await takeTurn(at.world, heir.id));
    expect(await clean(at, { named: [heir.id] })).toMatchObject({ cleaned: ['heir'] });
    expect([(await at.now(old)).worktree_path, (await at.now(heir)).worktree_path]).toEqual([null, null]);
    expect(at.branches()).toEqual(['main']);
  });

  test('keeps what is in use: by a child at any depth, by a process, by another session (O-85, I22, CX-22)', async () => {
    const at = await field();
    const lead = await at.settled('lead');
    const child = await at.asking('child', { parent_id: lead.id, branch: null, base_ref: null });
    await at.stop(lead);
    const busy = await at.completed('busy');
    sleepers.push(Bun.spawn(['sleep', '600'], { cwd: busy.worktree_path }));
    const visited = await at.completed('visited');
    await seedSession(at.world, { name: 'guest', repo_root: at.repo, working_dir: join(visited.worktree_path, 'sub') });
    const { cleaned, why } = await clean(at, { all_ended: true, named: [lead.id, busy.id, visited.id], force: true });
    expect(cleaned).toEqual([]);
    expect(why).toEqual({
      lead: 'child (queued), which it started, is at work',
      busy: expect.stringMatching(/^process \d+ works in it$/),
      visited: 'guest (queued) uses it',
    });
    await at.stop(child);
    expect((await clean(at, { named: [lead.id] })).cleaned).toEqual(['lead']);
  });

  test('keeps what is nowhere else; merged, tagged or pushed work may go (O-85)', async () => {
    const at = await field();
    const work = async (name: string) => {
      const row = await at.completed(name);
      commitFile(row.worktree_path, name, 'x\n', name);
      return row;
    };
    const dirty = await at.completed('dirty');
    await work('unmerged');
    writeFileSync(join(dirty.worktree_path, 'notes'), 'mine');
    const picking = await work('picking');
    plainGit(at.repo, 'tag', 'kept', 'drover/picking');
    writeFileSync(join(plainGit(picking.worktree_path, 'rev-parse', '--absolute-git-dir'), 'CHERRY_PICK_HEAD'), 'x');
    const [merged, tagged, pushed] = [await work('merged'), await work('tagged'), await work('pushed')];
    plainGit(at.repo, 'merge', '-q', 'drover/merged');
    plainGit(at.repo, 'tag', 'v1', 'drover/tagged');
    plainGit(at.repo, 'update-ref', 'refs/remotes/origin/pushed', 'drover/pushed');
    const { cleaned, why } = await clean(at);
    expect(cleaned.toSorted()).toEqual(['merged', 'pushed', 'tagged']);
    expect(why).toEqual({
      dirty: 'changes that are not committed: notes',
      unmerged: 'drover/unmerged has commits that are on no other branch',
      picking: 'a cherry-pick is in progress',
    });
    expect(isThere(dirty.worktree_path, 'notes')).toBe(true);
    expect([merged, tagged, pushed].map((row) => isThere(row.worktree_path))).toEqual([false, false, false]);
  });

  test('files that .worktreeinclude brought do not count as work', async () => {
    const at = await field();
    commitFile(at.repo, '.gitignore', '.env\n', 'ignore');
    writeFileSync(join(at.repo, '.worktreeinclude'), '.env\n');
    writeFileSync(join(at.repo, '.env'), 'KEY=1\n');
    const row = await at.completed('one');
    expect(isThere(row.worktree_path, '.env')).toBe(true);
    expect((await clean(at)).cleaned).toEqual(['one']);
  });

  test('runs the hook before it removes; one that fails is logged, one that may not run keeps the worktree', async () => {
    const at = await field();
    const [one, two] = [await at.completed('one'), await at.completed('two')];
    at.config.worktree.hooks.before_remove = 'echo "$DROVER_SESSION_NAME" >"$DROVER_REPO/hooked"; exit 1';
    expect((await clean(at, { named: [one.id] })).cleaned).toEqual(['one']);
    expect(readFileSync(join(at.repo, 'hooked'), 'utf8')).toBe('one\n');
    expect(await at.events(one, 'hook')).toEqual([
      expect.objectContaining({ hook: 'before_remove', ok: false, code: 1 }),
    ]);
    at.config.untrusted_keys = ['worktree.hooks.before_remove'];
    expect((await clean(at)).why.two).toContain('worktree.hooks.before_remove');
    expect(isThere(two.worktree_path)).toBe(true);
  });

  test('a worktree that somebody deleted by hand is let go, and its slot is free', async () => {
    const at = await field();
    const row = await at.completed('one');
    rmSync(row.worktree_path, { recursive: true });
    expect((await clean(at)).cleaned).toEqual(['one']);
    expect([at.trees(), await slotCounts(at.world.store)]).toEqual([[], []]);
  });
});

describe('by force', () => {
  async function withWork(at: Field) {
    const row = await at.completed('one');
    const commit = commitFile(row.worktree_path, 'done', 'd\n', 'unmerged');
    writeFileSync(join(row.worktree_path, 'a'), 'changed\n');
    writeFileSync(join(row.worktree_path, 'loose'), 'l\n');
    return { row, commit };
  }

  test('everything is saved first, the branch stays, and the way back works', async () => {
    const at = await field();
    commitFile(at.repo, '.gitignore', 'cache\n', 'ignore');
    const { row, commit } = await withWork(at);
    writeFileSync(join(row.worktree_path, 'cache'), 'c');
    expect((await clean(at, { named: [row.id] })).cleaned).toEqual([]);
    const { removed } = await clean(at, { named: [row.id], force: true });
    const saved = removed[0]?.saved;
    const ref = `refs/drover/rescued/${row.id}`;
    expect(saved).toMatchObject({ ref, ignored_ref: `${ref}-ignored` });
    expect(plainGit(at.repo, 'show', `${ref}-ignored:cache`)).toBe('c');
    expect(isThere(row.worktree_path)).toBe(false);
    expect(at.trees()).toEqual([]);
    expect(plainGit(at.repo, 'rev-parse', 'drover/one')).toBe(commit);
    expect(plainGit(at.repo, 'show', `${saved?.ref}:loose`)).toBe('l');
    expect(plainGit(at.repo, 'show', `${saved?.ref}:a`)).toBe('changed');
    expect(plainGit(at.repo, 'rev-parse', `${saved?.ref}^`)).toBe(commit);
    expect(await at.now(row)).toMatchObject({ worktree_path: null });
    expect(await slotCounts(at.world.store)).toEqual([]);
  });

  test('when nothing can be saved, nothing is removed', async () => {
    const at = await field();
    const { row } = await withWork(at);
    const before = await at.now(row);
    writeFileSync(join(at.repo, '.git/refs/drover'), 'in the way\n');
    const { cleaned, why } = await clean(at, { named: [row.id], force: true });
    expect([cleaned, why.one]).toEqual([[], expect.stringContaining('it could not be saved: ')]);
    expect(readFileSync(join(row.worktree_path, 'loose'), 'utf8')).toBe('l\n');
    expect(await at.now(row)).toEqual(before);
    expect(at.trees()).toEqual([row.worktree_path]);
  });

  test('a repository inside, which cannot be saved, keeps it', async () => {
    const at = await field();
    const { row } = await withWork(at);
    plainGit('/', 'init', '-q', join(row.worktree_path, 'inner'));
    commitFile(join(row.worktree_path, 'inner'), 'x', 'x', 'x');
    expect((await clean(at, { named: [row.id], force: true })).why.one).toContain(
      'the repository inner inside it cannot be saved',
    );
    expect(isThere(row.worktree_path, 'inner/x')).toBe(true);
  });
});

test('room is made by the oldest worktree that clean would take, of completed sessions first (CX-23)', async () => {
  const at = await field();
  const kept = await at.completed('kept');
  mkdirSync(join(kept.worktree_path, 'new'));
  writeFileSync(join(kept.worktree_path, 'new/file'), 'x');
  const stopped = await at.settled('stopped');
  const work = commitFile(stopped.worktree_path, 'w', 'w', 'w');
  plainGit(at.repo, 'merge', '-q', '--no-ff', '-m', 'in', 'drover/stopped');
  await at.stop(stopped);
  const [older, newer] = [await at.completed('older'), await at.completed('newer')];
  const none = { ignored: { files: 0, names: [], more: 0 } };
  const gone = (name: string, state: 'completed' | 'stopped', path: string) => ({ name, path, state, ...none });
  expect(await pruneOne(at.deps, at.repo)).toEqual(gone('older', 'completed', older.worktree_path));
  expect(await pruneOne(at.deps, at.repo)).toEqual(gone('newer', 'completed', newer.worktree_path));
  expect(at.branches()).toEqual(['drover/kept', 'drover/stopped', 'main']);
  expect(await pruneOne(at.deps, at.repo)).toEqual(gone('stopped', 'stopped', stopped.worktree_path));
  expect(await pruneOne(at.deps, at.repo)).toBeNull();
  expect([at.trees(), at.branches()]).toEqual([[kept.worktree_path], ['drover/kept', 'drover/stopped', 'main']]);
  await at.resume(stopped);
  expect(await prepareWorktree(at.deps, await at.now(stopped))).toBe('ready');
  expect(plainGit(stopped.worktree_path, 'rev-parse', 'HEAD')).toBe(work);
});

test('a failed session’s worktree does not keep the only slot from who waits; one that is too young does', async () => {
  const at = await field();
  at.config.max_worktrees = 1;
  at.config.worktree.retention_ms = 60_000;
  const lost = await at.settled('lost');
  await failSession(at.deps, await at.now(lost), 'out of ideas');
  const waits = await at.asking('waits');
  expect(await prepareWorktree(at.deps, waits)).toBe('full');
  expect(await pruneOne(at.deps, at.repo)).toBeNull();
  at.world.clock.advance(61_000);
  expect(await pruneOne(at.deps, at.repo)).toMatchObject({ name: 'lost', state: 'failed' });
  expect(await prepareWorktree(at.deps, waits)).toBe('ready');
});

test('the list says what stands in each worktree and how the slots are taken (E-176)', async () => {
  const at = await field();
  at.config.max_worktrees = 3;
  const [done, work, gone] = [await at.completed('done'), await at.settled('work'), await at.completed('gone')];
  commitFile(work.worktree_path, 'a', 'mine\n', 'mine');
  writeFileSync(join(work.worktree_path, 'new'), 'x');
  rmSync(gone.worktree_path, { recursive: true });
  const waits = await at.asking('waits');
  const { worktrees, slots } = await listWorktrees(at.deps, at.repo);
  expect(worktrees.map(({ name, health, ahead, dirty, exists }) => [name, health, ahead, dirty, exists])).toEqual([
    ['done', 'clear', 0, 0, true],
    ['gone', 'gone', null, null, false],
    ['work', 'in_progress', 1, 1, true],
  ]);
  expect(worktrees[0]).toMatchObject({ path: done.worktree_path, branch: 'drover/done', state: 'completed' });
  expect(slots).toEqual([
    { repo_root: at.repo, max: 3, held: 3, held_by_ended: 2, waiting: [{ id: waits.id, name: 'waits' }] },
  ]);
  commitFile(at.repo, 'a', 'theirs\n', 'theirs');
  expect((await listWorktrees(at.deps, null)).worktrees[2]?.health).toBe('conflicted');
});

test('stop with the worktree: refused while it holds work, gone when it does not (E-144, CX-08)', async () => {
  const at = await field();
  const [clear, work] = [await at.settled('clear'), await at.settled('work')];
  writeFileSync(join(work.worktree_path, 'new'), 'x');
  await expect(refuseWork([await at.now(clear), await at.now(work)])).rejects.toMatchObject({
    kind: 'refused',
    code: 'worktree_dirty',
    details: {
      preserved: 'nothing was stopped and nothing was removed',
      unsafe_condition: expect.stringContaining('changes that are not committed: new'),
      recovery_commands: ['drover stop work'],
    },
  });
  await refuseWork([await at.now(clear)]);
  await at.stop(clear);
  expect(await cleanStopped(at.deps, clear.id)).toBeNull();
  expect(await at.now(clear)).toMatchObject({ state: 'stopped', worktree_path: null });
  await at.stop(work);
  expect(await cleanStopped(at.deps, work.id)).toBe('changes that are not committed: new');
  expect(at.trees()).toEqual([work.worktree_path]);
});

test('nowhere in the program is a worktree removed by force of git', () => {
  const root = join(import.meta.dir, '../..');
  const texts = ['src', 'bin', 'templates', 'agents'].flatMap((dir) =>
    readdirSync(join(root, dir), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8')),
  );
  const FORCED = /worktree['", ]+remove['", ]+(?:--force|-f)/;
  expect(texts.length).toBeGreaterThan(100);
  expect(texts.filter((text) => FORCED.test(text))).toEqual([]);
  expect(["['worktree', 'remove', '--force']", 'git worktree remove -f x'].every((text) => FORCED.test(text))).toBe(
    true,
  );
});
