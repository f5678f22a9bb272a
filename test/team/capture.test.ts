import { describe, expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ReservationRow } from '../../src/model/reservation.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { capture } from '../../src/team/capture.ts';
import { ready } from '../../src/team/ready.ts';
import { commitFile, newRepository, plainGit } from '../git/plain.ts';
import { rowOf } from '../support/reservation.ts';
import { seedSession, takeTurn } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';
import { PERSON, refusal, state, type Work, work } from './work.ts';

describe('capture', () => {
  test('commits everything, in the name of the agent (HC-25)', async () => {
    const { world, repo, named, session_id } = await work();
    const before = plainGit(repo, 'rev-parse', 'HEAD');
    writeFileSync(join(repo, 'a'), 'two\n');
    mkdirSync(join(repo, 'deep'));
    writeFileSync(join(repo, 'deep/new file'), 'x\n');
    const done = await capture(world.deps, PERSON, named, {
      cwd: join(repo, 'deep'),
      message: '-m is no option\n\n#7 body',
      confidence: 0.8,
    });
    const head = plainGit(repo, 'rev-parse', 'HEAD');
    expect(done).toEqual({ session_id, thread: 'feature/x', changed: true, commit: head, path: repo });
    expect(plainGit(repo, 'rev-parse', 'HEAD^')).toBe(before);
    expect(plainGit(repo, 'status', '--porcelain')).toBe('');
    expect(plainGit(repo, 'log', '-1', '--format=%B')).toStartWith('-m is no option\n\n#7 body\n\nAgent-Session:');
    expect(plainGit(repo, 'log', '-1', '--format=%(trailers)').trim().split('\n')).toEqual([
      ...[`Agent-Session: ${session_id}`, 'Agent-Model: opus', 'Agent-Harness: claude', 'Confidence: 0.8'],
    ]);
    const thread = await world.store.read((tx) => tx.get<{ current_commit: string }>('SELECT * FROM threads'));
    expect(thread?.current_commit).toBe(head);
    // Again: nothing has changed.
    expect(await capture(world.deps, PERSON, named, { cwd: repo })).toMatchObject({ changed: false, commit: head });
  });

  test('says what it was for when nobody says more, and keeps trailers on their lines', async () => {
    const { world, repo, named } = await work();
    await world.store.write((tx) => tx.run("UPDATE reservations SET model = 'm\nEvil: yes', harness = NULL"));
    writeFileSync(join(repo, 'new'), 'x');
    await capture(world.deps, PERSON, named, { cwd: repo, message: ' \n' });
    expect(plainGit(repo, 'log', '-1', '--format=%s')).toBe('mend it');
    expect(plainGit(repo, 'log', '-1', '--format=%(trailers)').trim().split('\n').slice(1)).toEqual([
      'Agent-Model: m Evil: yes',
    ]);
  });

  test('in a checkout of another thread: agent_session_thread_mismatch, only the heartbeat moves (HC-28)', async () => {
    const all = await work();
    plainGit(all.repo, 'switch', '-q', 'main');
    writeFileSync(join(all.repo, 'new'), 'x');
    const stamps: (keyof ReservationRow)[] = ['heartbeat_at', 'last_progress_at'];
    const before = await state(all, stamps);
    const error = await refusal(capture(all.world.deps, PERSON, all.named, { cwd: all.repo }));
    expect([error.code, error.details.recovery_commands]).toEqual([
      'agent_session_thread_mismatch',
      ['git switch feature/x'],
    ]);
    expect(await state(all, stamps)).toEqual(before);
  });

  test("a caller's own checkout of the thread comes before the recorded one, which is the default (CX-58)", async () => {
    const { world, repo, named } = await work();
    plainGit(repo, 'switch', '-q', 'main');
    const tree = join(tempDir(), 'tree');
    plainGit(repo, 'worktree', 'add', '-q', tree, 'feature/x');
    await world.store.write((tx) => tx.run('UPDATE reservations SET path = :repo', { repo }));
    writeFileSync(join(tree, 'new'), 'x');
    expect(await capture(world.deps, PERSON, named, { cwd: tree })).toMatchObject({ changed: true, path: tree });
    await world.store.write((tx) => tx.run('UPDATE reservations SET path = :tree', { tree }));
    writeFileSync(join(tree, 'newer'), 'x');
    expect(await capture(world.deps, PERSON, named, { cwd: tempDir() })).toMatchObject({ changed: true, path: tree });
  });

  test('on no branch it commits there and says nothing of another thread (HC-28)', async () => {
    const { world, repo, named } = await work();
    plainGit(repo, 'checkout', '-q', '--detach');
    writeFileSync(join(repo, 'new'), 'x');
    expect(await capture(world.deps, PERSON, named, { cwd: repo })).toMatchObject({ changed: true });
  });

  test('a checkout that is gone or foreign, a merge in progress, files that need a filter: typed, nothing is changed', async () => {
    const all = await work();
    const { world, repo, named } = all;
    const code = async (cwd = repo) => (await refusal(capture(world.deps, PERSON, named, { cwd }))).code;
    expect(await code(tempDir())).toBe('checkout_missing');
    expect(await code(newRepository())).toBe('foreign_checkout');
    writeFileSync(join(repo, '.gitattributes'), '*.bin filter=lfs\n');
    writeFileSync(join(repo, 'big.bin'), 'x');
    const before = await state(all, ['heartbeat_at', 'last_progress_at']);
    expect(await code()).toBe('filter_needed');
    expect(await state(all, ['heartbeat_at', 'last_progress_at'])).toEqual(before);
    plainGit(repo, 'clean', '-qfd');
    commitFile(repo, 'a', 'mine\n', 'mine');
    plainGit(repo, 'switch', '-q', '-c', 'other', 'main');
    commitFile(repo, 'a', 'theirs\n', 'theirs');
    plainGit(repo, 'switch', '-q', 'feature/x');
    Bun.spawnSync(['git', '-C', repo, 'merge', '-q', 'other']);
    expect(await code()).toBe('operation_in_progress');
    expect(plainGit(repo, 'status', '--porcelain')).toBe('UU a');
  });
});

describe('ready', () => {
  const readied = async ({ world, repo, named }: Work, message?: string, caller = PERSON) =>
    ready(world.deps, caller, named, { cwd: repo, message });
  const thread = ({ world }: Work) =>
    world.store.read((tx) => tx.get<Record<string, unknown>>('SELECT * FROM threads'));

  test('marks the commit of the branch, and says what is not in it (HC-29)', async () => {
    const all = await work();
    const head = commitFile(all.repo, 'b', 'x\n', 'work');
    writeFileSync(join(all.repo, 'new'), 'x');
    const done = await readied(all);
    expect(done).toMatchObject({ changed: true, ready_commit: head, mail: null, uncommitted: ['new'] });
    expect(await thread(all)).toMatchObject({ ready_commit: head, ready_at: expect.any(Number), current_commit: head });
    expect(await readied(all)).toMatchObject({ changed: false, ready_commit: head });
    // With a message the rest is captured first.
    const more = await readied(all, 'the rest');
    expect(more).toMatchObject({ changed: true, uncommitted: [] });
    expect(plainGit(all.repo, 'log', '-1', '--format=%s %H')).toBe(`the rest ${more.ready_commit}`);
  });

  test('the heartbeat stays when a later step fails (HC-29)', async () => {
    const all = await work();
    plainGit(all.repo, 'switch', '-q', 'main');
    plainGit(all.repo, 'branch', '-q', '-D', 'feature/x');
    all.world.clock.advance(5_000);
    const now = all.world.clock.now();
    expect((await refusal(readied(all))).code).toBe('thread_missing');
    expect((await rowOf(all.world.store, all.session_id))?.heartbeat_at as number).toBeGreaterThanOrEqual(now);
    expect(await thread(all)).toMatchObject({ ready_at: null });
  });

  test('the parent of the session hears of it once per commit (O-30)', async () => {
    const all = await work();
    const { world } = all;
    const parent = await seedSession(world, { name: 'lead' });
    const { session } = await takeTurn(world, (await seedSession(world, { parent_id: parent.id })).id);
    const caller = { name: session.name, session };
    await world.store.write((tx) => tx.run('UPDATE reservations SET owner_session_id = :id', { id: session.id }));
    const done = await readied(all, undefined, caller);
    await readied(all, undefined, caller);
    const mails = (await listMail(world.store, { to_id: parent.id })).filter(({ type }) => type === 'merge_ready');
    expect(mails).toEqual([done.mail as never]);
    expect(mails[0]).toMatchObject({ from_id: session.id, subject: 'feature/x is ready to be merged' });
    expect(JSON.parse(mails[0]?.payload_json ?? '')).toMatchObject({
      branch: 'feature/x',
      commit: done.ready_commit,
      target: 'main',
    });
    // A parent that has ended reads no mail: the operator does.
    await world.store.write((tx) =>
      tx.run("UPDATE sessions SET state = 'stopped', ended_at = 1 WHERE id = :id", { id: parent.id }),
    );
    commitFile(all.repo, 'b', 'x\n', 'more');
    expect((await readied(all, undefined, caller)).mail).toMatchObject({ to_name: 'operator', to_id: null });
  });

  test('a reservation that has ended in between makes nothing ready', async () => {
    const all = await work();
    const { store } = all.world;
    const write = store.write.bind(store);
    // The validation is the first write; before the second somebody releases it.
    store.write = async (act) => {
      const result = await write(act);
      store.write = write;
      await write((tx) => tx.run("UPDATE reservations SET status = 'abandoned', completed_at = 5"));
      return result;
    };
    expect((await refusal(readied(all))).code).toBe('agent_session_inactive');
    expect(await thread(all)).toMatchObject({ ready_at: null, ready_commit: null });
  });
});
