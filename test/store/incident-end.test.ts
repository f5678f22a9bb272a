import { describe, expect, test } from 'bun:test';
import type { SessionRow } from '../../src/model/session.ts';
import { pauseSession, stopSession } from '../../src/store/control.ts';
import { listDecisions } from '../../src/store/decision.ts';
import { resolveIncident, resolveIncidentsOf, sweepIncidents } from '../../src/store/incident-end.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { addPathReservations } from '../../src/store/path-reservation.ts';
import { releaseDue } from '../../src/store/turn.ts';
import { seedSession, type TestStore } from '../support/store.ts';
import { row } from './family.ts';
import { conflictMail, farm, open, PATH, resume } from './two-writers.ts';

describe('while an incident is open (CX-27)', () => {
  async function held() {
    const all = await farm();
    await all.write('session-a', 2);
    await all.write('session-b', 3);
    const { created } = await all.judge();
    return { ...all, id: created[0]?.id ?? '' };
  }

  test('resume is refused with advice and changes nothing; time does not bring it back either', async () => {
    const { world, id } = await held();
    const before = await row(world, 'session-b');
    const refusal = await resume(world, 'session-b').catch((error: unknown) => error);
    expect(refusal).toMatchObject({ kind: 'refused', code: 'incident_open' });
    expect((refusal as { details: unknown }).details).toMatchObject({
      preserved: 'nothing was changed',
      recovery_commands: [
        `drover incident show ${id}`,
        `drover incident resolve ${id} --resume`,
        'drover resume b --force',
      ],
    });
    expect(await row(world, 'session-b')).toEqual(before);
    await world.store.write((tx) => tx.run("UPDATE sessions SET resume_at = 1 WHERE id = 'session-b'"));
    expect(await releaseDue(world.store, 99, 'supervisor')).toBe(0);
    expect((await row(world, 'session-b')).state).toBe('parked');
  });

  test('stopping it is no way round', async () => {
    const { world } = await held();
    await stopSession(world.store, { session_id: 'session-b', actor: 'cli', reason: 'x', now: 12 });
    await expect(resume(world, 'session-b')).rejects.toMatchObject({ code: 'incident_open' });
  });

  test('force brings it back, is noted, and the same two are not held for the same file again', async () => {
    const { world, write, judge } = await held();
    expect((await resume(world, 'session-b', true)).row.state).toBe('queued');
    expect(await open(world)).toMatchObject([{ paused_session_id: null, active_session_id: 'session-a' }]);
    const decisions = await listDecisions(world.store, { session_id: 'session-b', limit: 9 });
    expect(decisions.at(-1)).toMatchObject({
      decision: `Continue in spite of the conflict on ${PATH}`,
      reasoning: 'forced by operator',
    });
    await write('session-b', 30);
    await write('session-a', 31);
    expect(await judge()).toEqual({ created: [], paused: [] });
    // What parks it later for something else may release it.
    await pauseSession(world.store, { session_id: 'session-b', reason: 'x', now: 40 });
    expect((await resume(world, 'session-b')).row.state).toBe('queued');
  });

  test('a word resolves it once, is noted, and whom it held stays held until it is put back', async () => {
    const { world, id } = await held();
    const word = { id, resolution: 'both are right', by: 'operator', keep: 'session-a', now: 15 };
    const both = await Promise.all([resolveIncident(world.store, word), resolveIncident(await world.second(), word)]);
    expect(both.filter((each) => each !== null)).toMatchObject([
      { resolved_at: 15, resolution: 'operator: both are right' },
    ]);
    expect((await row(world, 'session-b')).state).toBe('parked');
    const settled = (await listMail(world.store, { to_id: 'session-b' })).filter(({ type }) => type === 'status');
    expect(settled.map(({ body }) => body)).toEqual([`The conflict on ${PATH} is settled. operator: both are right`]);
    const decisions = await listDecisions(world.store, { session_id: 'session-b', limit: 9 });
    expect(decisions.at(-1)).toMatchObject({ decision: `Resolve conflict on ${PATH}`, at: 15 });
    expect((await resume(world, 'session-b')).row.state).toBe('queued');
  });

  test('what was resolved comes up again only when both have written again', async () => {
    const { world, write, judge, id } = await held();
    await resolveIncident(world.store, { id, resolution: 'go on', by: 'operator', keep: null, now: 15 });
    await resume(world, 'session-b');
    expect((await judge()).created).toEqual([]);
    await write('session-b', 16);
    expect((await judge()).created).toEqual([]);
    await write('session-a', 17);
    expect((await judge()).paused).toEqual(['session-a']);
  });

  test('it is over when one is merged since, when both have ended, and when the worktree of one that ended is gone (E-138)', async () => {
    const over = async (change: (world: TestStore) => Promise<unknown>) => {
      const { world } = await held();
      expect(await sweepIncidents(world.store, 50)).toEqual([]);
      await change(world);
      const rows = await sweepIncidents(world.store, 50);
      expect(await open(world)).toHaveLength(1 - rows.length);
      return rows.map(({ resolution }) => resolution);
    };
    const set = (world: TestStore, id: string, text: string) =>
      world.store.write((tx) => tx.run(`UPDATE sessions SET ${text} WHERE id = '${id}'`));
    const stop = (world: TestStore, session_id: string) =>
      stopSession(world.store, { session_id, actor: 'cli', reason: 'x', now: 12 });
    const inWorktree = (world: TestStore, id: string) =>
      set(world, id, `branch = 'x-${id}', worktree_path = '/w/${id}'`);

    expect(await over((world) => set(world, 'session-a', 'merged_at = 9'))).toEqual([]);
    expect(await over((world) => set(world, 'session-a', 'merged_at = 10'))).toEqual(['merged: a']);
    expect(await over((world) => set(world, 'session-b', 'merged_at = 11'))).toEqual(['merged: b']);
    expect(await over(async (world) => [await inWorktree(world, 'session-a'), await stop(world, 'session-a')])).toEqual(
      [],
    );
    expect(
      await over(async (world) => {
        for (const id of ['session-a', 'session-b']) {
          await inWorktree(world, id);
          await stop(world, id);
        }
      }),
    ).toEqual(['both have ended']);
    expect(
      await over(async (world) => {
        await inWorktree(world, 'session-a');
        await stop(world, 'session-a');
        await set(world, 'session-a', 'worktree_path = NULL');
      }),
    ).toEqual(['its worktree is gone: a']);
    // Without a branch there is nothing to merge: its changes lie in the checkout.
    expect(await over((world) => stop(world, 'session-a'))).toEqual(['ended: a']);
  });

  test('when it is over by itself somebody is told that the held one may go on, after the last of them', async () => {
    const { world, write, judge } = await farm();
    await seedSession(world, { id: 'session-c', name: 'c' });
    await write('session-a', 2);
    await write('session-c', 3);
    await write('session-b', 4);
    expect((await judge()).created).toHaveLength(2);
    const told = async () => (await listMail(world.store, { to_id: null })).filter(({ type }) => type === 'status');
    await world.store.write((tx) => resolveIncidentsOf(tx, 'session-a', 'merged: a', 20));
    expect([(await open(world)).length, (await told()).length]).toEqual([1, 0]);
    await world.store.write((tx) => resolveIncidentsOf(tx, 'session-c', 'merged: c', 21));
    expect((await told()).map(({ subject }) => subject)).toEqual([`b may go on: ${PATH}`]);
    expect((await row(world, 'session-b')).state).toBe('parked');
    expect((await resume(world, 'session-b')).row.state).toBe('queued');
  });
});

describe('a write to what somebody else has reserved', () => {
  const reserve = (world: TestStore, owner: SessionRow | null, glob: string, created_at: number) =>
    addPathReservations(world.store, {
      wanted: [
        {
          ...{ repo_root: '/farm', glob, owner_session_id: owner?.id ?? null, owner_name: owner?.name ?? 'operator' },
          ...{ reason: 'a rewrite', created_at, expires_at: null },
        },
      ],
      new_id: () => `reservation-${created_at}`,
      now: created_at,
    });

  test('warns before a second write, holds nobody, and tells the writer once', async () => {
    const { world, judge } = await farm();
    await reserve(world, await row(world, 'session-a'), 'src/**', 1);
    const judged = await judge({ paths: ['src/x.ts', 'src/y.ts', 'docs/z.md'] });
    expect(judged.paused).toEqual([]);
    expect(judged.created).toMatchObject([
      {
        ...{
          kind: 'reserved',
          key: 'src/x.ts::session-a::session-b',
          active_session_id: null,
          paused_session_id: null,
        },
        ...{ first_session_id: 'session-a', second_session_id: 'session-b', second_action: 'modify' },
        summary: 'Write to src/x.ts by session-b, which a has reserved (src/**)',
      },
      { key: 'src/y.ts::session-a::session-b' },
    ]);
    expect((await row(world, 'session-b')).state).toBe('queued');
    expect((await conflictMail(world, 'session-b')).map(({ subject }) => subject)).toEqual(['Reserved: src/x.ts']);
    expect((await judge({ paths: ['src/x.ts'] })).created).toEqual([]);
  });

  test('of a pair one mail, whichever pass finds the next file; another writer, and the same one later, is told', async () => {
    const { world, judge } = await farm();
    await seedSession(world, { id: 'session-c', name: 'c', repo_root: '/farm' });
    await reserve(world, await row(world, 'session-a'), 'src/**', 1);
    const told = async (id: string) => (await conflictMail(world, id)).map(({ subject }) => subject);
    for (const path of ['src/1', 'src/2', 'src/3']) expect((await judge({ paths: [path] })).created).toHaveLength(1);
    expect(await told('session-b')).toEqual(['Reserved: src/1']);
    await judge({ paths: ['src/1'], by: 'session-c' });
    expect([await told('session-b'), await told('session-c')]).toEqual([['Reserved: src/1'], ['Reserved: src/1']]);
    // When all of it is settled a new wish is a new matter.
    for (const { id } of await open(world))
      await resolveIncident(world.store, { id, resolution: 'fine', by: 'operator', keep: null, now: 12 });
    await reserve(world, await row(world, 'session-a'), 'docs/**', 13);
    await judge({ paths: ['docs/4'], at: 14, now: 14 });
    expect(await told('session-b')).toContain('Reserved: docs/4');
  });

  test('one’s own wish, one made after the write and one that is over warn nobody; a person’s does', async () => {
    const { world, judge } = await farm();
    await reserve(world, await row(world, 'session-b'), '**', 1);
    expect((await judge({ paths: ['src/x.ts'] })).created).toEqual([]);
    await reserve(world, null, '*.md', 9);
    expect((await judge({ paths: ['a.md'], at: 3 })).created).toEqual([]);
    const judged = await judge({ paths: ['a.md'], at: 9 });
    expect(judged.created).toMatchObject([{ first_session_id: 'operator', second_session_id: 'session-b' }]);
    const word = { id: judged.created[0]?.id ?? '', resolution: 'fine', by: 'operator', keep: null, now: 12 };
    await resolveIncident(world.store, word);
    expect((await judge({ paths: ['a.md'], at: 13, now: 13 })).created).toEqual([]);
    await world.store.write((tx) => tx.run('UPDATE path_reservations SET released_at = 13'));
    expect((await judge({ paths: ['b.md'], at: 14, now: 14 })).created).toEqual([]);
  });

  test('who has reserved the files is told once for a pair, a person as the operator', async () => {
    const { world, judge } = await farm();
    await reserve(world, await row(world, 'session-a'), 'src/**', 1);
    await reserve(world, null, 'docs/**', 2);
    await judge({ paths: ['src/1', 'src/2', 'docs/1'] });
    await judge({ paths: ['src/3', 'docs/2'] });
    const told = async (id: string | null) =>
      (await conflictMail(world, id)).map(({ subject, body }) => [subject, body]);
    const incidents = await open(world);
    const at = (path: string) => incidents.find((each) => each.path === path)?.id;
    expect(await told('session-a')).toEqual([
      ['Reserved: src/1', expect.stringContaining(`b was told, and nobody is held.`)],
    ]);
    expect(await told(null)).toEqual([
      ['Reserved: docs/1', expect.stringContaining(`drover incident show ${at('docs/1')}`)],
    ]);
  });

  test('the warning stands until the work of who wrote is in, or gone with its worktree, whoever has ended', async () => {
    const { world, judge } = await farm();
    const set = (id: string, text: string) =>
      world.store.write((tx) => tx.run(`UPDATE sessions SET ${text} WHERE id = '${id}'`));
    const warned = async (path: string, at: number) => {
      await reserve(world, await row(world, 'session-a'), path, at);
      expect((await judge({ paths: [path], at, now: at })).created).toHaveLength(1);
    };
    const swept = async () => (await sweepIncidents(world.store, 90)).map(({ resolution }) => resolution);
    for (const id of ['session-a', 'session-b']) await set(id, `branch = 'x', worktree_path = '/w/${id}'`);
    await warned('one.md', 3);
    await set('session-b', 'merged_at = 4');
    expect(await swept()).toEqual(['merged: b']);
    await warned('two.md', 5);
    for (const session_id of ['session-a', 'session-b'])
      await stopSession(world.store, { session_id, actor: 'cli', reason: 'x', now: 12 });
    expect(await swept()).toEqual([]);
    await set('session-a', 'worktree_path = NULL');
    expect(await swept()).toEqual([]);
    await set('session-b', 'worktree_path = NULL');
    expect(await swept()).toEqual(['its worktree is gone: b']);
  });

  test('of who wrote into the checkout itself nothing will be merged: the warning is over with its end', async () => {
    const { world, judge } = await farm();
    await reserve(world, await row(world, 'session-a'), '**', 1);
    await judge({ paths: ['a.md'] });
    await stopSession(world.store, { session_id: 'session-a', actor: 'cli', reason: 'x', now: 11 });
    expect(await sweepIncidents(world.store, 20)).toEqual([]);
    await stopSession(world.store, { session_id: 'session-b', actor: 'cli', reason: 'x', now: 12 });
    expect((await sweepIncidents(world.store, 20)).map((each) => each.resolution)).toEqual(['ended: b']);
  });
});
