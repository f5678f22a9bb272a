import type { Store } from './store.ts';

/** What the recent turns of one harness said that its parser does not know. */
export interface Drift {
  /** Turns looked at. */
  turns: number;
  malformed: SeenAt[];
  unknown: (SeenAt & { name: string })[];
}

/** How often, and where for example. */
export interface SeenAt {
  count: number;
  session_id: string;
  turn: number;
}

interface TurnKey {
  session_id: string;
  turn: number;
  malformed: number;
  unknown: number;
}

/** Looks at the newest `limit` turns of a harness. `known`: names that its parser leaves alone on purpose. */
export async function driftOf(
  store: Store,
  input: { harness: string; known: readonly string[]; limit: number },
): Promise<Drift> {
  return store.read((tx) => {
    const turns = tx.all<TurnKey>(
      `SELECT t.session_id, t.turn, t.malformed, t.unknown FROM turns AS t JOIN sessions AS s ON s.id = t.session_id
       WHERE s.harness = :harness ORDER BY t.started_at DESC, t.session_id, t.turn DESC LIMIT :limit`,
      { harness: input.harness, limit: input.limit },
    );
    const known = new Set(input.known);
    const unknown = new Map<string, SeenAt & { name: string }>();
    for (const { session_id, turn, unknown: hasUnknown } of turns) {
      if (hasUnknown === 0) continue;
      const seen = tx.all<{ name: string; count: number }>(
        `SELECT coalesce(json_extract(data_json, '$.name'), '') AS name, count(*) AS count FROM events
         WHERE session_id = :session_id AND turn = :turn AND type = 'custom' GROUP BY 1`,
        { session_id, turn },
      );
      for (const { name, count } of seen) {
        if (known.has(name)) continue;
        const before = unknown.get(name);
        unknown.set(
          name,
          before === undefined ? { name, count, session_id, turn } : { ...before, count: before.count + count },
        );
      }
    }
    const malformed = turns
      .filter((row) => row.malformed > 0)
      .map(({ session_id, turn, malformed: count }) => ({ session_id, turn, count }));
    return {
      turns: turns.length,
      malformed,
      unknown: [...unknown.values()].sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1)),
    };
  });
}
