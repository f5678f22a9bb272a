import { expect, test } from 'bun:test';
import { appendFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { workFacts } from '../../src/git/facts.ts';
import { worktreeHealth } from '../../src/git/readiness.ts';
import { rebaseOnto } from '../../src/git/rebase.ts';
import { removeCleanWorktree } from '../../src/git/worktree.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { tempDir } from '../support/temp.ts';
import { commitFile, newRepository, plainGit } from './plain.ts';
import { snapshot } from './snapshot.ts';

function worktree() {
  const root = newRepository();
  for (const name of ['trusted', 'skipped', 'both', 'grün']) commitFile(root, name, 'one\n', name);
  const path = join(tempDir('trees'), 'work');
  plainGit(root, 'worktree', 'add', '--quiet', '-b', 'work', path);
  return { root, path };
}

const dirtyIn = async (path: string) => (await workFacts(path, null))?.dirty.sort();

test('changes to files that the index says not to look at are changes (O-85)', async () => {
  const { root, path } = worktree();
  plainGit(path, 'update-index', '--assume-unchanged', 'trusted', 'both', 'grün');
  plainGit(path, 'update-index', '--skip-worktree', 'skipped', 'both');
  expect(await dirtyIn(path)).toEqual([]);
  for (const name of ['trusted', 'skipped', 'both', 'grün']) appendFileSync(join(path, name), 'hidden\n');
  writeFileSync(join(path, 'new'), 'new\n');
  const before = snapshot(root);
  expect(plainGit(path, 'status', '--porcelain')).toBe('?? new');
  expect(await dirtyIn(path)).toEqual(['both', 'grün', 'new', 'skipped', 'trusted']);
  expect((await worktreeHealth({ path, base: plainGit(root, 'rev-parse', 'main') })).health).toBe('in_progress');
  expect(snapshot(root)).toEqual(before);
});

test('one hidden change holds off a removal and a rebase', async () => {
  for (const mark of ['--assume-unchanged', '--skip-worktree']) {
    const { root, path } = worktree();
    plainGit(path, 'update-index', mark, 'a');
    appendFileSync(join(path, 'a'), 'hidden\n');
    const removal = removeCleanWorktree({ repo_root: root, path, clock: systemClock });
    await expect(removal).rejects.toMatchObject({ code: 'worktree_dirty', details: { unsafe_condition: '"a"' } });
    const onto = commitFile(root, 'a', 'theirs\n', 'theirs');
    await expect(rebaseOnto({ path, onto, clock: systemClock })).rejects.toMatchObject({ code: 'worktree_dirty' });
    expect(existsSync(join(path, 'a'))).toBe(true);
  }
});

test('a sparse checkout as it should be has no changes', async () => {
  const { path } = worktree();
  for (const dir of ['in', 'out']) {
    mkdirSync(join(path, dir));
    commitFile(path, `${dir}/x`, 'x\n', dir);
  }
  plainGit(path, 'sparse-checkout', 'set', 'in');
  expect([existsSync(join(path, 'out')), await dirtyIn(path)]).toEqual([false, []]);
  mkdirSync(join(path, 'out'));
  writeFileSync(join(path, 'out/x'), 'other\n');
  expect(await dirtyIn(path)).toEqual(['out/x']);
});

test('changes inside of a submodule are changes, at any depth; a commit of it that is taken in is none', async () => {
  const origin = newRepository();
  const { root, path } = worktree();
  const add = ['-c', 'protocol.file.allow=always', 'submodule', '--quiet', 'add', origin];
  plainGit(path, ...add, 'sub');
  plainGit(join(path, 'sub'), ...add, 'deep');
  plainGit(join(path, 'sub'), 'commit', '-qm', 'deep');
  plainGit(path, 'commit', '-qam', 'sub');
  expect(await dirtyIn(path)).toEqual([]);
  writeFileSync(join(path, 'sub/new'), 'new\n');
  appendFileSync(join(path, 'sub/deep/a'), 'changed\n');
  plainGit(join(path, 'sub'), 'update-index', '--assume-unchanged', 'a');
  appendFileSync(join(path, 'sub/a'), 'hidden\n');
  expect(await dirtyIn(path)).toEqual(['sub/a', 'sub/deep/a', 'sub/new']);
  plainGit(root, 'merge', '-q', 'work');
  const health = await worktreeHealth({ path, base: plainGit(root, 'rev-parse', 'main') });
  expect([health.health, health.dirty.length]).toEqual(['in_progress', 3]);
  // Not populated in the main checkout.
  expect(await dirtyIn(root)).toEqual([]);
  writeFileSync(join(root, 'sub/loose'), 'loose\n');
  expect([plainGit(root, 'status', '--porcelain'), await dirtyIn(root)]).toEqual(['', ['sub/']]);
  rmSync(join(path, 'sub/.git'));
  writeFileSync(join(path, 'sub/.git'), 'gitdir: /nowhere\n');
  expect(await dirtyIn(path)).toEqual(['sub/']);
});
