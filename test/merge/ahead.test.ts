import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { plainGit } from '../git/plain.ts';
import { commit, field, writeConfig } from './field.ts';

/** Of one call of the queue: what became of whom. */
const outcomesOf = async (queue: Promise<{ outcomes: { session_id: string; outcome: string }[] }>) =>
  (await queue).outcomes.map(({ session_id, outcome }) => [session_id, outcome]);

test('commits that a gate makes on the branch are in the next queue, and each call of it takes them once', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'feature.txt': 'done\n' }] });
  const git = `git -C ${row.worktree_path} -c user.name=gate -c user.email=gate@example.com`;
  writeConfig(world, { gate: { commands: [`${git} commit --quiet --allow-empty -m late`] } });
  const merged = [[row.id, 'merged']];

  expect(await outcomesOf(world.queue())).toEqual(merged);
  expect(plainGit(world.repo, 'log', '--format=%s', 'main..drover/builder')).toBe('late');
  expect(existsSync(row.worktree_path ?? '')).toBe(true);

  expect((await world.queue({ dry_run: true })).entries).toMatchObject([{ session_id: row.id, ready_to_merge: true }]);
  expect(await outcomesOf(world.queue())).toEqual(merged);
  // Another one came, and stays for the call after this.
  writeConfig(world, {});
  expect(await outcomesOf(world.queue())).toEqual(merged);
  expect(plainGit(world.repo, 'branch', '--list', 'drover/builder')).toBe('');
});

test('merged work whose branch stands still, or was taken back from the target, is not in the queue', async () => {
  const world = await field();
  const [still, further, elsewhere] = [
    await world.session('still', { commits: [{ 'a.txt': 'a\n' }] }),
    await world.session('further', { commits: [{ 'b.txt': 'b\n' }] }),
    await world.session('elsewhere', { commits: [{ 'c.txt': 'c\n' }] }),
  ];
  expect(await outcomesOf(world.queue({ is_clean: false }))).toHaveLength(3);
  expect((await world.queue({ dry_run: true })).entries).toEqual([]);

  const late = commit(further.worktree_path ?? '', { 'late.txt': 'l\n' });
  commit(elsewhere.worktree_path ?? '', { 'd.txt': 'd\n' });
  plainGit(world.repo, 'merge', '--quiet', '--no-ff', '-m', 'by hand', 'drover/elsewhere');
  expect((await world.queue({ dry_run: true })).entries.map(({ session_id }) => session_id)).toEqual([further.id]);
  expect(await outcomesOf(world.queue())).toEqual([[further.id, 'merged']]);
  expect(existsSync(join(world.repo, 'late.txt'))).toBe(true);
  expect(plainGit(world.repo, 'merge-base', '--is-ancestor', late, 'main')).toBe('');

  // A person took everything back: only what has commits that never went in comes up by itself.
  plainGit(world.repo, 'reset', '--quiet', '--hard', plainGit(world.repo, 'rev-list', '--max-parents=0', 'main'));
  expect(existsSync(still.worktree_path ?? '')).toBe(true);
  expect((await world.queue({ dry_run: true })).entries.map(({ session_id }) => session_id)).toEqual([elsewhere.id]);
});
