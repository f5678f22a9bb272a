import { type Diagnosis, fine, mendable, problem, warning } from '../../model/finding.ts';
import { homePaths } from '../../model/home.ts';
import { type DatabaseFacts, inspectDatabase } from '../../store/inspect.ts';
import { brokenInvariants, orphanedPools, releaseProbe } from '../../store/invariants.ts';
import { openStore } from '../../store/open.ts';
import { openReader } from '../../store/reader.ts';
import type { Store } from '../../store/store.ts';
import { openWriteGate } from '../../sys/gate.ts';
import { BACKUP_EVERY_MS, listBackups, restoreCommands } from '../backups.ts';
import { type DoctorDeps, someOf } from './deps.ts';

/** Rows may be a little ahead of the clock that is read after them; more than this is a clock that went back. */
const AHEAD_MS = 2_000;
/** Twice the time between two copies: one that was missed for a night's sleep of the machine is no news. */
const OLD_BACKUP_MS = 2 * BACKUP_EVERY_MS;

export interface DatabaseReport {
  found: Diagnosis[];
  /** For the checks of rows; null when the rows cannot be trusted or read. The caller closes it. */
  store: Store | null;
}

/** Schema, damage, clock and backups; and, when it is sound, the database itself, opened for reading. */
export async function databaseFindings(deps: DoctorDeps): Promise<DatabaseReport> {
  const path = homePaths.database(deps.home);
  const facts = await inspectDatabase(path);
  const now = deps.clock.now();
  const clock = judgeClock(facts.newest_at, now);
  const found = [judgeDatabase(facts, deps.home, now), ...clock];
  if (facts.strays.length > 0) {
    const hint = 'Rows were deleted by other ways than drover, which never deletes any; a backup still has them.';
    found.push(problem('rows', someOf(facts.strays), hint));
  }
  if (facts.state !== 'absent' && facts.state !== 'empty') found.push(judgeBackups(deps.home, now));
  const store =
    facts.state === 'ready'
      ? await openReader({ path, clock: deps.clock, gate: { tryEnter: () => () => undefined } })
      : null;
  return { found, store };
}

function judgeDatabase(facts: DatabaseFacts, home: string, now: number): Diagnosis {
  const { schema_version, known_version } = facts;
  switch (facts.state) {
    case 'absent':
    case 'empty':
      return fine('database', 'nothing is stored yet');
    case 'ready':
      return fine('database', `schema ${schema_version}, quick_check ok`);
    case 'older':
      return warning(
        'database',
        `schema ${schema_version}, this drover knows ${known_version}; rows were not checked`,
        'The next verb brings it up to date:\ndrover status',
      );
    case 'newer':
      return problem(
        'database',
        `schema ${schema_version} is newer than this drover knows (${known_version}); rows were not checked`,
        'Use the newer drover that wrote it, or point DROVER_HOME to another directory.',
      );
    case 'busy':
      return warning(
        'database',
        'another process keeps it locked; rows were not checked',
        'Try again; if it stays, look for a program that holds drover.db open in a write transaction.',
      );
    case 'unreadable':
      return problem(
        'database',
        `it cannot be opened: ${someOf(facts.damage)}; rows were not checked`,
        'Check owner and mode of DROVER_HOME (0700) and drover.db (0600), and the disk.',
      );
    case 'damaged':
      return damaged(facts, home, now);
  }
}

function damaged(facts: DatabaseFacts, home: string, now: number): Diagnosis {
  const newest = listBackups(home)[0] ?? null;
  const way =
    newest === null
      ? 'There is no backup. Move it aside and begin with an empty one'
      : `Restore the backup of ${new Date(newest.made_at).toISOString()}`;
  const commands = restoreCommands(home, newest?.path ?? null, now).join('\n');
  const hint = `${way}; the raw streams of all turns stay under ${homePaths.session(home, '')}:\n${commands}`;
  return problem('database', `it is damaged: ${someOf(facts.damage, 3)}; rows were not checked`, hint);
}

export function judgeClock(newest_at: number | null, now: number): Diagnosis[] {
  if (newest_at === null) return [];
  const ahead = newest_at - now;
  if (ahead <= AHEAD_MS) return [fine('clock', new Date(now).toISOString())];
  const what = `the clock went back: the newest row is ${Math.round(ahead / 1000)} s ahead of it`;
  return [problem('clock', what, 'Set the clock right; back-offs and times to resume are late by as much until then.')];
}

function judgeBackups(home: string, now: number): Diagnosis {
  const all = listBackups(home);
  const newest = all[0];
  if (newest === undefined) {
    return warning('backup', 'there is none yet', 'The watchdog makes one a day while it runs:\ndrover up');
  }
  const hours = Math.round((now - newest.made_at) / 3_600_000);
  const what = `${all.length} kept, the newest is ${hours} h old: ${newest.path}`;
  if (now - newest.made_at <= OLD_BACKUP_MS) return fine('backup', what);
  return warning(
    'backup',
    what,
    'Fine when nothing happened since; else the watchdog makes one while it runs:\ndrover up',
  );
}

/** Rows that break a rule of MODEL §5, one finding per rule. */
export async function invariantFindings(deps: DoctorDeps, store: Store): Promise<Diagnosis[]> {
  const broken = await brokenInvariants(store, deps.clock.now());
  const found = broken.map(({ id, rule, hint, count, rows }) => {
    const told = rows.map((row) => `${row.id} ${row.detail}`);
    const more = count > rows.length ? `, and ${count - rows.length} more` : '';
    return problem(id, `${rule}: ${told.join('; ')}${more}`, hint);
  });
  const pools = await orphanedPools(store);
  const all = [...found, ...pools.map((pool) => orphanedPool(deps, pool))];
  return all.length > 0 ? all : [fine('invariants', 'no row breaks one')];
}

function orphanedPool(deps: DoctorDeps, { name, probe_id }: { name: string; probe_id: string }): Diagnosis {
  const what = `the pool ${name} waits for ${probe_id}, which has ended or never was`;
  return mendable(
    problem('pool', what, `drover doctor --fix lets the pool's next session go first.`),
    'let another session go first',
    async () => {
      const gate = openWriteGate(homePaths.gate(deps.home));
      try {
        const store = await openStore({
          path: homePaths.database(deps.home),
          durability: 'full',
          clock: deps.clock,
          gate,
        });
        try {
          const isReleased = await releaseProbe(store, name, deps.clock.now());
          return isReleased ? `the next session of ${name} goes first` : 'left it alone: it has changed by now';
        } finally {
          store.close();
        }
      } finally {
        gate.close();
      }
    },
  );
}
