import { Database } from 'bun:sqlite';
import { expect } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionRow } from '../../src/model/session.ts';
import type { TurnRow } from '../../src/model/turn.ts';
import type { Bench, Ran } from './drover.ts';
import { until } from './until.ts';

/** Rows of a bench's database, read past the program; none while there is no database. */
export function peek<T>(bench: Bench, sql: string, params: Record<string, string | number> = {}): T[] {
  const path = join(bench.drover_home, 'drover.db');
  if (!existsSync(path)) return [];
  const db = new Database(path, { readonly: true, strict: true });
  try {
    db.run('PRAGMA busy_timeout = 2000');
    return db.query(sql).all(params) as T[];
  } finally {
    db.close();
  }
}

const TABLES = ['sessions', 'mail', 'runs'];

/** Number of rows in the tables that somebody's word is kept in; the supervisor's own move by themselves. */
export function counts(bench: Bench): Record<string, number> {
  return Object.fromEntries(
    TABLES.map((table) => [table, peek<{ n: number }>(bench, `SELECT count(*) AS n FROM ${table}`)[0]?.n ?? 0]),
  );
}

/** The newest session of a name. */
export function sessionOf(bench: Bench, name: string): SessionRow {
  const sql = 'SELECT * FROM sessions WHERE name = :name OR id = :name ORDER BY created_at DESC, rowid DESC LIMIT 1';
  const [row] = peek<SessionRow>(bench, sql, { name });
  if (row === undefined) throw new Error(`there is no session ${name}`);
  return row;
}

export function turnsOf(bench: Bench, name: string): TurnRow[] {
  return peek(bench, 'SELECT * FROM turns WHERE session_id = :id ORDER BY turn', { id: sessionOf(bench, name).id });
}

/** Waits until the session's row fulfils a condition; what stood in the way is in the error. */
export async function untilSession(
  bench: Bench,
  name: string,
  done: (row: SessionRow) => boolean,
  within_ms = 40_000,
): Promise<SessionRow> {
  try {
    return await until(
      `${name}: ${done}`,
      () => {
        const row = sessionOf(bench, name);
        return done(row) ? row : null;
      },
      within_ms,
    );
  } catch (error) {
    const { state, turn, end_reason } = sessionOf(bench, name);
    throw new Error(`${error}\n${name} is ${state} (${end_reason}), turn ${turn}\n${supervisorLog(bench)}`);
  }
}

export const untilState = (bench: Bench, name: string, state: SessionRow['state'], within_ms?: number) =>
  untilSession(bench, name, (row) => row.state === state, within_ms);

/** Waits until the session's turn `turn` has said something. */
export async function untilTalking(bench: Bench, name: string, turn = 1): Promise<TurnRow> {
  return until(`turn ${turn} of ${name} speaks`, () =>
    turnsOf(bench, name).find((row) => row.turn === turn && row.events > 0),
  );
}

export function supervisorLog(bench: Bench): string {
  const path = join(bench.drover_home, 'run/supervisor.log');
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/** Whom the supervisor's lock file names; 0 when nobody. */
export function supervisorPid(bench: Bench): number {
  const path = join(bench.drover_home, 'run/supervisor.lock');
  return existsSync(path) ? Number(readFileSync(path, 'utf8').split('\n')[0]) || 0 : 0;
}

/** What a turn was told. */
export function promptOf(bench: Bench, name: string, turn = 1): string {
  return readFileSync(join(turnDir(bench, name, turn), 'prompt.md'), 'utf8');
}

export function turnDir(bench: Bench, name: string, turn = 1): string {
  return join(bench.drover_home, 'sessions', sessionOf(bench, name).id, 'turns', String(turn));
}

export interface Refusal {
  kind: string;
  code: string;
  message: string;
  hint?: string;
  preserved?: string;
  recovery_commands?: string[];
  data?: Record<string, unknown>;
}

/** Runs a command that has to be refused with this exit and error code, and proves that it stored nothing. */
export async function refused(
  bench: Bench,
  args: string[],
  expected: [exit: number, code: string],
  options: Parameters<Bench['run']>[1] = {},
): Promise<Refusal> {
  const before = counts(bench);
  const ran = await bench.run(['--json', ...args], options);
  const error = errorOf(ran);
  expect([ran.code, error.code, error.message]).toEqual([...expected, error.message]);
  expect(counts(bench)).toEqual(before);
  return error;
}

export function errorOf(ran: Ran): Refusal {
  try {
    return (JSON.parse(ran.stdout) as { error: Refusal }).error ?? { kind: '', code: '', message: ran.stdout };
  } catch {
    throw new Error(`no JSON object: exit ${ran.code}\n${ran.stdout.slice(0, 2000)}\n${ran.stderr.slice(0, 2000)}`);
  }
}

/** Slings with the rehearsal harness, playing `script` when there is one; the session's name. */
export async function rehearse(bench: Bench, name: string, script: unknown, args: string[] = []): Promise<string> {
  const task = script === null ? 'rehearse' : `rehearse\nrehearsal-script: ${bench.script(name, script)}`;
  const ran = await bench.run(['sling', '--harness', 'rehearsal', '--name', name, ...args, '-'], { stdin: task });
  if (ran.code !== 0) throw new Error(`sling ${name}: exit ${ran.code}\n${ran.stdout}${ran.stderr}`);
  return name;
}
