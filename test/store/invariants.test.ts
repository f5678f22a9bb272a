import { Database } from 'bun:sqlite';
import { beforeEach, describe, expect, test } from 'bun:test';
import { homePaths } from '../../src/model/home.ts';
import { brokenInvariants, orphanedPools, releaseProbe } from '../../src/store/invariants.ts';
import {
  endTurn,
  feedTurn,
  seedSession,
  type TakenTurn,
  type TestStore,
  takeTurn,
  testStore,
} from '../support/store.ts';

/** Writes what no drover would, on a connection that nothing holds back. */
function tamper(world: TestStore, ...statements: string[]): void {
  const db = new Database(homePaths.database(world.home));
  try {
    db.run('PRAGMA busy_timeout = 5000');
    db.run('PRAGMA ignore_check_constraints = ON');
    for (const sql of statements) db.run(sql);
  } finally {
    db.close();
  }
}

const broken = (world: TestStore) => brokenInvariants(world.store, world.clock.now());

interface Farm {
  world: TestStore;
  parent: string;
  /** Has ended, and its parent was told. */
  child: string;
  /** Its turn is in flight. */
  busy: TakenTurn;
}

let farm: Farm;

beforeEach(async () => {
  const world = await testStore();
  const parent = await seedSession(world, { name: 'parent' });
  const child = await seedSession(world, { name: 'child', parent_id: parent.id });
  await endTurn(world, await takeTurn(world, child.id));
  const busy = await takeTurn(world, (await seedSession(world, { name: 'busy' })).id);
  await feedTurn(world, busy, [{ type: 'usage', mode: 'add', tokens: TOKENS }]);
  farm = { world, parent: parent.id, child: child.id, busy };
});

const TOKENS = { input_tokens: 7, output_tokens: 3, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0 };

test('a sound home breaks nothing', async () => {
  expect(await broken(farm.world)).toEqual([]);
});

/** What is done to the rows, by whom it is found, and what the finding says. */
const CRIMES: [rule: string, name: string, sql: (farm: Farm) => string[], said: (farm: Farm) => string][] = [
  [
    'I1',
    'a state that was set by hand',
    ({ parent }) => [`UPDATE sessions SET state = 'working' WHERE id = '${parent}'`],
    ({ parent }) => `${parent} its log ends with queued, its row says working`,
  ],
  [
    'I1',
    'a change that the table does not know',
    ({ child }) => [
      `UPDATE state_log SET from_state = 'completed', to_state = 'booting' WHERE session_id = '${child}' AND to_state = 'booting'`,
    ],
    ({ child }) => `${child} from completed to booting by claim_first`,
  ],
  [
    'I2',
    'in flight without a turn',
    ({ busy }) => [
      `UPDATE turns SET ended_at = 1, outcome = 'completed' WHERE session_id = '${busy.session.id}'`,
      `UPDATE mail SET read_at = 1 WHERE to_id = '${busy.session.id}'`,
    ],
    ({ busy }) => `${busy.session.id} working without an open turn`,
  ],
  [
    'I2',
    'stalled without a turn',
    ({ parent }) => [
      `UPDATE sessions SET state = 'stalled', stalled_since = 1 WHERE id = '${parent}'`,
      `INSERT INTO state_log (session_id, from_state, to_state, event, actor, turn, at) VALUES ('${parent}', 'queued', 'booting', 'x', 'cli', 0, 1), ('${parent}', 'booting', 'stalled', 'x', 'cli', 0, 1)`,
    ],
    ({ parent }) => `${parent} stalled without an open turn`,
  ],
  [
    'I3',
    'two open turns',
    ({ busy }) => [
      'DROP INDEX one_turn_in_flight',
      `INSERT INTO turns (session_id, turn, marker, dir, started_at) VALUES ('${busy.session.id}', 0, 'm', '/d', 1)`,
    ],
    ({ busy }) => `${busy.session.id} 2 open turns`,
  ],
  [
    'I3',
    'an open turn of a session that has ended',
    ({ child }) => [
      `UPDATE turns SET ended_at = NULL, outcome = NULL WHERE session_id = '${child}'`,
      `UPDATE mail SET read_at = NULL WHERE to_id = '${child}'`,
    ],
    ({ child }) => `${child} turn 1 is open while the session is completed`,
  ],
  [
    'I3',
    'a turn of the future',
    ({ child }) => [`UPDATE sessions SET turn = 0 WHERE id = '${child}'`],
    ({ child }) => `${child} turn 1 exists, the session is at turn 0`,
  ],
  [
    'I4',
    'mail held by a turn that has ended',
    ({ child }) => [`UPDATE mail SET read_at = NULL WHERE to_id = '${child}'`],
    () => 'for child, held by turn 1, which has ended',
  ],
  [
    'I4',
    'a notification held by a turn that never was',
    ({ parent }) => [`UPDATE notifications SET delivered_turn = 9 WHERE parent_id = '${parent}'`],
    ({ parent }) => `the end of child, held by turn 9 of ${parent}`,
  ],
  [
    'I5',
    'mail that a crashed turn has read',
    ({ child }) => [`UPDATE turns SET outcome = 'crashed' WHERE session_id = '${child}'`],
    () => 'read by turn 1 of child, which ended crashed',
  ],
  [
    'I15',
    'a death nobody was told of',
    ({ child }) => [`DELETE FROM notifications WHERE child_id = '${child}'`],
    ({ child }) => `${child} has ended, and its parent was never told`,
  ],
  [
    'I15',
    'a death that never was',
    ({ child }) => [`UPDATE notifications SET death_no = 4 WHERE child_id = '${child}'`],
    ({ child }) => `${child} death 4 was told, but it died 1 times`,
  ],
  [
    'I15',
    'one death, two mails',
    ({ child, parent }) =>
      ['m1', 'm2'].map(
        (id) =>
          `INSERT INTO mail (id, from_name, from_id, to_name, to_id, type, priority, subject, body, thread_id, created_at) VALUES ('${id}', 'child', '${child}', 'parent', '${parent}', 'worker_died', 'high', 's', 'b', '${id}', 1)`,
      ),
    ({ child }) => `${child} 2 worker_died mails for 1 deaths`,
  ],
  [
    'I18',
    'tokens that no turn has used',
    ({ busy }) => [`UPDATE sessions SET output_tokens = 4 WHERE id = '${busy.session.id}'`],
    ({ busy }) => `${busy.session.id} the session says 7 in, 4 out, 0 micros; its turns 7`,
  ],
  [
    'I14',
    'at work in spite of an open incident that holds it',
    ({ parent }) => [
      `INSERT INTO incidents (id, key, repo_root, kind, path, first_session_id, second_session_id, paused_session_id, strategy, summary, created_at, updated_at)
       VALUES ('incident-1', 'k', '/farm', 'overlap', 'p', 'agent-x', '${parent}', '${parent}', 'escalate', '', 1, 1)`,
    ],
    ({ parent }) => `${parent} queued, although the incident incident-1 holds it`,
  ],
  [
    'I18',
    'a cost that nobody has reported',
    ({ busy }) => [`UPDATE sessions SET cost_micros = 5 WHERE id = '${busy.session.id}'`],
    ({ busy }) => `${busy.session.id} the session says 7 in, 3 out, 5 micros`,
  ],
  [
    'I19',
    'a token that outlives its turn',
    ({ child }) => [`UPDATE sessions SET token_hash = 'h' WHERE id = '${child}'`],
    ({ child }) => `${child} completed with a valid token`,
  ],
  [
    'I19',
    'the next turn of a session that has ended',
    ({ child }) => [`UPDATE sessions SET next_turn_at = 5 WHERE id = '${child}'`],
    ({ child }) => `${child} completed with a next turn`,
  ],
  [
    'I19',
    'a time to resume without being parked',
    ({ parent }) => [`UPDATE sessions SET resume_at = 5 WHERE id = '${parent}'`],
    ({ parent }) => `${parent} queued with a time to resume`,
  ],
  [
    'unseen',
    'parked for a limit that nothing ends',
    ({ parent }) => parkedFor(parent, 'NULL'),
    ({ parent }) => `${parent} parked for usage_limit without a time or a pool that ends it`,
  ],
  [
    'unseen',
    'parked for a pool that does not exist',
    ({ parent }) => parkedFor(parent, "'nobodys'"),
    ({ parent }) => `${parent} parked for the pool nobodys, which nobody knows`,
  ],
  [
    'unseen',
    'queued with nothing to read',
    ({ parent }) => [
      `DELETE FROM mail WHERE to_id = '${parent}'`,
      `UPDATE notifications SET delivered_at = 1 WHERE parent_id = '${parent}'`,
    ],
    ({ parent }) => `${parent} queued with nothing to read, so no turn starts`,
  ],
  [
    'unseen',
    'mail for nobody',
    ({ parent }) => [`UPDATE mail SET to_id = 'agent-gone' WHERE to_id = '${parent}'`],
    () => 'mail for agent-gone, a session that does not exist',
  ],
  [
    'family',
    'its own grandfather',
    ({ child, parent }) => [`UPDATE sessions SET parent_id = '${child}' WHERE id = '${parent}'`],
    ({ child }) => `${child} is its own ancestor`,
  ],
];

function parkedFor(id: string, pool: string): string[] {
  return [
    `UPDATE sessions SET state = 'parked', parked_reason = 'usage_limit', parked_pool = ${pool} WHERE id = '${id}'`,
    `INSERT INTO state_log (session_id, from_state, to_state, event, actor, turn, at) VALUES ('${id}', 'queued', 'parked', 'park', 'supervisor', 0, 1)`,
  ];
}

describe('each is told by its id with the rows that break it', () => {
  test.each(CRIMES)('%s: %s', async (rule, _name, sql, said) => {
    tamper(farm.world, ...sql(farm));
    const breach = (await broken(farm.world)).find(({ id }) => id === rule);
    const told = breach?.rows.map((row) => `${row.id} ${row.detail}`).join('; ') ?? '';
    expect(told).toContain(said(farm));
    expect(breach?.hint).not.toContain('<id>');
  });
});

test('parked with a rule that ends it, and a turn that is just being ended, break nothing', async () => {
  const { world, parent, child } = farm;
  tamper(world, ...parkedFor(parent, 'NULL'), `UPDATE sessions SET resume_at = 9 WHERE id = '${parent}'`);
  expect(await broken(world)).toEqual([]);
  tamper(
    world,
    "INSERT INTO pools (name, state, updated_at) VALUES ('claude', 'open', 1)",
    `UPDATE sessions SET resume_at = NULL, parked_pool = 'claude' WHERE id = '${parent}'`,
  );
  expect(await broken(world)).toEqual([]);
  tamper(
    world,
    `UPDATE turns SET ended_at = NULL, outcome = NULL, end_cause = 'stop' WHERE session_id = '${child}'`,
    `UPDATE mail SET read_at = NULL WHERE to_id = '${child}'`,
  );
  expect(await broken(world)).toEqual([]);
  world.clock.advance(3_600_000);
  expect((await broken(world)).map(({ id }) => id)).toEqual(['I3']);
});

test('of many rows five are named, and all are counted', async () => {
  const { world } = farm;
  for (let n = 0; n < 7; n += 1) await seedSession(world, { name: `s${n}` });
  tamper(world, "UPDATE sessions SET token_hash = id WHERE name GLOB 's[0-9]'");
  expect(await broken(world)).toMatchObject([{ id: 'I19', count: 7, rows: { length: 5 } }]);
});

test('a pool whose probe is gone is found and let go; one whose probe lives is not', async () => {
  const { world, busy } = farm;
  const row = (name: string, probe: string) =>
    `INSERT INTO pools (name, state, blocked_at, probe_id, updated_at) VALUES ('${name}', 'probing', 1, '${probe}', 1)`;
  tamper(world, row('lost', 'agent-gone'), row('ended', farm.child), row('fine', busy.session.id));
  expect((await orphanedPools(world.store)).map(({ name }) => name)).toEqual(['ended', 'lost']);
  expect(await releaseProbe(world.store, 'fine', 5)).toBe(false);
  expect(await releaseProbe(world.store, 'lost', 5)).toBe(true);
  expect((await orphanedPools(world.store)).map(({ name }) => name)).toEqual(['ended']);
});

test('10,000 sessions are looked through, and none of them is taken for broken', async () => {
  const { world, child } = farm;
  tamper(
    world,
    `CREATE TEMP TABLE many AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT i, 'agent-m' || i AS id FROM n`,
    `INSERT INTO sessions (id, name, role, harness, task, project, task_group, repo_root, working_dir, state, parent_id, turn, death_no, created_at, updated_at, ended_at)
       SELECT id, id, 'builder', 'claude', 't', 'p', 'g', '/r', '/r', 'completed', '${child}', 3, 1, i, i, i FROM many`,
    `INSERT INTO turns (session_id, turn, marker, dir, started_at, ended_at, outcome) SELECT many.id, t.value, many.id, '/d', i, i, 'completed' FROM many, json_each('[1,2,3]') AS t`,
    `INSERT INTO state_log (session_id, from_state, to_state, event, actor, turn, at)
       SELECT id, NULL, 'queued', 'sling', 'cli', 0, i FROM many UNION ALL SELECT id, 'queued', 'booting', 'claim_first', 'cli', 1, i FROM many UNION ALL SELECT id, 'booting', 'completed', 'complete', 'cli', 1, i FROM many`,
    `INSERT INTO mail (id, from_name, to_name, to_id, type, priority, subject, body, thread_id, created_at, delivered_turn, read_at)
       SELECT 'mail-' || id, 'o', id, id, 'task', 'normal', 's', 'b', id, i, 1, i FROM many`,
  );
  expect(await broken(world)).toEqual([]);
}, 60_000);
