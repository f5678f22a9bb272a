import { expect, test } from 'bun:test';
import type { SessionRow } from '../../src/model/session.ts';
import { recover } from '../../src/session/control.ts';
import { prepareWorktree } from '../../src/session/worktree.ts';
import { fromItsWork } from '../../src/session/worktree-base.ts';
import { cleanWorktrees } from '../../src/session/worktree-slots.ts';
import { claimSlot, heldSlots } from '../../src/store/worktree.ts';
import { commitFile, plainGit } from '../git/plain.ts';
import { type Field, field, treeOf } from './field.ts';

const clean = async (at: Field) => {
  const asked = { named: null, all_ended: true, force: false, discard_ignored: false, dry_run: false };
  const { removed } = await cleanWorktrees(at.deps, { repo_root: at.repo, ...asked });
  expect(removed).toMatchObject([{ branch: 'drover/one', branch_kept: null }]);
};

const told = ({ world }: Field, { id }: Pick<SessionRow, 'id'>) =>
  world.store.read((tx) =>
    tx.all<{ body: string }>(`SELECT body FROM mail WHERE to_id = :id AND subject = 'Where your branch starts'`, {
      id,
    }),
  );

const again = (at: Field, row: SessionRow) =>
  recover(at.deps, { name: 'operator', session: null }, row, 'add tests to what you did');

/** Its work is merged by hand, its worktree and branch are removed, and the target has gone on since then. */
async function mergedAndGone(at: Field) {
  const row = await at.completed('one');
  const head = commitFile(row.worktree_path, 'work', 'w\n', 'work');
  plainGit(at.repo, 'merge', '--quiet', '--no-ff', '-m', 'by hand', 'drover/one');
  await clean(at);
  return { row: await at.now(row), head, later: commitFile(at.repo, 'later', 'l\n', 'later') };
}

test('who is recovered after its work was merged starts from the newest commit of the target, and is told (CX-04)', async () => {
  const at = await field();
  const { row, head, later } = await mergedAndGone(at);
  const heir = await again(at, row);
  expect(await prepareWorktree(at.deps, heir)).toBe('ready');
  const path = treeOf(at, heir);
  expect(plainGit(path, 'rev-parse', 'HEAD')).toBe(later);
  expect(plainGit(path, 'branch', '--show-current')).toBe('drover/one');
  expect(await at.now(heir)).toMatchObject({ base_ref: later, base_commit: later });
  expect((await heldSlots(at.world.store, null)).map(({ slot }) => slot.base_commit)).toEqual([later]);
  const [note, ...others] = await told(at, heir);
  expect(note?.body).toContain(`is in main (its last commit was ${head.slice(0, 12)})`);
  expect(others).toEqual([]);
});

test('who is resumed after its branch was removed starts from its own last commit, if the target has it not (CX-04)', async () => {
  const at = await field();
  const row = await at.settled('one');
  const head = commitFile(row.worktree_path, 'work', 'w\n', 'work');
  plainGit(at.repo, 'branch', 'kept', head);
  await at.stop(row);
  await clean(at);
  commitFile(at.repo, 'later', 'l\n', 'later');
  await at.resume(row);
  expect(await prepareWorktree(at.deps, await at.now(row))).toBe('ready');
  expect(plainGit(treeOf(at, row), 'rev-parse', 'HEAD')).toBe(head);
  expect(await at.now(row)).toMatchObject({ base_ref: head, base_commit: head });
  expect((await told(at, row))[0]?.body).toContain(`starts at its last commit, ${head.slice(0, 12)}`);
});

test('a base that was moved by who was killed then is moved on, and told once', async () => {
  const at = await field();
  const { row, later } = await mergedAndGone(at);
  const heir = await again(at, row);
  const { row: slot } = await claimSlot(at.world.store, {
    ...{ session_id: heir.id, path: treeOf(at, heir), max: 9, now: at.world.clock.now() },
  });
  if (slot === null || heir.branch === null || heir.base_ref === null) throw new Error('no slot');
  const moved = await fromItsWork(at.deps, { ...heir, branch: heir.branch, base_ref: heir.base_ref }, slot);
  expect([moved.row.base_ref, moved.slot.base_commit]).toEqual([later, later]);
  const newest = commitFile(at.repo, 'newest', 'n\n', 'newest');
  expect(await prepareWorktree(at.deps, await at.now(heir))).toBe('ready');
  expect(plainGit(treeOf(at, heir), 'rev-parse', 'HEAD')).toBe(newest);
  expect(await at.now(heir)).toMatchObject({ base_ref: newest, base_commit: newest });
  expect(await told(at, heir)).toHaveLength(1);
});

test('who did nothing before its branch was removed starts where it was to start', async () => {
  const at = await field();
  const row = await at.completed('one');
  await clean(at);
  commitFile(at.repo, 'later', 'l\n', 'later');
  const heir = await again(at, await at.now(row));
  expect(await prepareWorktree(at.deps, heir)).toBe('ready');
  expect(plainGit(treeOf(at, heir), 'rev-parse', 'HEAD')).toBe(row.base_ref ?? '');
  expect(await told(at, heir)).toEqual([]);
});
