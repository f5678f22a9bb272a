import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { mergeLockPath } from '../../src/model/merge-place.ts';
import { hashToken } from '../../src/session/identity.ts';
import { plainGit } from '../git/plain.ts';
import { field } from '../merge/field.ts';
import { holdLock } from '../merge/lock-holder.ts';
import { DROVER, droverBench } from '../support/drover.ts';

/** A bench whose home and repository are those of a field. */
async function benchOf() {
  const world = await field();
  const bench = droverBench();
  const { DROVER_HOME: _own, ...env } = bench.env;
  const options = { cwd: world.repo, env: { ...env, DROVER_HOME: world.home } };
  const run = (args: string[], more: Record<string, string> = {}) =>
    bench.run(args, { ...options, env: { ...options.env, ...more } });
  return { world, run, environment: options.env };
}

test('merge: one session or the queue; a home that was never used stays that way (exit codes 2, 4, 0)', async () => {
  const bench = droverBench();
  expect((await bench.run(['merge'])).code).toBe(2);
  expect((await bench.run(['merge', 'a', '--queue'])).code).toBe(2);
  expect((await bench.run(['merge', 'nobody', '--dry-run'])).code).toBe(4);
  expect(await bench.run(['merge', '--queue', '--dry-run'])).toMatchObject({ code: 0, stdout: 'nothing to merge\n' });
  expect(existsSync(bench.drover_home)).toBe(false);
});

test('merge: the queue for people, before and after (E-155, E-161)', async () => {
  const { world, run } = await benchOf();
  await world.session('one', { minutes_ago: 3, commits: [{ 'a.txt': 'a\n' }] });
  await world.session('live', { state: 'working', commits: [{ 'b.txt': 'b\n' }] });
  const failed = await world.session('failed', { state: 'failed', commits: [{ 'c.txt': 'c\n' }] });

  const dry = await run(['merge', '--queue', '--dry-run']);
  expect(dry.code).toBe(0);
  expect(dry.stdout).toContain('#1  one      drover/one     main  merge in queue order #1');
  expect(dry.stdout).toContain('nothing was done (dry run)');

  const done = await run(['merge', '--queue']);
  expect(done).toMatchObject({ code: 0, stderr: '' });
  expect(done.stdout).toContain('one: merged into main (');
  expect(done.stdout).toContain('worktree and branch drover/one removed');
  expect(done.stdout).toMatch(/live .*session is still Working/);
  expect(done.stdout).toMatch(/failed .*take it by name: drover merge failed/);
  expect(existsSync(join(world.repo, 'a.txt'))).toBe(true);

  expect(JSON.parse((await run(['merge', 'failed', '--no-clean', '--json'])).stdout)).toMatchObject({
    ...{ session_id: failed.id, branch: 'drover/failed', base_branch: 'main' },
    ...{ already_up_to_date: false, cleaned_worktree: false, outcome: 'merged' },
  });
  expect(existsSync(failed.worktree_path ?? '')).toBe(true);
});

test('merge and rebase are rights of a role: a builder’s token has neither', async () => {
  const { world, run } = await benchOf();
  const done = await world.session('done', { commits: [{ 'a.txt': 'a\n' }] });
  const live = await world.session('live', { state: 'working' });
  await world.store.write((tx) =>
    tx.run('UPDATE sessions SET token_hash = :hash WHERE id = :id', { hash: hashToken('secret'), id: live.id }),
  );
  const as = { DROVER_TOKEN: 'secret', DROVER_SESSION_ID: live.id };
  const main = plainGit(world.repo, 'rev-parse', 'main');
  for (const args of [
    ['merge', '--queue'],
    ['merge', 'done'],
    ['rebase', 'done'],
  ]) {
    const ran = await run([...args, '--json'], as);
    expect([ran.code, JSON.parse(ran.stdout).error.code]).toEqual([3, 'not_allowed']);
  }
  expect(plainGit(world.repo, 'rev-parse', 'main')).toBe(main);
  expect(await world.rowOf(done)).toMatchObject({ merged_at: null });
});

test('a lead’s queue takes what it started and leaves what is of others (E-155, O-84)', async () => {
  const { world, run } = await benchOf();
  const lead = await world.session('lead', { state: 'working' });
  const mine = await world.session('mine', { commits: [{ 'a.txt': 'a\n' }] });
  const other = await world.session('other', { commits: [{ 'b.txt': 'b\n' }] });
  const far = await world.session('far', { commits: [{ 'c.txt': 'c\n' }] });
  await world.store.write((tx) => {
    tx.run("UPDATE sessions SET token_hash = :hash, role = 'lead' WHERE id = :id", {
      hash: hashToken('secret'),
      id: lead.id,
    });
    tx.run('UPDATE sessions SET parent_id = :lead WHERE id = :id', { lead: lead.id, id: mine.id });
    tx.run("UPDATE sessions SET repo_root = '/elsewhere' WHERE id = :id", { id: far.id });
  });
  const as = { DROVER_TOKEN: 'secret', DROVER_SESSION_ID: lead.id };
  expect(await run(['merge', '--queue'], as)).toMatchObject({ code: 0 });
  expect(await world.rowOf(mine)).toMatchObject({ merged_at: expect.any(Number) });
  expect(await world.rowOf(other)).toMatchObject({ merged_at: null });
  expect(existsSync(join(world.repo, 'b.txt'))).toBe(false);
  expect(JSON.parse((await run(['merge', 'other', '--json'], as)).stdout).error.code).toBe('out_of_reach');
  expect(await run(['merge', '--queue'])).toMatchObject({ code: 0, stdout: expect.stringContaining('other: merged') });
});

test('merge --wait says what it waits for, and merges when the other is done (O-84)', async () => {
  const { world, run, environment } = await benchOf();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  for (const verb of ['merge', 'rebase']) {
    const ran = await run([verb, 'builder', '--wait', '7', '--json']);
    expect([ran.code, JSON.parse(ran.stdout).error.code]).toEqual([2, 'usage']);
  }
  const holder = await holdLock(mergeLockPath(world.home, world.repo, 'main'));
  const refused = await run(['merge', 'builder', '--json']);
  expect([refused.code, JSON.parse(refused.stdout).error.code]).toEqual([3, 'merge_running']);

  const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];
  const child = Bun.spawn([DROVER, 'merge', 'builder', '--wait', '--json'], {
    cwd: world.repo,
    env: environment,
    stdio,
  });
  let said = '';
  for await (const chunk of child.stderr) {
    said += new TextDecoder().decode(chunk);
    if (said.includes('\n')) break;
  }
  expect(said).toBe(
    `waiting: process ${holder.pid} is merging into main just now (${mergeLockPath(world.home, world.repo, 'main')})\n`,
  );
  await holder.release();
  expect(JSON.parse(await child.stdout.text())).toMatchObject({ session_id: row.id, outcome: 'merged' });
  expect(await child.exited).toBe(0);
}, 60_000);
