import { expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cleanWorktrees } from '../../src/session/worktree-slots.ts';
import { slotCounts } from '../../src/store/worktree.ts';
import { commitFile, newRepository, plainGit } from '../git/plain.ts';
import { type Field, field, isThere } from './field.ts';

/** The sentence why the one worktree stays; null when it went. */
async function clean(at: Field, id: string, force = false): Promise<string | null> {
  const request = { repo_root: at.repo, named: [id], all_ended: false, discard_ignored: false, dry_run: false, force };
  const { removed, kept } = await cleanWorktrees(at.deps, request);
  return removed.length === 1 ? null : (kept.find(({ name }) => name === 'one')?.why ?? 'unknown');
}

const PULL = ['-c', 'protocol.file.allow=always', 'submodule', '--quiet'];

/** A worktree of a completed session, with a submodule in it that has one of its own. */
async function populated() {
  const origin = newRepository();
  const middle = newRepository();
  plainGit(middle, ...PULL, 'add', origin, 'deep');
  plainGit(middle, 'commit', '-qm', 'deep');
  const at = await field();
  plainGit(at.repo, ...PULL, 'add', middle, 'sub');
  plainGit(at.repo, 'commit', '-qm', 'sub');
  const row = await at.completed('one');
  plainGit(row.worktree_path, ...PULL, 'update', '--init', '--recursive');
  const sub = join(row.worktree_path, 'sub');
  expect(isThere(sub, 'deep/a')).toBe(true);
  return { at, row, sub };
}

test('a worktree whose submodules hold nothing of their own goes, and its slot with it', async () => {
  const { at, row } = await populated();
  expect(await clean(at, row.id)).toBeNull();
  expect([isThere(row.worktree_path), at.trees(), at.branches()]).toEqual([false, [], ['main']]);
  expect(await slotCounts(at.world.store)).toEqual([]);
  expect(plainGit(at.repo, 'worktree', 'prune', '--dry-run', '--verbose')).toBe('');
});

for (const [what, work, plain, forced] of [
  [
    'a new file',
    (sub: string) => writeFileSync(join(sub, 'deep/new'), 'new\n'),
    'changes that are not committed: sub/deep/new',
    'the submodule sub: it has changes',
  ],
  [
    'a commit',
    (sub: string) => commitFile(sub, 'x', 'x\n', 'x'),
    'changes that are not committed: sub',
    'the submodule sub: it has commits that are on no remote; push it',
  ],
  [
    'a stash',
    (sub: string) => {
      writeFileSync(join(sub, 'deep/a'), 'changed\n');
      plainGit(join(sub, 'deep'), 'stash', 'push', '-q');
    },
    'the submodule sub/deep: it has commits that are on no remote',
    'the submodule sub/deep: it has commits that are on no remote',
  ],
] as const)
  test(`${what} in a submodule keeps it, by name and with a way out, even by force`, async () => {
    const { at, row, sub } = await populated();
    work(sub);
    expect(await clean(at, row.id)).toContain(plain);
    expect(await clean(at, row.id, true)).toContain(forced);
    expect(await at.now(row)).toMatchObject({ worktree_path: row.worktree_path });
    expect(isThere(sub, 'deep/a')).toBe(true);
  }, 60_000);

test('the history of a submodule that was taken out of the checkout counts, and files in an empty one', async () => {
  const { at, row, sub } = await populated();
  const head = plainGit(sub, 'rev-parse', 'HEAD');
  commitFile(sub, 'x', 'x\n', 'x');
  plainGit(sub, 'branch', 'lone');
  plainGit(sub, 'checkout', '-q', head);
  plainGit(row.worktree_path, 'submodule', '--quiet', 'deinit', '--force', 'sub');
  expect(plainGit(row.worktree_path, 'status', '--porcelain')).toBe('');
  for (const force of [false, true])
    expect(await clean(at, row.id, force)).toContain("a submodule's history with commits");
  const modules = join(plainGit(row.worktree_path, 'rev-parse', '--absolute-git-dir'), 'modules/sub');
  plainGit(row.worktree_path, '--git-dir', modules, '--work-tree', modules, 'branch', '-D', 'lone');
  mkdirSync(sub, { recursive: true });
  writeFileSync(join(sub, 'loose'), 'loose\n');
  expect(plainGit(row.worktree_path, 'status', '--porcelain')).toBe('');
  expect(await clean(at, row.id)).toContain('changes that are not committed: sub/');
  expect(await clean(at, row.id, true)).toContain('files in sub, a submodule that is not there');
  expect(isThere(sub, 'loose')).toBe(true);
});

test('changes that the index hides keep a worktree; by force they are saved (O-85)', async () => {
  const at = await field();
  const row = await at.completed('one');
  plainGit(row.worktree_path, 'update-index', '--assume-unchanged', 'a');
  writeFileSync(join(row.worktree_path, 'a'), 'hidden\n');
  expect(await clean(at, row.id)).toBe('changes that are not committed: a');
  expect(isThere(row.worktree_path, 'a')).toBe(true);
  expect(await clean(at, row.id, true)).toBeNull();
  expect(plainGit(at.repo, 'show', `refs/drover/rescued/${row.id}:a`)).toBe('hidden');
});
