import { expect, test } from 'bun:test';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mergeSession, rebaseSession } from '../../src/merge/one.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { plainGit } from '../git/plain.ts';
import { commit, type Field, field } from './field.ts';

const common = () => ({ into: null, by: 'operator', signal: new AbortController().signal });
const merge = (world: Field, row: SessionRow) =>
  mergeSession(world.deps, { ...common(), row, is_clean: true, dry_run: false });
const rebase = (world: Field, row: SessionRow) => rebaseSession(world.deps, { ...common(), row });

/** Its directory is deleted, as by `rm -rf`. */
function deleteWorktree({ worktree_path }: SessionRow): void {
  rmSync(worktree_path ?? '', { recursive: true });
}

test('the branch of a worktree that somebody deleted is merged by name, and goes with what git remembers of it', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'feature.txt': 'done\n' }] });
  deleteWorktree(row);

  expect(await merge(world, row)).toMatchObject({ outcome: 'merged', cleaned_worktree: true, kept: null });
  expect(existsSync(join(world.repo, 'feature.txt'))).toBe(true);
  expect(plainGit(world.repo, 'branch', '--list', 'drover/builder')).toBe('');
  expect(plainGit(world.repo, 'worktree', 'list', '--porcelain')).not.toContain('builder');
  expect(await world.rowOf(row)).toMatchObject({ worktree_path: null });
});

test('the queue takes it as any other, also after git has forgotten the directory', async () => {
  const world = await field();
  const [noted, pruned] = [
    await world.session('noted', { commits: [{ 'noted.txt': 'n\n' }] }),
    await world.session('pruned', { commits: [{ 'pruned.txt': 'p\n' }] }),
  ];
  deleteWorktree(pruned);
  plainGit(world.repo, 'worktree', 'prune');
  deleteWorktree(noted);

  const { outcomes } = await world.queue();

  expect(outcomes.map(({ session_id, outcome }) => [session_id, outcome])).toEqual([
    [noted.id, 'merged'],
    [pruned.id, 'merged'],
  ]);
  expect([existsSync(join(world.repo, 'noted.txt')), existsSync(join(world.repo, 'pruned.txt'))]).toEqual([true, true]);
});

test('one that was not on its branch, or has lost that as well, is refused with what is left', async () => {
  const world = await field();
  const [away, lost] = [await world.session('away', { commits: [{ 'a.txt': 'a\n' }] }), await world.session('lost')];
  const path = away.worktree_path ?? '';
  plainGit(path, 'switch', '--quiet', '--detach');
  const head = commit(path, { 'lone.txt': 'on no branch\n' });
  deleteWorktree(away);
  deleteWorktree(lost);
  plainGit(world.repo, 'worktree', 'prune', '--expire=1.week.ago');
  plainGit(world.repo, 'update-ref', '-d', 'refs/heads/drover/lost');
  const before = plainGit(world.repo, 'for-each-ref');

  const refused = merge(world, away);
  await expect(refused).rejects.toMatchObject({ kind: 'refused', code: 'worktree_elsewhere' });
  await expect(refused).rejects.toMatchObject({ details: { hint: expect.stringContaining(head) } });
  await expect(merge(world, lost)).rejects.toMatchObject({ kind: 'refused', code: 'branch_gone' });

  expect(plainGit(world.repo, 'for-each-ref')).toBe(before);
});

test('a rebase has no place without the directory: refused, and the commands named bring it back', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'feature.txt': 'done\n' }] });
  commit(world.repo, { 'other.txt': 'meanwhile\n' });
  deleteWorktree(row);
  const before = [plainGit(world.repo, 'for-each-ref'), await world.all('SELECT * FROM merges')];

  const refused = rebase(world, row);
  await expect(refused).rejects.toMatchObject({ kind: 'refused', code: 'worktree_gone' });
  const commands: string[] = await refused.catch((error) => error.details.recovery_commands);
  expect([plainGit(world.repo, 'for-each-ref'), await world.all('SELECT * FROM merges')]).toEqual(before);
  for (const command of commands.filter((each) => each.startsWith('git ')))
    plainGit(world.repo, ...command.replaceAll("'", '').split(' ').slice(3));
  expect(await rebase(world, row)).toMatchObject({ outcome: 'rebased' });
});

test('a worktree whose link to the repository is lost is refused with the command that mends it', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'feature.txt': 'done\n' }] });
  const path = row.worktree_path ?? '';
  rmSync(join(path, '.git'));
  writeFileSync(join(path, 'feature.txt'), 'not committed\n');

  const refused = merge(world, row);
  await expect(refused).rejects.toMatchObject({ kind: 'refused', code: 'worktree_foreign' });
  const [command]: string[] = await refused.catch((error) => error.details.recovery_commands);
  plainGit(world.repo, ...(command ?? '').replaceAll("'", '').split(' ').slice(3));
  await expect(merge(world, row)).rejects.toMatchObject({ code: 'worktree_dirty' });
});
