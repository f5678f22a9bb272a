import { expect, test } from 'bun:test';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mergeSession, type OneRequest } from '../../src/merge/one.ts';
import { AppError } from '../../src/model/error.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { plainGit } from '../git/plain.ts';
import { seedSession, takeTurn } from '../support/store.ts';
import { until } from '../support/until.ts';
import { type Field, field, writeConfig } from './field.ts';

const merge = (world: Field, row: SessionRow, more: Partial<OneRequest> = {}) =>
  mergeSession(world.deps, {
    ...{ row, into: null, is_clean: true, dry_run: false, by: 'operator', signal: new AbortController().signal },
    ...more,
  });

/** `lead` with a worktree, and its ended child with work for the branch of that. */
async function family() {
  const world = await field();
  const lead = await world.session('lead', { state: 'queued' });
  const more = { base: 'drover/lead', base_branch: 'drover/lead', parent_id: lead.id };
  const child = await world.session('child', { ...more, commits: [{ 'a.txt': 'a\n' }] });
  const has = (name: string) => existsSync(join(lead.worktree_path ?? '', name));
  const refusal = async (work: Promise<unknown>) => {
    const refs = plainGit(world.repo, 'for-each-ref');
    const error = await work.then(
      () => null,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof AppError)) throw new Error(`no refusal: ${error}`);
    expect(plainGit(world.repo, 'for-each-ref')).toBe(refs);
    expect(has('a.txt')).toBe(false);
    return error;
  };
  return { world, lead, child, has, refusal };
}

test('files do not change under a session in the middle of a turn; between two turns they may', async () => {
  const { world, lead, child, has, refusal } = await family();
  await takeTurn(world, lead.id);
  const error = await refusal(merge(world, child));
  expect(error).toMatchObject({ kind: 'refused', code: 'target_in_use' });
  expect(error.message).toContain('lead is in the middle of a turn');
  expect(error.details.recovery_commands?.[0]).toBe('drover wait lead');
  const queue = world.queue({ into: 'drover/lead', all_ended: true });
  expect(await refusal(queue)).toMatchObject({ code: 'target_in_use' });

  await world.store.write((tx) => tx.run("UPDATE turns SET ended_at = started_at, outcome = 'completed'"));
  expect(await merge(world, child)).toMatchObject({ outcome: 'merged' });
  expect(has('a.txt')).toBe(true);
});

test('who asks for it itself, or through one it started, gets its files changed', async () => {
  const { world, lead, child, has } = await family();
  await takeTurn(world, lead.id);
  const merger = await seedSession(world, { name: 'merger', parent_id: lead.id, repo_root: world.repo });
  await takeTurn(world, merger.id);
  expect(await merge(world, child, { by: 'merger' })).toMatchObject({ outcome: 'merged' });
  expect(has('a.txt')).toBe(true);
  const more = { base: 'drover/lead', base_branch: 'drover/lead', commits: [{ 'b.txt': 'b\n' }] };
  expect(await merge(world, await world.session('second', more), { by: 'lead' })).toMatchObject({ outcome: 'merged' });
  expect(has('b.txt')).toBe(true);
});

test('nor under one whose turn began while the gate was running', async () => {
  const { world, lead, child, refusal } = await family();
  const [started, go] = ['started', 'go'].map((name) => join(world.home, name)) as [string, string];
  writeConfig(world, { gate: { commands: [`touch ${started}; until [ -e ${go} ]; do sleep 0.02; done`] } });
  const merging = refusal(merge(world, child));
  await until('the gate runs', () => existsSync(started));
  await takeTurn(world, lead.id);
  writeFileSync(go, '');
  expect(await merging).toMatchObject({ code: 'target_in_use' });
  expect(await world.rowOf(child)).toMatchObject({ merged_at: null, worktree_path: expect.any(String) });
});

test('nor under a session that works in the checkout itself', async () => {
  const world = await field();
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const solo = await seedSession(world, { name: 'solo', repo_root: world.repo, working_dir: world.repo });
  await takeTurn(world, solo.id);
  await expect(merge(world, row)).rejects.toMatchObject({ code: 'target_in_use' });
});

test('a process in the worktree of a session that rests is in the way; in a person’s checkout it is the person’s', async () => {
  const { world, lead, child, has, refusal } = await family();
  const other = await world.session('other', { commits: [{ 'b.txt': 'b\n' }] });
  const started = [lead.worktree_path ?? '', world.repo].map((cwd) => Bun.spawn(['sleep', '300'], { cwd }));
  try {
    const error = await refusal(merge(world, child));
    expect(error).toMatchObject({ code: 'target_in_use', details: { data: { pids: [started[0]?.pid] } } });
    expect(await merge(world, other)).toMatchObject({ outcome: 'merged' });
  } finally {
    for (const each of started) each.kill('SIGKILL');
    await Promise.all(started.map(({ exited }) => exited));
  }
  expect(await merge(world, child)).toMatchObject({ outcome: 'merged' });
  expect(has('a.txt')).toBe(true);
});
