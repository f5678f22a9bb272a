import { describe, expect, test } from 'bun:test';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { AppError } from '../../src/model/error.ts';
import { newId } from '../../src/model/id.ts';
import type { AgentReservationOutput } from '../../src/model/reservation-schema.ts';
import { type Caller, hashToken } from '../../src/session/identity.ts';
import { ownIdentity } from '../../src/sys/identity.ts';
import { verify } from '../../src/team/lookup.ts';
import { type ReserveRequest, reserve } from '../../src/team/reserve.ts';
import { commitFile, newRepository, plainGit } from '../git/plain.ts';
import { allReservations, DEAD, DEAD_PID, living, putReservations } from '../support/reservation.ts';
import { seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

const PERSON: Caller = { name: 'operator', session: null };
const PROBE = {
  ...{ provider: 'p', model: 'm', harness: 'h', thinking_level: null },
  probe_source: 's',
  probe_confidence: 0.5,
};

function request(cwd: string, more: Partial<ReserveRequest> = {}): ReserveRequest {
  return { cwd, thread: 'feature/x', pid: process.pid, lease_ms: null, probe: PROBE, keys: {}, ...more };
}

async function take(
  world: TestStore,
  wanted: ReserveRequest,
  { caller = PERSON, print }: { caller?: Caller; print?: () => Promise<void> } = {},
): Promise<AgentReservationOutput> {
  let said: AgentReservationOutput | null = null;
  await reserve(world.deps, caller, wanted, async (reservation) => {
    await print?.();
    said = reservation;
  });
  if (said === null) throw new Error('nothing was printed');
  return said;
}

async function refusal(act: Promise<unknown>): Promise<AppError> {
  try {
    await act;
  } catch (error) {
    return error as AppError;
  }
  throw new Error('it was not refused');
}

/** All that a refusal of a reservation says it has preserved. */
async function state({ store }: TestStore, repo: string) {
  return {
    refs: plainGit(repo, 'for-each-ref', '--format=%(refname) %(objectname)'),
    status: plainGit(repo, 'status', '--porcelain'),
    rows: await allReservations(store),
    threads: await store.read((tx) => tx.all('SELECT * FROM threads')),
    events: await store.read((tx) => tx.all('SELECT * FROM events')),
  };
}

const threads = ({ store }: TestStore) => store.read((tx) => tx.all<Record<string, unknown>>('SELECT * FROM threads'));

describe('a reservation', () => {
  test('has the fields of HC-12, and its answer the token that is stored nowhere (HC-03, HC-06, H-14, H-15, CX-44)', async () => {
    const world = await testStore();
    const repo = newRepository();
    const head = plainGit(repo, 'rev-parse', 'HEAD');
    const said = await take(world, request(repo, { task: 'mend it' }));
    expect(said).toEqual({
      ...{ session_id: expect.stringMatching(/^agent-[a-z2-7]{20}$/), thread: 'feature/x', status: 'active' },
      ...{ reservation_token: expect.stringMatching(/^agent-[a-z2-7]{20}$/), anchor_state: head },
      ...{ anchor_root: plainGit(repo, 'rev-parse', '--short', 'HEAD^{tree}'), path: null, task: 'mend it' },
      ...{ provider: 'p', model: 'm', harness: 'h', thinking_level: null, probe_source: 's', probe_confidence: 0.5 },
    });
    const [row] = await allReservations(world.store);
    const { pid, start_time, boot_id } = ownIdentity();
    expect(row).toMatchObject({
      ...{ pid, pid_start_time: start_time, boot_id, repo_root: repo, lease_ms: null, completed_at: null },
      ...{ liveness_path: `${world.home}/agents/${row?.session_id}.live`, heartbeat_at: row?.started_at as number },
      ...{ last_progress_at: row?.started_at as number, anchor_commit: head, path: null },
      ...{ anchor_tree: plainGit(repo, 'rev-parse', '--short', 'HEAD^{tree}') },
      ...{ base_short: plainGit(repo, 'rev-parse', '--short', 'HEAD'), attach_precedence_json: '["agent-reserve"]' },
      ...{
        winning_attach_rule: 'agent-reserve',
        attach_reason: 'mend it',
        client_instance_id: null,
        input_tokens: null,
      },
      ...{ token_hash: hashToken(said.reservation_token ?? ''), native_actor_key: null, owner_session_id: null },
    });
    expect(JSON.stringify(row)).not.toContain(said.reservation_token as string);
    // H-01: nothing but the branch was made.
    expect(plainGit(repo, 'rev-parse', 'refs/heads/feature/x')).toBe(head);
    expect(plainGit(repo, 'worktree', 'list').split('\n')).toHaveLength(1);
  });

  test('makes the branch by compare-and-swap, an event, and the record of the thread, once (HC-15, HC-16, HC-17)', async () => {
    const world = await testStore();
    const repo = newRepository();
    const head = plainGit(repo, 'rev-parse', 'HEAD');
    const first = await take(world, request(repo, { task: 'one', pid: DEAD_PID }));
    const record = {
      ...{ repo_root: repo, branch: 'feature/x', target_branch: 'main', base_commit: head, current_commit: head },
      ...{ base_tree: plainGit(repo, 'rev-parse', 'HEAD^{tree}'), execution_path: repo, task: 'one' },
      ...{ merged_commit: null, ready_at: null, ready_commit: null },
    };
    expect(await threads(world)).toEqual([expect.objectContaining(record)]);
    const [event] = (await state(world, repo)).events as { type: string; session_id: string }[];
    expect(event).toMatchObject({ type: 'thread_create', session_id: first.session_id });
    // Its dead owner is cleared away; the record stays, and gives the next one its checkout.
    const second = await take(world, request(repo, { task: 'two' }));
    expect(second).toMatchObject({ path: repo, task: 'two' });
    expect(await threads(world)).toEqual([expect.objectContaining(record)]);
    expect((await state(world, repo)).events).toHaveLength(1);
    // On its own branch a thread has no target.
    await take(world, request(repo, { thread: 'main' }));
    expect((await threads(world)).find(({ branch }) => branch === 'main')).toMatchObject({ target_branch: null });
  });

  test('of a thread whose worktree is known has its path, without symbolic links (HC-17)', async () => {
    const world = await testStore();
    const repo = newRepository();
    const [made, link] = [join(tempDir(), 'made'), join(tempDir(), 'link')];
    mkdirSync(made);
    symlinkSync(made, link);
    const slot = (branch: string, path: string) =>
      world.store.write((tx) =>
        tx.run(
          `INSERT INTO worktrees (path, session_id, repo_root, branch, base_commit, claimed_at, created_at)
           VALUES (:path, 'agent-a', :repo, :branch, 'x', 1, 1)`,
          { path, repo, branch },
        ),
      );
    await slot('feature/x', link);
    await slot('feature/y', '/no/such/place');
    expect((await take(world, request(repo))).path).toBe(made);
    expect((await take(world, request(repo, { thread: 'feature/y' }))).path).toBe('/no/such/place');
  });

  test('with an anchor starts there; a tag, a branch and a short id are names as well (HC-05)', async () => {
    const world = await testStore();
    const repo = newRepository();
    const old = plainGit(repo, 'rev-parse', 'HEAD');
    commitFile(repo, 'b', 'two\n', 'second');
    plainGit(repo, 'tag', '-a', 'v1', '-m', 'v1', old);
    for (const [i, anchor] of ['v1', old.slice(0, 10), 'HEAD~1'].entries())
      expect((await take(world, request(repo, { thread: `t${i}`, anchor }))).anchor_state).toBe(old);
  });

  test('of a session belongs to it: its id, its harness, the keys of the harness, no process (H-13, CX-03)', async () => {
    const world = await testStore();
    const repo = newRepository();
    const parent = await seedSession(world, { harness: 'codex', native_session_id: 'thr_1' });
    const { id } = await seedSession(world, {
      harness: 'claude',
      native_session_id: 'n1',
      parent_id: parent.id,
      model: 'opus',
    });
    const { session } = await takeTurn(world, id);
    const caller = { name: session.name, session };
    const said = await take(world, request(repo, { pid: null }), { caller });
    expect(said).toMatchObject({ session_id: id, harness: 'claude', model: 'opus', probe_source: 'session' });
    expect((await allReservations(world.store))[0]).toMatchObject({
      ...{ owner_session_id: id, pid: null, boot_id: null, native_actor_key: 'claude:session:n1' },
      ...{ native_parent_actor_key: 'codex:thread:thr_1' },
    });
    // A second one of the same session has an id of its own.
    expect((await take(world, request(repo, { thread: 'y', pid: null }), { caller })).session_id).not.toBe(id);
    // The same thread again is the one it has (H-45).
    const again = await take(world, request(repo, { pid: null }), { caller });
    expect(again).toEqual({ ...said, reservation_token: null });
    // Nobody takes it while the session lives.
    expect((await refusal(take(world, request(repo)))).code).toBe('live_owner');
  });

  test('whoever names its instance finds its own again, without a second token (H-45)', async () => {
    const world = await testStore();
    const repo = newRepository();
    const keys = { client_instance_id: 'client-a' };
    const first = await take(world, request(repo, { keys, pid: DEAD_PID }));
    const again = await take(world, request(repo, { keys }));
    expect(again).toEqual({ ...first, reservation_token: null });
    expect(await allReservations(world.store)).toEqual([
      expect.objectContaining({ pid: process.pid, status: 'active' }),
    ]);
    expect((await refusal(take(world, request(repo, { keys: { client_instance_id: 'b' } })))).code).toBe('live_owner');
  });
});

describe('refused, and nothing is changed (HC-31)', () => {
  async function unchanged(
    wanted: Partial<ReserveRequest>,
    code: string,
    options: { prepare?: (world: TestStore, repo: string) => Promise<unknown>; repo?: string } = {},
  ): Promise<AppError> {
    const world = await testStore();
    const repo = options.repo ?? newRepository();
    await options.prepare?.(world, repo);
    const before = await state(world, repo);
    const error = await refusal(take(world, request(repo, wanted)));
    expect(error.code).toBe(code);
    expect(await state(world, repo)).toEqual(before);
    return error;
  }

  test('a name that no branch can have, before anything is opened (HC-04)', async () => {
    const [world, repo] = [await testStore(), newRepository()];
    const before = await state(world, repo);
    const names = ['', '-x', '--all', 'a..b', 'a b', 'HEAD', '@', 'x.lock', 'a\0b', 'a\nb', 'refs/', 'a//b', 'a~1'];
    for (const thread of names)
      expect([thread, (await refusal(take(world, request(repo, { thread })))).code]).toEqual([
        thread,
        'thread_name_invalid',
      ]);
    expect(await state(world, repo)).toEqual(before);
    // Not even the repository.
    const nowhere = tempDir();
    expect((await refusal(take(world, request(nowhere, { thread: 'a..b' })))).code).toBe('thread_name_invalid');
    expect((await refusal(take(world, request(nowhere)))).code).toBe('not_a_repository');
  });

  test('an anchor that does not exist; a repository without a commit (HC-05)', async () => {
    const error = await unchanged({ anchor: 'nope' }, 'anchor_not_found');
    expect([error.message, error.exitCode]).toEqual(["anchor state 'nope' not found", 4]);
    for (const anchor of ['', '--all']) await unchanged({ anchor }, 'anchor_not_found');
    const unborn = newRepository({ unborn: true });
    const none = await unchanged({}, 'no_head', { repo: unborn });
    expect(none.message).toBe('repository has no HEAD state to reserve from');
    await unchanged({ anchor: 'main' }, 'anchor_not_found', { repo: unborn });
  });

  test('live_owner: somebody has it on the same anchor (HC-08, HC-09)', async () => {
    const prepare = (world: TestStore, repo: string) => take(world, request(repo));
    const error = await unchanged({}, 'live_owner', { prepare });
    expect(error.details.preserved).toBe('no thread refs or reservation records were changed');
    await unchanged({ keys: { client_instance_id: 'other' } }, 'live_owner', { prepare });
  });

  test('anchor_drift: the owner is on another anchor (HC-07, HC-10)', async () => {
    const prepare = async (world: TestStore, repo: string) => {
      await take(world, request(repo));
      commitFile(repo, 'b', 'two\n', 'second');
    };
    const error = await unchanged({}, 'anchor_drift', { prepare });
    expect(error.message).toContain('is reserved by session');
    expect(error.details.unsafe_condition).toBe("thread 'feature/x' has an active reservation at a different anchor");
    // Also where nobody knows whether the owner lives.
    const quiet = async (world: TestStore, repo: string) => {
      plainGit(repo, 'branch', 'feature/x');
      await putReservations(world.store, { thread: 'feature/x', repo_root: repo });
      commitFile(repo, 'b', 'two\n', 'second');
    };
    await unchanged({}, 'anchor_drift', { prepare: quiet });
  });

  test('an owner on the branch, asked from another anchor than the one it is on (HC-09 against HC-10)', async () => {
    const prepare = async (world: TestStore, repo: string) => {
      await take(world, request(repo));
      // The owner went on: the branch is ahead of its anchor.
      const tree = plainGit(repo, 'rev-parse', 'HEAD^{tree}');
      const ahead = plainGit(repo, 'commit-tree', tree, '-p', 'HEAD', '-m', 'work');
      plainGit(repo, 'update-ref', 'refs/heads/feature/x', ahead);
    };
    // From where the owner began it is a live owner; from where the branch is now it is drift.
    expect((await unchanged({}, 'live_owner', { prepare })).message).toContain('already has a live reservation');
    await unchanged({ anchor: 'feature/x' }, 'anchor_drift', { prepare });
  });

  test('anchor_drift without an owner: the branch is elsewhere (HC-11)', async () => {
    const prepare = async (_world: TestStore, repo: string) => {
      plainGit(repo, 'branch', 'feature/x');
      commitFile(repo, 'b', 'two\n', 'second');
    };
    const error = await unchanged({}, 'anchor_drift', { prepare });
    expect(error.message).toStartWith("thread 'feature/x' is anchored at ");
  });

  test('of dead owners only the record changes, which the advice says (HC-07, HC-31)', async () => {
    const world = await testStore();
    const repo = newRepository();
    await take(world, request(repo, { pid: DEAD_PID }));
    commitFile(repo, 'b', 'two\n', 'second');
    const before = await state(world, repo);
    const error = await refusal(take(world, request(repo)));
    expect(error.message).toStartWith("thread 'feature/x' is anchored at ");
    expect(error.details.preserved).toContain('1 of dead owners marked abandoned');
    const after = await state(world, repo);
    expect({ ...after, rows: [] }).toEqual({ ...before, rows: [] });
    expect(after.rows.map((row) => row.status)).toEqual(['abandoned']);
  });

  test('a branch that is a folder of branches: typed, and the reservation is taken back (HC-15)', async () => {
    const world = await testStore();
    const repo = newRepository();
    plainGit(repo, 'branch', 'feature/x/y');
    expect((await refusal(take(world, request(repo)))).code).toBe('branch_in_the_way');
    expect((await allReservations(world.store)).map((row) => row.status)).toEqual(['abandoned']);
  });
});

describe('a failure after the row was made takes it back and is passed on (HC-15)', () => {
  test('nobody reads the answer', async () => {
    const world = await testStore();
    const repo = newRepository();
    const print = () => Promise.reject(new Error('EPIPE'));
    await expect(take(world, request(repo), { print })).rejects.toThrow('EPIPE');
    const [row] = await allReservations(world.store);
    expect(row).toMatchObject({ status: 'abandoned', completed_at: expect.any(Number) });
    // The next one has the thread.
    expect(await take(world, request(repo))).toMatchObject({ status: 'active' });
  });

  test('the failure is the original one, also when taking back fails as well', async () => {
    const world = await testStore();
    const repo = newRepository();
    const print = async () => {
      world.store.write = () => Promise.reject(new Error('the disk is full'));
      throw new Error('EPIPE');
    };
    await expect(take(world, request(repo), { print })).rejects.toThrow('EPIPE');
  });

  test('somebody else makes the branch in between: drift, and theirs stays where it is', async () => {
    const world = await testStore();
    const repo = newRepository();
    const tree = plainGit(repo, 'rev-parse', 'HEAD^{tree}');
    const theirs = plainGit(repo, 'commit-tree', tree, '-m', 'theirs');
    const write = world.store.write.bind(world.store);
    // Right after the row was written, before the branch is.
    world.store.write = async (work) => {
      const result = await write(work);
      world.store.write = write;
      plainGit(repo, 'update-ref', 'refs/heads/feature/x', theirs);
      return result;
    };
    const error = await refusal(take(world, request(repo)));
    expect([error.code, error.details.preserved]).toEqual([
      'anchor_drift',
      expect.stringContaining('recorded as abandoned'),
    ]);
    expect(plainGit(repo, 'rev-parse', 'refs/heads/feature/x')).toBe(theirs);
    expect((await allReservations(world.store)).map((row) => row.status)).toEqual(['abandoned']);
    expect(await threads(world)).toEqual([]);
  });

  test('the same where the branch was there before', async () => {
    const world = await testStore();
    const repo = newRepository();
    plainGit(repo, 'branch', 'feature/x');
    const theirs = plainGit(repo, 'commit-tree', plainGit(repo, 'rev-parse', 'HEAD^{tree}'), '-m', 'theirs');
    const write = world.store.write.bind(world.store);
    world.store.write = async (work) => {
      const result = await write(work);
      world.store.write = write;
      plainGit(repo, 'update-ref', 'refs/heads/feature/x', theirs);
      return result;
    };
    expect((await refusal(take(world, request(repo)))).code).toBe('anchor_drift');
    expect((await allReservations(world.store)).map((row) => row.status)).toEqual(['abandoned']);
  });
});

test('how the repository is: head, branch, dirty, and checkouts that are gone (HC-02)', async () => {
  const repo = newRepository();
  const head = plainGit(repo, 'rev-parse', 'HEAD');
  const clear = { is_detached: false, is_dirty: false, worktree_errors: [], dead_owners: [] };
  const fine = { repo_root: repo, head, branch: 'main', ...clear };
  expect(await verify(repo, [], [])).toEqual(fine);
  const gone = join(tempDir(), 'gone');
  plainGit(repo, 'worktree', 'add', '-q', gone);
  rmSync(gone, { recursive: true });
  plainGit(repo, 'checkout', '-q', '--detach');
  commitFileLater(repo);
  const world = await testStore();
  const rows = await putReservations(
    world.store,
    { session_id: 'agent-a', path: gone },
    { thread: 'x', path: null, ...DEAD },
    { thread: 'y', path: repo, ...living() },
  );
  const found = await verify(repo, rows, ['agent-d']);
  expect(found).toMatchObject({ head, branch: null, is_detached: true, is_dirty: true, dead_owners: ['agent-d'] });
  expect(found?.worktree_errors).toEqual([
    `agent-a: its checkout ${gone} does not exist`,
    expect.stringContaining(`${gone}: gitdir file points to non-existent location`),
  ]);
  expect(await verify(tempDir(), [], [])).toBeNull();
});

function commitFileLater(repo: string): void {
  mkdirSync(join(repo, 'new'));
  Bun.spawnSync(['touch', join(repo, 'new', newId('mail'))]);
}
