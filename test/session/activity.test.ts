import { expect, test } from 'bun:test';
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
async function worktree(how: { has_worktree: boolean } = { has_worktree: true }) {
  const world = await testStore();
  const path = tempDir('activity');
  git(path, 'init', '-q', '-b', 'main');
  for (const name of ['old.txt', 'gone.txt', 'moved.txt']) writeFileSync(join(path, name), `${name}\n`.repeat(20));
  git(path, 'add', '-A');
  git(path, 'commit', '-q', '-m', 'base');
  const { id } = await seedSession(world, { repo_root: '/farm', working_dir: path });
  const base = git(path, 'rev-parse', 'HEAD');
  const { turn, session } = await takeTurn(world, id);
  const place = { worktree_path: how.has_worktree ? path : null, base_commit: base };
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
