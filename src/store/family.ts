import type { Store } from './store.ts';

/** Who a session is, and whom it started. */
export interface Family {
  /** Its own id, and those of the sessions whose work it has taken over. */
  own: ReadonlySet<string>;
  /** Whom these started, and they in turn, however deep; ended ones included. */
  below: ReadonlySet<string>;
}

export async function familyOf(store: Store, id: string): Promise<Family> {
  const rows = await store.read((tx) =>
    tx.all<{ id: string; is_own: number }>(
      `WITH RECURSIVE own(id) AS (
         SELECT :id
         UNION SELECT s.recovered_from FROM own JOIN sessions AS s ON s.id = own.id WHERE s.recovered_from IS NOT NULL),
       below(id) AS (
         SELECT s.id FROM own JOIN sessions AS s ON s.parent_id = own.id
         UNION SELECT s.id FROM below JOIN sessions AS s ON s.parent_id = below.id)
       SELECT id, 1 AS is_own FROM own UNION ALL SELECT id, 0 FROM below`,
      { id },
    ),
  );
  const of = (is_own: number) => new Set(rows.filter((row) => row.is_own === is_own).map((row) => row.id));
  return { own: of(1), below: of(0) };
}
