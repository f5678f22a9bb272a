import { afterAll, describe, expect, test } from 'bun:test';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionRow } from '../../src/model/session.ts';
import { prepareWorktree, undoClaim, worktreePath } from '../../src/session/worktree.ts';
import { forceWorktree, judgeWork, judgeWorktree, removeWorktree } from '../../src/session/worktree-clean.ts';
import { claimSlot, heldSlots, strayClaims } from '../../src/store/worktree.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from '../git/plain.ts';
import { type Field, field, isThere, treeOf } from './field.ts';

const held = async ({ world }: Field) => (await heldSlots(world.store, null)).map(({ slot }) => slot);
const claim = ({ world }: Field, row: SessionRow, path: string) =>
  claimSlot(world.store, { session_id: row.id, path, max: 9, now: world.clock.now() });

describe('a worktree for a session', () => {
  test('is made once there is a slot: the second of two waits untouched, and starts when the first one’s is gone (E-012, E-015)', async () => {
    const at = await field();
    at.config.max_worktrees = 1;
    const [first, second] = [await at.asking('first'), await at.asking('second')];
    expect(await prepareWorktree(at.deps, first)).toBe('ready');
    const path = treeOf(at, first);
    expect(await at.now(first)).toMatchObject({ state: 'queued', worktree_path: path, working_dir: path });
    expect(await prepareWorktree(at.deps, second)).toBe('full');
    expect(await at.now(second)).toMatchObject({ state: 'queued', worktree_path: null, end_reason: null });
    expect([at.trees(), at.branches()]).toEqual([[path], ['drover/first', 'main']]);
    await at.stop(first);
    const owned = { row: await at.now(first), path, ids: [first.id] };
    expect(await removeWorktree(at.deps, owned, await judgeWorktree(at.deps, owned))).toMatchObject({ removed: true });
    expect(await prepareWorktree(at.deps, second)).toBe('ready');
    expect(await at.now(second)).toMatchObject({
      state: 'queued',
      worktree_path: treeOf(at, second),
      working_dir: treeOf(at, second),
      base_commit: plainGit(at.repo, 'rev-parse', 'HEAD'),
    });
    expect(plainGit(treeOf(at, second), 'branch', '--show-current')).toBe('drover/second');
  });

  test('lies where the template says, below the root whatever a label says (E-175)', async () => {
    const at = await field();
    at.config.worktree.path = '{project}/{name}/{id}';
    const row = { id: 'agent-aaaaaaaaaaaaaaabcdef', name: 'solo-x', project: '../../etc/.. x\n' };
    expect(worktreePath(at.config, '/h', row)).toBe('/h/worktrees/etc-..-x-/solo-x/abcdef');
    expect(worktreePath(at.config, '/h', { ...row, project: '...' })).toBe('/h/worktrees/work/solo-x/abcdef');
    at.config.worktree.root = '/trees';
    at.config.worktree.path = '{project}-{id}';
    expect(worktreePath(at.config, '/h', { ...row, project: 'farm' })).toBe('/trees/farm-abcdef');
  });

  test('works where paths have spaces and newlines, and the main checkout is in the middle of a rebase', async () => {
    const repo = newRepository({ dir: join(newRepository(), '..', 'my repo\nx') });
    plainGit(repo, 'checkout', '-q', '-b', 'other');
    commitFile(repo, 'a', 'theirs\n', 'theirs');
    plainGit(repo, 'checkout', '-q', 'main');
    commitFile(repo, 'a', 'ours\n', 'ours');
    expect(tryPlainGit(repo, ['rebase', 'other']).code).not.toBe(0);
    const at = await field({ repo });
    at.config.worktree.root = join(at.world.home, 'trees of\nmine');
    const row = await at.settled('one', { project: 'my repo' });
    expect(row.worktree_path).toBe(join(at.world.home, 'trees of\nmine', `my-repo-${row.id.slice(-6)}`));
    expect(plainGit(row.worktree_path, 'status', '--porcelain')).toBe('');
    expect(plainGit(repo, 'status')).toContain('rebase in progress');
  });

  test('has no submodules in it and pointers for large files, and counts as clean all the same', async () => {
    const inner = newRepository();
    const repo = newRepository();
    plainGit(repo, '-c', 'protocol.file.allow=always', 'submodule', '--quiet', 'add', inner, 'sub');
    writeFileSync(join(repo, '.gitattributes'), '*.bin filter=lfs diff=lfs merge=lfs -text\n');
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n';
    commitFile(repo, 'big.bin', pointer, 'pointer');
    plainGit(repo, 'add', '.');
    plainGit(repo, 'commit', '-qm', 'attributes');
    plainGit(repo, 'config', 'filter.lfs.smudge', 'touch fired; cat');
    plainGit(repo, 'config', 'filter.lfs.required', 'true');
    const at = await field({ repo });
    const row = await at.settled('one');
    expect(readFileSync(join(row.worktree_path, 'big.bin'), 'utf8')).toBe(pointer);
    expect(await judgeWork(row, row.worktree_path)).toMatchObject({ kind: 'free' });
    expect(isThere(row.worktree_path, 'fired')).toBe(false);
  });

  test('comes from a shallow clone and from a detached HEAD as well', async () => {
    const origin = newRepository();
    commitFile(origin, 'b', 'b\n', 'second');
    const repo = join(origin, '..', 'shallow');
    plainGit('/', 'clone', '-q', '--depth', '1', `file://${origin}`, repo);
    plainGit(repo, 'checkout', '-q', '--detach');
    const at = await field({ repo });
    const row = await at.settled('one', { base_branch: null });
    expect(plainGit(row.worktree_path, 'rev-parse', 'HEAD')).toBe(plainGit(repo, 'rev-parse', 'HEAD'));
  });
});

const sleepers: { kill(): void; exited: Promise<number> }[] = [];
afterAll(async () => {
  for (const child of sleepers) child.kill();
  await Promise.all(sleepers.map((child) => child.exited));
});

describe('after a supervisor was killed', () => {
  test('between claim and checkout: the next one goes on with the same slot', async () => {
    const at = await field();
    const row = await at.asking('one');
    await claim(at, row, join(at.world.home, 'worktrees/elsewhere'));
    expect(await prepareWorktree(at.deps, row)).toBe('ready');
    expect((await at.now(row)).worktree_path).toBe(join(at.world.home, 'worktrees/elsewhere'));
    expect(await held(at)).toHaveLength(1);
  });

  test('between checkout and attach: the worktree is used as it is, the hook runs once more', async () => {
    const at = await field();
    const row = await at.asking('one');
    const path = treeOf(at, row);
    await claim(at, row, path);
    plainGit(at.repo, 'worktree', 'add', '-q', '-b', 'drover/one', path);
    at.config.worktree.hooks.after_create = 'echo made >>made';
    expect(await prepareWorktree(at.deps, row)).toBe('ready');
    expect(readFileSync(join(path, 'made'), 'utf8')).toBe('made\n');
  });

  test('between the hook’s good end and attach: it is not run again', async () => {
    const at = await field();
    const row = await at.asking('one');
    await claim(at, row, treeOf(at, row));
    const [slot] = await held(at);
    plainGit(at.repo, 'worktree', 'add', '-q', '-b', 'drover/one', treeOf(at, row));
    const hooks = join(at.world.home, 'sessions', row.id, 'hooks');
    mkdirSync(hooks, { recursive: true });
    writeFileSync(join(hooks, 'after_create.exit'), `${slot?.claimed_at} 0\n`);
    at.config.worktree.hooks.after_create = 'echo made >>made';
    expect(await prepareWorktree(at.deps, row)).toBe('ready');
    expect(isThere(treeOf(at, row), 'made')).toBe(false);
    expect(await at.events(row, 'hook')).toEqual([]);
  });

  test('in the middle of a hook that goes on: it is waited for, and not for ever', async () => {
    const at = await field();
    const row = await at.asking('one');
    await claim(at, row, treeOf(at, row));
    plainGit(at.repo, 'worktree', 'add', '-q', '-b', 'drover/one', treeOf(at, row));
    at.config.worktree.hooks.after_create = 'true';
    const child = Bun.spawn(['sleep', '600'], { cwd: treeOf(at, row) });
    sleepers.push(child);
    expect(await prepareWorktree(at.deps, row)).toBe('wait');
    at.world.clock.advance(16 * 60_000);
    expect(await prepareWorktree(at.deps, row)).toBe('failed');
    expect((await at.now(row)).end_reason).toContain('something is still running in the new worktree');
    expect(isThere(treeOf(at, row))).toBe(true);
  });

  /** What a `git worktree add` leaves that was killed in the middle of it. */
  async function unfinished(at: Field, row: SessionRow): Promise<string> {
    const path = treeOf(at, row);
    await claim(at, row, path);
    plainGit(at.repo, 'worktree', 'add', '-q', '--lock', '--reason', 'initializing', '-b', row.branch ?? '', path);
    rmSync(join(path, 'a'));
    return path;
  }

  test('in the middle of a checkout, git as well: it is made anew', async () => {
    const at = await field();
    const row = await at.asking('one');
    const path = await unfinished(at, row);
    expect(await prepareWorktree(at.deps, row)).toBe('ready');
    expect(plainGit(path, 'status', '--porcelain', '--branch')).toBe('## drover/one');
    expect(plainGit(at.repo, 'worktree', 'list', '--porcelain')).not.toContain('locked');
    const other = await at.asking('other');
    rmSync(await unfinished(at, other), { recursive: true });
    expect(await prepareWorktree(at.deps, other)).toBe('ready');
  });

  test('in the middle of a checkout that goes on: it is waited for, and not for ever', async () => {
    const at = await field();
    const row = await at.asking('one');
    const path = await unfinished(at, row);
    const git = Bun.spawn(['sh', '-c', 'read line', 'git', path], { stdin: 'pipe' });
    sleepers.push(git);
    expect(await prepareWorktree(at.deps, row)).toBe('wait');
    expect(await undoClaim(at.deps, (await held(at))[0] as never)).toBe('busy');
    expect(isThere(path, '.git')).toBe(true);
    // worktree_unfinished
    at.world.clock.advance(16 * 60_000);
    expect(await prepareWorktree(at.deps, row)).toBe('failed');
    expect((await at.now(row)).end_reason).toBe(
      `worktree_error: git is still making the worktree ${path}; End that process, then resume the session.`,
    );
    git.kill();
    await git.exited;
    await at.resume(row);
    expect(await prepareWorktree(at.deps, await at.now(row))).toBe('ready');
  });

  test('and the session was stopped: everything is taken back, whatever was made (E-016)', async () => {
    const at = await field();
    const rows = [
      await at.asking('claimed'),
      await at.asking('half'),
      await at.asking('whole'),
      await at.asking('worked'),
    ];
    const [claimed, half, whole, worked] = rows as [SessionRow, SessionRow, SessionRow, SessionRow];
    await claim(at, claimed, treeOf(at, claimed));
    await unfinished(at, half);
    for (const row of [whole, worked]) {
      await claim(at, row, treeOf(at, row));
      plainGit(at.repo, 'worktree', 'add', '-q', '-b', row.branch ?? '', treeOf(at, row));
    }
    writeFileSync(join(treeOf(at, worked), 'precious'), 'x');
    for (const row of rows) await at.stop(row);
    const came = [];
    for (const slot of await strayClaims(at.world.store)) came.push(await undoClaim(at.deps, slot));
    expect(came).toEqual(['undone', 'undone', 'undone', 'kept']);
    expect(at.trees()).toEqual([treeOf(at, worked)]);
    expect(at.branches()).toEqual(['drover/worked', 'main']);
    expect((await held(at)).map(({ session_id }) => session_id)).toEqual([worked.id]);
    await at.resume(worked);
    expect(await prepareWorktree(at.deps, await at.now(worked))).toBe('ready');
    expect(isThere(treeOf(at, worked), 'precious')).toBe(true);
  });
});

describe('what cannot be made', () => {
  /** Slot, branch and directory are as before, and the reason names the way out. */
  async function fails(at: Field, row: SessionRow, reason: RegExp): Promise<void> {
    const before = [at.trees(), at.branches(), await held(at)];
    expect(await prepareWorktree(at.deps, row)).toBe('failed');
    expect(await at.now(row)).toMatchObject({ state: 'failed', worktree_path: null });
    expect((await at.now(row)).end_reason).toMatch(reason);
    expect([at.trees(), at.branches(), await held(at)]).toEqual(before);
  }

  test('the branch is there, or one in its way; something is at the path; the base is gone', async () => {
    const at = await field();
    commitFile(at.repo, 'b', 'b\n', 'second');
    plainGit(at.repo, 'branch', 'drover/taken', 'HEAD~1');
    await fails(
      at,
      await at.asking('taken'),
      /worktree_error: the branch drover\/taken is in the way of drover\/taken; Rename it \(git -C .* branch -m drover\/taken drover\/taken-old\), or choose another name/,
    );
    await fails(
      at,
      await at.asking('deep', { branch: 'main/deep' }),
      /the branch main is in the way of main\/deep; .*worktree.branch_prefix/,
    );
    await fails(at, await at.asking('dash', { branch: '-b' }), /"-b" cannot be the name of a branch/);
    await fails(at, await at.asking('lost', { base_ref: 'f'.repeat(40) }), /there is no commit/);
    const blocked = await at.asking('blocked');
    mkdirSync(treeOf(at, blocked), { recursive: true });
    writeFileSync(join(treeOf(at, blocked), 'mine'), 'x');
    await fails(at, blocked, /there is something at .* already/);
    expect(isThere(treeOf(at, blocked), 'mine')).toBe(true);
  });

  test('the repository is gone, or its refs cannot be written', async () => {
    const at = await field();
    const row = await at.asking('sealed');
    const refs = join(at.repo, '.git/refs');
    // A file where a directory is wanted stops every user, also one whom no mode stops.
    writeFileSync(join(refs, 'heads/drover'), 'not a ref\n');
    await fails(at, row, /worktree_error: /);
    rmSync(join(refs, 'heads/drover'));
    const orphan = await at.asking('orphan', { repo_root: '/nowhere/at/all', working_dir: '/' });
    expect(await prepareWorktree(at.deps, orphan)).toBe('failed');
    expect((await at.now(orphan)).end_reason).toContain('/nowhere/at/all');
    expect(await held(at)).toEqual([]);
  });

  test('the hook after create fails: the session fails with its words and nothing is left; what it made is kept', async () => {
    const at = await field();
    at.config.worktree.hooks.after_create = 'echo no compiler; exit 3';
    await fails(
      at,
      await at.asking('one'),
      /the hook after_create failed with exit code 3: no compiler; Its output is in/,
    );
    at.config.worktree.hooks.after_create = 'echo half >half-done; exit 1';
    const row = await at.asking('two');
    expect(await prepareWorktree(at.deps, row)).toBe('failed');
    expect(isThere(treeOf(at, row), 'half-done')).toBe(true);
    expect(await strayClaims(at.world.store)).toHaveLength(1);
    at.config.worktree.hooks.after_create = 'test -f half-done';
    await at.resume(row);
    expect(await prepareWorktree(at.deps, await at.now(row))).toBe('ready');
  });

  test('a repository that names hooks and is not trusted is refused, never run without them', async () => {
    const at = await field();
    at.config.untrusted_keys = ['worktree.hooks.after_create', 'gate.commands'];
    await fails(
      at,
      await at.asking('one'),
      /names commands for its worktrees: worktree\.hooks\.after_create; .*trusted_repositories/s,
    );
    at.config.untrusted_keys = ['gate.commands'];
    expect(await prepareWorktree(at.deps, await at.asking('two'))).toBe('ready');
  });

  test('a worktree that somebody deleted: the session says so, and how to bring it back', async () => {
    const at = await field();
    const row = await at.settled('one');
    rmSync(row.worktree_path, { recursive: true });
    expect(await prepareWorktree(at.deps, row)).toBe('failed');
    const { end_reason } = await at.now(row);
    expect(end_reason).toContain(`worktree_missing: ${row.worktree_path} does not exist`);
    const back = end_reason?.split('branch: ')[1] ?? '';
    expect(Bun.spawnSync(['sh', '-c', back]).exitCode).toBe(0);
    await at.resume(row);
    expect(await prepareWorktree(at.deps, await at.now(row))).toBe('ready');
  });
});

test('who is resumed after its worktree was removed finds its branch again, with its work', async () => {
  const at = await field();
  const row = await at.settled('one');
  const id = commitFile(row.worktree_path, 'work', 'w\n', 'work');
  await at.stop(row);
  writeFileSync(join(row.worktree_path, 'loose'), 'l');
  const gone = await forceWorktree(
    at.deps,
    { row: await at.now(row), path: row.worktree_path, ids: [row.id] },
    { discard_ignored: false },
  );
  expect(gone).toMatchObject({ removed: true });
  await at.resume(row);
  expect(await prepareWorktree(at.deps, await at.now(row))).toBe('ready');
  expect(plainGit(row.worktree_path, 'rev-parse', 'HEAD')).toBe(id);
});

test('files of .worktreeinclude that are missing come back when a session goes on; a failure is only a warning (E-147)', async () => {
  const at = await field();
  commitFile(at.repo, '.gitignore', '.env\n', 'ignore');
  writeFileSync(join(at.repo, '.worktreeinclude'), '.env\n');
  writeFileSync(join(at.repo, '.env'), 'KEY=1\n');
  const row = await at.settled('one');
  rmSync(join(row.worktree_path, '.env'));
  expect(await prepareWorktree(at.deps, row)).toBe('ready');
  expect(readFileSync(join(row.worktree_path, '.env'), 'utf8')).toBe('KEY=1\n');
  rmSync(join(at.repo, '.worktreeinclude'));
  mkdirSync(join(at.repo, '.worktreeinclude'));
  expect(await prepareWorktree(at.deps, row)).toBe('ready');
  expect(await at.events(row, 'warning')).toEqual([
    { warning: 'worktree_include', message: expect.stringContaining('no regular file') },
  ]);
});
