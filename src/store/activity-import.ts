import { AS_NAMED, checkoutPath, type RealName } from '../model/checkout-path.ts';
import type { ActivitySource } from '../model/incident.ts';
import type { ToolEvent } from '../model/tool-event.ts';
import { workplaceOf } from './activity.ts';
import type { Store, Tx } from './store.ts';

/** What became of the events of an import. */
export interface Imported {
  /** Events that told something new, and the rows they made. */
  imported: number;
  files: number;
  duplicates: number;
  unknown_sessions: number;
  /** Events that name no file of the session's checkout. */
  without_files: number;
}

/** Stores what imported tool events say of files (E-142), in one transaction; an id of a session is taken once. */
export async function importActivity(
  store: Store,
  events: readonly ToolEvent[],
  real_name: RealName = AS_NAMED,
): Promise<Imported> {
  return store.write((tx) => {
    const done: Imported = { imported: 0, files: 0, duplicates: 0, unknown_sessions: 0, without_files: 0 };
    for (const event of events) importOne(tx, event, real_name, done);
    return done;
  });
}

function importOne(tx: Tx, event: ToolEvent, real_name: RealName, done: Imported): void {
  const { session_id } = event;
  const place = workplaceOf(tx, session_id);
  if (place === null) {
    done.unknown_sessions += 1;
    return;
  }
  const event_id = `import:${event.id}`;
  const known = 'SELECT 1 FROM file_activity WHERE session_id = :session_id AND event_id = :event_id LIMIT 1';
  if (tx.get(known, { session_id, event_id }) !== null) {
    done.duplicates += 1;
    return;
  }
  let files = 0;
  for (const { path: named, action } of event.file_events) {
    const path = checkoutPath(place, named, real_name);
    if (path === null) continue;
    files += tx.run(
      `INSERT INTO file_activity (session_id, turn, repo_root, path, action, source, event_id, at)
       VALUES (:session_id, NULL, :repo_root, :path, :action, :source, :event_id, :at) ON CONFLICT DO NOTHING`,
      {
        ...{ session_id, repo_root: place.repo_root, path, action, event_id, at: event.timestamp },
        source: 'import' satisfies ActivitySource,
      },
    );
  }
  if (files === 0) done.without_files += 1;
  else done.imported += 1;
  done.files += files;
}
