import { describe, expect, test } from 'bun:test';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { noteTurnChanges } from '../../src/session/activity.ts';
import { listActivity } from '../../src/store/activity.ts';
import { changedAt } from '../../src/sys/changed-at.ts';
import { seedSession, takeTurn, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

const IDENTITY = ['-c', 'user.name=test', '-c', 'user.email=test@localhost'];

function git(cwd: string, ...args: string[]): string {
  const env = { PATH: process.env.PATH ?? '', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' };
  const done = Bun.spawnSync(['git', ...IDENTITY, ...args], { cwd, env });
  if (done.exitCode !== 0) throw new Error(`git ${args.join(' ')}: ${done.stderr}`);
  return done.stdout.toString().trim();
}

/** A session in a worktree whose base has `old.txt`, `gone.txt` and `moved.txt`; `turn` begins and notes one turn. */
async function worktree(how: { has_worktree?: boolean; base_branch?: string } = {}) {
  const world = await testStore();
  const path = tempDir('activity');
  git(path, 'init', '-q', '-b', 'main');
  for (const name of ['old.txt', 'gone.txt', 'moved.txt']) writeFileSync(join(path, name), `${name}\n`.repeat(20));
  git(path, 'add', '-A');
  git(path, 'commit', '-q', '-m', 'base');
  const { id } = await seedSession(world, { repo_root: '/farm', working_dir: path });
  const base = git(path, 'rev-parse', 'HEAD');
  const { turn, session } = await takeTurn(world, id);
  const { has_worktree = true, base_branch = null } = how;
  const place = { worktree_path: has_worktree ? path : null, base_commit: base, base_branch, branch: 'work' };
  let nth = 0;
  const during = async (work: () => void) => {
    nth += 1;
    // The clock of the file system may be a few milliseconds behind ours: what lay there before has to be older.
    const started_at = Date.now();
    await until('the file system has the time', () => {
      writeFileSync(join(path, '.git/tick'), String(Math.random()));
      return (changedAt(join(path, '.git/tick')) ?? 0) >= started_at ? true : null;
    });
    work();
    await noteTurnChanges(world.deps, { ...session, ...place }, { ...turn, turn: nth, started_at });
    const rows = await listActivity(world.store, { session_id: id, limit: 100 });
    return rows
      .filter((row) => row.turn === nth)
      .map((row) => `${row.action} ${row.path}`)
      .sort();
  };
  return { path, during };
}

test('committed and not, new, changed, moved and deleted: what changed while the turn ran, each once (E-142)', async () => {
  const { path, during } = await worktree();
  const first = await during(() => {
    mkdirSync(join(path, 'src'));
    writeFileSync(join(path, 'src/new.ts'), 'x');
    git(path, 'add', '-A');
    git(path, 'commit', '-q', '-m', 'one');
    writeFileSync(join(path, 'old.txt'), 'changed');
    writeFileSync(join(path, 'loose.txt'), 'x');
    rmSync(join(path, 'gone.txt'));
    renameSync(join(path, 'moved.txt'), join(path, 'src/moved.txt'));
    git(path, 'add', 'moved.txt', 'src/moved.txt');
  });
  expect(first).toEqual([
    'create loose.txt',
    'create src/new.ts',
    'delete gone.txt',
    'delete moved.txt',
    'modify old.txt',
    'move src/moved.txt',
  ]);
  // Committing writes no file anew, and what is gone stays gone.
  expect(
    await during(() => {
      git(path, 'add', '-A');
      git(path, 'commit', '-q', '-m', 'two');
      writeFileSync(join(path, 'loose.txt'), 'y');
    }),
  ).toEqual(['modify loose.txt']);
  expect(await during(() => undefined)).toEqual([]);
});

test('in a shared checkout nobody can say whose change it is (E-142)', async () => {
  const { path, during } = await worktree({ has_worktree: false });
  expect(await during(() => writeFileSync(join(path, 'old.txt'), 'changed'))).toEqual([]);
});

test('a worktree that git cannot read, or that is gone, tells nothing and stops nobody', async () => {
  const { path, during } = await worktree();
  expect(await during(() => writeFileSync(join(path, '.git/HEAD'), 'nonsense'))).toEqual([]);
  expect(await during(() => rmSync(path, { recursive: true })).catch(() => 'failed')).toEqual([]);
});

describe('what comes from the target is nobody\u2019s write (E-142)', () => {
  /** A branch of its own, and `theirs.txt` and a change of `old.txt` that are on main by now; `gone.txt` is not any more. */
  async function behind() {
    const at = await worktree({ base_branch: 'main' });
    git(at.path, 'checkout', '-q', '-b', 'work');
    writeFileSync(join(at.path, 'mine.txt'), 'x');
    git(at.path, 'add', '-A');
    git(at.path, 'commit', '-q', '-m', 'mine');
    git(at.path, 'checkout', '-q', 'main');
    for (const name of ['theirs.txt', 'old.txt']) writeFileSync(join(at.path, name), `${name} of theirs\n`);
    git(at.path, 'rm', '-q', 'gone.txt');
    git(at.path, 'add', '-A');
    git(at.path, 'commit', '-q', '-m', 'theirs');
    git(at.path, 'checkout', '-q', 'work');
    return at;
  }

  test('merged, with what was written beside it', async () => {
    const { path, during } = await behind();
    const merge = () => {
      git(path, 'merge', '-q', '--no-edit', 'main');
      writeFileSync(join(path, 'mine.txt'), 'y');
      writeFileSync(join(path, 'loose.txt'), 'x');
    };
    expect(await during(merge)).toEqual(['create loose.txt', 'modify mine.txt']);
    // Whoever changes one of these files afterwards has written it.
    expect(await during(() => writeFileSync(join(path, 'old.txt'), 'z'))).toEqual(['modify old.txt']);
  });

  test('merged, and changed there again since', async () => {
    const { path, during } = await behind();
    git(path, 'checkout', '-q', '-b', 'ahead', 'main');
    writeFileSync(join(path, 'theirs.txt'), 'newer\n');
    git(path, 'commit', '-q', '-a', '-m', 'ahead');
    git(path, 'checkout', '-q', 'work');
    const merge = () => {
      git(path, 'merge', '-q', '--no-edit', 'main');
      git(path, 'update-ref', 'refs/heads/main', 'ahead');
    };
    expect(await during(merge)).toEqual([]);
  });

  test('a merge under way, and what was picked from it', async () => {
    const { path, during } = await behind();
    expect(await during(() => git(path, 'merge', '-q', '--no-commit', '--no-ff', 'main'))).toEqual([]);
    git(path, 'merge', '--abort');
    expect(await during(() => git(path, 'cherry-pick', 'main'))).toEqual([]);
  });

  test('a conflict in it that was solved is a write', async () => {
    const { path, during } = await behind();
    writeFileSync(join(path, 'old.txt'), 'mine\n');
    git(path, 'commit', '-q', '-a', '-m', 'mine as well');
    const solve = () => {
      expect(() => git(path, 'merge', '-q', 'main')).toThrow();
      writeFileSync(join(path, 'old.txt'), 'both\n');
      git(path, 'add', 'old.txt');
      git(path, 'commit', '-q', '-m', 'merged');
    };
    expect(await during(solve)).toEqual(['modify old.txt']);
  });

  test('merged from where the target is fetched from', async () => {
    const { path, during } = await behind();
    git(path, 'update-ref', 'refs/remotes/origin/main', 'main');
    git(path, 'update-ref', 'refs/heads/main', 'main~1');
    git(path, 'config', 'remote.origin.url', path);
    git(path, 'config', 'remote.origin.fetch', '+refs/heads/*:refs/remotes/origin/*');
    git(path, 'config', 'branch.main.remote', 'origin');
    git(path, 'config', 'branch.main.merge', 'refs/heads/main');
    expect(await during(() => git(path, 'merge', '-q', '--no-edit', 'origin/main'))).toEqual([]);
  });

  test('a target that is gone, or made anew: what was done since the beginning counts', async () => {
    const gone = await behind();
    git(gone.path, 'branch', '-q', '-D', 'main');
    const write = ({ path }: typeof gone) => {
      writeFileSync(join(path, 'new.txt'), 'x');
      git(path, 'add', '-A');
      git(path, 'commit', '-q', '-m', 'new');
    };
    expect(await gone.during(() => write(gone))).toEqual(['create new.txt']);
    const other = await behind();
    git(other.path, 'update-ref', 'refs/heads/main', git(other.path, 'commit-tree', '-m', 'anew', 'main^{tree}'));
    expect(await other.during(() => write(other))).toEqual(['create new.txt']);
  });
});
