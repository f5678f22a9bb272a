import { expect, test } from 'bun:test';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addScratch } from '../../../src/git/scratch.ts';
import { homePaths } from '../../../src/model/home.ts';
import { mergeLockPath, mergeTrialDir } from '../../../src/model/merge-place.ts';
import { mergeFindings } from '../../../src/session/doctor/merges.ts';
import { claimMerges } from '../../../src/store/merge.ts';
import { plainGit } from '../../git/plain.ts';
import { type Field, field } from '../../merge/field.ts';
import { holdLock } from '../../merge/lock-holder.ts';

const look = async (world: Field) => (await mergeFindings(world, world.store)).map(({ finding }) => finding);
const NOTHING = [{ check: 'merges', level: 'ok', what: 'none was cut short' }];
const lockOf = (world: Field) => mergeLockPath(world.home, world.repo, 'main');

/** A session with work, and an attempt to merge it whose process is gone. */
async function cutShort(world: Field, name: string) {
  const row = await world.session(name, { commits: [{ [`${name}.txt`]: 'a\n' }] });
  const [base_head, head] = ['main', row.branch ?? ''].map((branch) => plainGit(world.repo, 'rev-parse', branch));
  const claims = [{ session_id: row.id, branch: row.branch ?? '', head: head ?? '' }];
  const now = world.clock.now();
  await claimMerges(world.store, { claims, repo_root: world.repo, target: 'main', base_head: base_head ?? '', now });
  return row;
}

function runCommands(hint: string | null | undefined): void {
  const commands = hint?.split('\n').filter((line) => /^(?:git|rm) /.test(line)) ?? [];
  expect(commands.length).toBeGreaterThan(0);
  for (const line of commands) {
    const ran = Bun.spawnSync(['sh', '-c', line]);
    expect([line, ran.exitCode]).toEqual([line, 0]);
  }
}

test('attempts that nobody is at are told with the merge that settles them; those under way are not', async () => {
  const world = await field();
  expect(await look(world)).toMatchObject(NOTHING);
  for (const name of ['one', 'two']) await cutShort(world, name);
  const holder = await holdLock(lockOf(world));
  expect(await look(world)).toMatchObject(NOTHING);
  await holder.release();
  expect(await look(world)).toMatchObject([
    {
      ...{ check: 'merges', level: 'warning' },
      what: `merging drover/one, drover/two into main of ${world.repo} was cut short`,
      hint: expect.stringMatching(new RegExp(`^drover merge --queue --project '?${world.repo}'?$`, 'm')),
    },
  ]);
  expect(await world.queue()).toMatchObject({ merged: [{}, {}] });
  expect(await look(world)).toMatchObject(NOTHING);
});

test('the merge that is told settles what no session stands for any more, too; a dry run does not', async () => {
  const world = await field();
  const row = await cutShort(world, 'one');
  await world.store.write((tx) => tx.run('UPDATE sessions SET worktree_path = NULL WHERE id = :id', { id: row.id }));
  await world.queue({ dry_run: true });
  expect(await look(world)).toMatchObject([{ level: 'warning' }]);
  await world.queue();
  expect(await look(world)).toMatchObject(NOTHING);
  expect(await world.all('SELECT outcome, reason FROM merges')).toEqual([{ outcome: 'failed', reason: 'interrupted' }]);
});

test('the place of a trial is told when its lock is free, and the commands take it away and nothing else', async () => {
  const world = await field();
  const dir = mergeTrialDir(world.home, world.repo, 'main');
  const commit = plainGit(world.repo, 'rev-parse', 'main');
  mkdirSync(dir, { recursive: true });
  await addScratch({ repo_root: world.repo, path: join(dir, 'tree'), commit, clock: world.clock });
  writeFileSync(join(dir, 'tree/made-by-a-gate'), '');
  const bare = mergeTrialDir(world.home, world.repo, "it's other");
  const foreign = join(homePaths.merges(world.home), 'notes');
  for (const each of [bare, foreign]) mkdirSync(each);
  const holder = await holdLock(lockOf(world));
  expect((await look(world)).map(({ what }) => what)).toEqual([`${bare} is left over from a merge that was killed`]);
  await holder.release();
  const found = await look(world);
  expect(found.map(({ what }) => what).sort()).toEqual(
    [bare, dir].map((each) => `${each} is left over from a merge that was killed`).sort(),
  );
  for (const { hint } of found) runCommands(hint);
  expect([dir, bare, foreign].map(existsSync)).toEqual([false, false, true]);
  expect(plainGit(world.repo, 'worktree', 'list').split('\n')).toHaveLength(1);
  expect(await look(world)).toMatchObject(NOTHING);
});

test('the place of a trial of an attempt that was cut short goes with it', async () => {
  const world = await field();
  await cutShort(world, 'one');
  const dir = mergeTrialDir(world.home, world.repo, 'main');
  mkdirSync(dir, { recursive: true });
  expect(await look(world)).toMatchObject([{ what: expect.stringContaining('was cut short') }]);
  await world.queue();
  expect(existsSync(dir)).toBe(false);
});

test('a ref for writing in bulk that stayed is told; the command deletes it, and so does the next merge of two', async () => {
  const world = await field();
  await cutShort(world, 'zero');
  await world.queue();
  const leave = () => plainGit(world.repo, 'update-ref', 'refs/drover/merge', 'main');
  leave();
  const found = await look(world);
  expect(found).toMatchObject([{ level: 'warning', what: expect.stringContaining('refs/drover/merge') }]);
  runCommands(found[0]?.hint);
  expect(await look(world)).toMatchObject(NOTHING);
  leave();
  for (const name of ['one', 'two']) await world.session(name, { commits: [{ [`${name}.txt`]: 'a\n' }] });
  await world.queue();
  expect(await look(world)).toMatchObject(NOTHING);
});
