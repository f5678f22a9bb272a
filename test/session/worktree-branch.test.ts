import { describe, expect, test } from 'bun:test';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AppError } from '../../src/model/error.ts';
import type { ReservationRow, ThreadRow } from '../../src/model/reservation.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { recover, resume } from '../../src/session/control.ts';
import { prepareWorktree } from '../../src/session/worktree.ts';
import { claimMerges, settleMerged } from '../../src/store/merge.ts';
import { claimSlot, heldSlots, settleSlot } from '../../src/store/worktree.ts';
import { heartbeat, namedReservation } from '../../src/team/reservation.ts';
import { reserve } from '../../src/team/reserve.ts';
import { plainGit } from '../git/plain.ts';
import { allReservations, DEAD, living, putReservations } from '../support/reservation.ts';
import { takeTurn } from '../support/store.ts';
import { until } from '../support/until.ts';
import { type Field, field, isThere, treeOf } from './field.ts';

const PERSON = { name: 'operator', session: null };
const PROBE = {
  provider: null,
  model: null,
  harness: 'h',
  thinking_level: null,
  probe_source: 's',
  probe_confidence: 1,
};

const rows = (at: Field) => allReservations(at.world.store);
const active = async (at: Field) => (await rows(at)).filter((row) => row.status === 'active');
const threads = (at: Field) => at.world.store.read((tx) => tx.all<ThreadRow>('SELECT * FROM threads'));
const reserved = (at: Field, thread: string, more: Partial<ReservationRow> = {}) =>
  putReservations(at.world.store, { session_id: 'agent-else', repo_root: at.repo, thread, ...more });

async function refusal(act: Promise<unknown>): Promise<AppError> {
  try {
    await act;
  } catch (error) {
    return error as AppError;
  }
  throw new Error('it was not refused');
}

const request = (at: Field, more: object = {}) => ({
  ...{ cwd: at.repo, thread: 'drover/one', pid: process.pid, lease_ms: null, probe: PROBE, keys: {} },
  ...more,
});

/** Everything of a session that could have been changed. */
const state = ({ world, branches, trees }: Field) =>
  world.store.read((tx) => ({
    ...{ sessions: tx.all('SELECT * FROM sessions'), slots: tx.all('SELECT * FROM worktrees') },
    ...{ reservations: tx.all('SELECT * FROM reservations'), threads: tx.all('SELECT * FROM threads') },
    ...{ mail: tx.all('SELECT * FROM mail'), branches: branches(), trees: trees() },
  }));

describe('a session has the branch of its worktree alone (H-36, I6)', () => {
  test('from the moment its worktree is attached: its row, and the record of the thread (H-12…H-16, HC-16)', async () => {
    const at = await field();
    const head = plainGit(at.repo, 'rev-parse', 'HEAD');
    const row = await at.settled('one', {
      task: '\n mend the gate \nand the fence',
      model: 'opus',
      base_branch: 'next',
    });
    expect(await rows(at)).toEqual([
      expect.objectContaining({
        ...{ session_id: row.id, owner_session_id: row.id, thread: 'drover/one', repo_root: at.repo, status: 'active' },
        ...{ harness: row.harness, model: 'opus', path: row.worktree_path, attach_reason: 'mend the gate' },
        ...{ anchor_commit: head, anchor_tree: plainGit(at.repo, 'rev-parse', '--short', 'HEAD^{tree}') },
        ...{
          base_short: plainGit(at.repo, 'rev-parse', '--short', 'HEAD'),
          pid: null,
          lease_ms: null,
          token_hash: null,
        },
      }),
    ]);
    expect(await threads(at)).toEqual([
      expect.objectContaining({
        ...{ repo_root: at.repo, branch: 'drover/one', target_branch: 'next', base_commit: head, current_commit: head },
        ...{ base_tree: plainGit(at.repo, 'rev-parse', 'HEAD^{tree}'), execution_path: row.worktree_path },
        ...{ task: 'mend the gate', merged_commit: null },
      }),
    ]);
  });

  test('who reserves it meanwhile is told which session has it (H-39, HC-09)', async () => {
    const at = await field();
    const row = await at.settled('one');
    const before = await state(at);
    const said = await refusal(reserve(at.deps, PERSON, request(at), async () => undefined));
    expect([said.code, said.details.unsafe_condition]).toEqual([
      'live_owner',
      expect.stringContaining(`is reserved by live session '${row.id}'`),
    ]);
    expect(await state(at)).toEqual(before);
  });

  test('until its end; put back to work it has it again, and a successor goes on with it (MODEL §2.4, H-45)', async () => {
    const at = await field();
    const row = await at.settled('one');
    const [first] = await rows(at);
    await at.stop(row);
    expect(await rows(at)).toEqual([expect.objectContaining({ session_id: row.id, status: 'abandoned' })]);
    await at.resume(row);
    const [again] = await active(at);
    expect(again).toMatchObject({ owner_session_id: row.id, path: row.worktree_path });
    await at.stop(row);
    const heir = await recover(at.deps, PERSON, await at.now(row), undefined);
    expect(await active(at)).toEqual([
      expect.objectContaining({
        ...{ session_id: heir.id, owner_session_id: heir.id, thread: 'drover/one', path: row.worktree_path },
        ...{ anchor_commit: first?.anchor_commit, anchor_tree: first?.anchor_tree, base_short: first?.base_short },
      }),
    ]);
  });

  test('completed, and merged with its work (MODEL §3)', async () => {
    const at = await field();
    const row = await at.completed('one');
    expect(await rows(at)).toEqual([expect.objectContaining({ session_id: row.id, status: 'complete' })]);
    const head = plainGit(at.repo, 'rev-parse', 'HEAD');
    const claims = [{ session_id: row.id, branch: 'drover/one', head }];
    const { store, clock } = at.world;
    const place = { repo_root: at.repo, target: 'main', base_head: head };
    const [claim] = await claimMerges(store, { claims, ...place, now: clock.now() });
    const attempt = { seq: claim?.seq ?? 0, outcome: 'merged', merged_commit: head, missing_json: null } as const;
    await settleMerged(store, { attempts: [attempt], by: 'operator', now: clock.now() });
    expect(await rows(at)).toEqual([expect.objectContaining({ session_id: row.id, status: 'merged' })]);
    expect(await threads(at)).toEqual([expect.objectContaining({ branch: 'drover/one', merged_commit: head })]);
  });

  test('also one that was made before sessions reserved anything', async () => {
    const at = await field();
    const row = await at.settled('one');
    const forget = () => at.world.store.write((tx) => tx.run('DELETE FROM reservations'));
    await forget();
    await at.stop(row);
    await at.resume(row);
    const head = plainGit(at.repo, 'rev-parse', 'HEAD');
    const known = { owner_session_id: row.id, thread: 'drover/one', anchor_commit: head, base_short: head.slice(0, 7) };
    expect(await active(at)).toEqual([expect.objectContaining(known)]);
    await at.stop(row);
    await forget();
    const heir = await recover(at.deps, PERSON, await at.now(row), undefined);
    expect(await active(at)).toEqual([expect.objectContaining({ ...known, owner_session_id: heir.id })]);
  });

  test('neither resume nor recover takes it from somebody who lives; nothing changes (live_owner, HC-31)', async () => {
    const at = await field();
    const row = await at.settled('one');
    await at.stop(row);
    await reserved(at, 'drover/one', living());
    const before = await state(at);
    const now = await at.now(row);
    for (const act of [() => resume(at.deps, PERSON, now, {}), () => recover(at.deps, PERSON, now, undefined)])
      expect((await refusal(act())).code).toBe('live_owner');
    expect(await state(at)).toEqual(before);
    // From a dead one both do.
    await at.world.store.write((tx) =>
      tx.run("UPDATE reservations SET pid = :pid WHERE session_id = 'agent-else'", { pid: DEAD.pid }),
    );
    const heir = await recover(at.deps, PERSON, now, undefined);
    expect((await active(at)).map((each) => each.owner_session_id)).toEqual([heir.id]);
  });

  test('also while its worktree, which was removed, is made again', async () => {
    const at = await field();
    const row = await at.settled('one');
    await at.stop(row);
    plainGit(at.repo, 'worktree', 'remove', row.worktree_path);
    await at.world.store.write((tx) => {
      tx.run('UPDATE sessions SET worktree_path = NULL');
      tx.run('DELETE FROM worktrees');
    });
    await at.resume(row);
    const [held] = await active(at);
    expect(held).toMatchObject({ owner_session_id: row.id, thread: 'drover/one' });
    expect(await prepareWorktree(at.deps, await at.now(row))).toBe('ready');
    expect(await active(at)).toEqual([{ ...(held as ReservationRow), path: row.worktree_path }]);
  });

  test('its own reservation of the branch, which ended with a process, is the session’s again with a new worktree', async () => {
    const at = await field();
    const row = await at.settled('one');
    await at.world.store.write((tx) => {
      tx.run('UPDATE reservations SET pid = :pid, boot_id = :boot_id, lease_ms = 1', DEAD);
      tx.run('UPDATE sessions SET worktree_path = NULL');
      tx.run('DELETE FROM worktrees');
    });
    plainGit(at.repo, 'worktree', 'remove', row.worktree_path);
    expect(await prepareWorktree(at.deps, await at.now(row))).toBe('ready');
    expect(await active(at)).toEqual([
      expect.objectContaining({
        session_id: row.id,
        pid: null,
        boot_id: null,
        lease_ms: null,
        path: row.worktree_path,
      }),
    ]);
  });

  test('in its turn, a verb without a name means what it asked for, else its branch', async () => {
    const at = await field();
    const row = await at.settled('one');
    const { session } = await takeTurn(at.world, row.id);
    const me = { name: session.name, session };
    expect(await namedReservation(at.deps, me, {})).toMatchObject({ session_id: row.id });
    expect((await heartbeat(at.deps, me, { session_id: row.id, token: undefined })).thread).toBe('drover/one');
    const own = await reserve(at.deps, me, request(at, { thread: 'extra', pid: null }), async () => undefined);
    expect(await namedReservation(at.deps, me, {})).toMatchObject({ session_id: own.session_id });
    expect(own.session_id).not.toBe(row.id);
    // What is the session's does not become a process's by asking again.
    await reserve(at.deps, me, request(at), async () => undefined);
    expect((await active(at)).find((each) => each.session_id === row.id)).toMatchObject({ pid: null });
    await reserve(at.deps, me, request(at, { thread: 'more', pid: null }), async () => undefined);
    expect((await refusal(namedReservation(at.deps, me, {}))).code).toBe('session_id_missing');
  });
});

describe('a branch that somebody else has reserved', () => {
  const failed = async (at: Field, row: SessionRow) => {
    expect((await at.now(row)).state).toBe('failed');
    const { end_reason } = await at.now(row);
    expect(end_reason).toStartWith("worktree_error: live_owner: thread 'drover/one' already has active reservation ");
    expect(end_reason).toContain('drover release --session');
  };

  test('nothing is begun there: the session fails, and branch, reservation and slots are as they were', async () => {
    const at = await field();
    at.config.worktree.hooks.after_create = 'touch made';
    await reserve(at.deps, PERSON, request(at), async () => undefined);
    const row = await at.asking('one');
    const before = await state(at);
    expect(await prepareWorktree(at.deps, row)).toBe('failed');
    await failed(at, row);
    const { sessions: _failed, mail: _told, ...after } = await state(at);
    const { sessions: _queued, mail: _brief, ...rest } = before;
    expect(after).toEqual(rest);
    expect(await at.events(row, 'hook')).toEqual([]);
    // When it is free the session can be put back to work.
    await at.world.store.write((tx) => tx.run("UPDATE reservations SET status = 'complete', completed_at = 9"));
    await at.resume(row);
    expect(await prepareWorktree(at.deps, await at.now(row))).toBe('ready');
    expect((await active(at)).map((each) => each.owner_session_id)).toEqual([row.id]);
  });

  test('while its worktree was being made: it is taken back, the branch stays for its owner', async () => {
    const at = await field();
    const [begun, go] = [join(at.world.home, 'begun'), join(at.world.home, 'go')];
    at.config.worktree.hooks.after_create = `touch '${begun}'; until [ -e '${go}' ]; do sleep 0.02; done`;
    const row = await at.asking('one');
    const preparing = prepareWorktree(at.deps, row);
    await until('the worktree is there', () => existsSync(begun));
    await reserved(at, 'drover/one', living());
    writeFileSync(go, '');
    expect(await preparing).toBe('failed');
    await failed(at, row);
    expect(isThere(treeOf(at, row))).toBe(false);
    expect(at.trees()).toEqual([]);
    expect(at.branches()).toContain('drover/one');
    expect(await heldSlots(at.world.store, at.repo)).toEqual([]);
    expect((await active(at)).map((each) => each.session_id)).toEqual(['agent-else']);
    expect(await threads(at)).toEqual([]);
  });

  test('by a dead one: the session has it (H-38)', async () => {
    const at = await field();
    await reserved(at, 'drover/one', DEAD);
    const row = await at.settled('one');
    expect((await active(at)).map((each) => each.owner_session_id)).toEqual([row.id]);
    expect((await rows(at)).find((each) => each.session_id === 'agent-else')?.status).toBe('abandoned');
  });

  test('attached all or nothing: slot, place of work, reservation and thread', async () => {
    const at = await field();
    const row = await at.asking('one');
    const path = treeOf(at, row);
    await claimSlot(at.world.store, { session_id: row.id, path, max: 9, now: 5 });
    await reserved(at, 'drover/one');
    const before = await state(at);
    const anchor = { commit: row.base_ref ?? '', commit_short: 'c', tree: 't', tree_short: 't' };
    const settling = settleSlot(at.world.store, { session_id: row.id, path, anchor, probe: () => 'unknown', now: 7 });
    expect((await refusal(settling)).code).toBe('live_owner');
    expect(await state(at)).toEqual(before);
  });
});
