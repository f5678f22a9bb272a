import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MAIL_TYPES, PRIORITIES } from '../../src/model/mail.ts';
import { PARKED_REASONS, SESSION_STATES } from '../../src/model/session.ts';
import { END_CAUSES, OUTCOMES } from '../../src/model/turn.ts';
import { seedSession, takeTurn, testStore } from '../support/store.ts';

const SRC = join(import.meta.dir, '../../src');

/** Which interface says what a row of a table looks like. */
const ROWS: Record<string, { file: string; name: string }> = {
  sessions: { file: 'model/session.ts', name: 'SessionRow' },
  turns: { file: 'model/turn.ts', name: 'TurnRow' },
  mail: { file: 'model/mail.ts', name: 'MailRow' },
  notifications: { file: 'model/mail.ts', name: 'NotificationRow' },
  event_batches: { file: 'store/event-batch.ts', name: 'EventBatchRow' },
  state_log: { file: 'store/event.ts', name: 'StateLogRow' },
  runs: { file: 'store/run.ts', name: 'RunRow' },
  pools: { file: 'model/pool.ts', name: 'PoolRow' },
  verdicts: { file: 'model/verdict.ts', name: 'VerdictRow' },
  ticks: { file: 'model/verdict.ts', name: 'TickRow' },
  worktrees: { file: 'model/merge.ts', name: 'WorktreeRow' },
  merges: { file: 'model/merge.ts', name: 'MergeRow' },
  reservations: { file: 'model/reservation.ts', name: 'ReservationRow' },
  context_queries: { file: 'model/reservation.ts', name: 'ContextQueryRow' },
  threads: { file: 'model/reservation.ts', name: 'ThreadRow' },
  path_reservations: { file: 'model/reservation.ts', name: 'PathReservationRow' },
  file_activity: { file: 'model/incident.ts', name: 'FileActivityRow' },
  open_calls: { file: 'model/incident.ts', name: 'OpenCallRow' },
  incidents: { file: 'model/incident.ts', name: 'IncidentRow' },
  decisions: { file: 'model/incident.ts', name: 'DecisionRow' },
  plans: { file: 'model/plan.ts', name: 'PlanRow' },
  plan_steps: { file: 'model/plan-step.ts', name: 'StepRow' },
  step_sessions: { file: 'model/plan-step.ts', name: 'StepSessionRow' },
  plan_log: { file: 'model/plan.ts', name: 'PlanLogRow' },
  schedules: { file: 'model/schedule.ts', name: 'ScheduleRow' },
  schedule_runs: { file: 'model/schedule.ts', name: 'ScheduleRunRow' },
  dispatch_requests: { file: 'model/dispatch.ts', name: 'DispatchRow' },
  budgets: { file: 'model/budget.ts', name: 'BudgetRow' },
  gate_runs: { file: 'model/gate-run.ts', name: 'GateRunRow' },
  halts: { file: 'model/halt.ts', name: 'HaltRow' },
};
/** Tables whose rows never leave their own file whole. */
const INTERNAL = ['leases', 'pool_quotas', 'halted'];
/** The only fractions: a share between 0 and 1 (H-16). */
const FRACTIONS = ['probe_confidence'];
/** Ends like a number and is a word of the harness. */
const WORDS = ['thinking_level'];
/** Fields that are counted at read time (I16). */
const DERIVED = ['agent_count', 'live_count', 'coordinator_session_id', 'coordinator_name'];

interface Column {
  name: string;
  type: string;
  nullable: boolean;
}

/** The fields of an interface of plain fields, as columns. */
function columnsOf({ file, name }: { file: string; name: string }): Column[] {
  const text = readFileSync(join(SRC, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  const body = new RegExp(`interface ${name} \\{([^}]*)\\}`).exec(text)?.[1];
  if (body === undefined) throw new Error(`no interface ${name} in ${file}`);
  const fields = body.split('\n').map((line) => line.trim().replace(/\/\/.*$/, ''));
  return fields
    .filter((line) => line !== '')
    .map((line) => {
      const [, field, type] = /^(\w+)(?:\?)?: (.+);$/.exec(line) ?? [];
      if (field === undefined || type === undefined) throw new Error(`not understood: ${line}`);
      const words = type.split('|').map((word) => word.trim());
      const kinds = words.filter((word) => word !== 'null');
      const number = FRACTIONS.includes(field) ? 'REAL' : 'INTEGER';
      // A union of words may be a named type.
      return { name: field, type: kinds.join() === 'number' ? number : 'TEXT', nullable: words.includes('null') };
    });
}

const byName = (a: Column, b: Column) => a.name.localeCompare(b.name);

async function tables(): Promise<Record<string, Column[]>> {
  const { store } = await testStore();
  return store.read((tx) => {
    const names = tx.all<{ name: string }>(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    );
    const found = names.map(({ name }): [string, Column[]] => {
      const rows = tx.all<{ name: string; type: string; notnull: number; pk: number }>(`PRAGMA table_info(${name})`);
      // A key of a strict table is never null, whatever the pragma says.
      return [
        name,
        rows
          .map((row) => ({ name: row.name, type: row.type, nullable: row.notnull === 0 && row.pk === 0 }))
          .sort(byName),
      ];
    });
    return Object.fromEntries(found);
  });
}

describe('types and tables say the same, both ways (O-95)', () => {
  test('every table has its row type', async () => {
    expect(Object.keys(await tables()).sort()).toEqual([...Object.keys(ROWS), ...INTERNAL].sort());
  });

  test.each(Object.entries(ROWS))('%s', async (table, row) => {
    expect((await tables())[table] ?? []).toEqual(
      columnsOf(row)
        .filter(({ name }) => !DERIVED.includes(name))
        .sort(byName),
    );
  });

  test('times end in _at or _since, durations in _ms, money in _micros: all whole numbers', async () => {
    const unit = /(?:_at|_since|_ms|_micros|_tokens|_level|_no|_count|_turn|_turns|^seq|^turn|^is_)$/;
    for (const columns of Object.values(await tables())) {
      for (const { name, type } of columns)
        if (unit.test(name) && !WORDS.includes(name)) expect({ name, type }).toEqual({ name, type: 'INTEGER' });
    }
  });
});

describe('what a session is', () => {
  const column = (type: string, nullable = false) => ({ type, nullable });
  const some = async (table: string, names: readonly string[]) => {
    const found = (await tables())[table] ?? [];
    return Object.fromEntries(
      names.map((name) => {
        const { type, nullable } = found.find((each) => each.name === name) ?? { type: 'none', nullable: false };
        return [name, column(type, nullable)];
      }),
    );
  };
  const fill = (names: readonly string[], value: ReturnType<typeof column>) =>
    Object.fromEntries(names.map((name) => [name, value]));

  test('labels, place, state, times and metrics as whole numbers, money in micro-dollars (E-001)', async () => {
    const texts = ['id', 'task', 'project', 'task_group', 'harness', 'working_dir', 'state'];
    const worktree = ['worktree_path', 'branch', 'base_ref'];
    const numbers = ['created_at', 'updated_at', 'input_tokens', 'output_tokens', 'tool_calls'];
    const unknown = ['last_activity_at', 'ended_at', 'cost_micros'];
    expect(await some('sessions', [...texts, ...worktree, ...numbers, ...unknown])).toEqual({
      ...fill(texts, column('TEXT')),
      ...fill(worktree, column('TEXT', true)),
      ...fill(numbers, column('INTEGER')),
      ...fill(unknown, column('INTEGER', true)),
    });
    // The pid is that of a turn's process.
    expect(await some('turns', ['pid'])).toEqual({ pid: column('INTEGER', true) });
  });

  test('name, role, parent, depth, run, escalation, prompt version, native id; the process and its transcript by turn (O-02)', async () => {
    const texts = ['id', 'name', 'role', 'state'];
    const optional = ['worktree_path', 'branch', 'parent_id', 'run_id', 'prompt_version', 'native_session_id'];
    const numbers = ['depth', 'created_at', 'escalation_level'];
    const unknown = ['last_activity_at', 'stalled_since'];
    expect(await some('sessions', [...texts, ...optional, ...numbers, ...unknown])).toEqual({
      ...fill(texts, column('TEXT')),
      ...fill(optional, column('TEXT', true)),
      ...fill(numbers, column('INTEGER')),
      ...fill(unknown, column('INTEGER', true)),
    });
    expect(await some('turns', ['pid', 'marker', 'dir'])).toEqual({
      pid: column('INTEGER', true),
      marker: column('TEXT'),
      dir: column('TEXT'),
    });
    expect(await seedSession(await testStore())).toMatchObject({ escalation_level: 0, depth: 0, state: 'queued' });
  });

  test('what is not known is there as null, not absent: a row has every column (ARCHITECTURE §3, in place of O-04)', async () => {
    const row = await seedSession(await testStore());
    expect(Object.keys(row).sort()).toEqual(((await tables()).sessions ?? []).map(({ name }) => name).sort());
    expect(row).toMatchObject({ prompt_version: null, native_session_id: null, model: null, parent_id: null });
  });
});

describe('the database checks the words itself', () => {
  const refused = async (sql: string) => {
    const world = await testStore();
    const { id } = await seedSession(world);
    await takeTurn(world, id);
    return world.store.write((tx) => tx.run(sql.replaceAll('$ID', id)));
  };

  test.each([
    ["UPDATE sessions SET state = 'lost'", 'CHECK'],
    ["UPDATE sessions SET state = 'completed'", 'CHECK'],
    ['UPDATE sessions SET ended_at = 1', 'CHECK'],
    ["UPDATE sessions SET state = 'parked'", 'CHECK'],
    ["UPDATE sessions SET parked_reason = 'gate'", 'CHECK'],
    ['UPDATE sessions SET depth = 1.5', 'cannot store REAL value in INTEGER column'],
    ["UPDATE sessions SET parent_id = 'nobody'", 'FOREIGN KEY'],
    ["UPDATE turns SET outcome = 'completed'", 'CHECK'],
    ["UPDATE turns SET ended_at = 1, outcome = 'fine'", 'CHECK'],
    ["UPDATE turns SET end_cause = 'mood'", 'CHECK'],
    ["INSERT INTO turns (session_id, turn, marker, dir, started_at) VALUES ('$ID', 2, 'm', 'd', 1)", 'UNIQUE'],
    ["INSERT INTO turns (session_id, turn, marker, dir, started_at) VALUES ('nobody', 2, 'm', 'd', 1)", 'FOREIGN KEY'],
    ["UPDATE mail SET type = 'gossip'", 'CHECK'],
    ["UPDATE mail SET priority = 'urgent'", 'CHECK'],
    ['UPDATE mail SET delivered_turn = NULL, read_at = 1', 'CHECK'],
  ])('%s', async (sql, complaint) => {
    await expect(refused(sql)).rejects.toThrow(complaint);
  });

  test('it knows the words of the model and no others (O-26)', async () => {
    const { store } = await testStore();
    const listed = async (table: string, column: string) => {
      const row = await store.read((tx) =>
        tx.get<{ sql: string }>('SELECT sql FROM sqlite_master WHERE name = :table', { table }),
      );
      const list = new RegExp(`\\b${column} IN \\(([^)]*)\\)`).exec(row?.sql ?? '')?.[1] ?? '';
      return list.split(',').map((word) => word.trim().replaceAll("'", ''));
    };
    expect(await listed('sessions', 'state')).toEqual([...SESSION_STATES]);
    for (const old of ['booting', 'working', 'completed', 'stalled', 'zombie'] as const)
      expect(SESSION_STATES).toContain(old);
    expect(await listed('sessions', 'parked_reason')).toEqual([...PARKED_REASONS]);
    expect(await listed('turns', 'end_cause')).toEqual([...END_CAUSES]);
    expect(await listed('turns', 'outcome')).toEqual([...OUTCOMES]);
    expect(await listed('mail', 'type')).toEqual([...MAIL_TYPES]);
    expect(await listed('mail', 'priority')).toEqual([...PRIORITIES]);
  });

  test('a name is free again when its session has ended, and not before (O-02)', async () => {
    const world = await testStore();
    const first = await seedSession(world, { name: 'twin' });
    const second = await seedSession(world, { name: 'other' });
    const rename = () =>
      world.store.write((tx) => tx.run("UPDATE sessions SET name = 'twin' WHERE id = :id", { id: second.id }));
    await expect(rename()).rejects.toThrow('UNIQUE');
    await world.store.write((tx) =>
      tx.run("UPDATE sessions SET state = 'stopped', ended_at = 1 WHERE id = :id", { id: first.id }),
    );
    expect(await rename()).toBe(1);
  });
});
