import { expect, test } from 'bun:test';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { IncidentRow } from '../../src/model/incident.ts';
import { predictIncident, storePredictions } from '../../src/session/prediction.ts';
import { seedSession, type TestStore, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

const IDENTITY = ['-c', 'user.name=test', '-c', 'user.email=test@localhost'];

function git(cwd: string, ...args: string[]): string {
  const env = { PATH: process.env.PATH ?? '', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' };
  const done = Bun.spawnSync(['git', ...IDENTITY, ...args], { cwd, env });
  if (done.exitCode !== 0) throw new Error(`git ${args.join(' ')}: ${done.stderr}`);
  return done.stdout.toString().trim();
}

/** Two branches from one commit; each writes `files` and commits. */
async function lines(ann: Record<string, string>, bob: Record<string, string>) {
  const world: TestStore = await testStore();
  const repo_root = tempDir('prediction');
  git(repo_root, 'init', '-q', '-b', 'main');
  git(repo_root, 'commit', '-q', '--allow-empty', '-m', 'start');
  for (const [branch, files] of [
    ['ann', ann],
    ['bob', bob],
  ] as const) {
    git(repo_root, 'checkout', '-q', '-b', branch, 'main');
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(join(repo_root, 'src'), { recursive: true });
      writeFileSync(join(repo_root, path), text);
    }
    git(repo_root, 'add', '-A');
    git(repo_root, 'commit', '-q', '-m', branch);
    await seedSession(world, { id: `session-${branch}`, name: branch, repo_root, branch, base_ref: 'main' });
  }
  const incident = {
    ...{ repo_root, first_session_id: 'session-ann', second_session_id: 'session-bob' },
    active_session_id: 'session-bob' as string | null,
  };
  const before = git(repo_root, 'count-objects', '-v');
  const predict = () => predictIncident({ store: world.store, clock: world.clock }, incident);
  return { world, repo_root, incident, predict, before };
}

test('who goes on is merged into, and the conflicts are named; nothing in the repository changes', async () => {
  const { predict, repo_root, before } = await lines({ 'src/a': 'ann\n' }, { 'src/a': 'bob\n' });
  expect(await predict()).toMatchObject({
    ...{ ours: { branch: 'bob' }, theirs: { branch: 'ann' }, is_clean: false, problem: null },
    conflicts: [{ path: 'src/a', kind: 'add/add' }],
  });
  expect(git(repo_root, 'count-objects', '-v')).toBe(before);
});

test('what is not committed is no part of it', async () => {
  const { predict, repo_root } = await lines({ 'src/a': 'ann\n' }, { 'src/b': 'bob\n' });
  writeFileSync(join(repo_root, 'src/a'), 'bob, too\n');
  expect(await predict()).toMatchObject({ is_clean: true, conflicts: [] });
});

test('branches that have nothing in common are a problem that is told; a branch or repository that is gone is none', async () => {
  const { predict, repo_root } = await lines({ 'src/a': 'ann\n' }, { 'src/b': 'bob\n' });
  git(repo_root, 'checkout', '-q', '--orphan', 'other');
  git(repo_root, 'commit', '-q', '-m', 'other');
  git(repo_root, 'branch', '-f', 'ann', 'other');
  const told = await predict();
  expect(told).toMatchObject({ is_clean: null, conflicts: [] });
  expect(told?.problem).toBeString();
  git(repo_root, 'branch', '-D', 'ann');
  expect(await predict()).toBeNull();
  rmSync(repo_root, { recursive: true });
  expect(await predict()).toBeNull();
});

test('many files of the same two are one merge, stored with each incident', async () => {
  const { world, incident } = await lines({ 'src/a': 'ann\n' }, { 'src/a': 'bob\n' });
  const ids = ['incident-1', 'incident-2'];
  for (const id of ids)
    await world.store.write((tx) =>
      tx.run(
        `INSERT INTO incidents (id, key, repo_root, kind, path, first_session_id, second_session_id, strategy, summary, created_at, updated_at)
         VALUES (:id, :id, :repo_root, 'overlap', 'src/a', 'session-ann', 'session-bob', 'escalate', '', 1, 1)`,
        { id, repo_root: incident.repo_root },
      ),
    );
  const all = () => world.store.read((tx) => tx.all<IncidentRow>('SELECT * FROM incidents ORDER BY id'));
  await storePredictions({ store: world.store, clock: world.clock }, await all());
  const texts = (await all()).map(({ prediction_json }) => prediction_json);
  expect(texts[0]).toBe(texts[1] ?? '');
  expect(JSON.parse(texts[0] ?? '')).toMatchObject({ is_clean: false, conflicts: [{ path: 'src/a' }] });
});
