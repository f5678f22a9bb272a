import type { ConflictStrategy, FileAction } from './incident.ts';

/** One thing a live session did to one file. `at` is wall milliseconds, `path` relative to the repository's root. */
export interface Touch {
  session_id: string;
  repo_root: string;
  path: string;
  action: FileAction;
  at: number;
}

/** Two sessions wrote the same path of one repository; `later` is the newest of all who did. */
export interface Overlap {
  repo_root: string;
  path: string;
  key: string;
  earlier: Touch;
  later: Touch;
}

/** `<path>::<smaller id>::<larger id>` (E-129). */
export function incidentKey(path: string, one: string, other: string): string {
  const [smaller, larger] = inOrder(one, other);
  return `${path}::${smaller}::${larger}`;
}

/** Two ids, smaller first, by code points: the same on every machine. */
export function inOrder(one: string, other: string): [smaller: string, larger: string] {
  return one <= other ? [one, other] : [other, one];
}

/**
 * Who is in whose way (E-128, CX-25, CX-26): of every session and path the newest write counts (a read never does, and
 * hides none), paths are compared within one repository, and the newest by time, then id, conflicts with each other one.
 */
export function overlapsOf(touches: readonly Touch[]): Overlap[] {
  const places = new Map<string, Map<string, Touch>>();
  for (const touch of touches) {
    if (touch.action === 'read') continue;
    const place = JSON.stringify([touch.repo_root, touch.path]);
    const writers = places.get(place) ?? new Map<string, Touch>();
    const known = writers.get(touch.session_id);
    if (known === undefined || known.at <= touch.at) writers.set(touch.session_id, touch);
    places.set(place, writers);
  }
  return [...places.values()].flatMap((writers) => {
    const writes = [...writers.values()].sort(byTime);
    const later = writes.pop();
    if (later === undefined) return [];
    const { repo_root, path } = later;
    return writes.map((earlier) => {
      const key = incidentKey(path, earlier.session_id, later.session_id);
      return { repo_root, path, key, earlier, later };
    });
  });
}

function byTime(a: Touch, b: Touch): number {
  if (a.at !== b.at) return a.at - b.at;
  return a.session_id < b.session_id ? -1 : 1;
}

export interface Resolution {
  /** Id of the session that goes on. */
  active: string;
  /** Id of the session that is held. */
  paused: string;
  summary: string;
}

/** Who goes on and who waits, in the words of E-133 (E-130…E-132). */
export function resolutionOf(strategy: ConflictStrategy, { path, earlier, later }: Overlap): Resolution {
  const [first, last] = [earlier.session_id, later.session_id];
  switch (strategy) {
    case 'escalate': {
      const summary = `Escalated overlap on ${path}; paused later session ${last} while ${first} stays active`;
      return { active: first, paused: last, summary };
    }
    case 'last_write_wins': {
      const summary = `Applied last-write-wins on ${path}; kept later session ${last} active and paused ${first}`;
      return { active: last, paused: first, summary };
    }
    case 'merge': {
      const summary = `Queued manual merge on ${path}; paused later session ${last} until merge review against ${first}`;
      return { active: first, paused: last, summary };
    }
  }
}

/** What a pass over new writes has done (E-127). `paused_sessions`: ids, each at most once, in the order of the incidents. */
export interface ConflictEnforcementOutcome {
  strategy: ConflictStrategy;
  created_incidents: number;
  resolved_incidents: number;
  paused_sessions: string[];
  /** Of what was created, in order (E-133). */
  summaries: string[];
}
