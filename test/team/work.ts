import { cpSync } from 'node:fs';
import { join } from 'node:path';
import type { AppError } from '../../src/model/error.ts';
import type { ReservationRow } from '../../src/model/reservation.ts';
import type { Caller } from '../../src/session/identity.ts';
import { ensureThread } from '../../src/store/thread.ts';
import { newRepository, plainGit } from '../git/plain.ts';
import { allReservations, living, putReservations } from '../support/reservation.ts';
import { type TestStore, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

export const PERSON: Caller = { name: 'operator', session: null };

export interface Work {
  world: TestStore;
  repo: string;
  session_id: string;
  named: { session_id: string; token: undefined };
}

const template = newRepository();
plainGit(template, 'switch', '-q', '-c', 'feature/x');

/** A repository on the thread `feature/x`, which is reserved. */
export async function work(): Promise<Work> {
  const world = await testStore();
  const repo = join(tempDir('work'), 'repo');
  cpSync(template, repo, { recursive: true });
  const commit = plainGit(repo, 'rev-parse', 'HEAD');
  const session_id = 'agent-a';
  const place = { repo_root: repo, thread: 'feature/x', anchor_commit: commit };
  const who = { model: 'opus', harness: 'claude', attach_reason: 'mend it' };
  await putReservations(world.store, { session_id, started_at: world.clock.now(), ...place, ...who, ...living() });
  const thread = { ...{ repo_root: repo, branch: 'feature/x', target_branch: 'main' }, base_commit: commit };
  await ensureThread(world.store, {
    thread: { ...thread, base_tree: 'tree', task: null, execution_path: repo },
    ...{ created_for: null, now: 1 },
  });
  return { world, repo, session_id, named: { session_id, token: undefined } };
}

/** What it was refused with. */
export async function refusal(act: Promise<unknown>): Promise<AppError> {
  try {
    await act;
  } catch (error) {
    return error as AppError;
  }
  throw new Error('it was not refused');
}

/** Everything that a refusal may say it has preserved. */
export async function state({ world, repo }: Work, without: (keyof ReservationRow)[] = []) {
  const rows = await allReservations(world.store);
  return {
    rows: rows.map((row) => Object.fromEntries(Object.entries(row).filter(([key]) => !without.includes(key as never)))),
    others: await world.store.read((tx) =>
      ['threads', 'mail', 'events', 'context_queries'].map((table) => tx.all(`SELECT * FROM ${table}`)),
    ),
    refs: plainGit(repo, 'for-each-ref', '--format=%(refname) %(objectname)'),
    head: plainGit(repo, 'rev-parse', 'HEAD'),
    status: plainGit(repo, 'status', '--porcelain=v1'),
    index: plainGit(repo, 'ls-files', '--stage'),
  };
}
