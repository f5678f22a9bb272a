import { expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const SRC = join(import.meta.dir, '../../src');
/** What `transition` alone decides; MODEL §2.4 and the pairings of the CHECKs. */
const GUARDED = ['state', 'ended_at', 'end_reason', 'parked_reason', 'parked_evidence', 'resume_at', 'stalled_since'];
const ALSO_GUARDED = ['escalation_level', 'death_no'];

const sources = Object.fromEntries(
  readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => [path.replaceAll('\\', '/'), readFileSync(join(SRC, path), 'utf8')]),
);

/** Files with a statement on `sessions` that sets one of `columns` (`FILE column`). */
function setters(files: Record<string, string>, columns: readonly string[]): string[] {
  const found = Object.entries(files).flatMap(([path, text]) =>
    [...text.matchAll(/UPDATE\s+sessions\s+SET\s([\s\S]*?)\sWHERE\s/g)].flatMap(([, assignments = '']) =>
      columns
        .filter((column) => new RegExp(`(?<![\\w.:])${column}\\s*=`).test(assignments))
        .map((column) => `${path} ${column}`),
    ),
  );
  return [...new Set(found)].sort();
}

/** Files that have a text of this form. */
const having = (files: Record<string, string>, what: RegExp) =>
  Object.keys(files).filter((path) => what.test(files[path] ?? ''));

const DELETES = /DELETE\s+FROM\s+sessions\b/i;
const INSERTS = /INSERT\s+(?:OR\s+\w+\s+)?INTO\s+sessions\b/i;
const REPLACES =
  /(?:INSERT\s+OR\s+REPLACE|REPLACE)\s+INTO\s+sessions\b|ON\s+CONFLICT[^`']*DO\s+UPDATE[^`']*\bstate\s*=/i;

test('no unguarded setter: a state and what belongs to it is written by the guarded transition alone (O-11, O-12, O-13)', () => {
  expect(setters(sources, GUARDED)).toEqual(['store/transition.ts state']);
  // Deaths are counted in the transaction of the transition that buries; a rung is set fenced by its turn, beside a verdict.
  expect(setters(sources, ALSO_GUARDED)).toEqual([
    'store/end-effects.ts death_no',
    'store/watch-act.ts escalation_level',
  ]);
});

test('a session row is inserted in one place, never replaced and never deleted (O-03, O-17)', () => {
  expect(having(sources, INSERTS)).toEqual(['store/new-session.ts']);
  expect(having(sources, REPLACES)).toEqual([]);
  expect(having(sources, DELETES)).toEqual([]);
});

test('these checks see an offender', () => {
  const evil = {
    'a.ts': "tx.run(`UPDATE sessions SET updated_at = :now,\n  state = 'idle' WHERE id = :id`)",
    'b.ts': "tx.run('UPDATE sessions SET stalled_since = NULL WHERE id = :id')",
    'c.ts': "tx.run('UPDATE sessions SET turn = 2 WHERE state = :state')",
    'd.ts': "tx.run('INSERT OR REPLACE INTO sessions (id) VALUES (1)'); tx.run('DELETE FROM sessions')",
  };
  expect(setters(evil, GUARDED)).toEqual(['a.ts state', 'b.ts stalled_since']);
  for (const law of [INSERTS, REPLACES, DELETES]) expect(having(evil, law)).toEqual(['d.ts']);
});
