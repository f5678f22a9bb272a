import type { ConflictStrategy, FileAction } from '../../src/model/incident.ts';
import { importActivity } from '../../src/store/activity-import.ts';
import { resumeSession } from '../../src/store/control.ts';
import { type Judged, judgeWrites } from '../../src/store/incident.ts';
import { listIncidents } from '../../src/store/incident-list.ts';
import { listMail } from '../../src/store/mail-list.ts';
import type { Store } from '../../src/store/store.ts';
import { seedSession, type TestStore, testStore } from '../support/store.ts';
import { NUDGE } from './family.ts';

export const PATH = 'src/lib.rs';

/** Two sessions at work, and what each of them has written. */
export async function farm(): Promise<{ world: TestStore; write: Write; judge: Judge }> {
  const world = await testStore();
  for (const id of ['session-a', 'session-b', 'lead'])
    await seedSession(world, { id, name: id === 'lead' ? 'chief' : id.slice(-1), repo_root: '/farm' });
  let n = 0;
  const write: Write = async (session_id, at, more = {}) => {
    const { path = PATH, action = 'modify' } = more;
    n += 1;
    await importActivity(world.store, [{ id: `evt-${n}`, session_id, file_events: [{ path, action }], timestamp: at }]);
  };
  const judge: Judge = async (more = {}) => {
    const { strategy = 'escalate', notify_lead = true, store = world.store, paths = [PATH], by = 'session-b' } = more;
    const writes = paths.map((path) => ({
      ...{ session_id: by, repo_root: '/farm', path, action: 'modify' as FileAction, at: more.at ?? 3 },
    }));
    return judgeWrites(store, { repo_root: '/farm', writes, settings: { strategy, notify_lead }, now: more.now ?? 10 });
  };
  return { world, write, judge };
}
type Write = (session_id: string, at: number, more?: { path?: string; action?: FileAction }) => Promise<void>;
type Judge = (more?: {
  strategy?: ConflictStrategy;
  notify_lead?: boolean;
  store?: Store;
  paths?: string[];
  by?: string;
  at?: number;
  now?: number;
}) => Promise<Judged>;

export const open = (world: TestStore) => listIncidents(world.store, { repo_root: null, is_open: true });
export const conflictMail = async (world: TestStore, to_id: string | null) =>
  (await listMail(world.store, { to_id })).filter(({ type }) => type === 'conflict');
export const resume = (world: TestStore, session_id: string, force = false) =>
  resumeSession(world.store, { session_id, brief: NUDGE, interrupt_reason: 'x', always_brief: false, force, now: 20 });
export const handOff = (world: TestStore, from_id: string, to_id: string) =>
  world.store.write((tx) =>
    tx.run(
      `INSERT INTO mail (id, from_name, from_id, to_name, to_id, type, priority, subject, body, thread_id, created_at)
       VALUES (:id, :from_id, :from_id, :to_id, :to_id, 'task_handoff', 'normal', '', '', 't', 1)`,
      { id: `mail-${from_id}-${to_id}`, from_id, to_id },
    ),
  );
