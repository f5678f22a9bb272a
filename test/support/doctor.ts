import { Database } from 'bun:sqlite';
import { chmodSync } from 'node:fs';
import type { Finding } from '../../src/model/finding.ts';
import { homePaths } from '../../src/model/home.ts';
import { type Bench, droverBench } from './drover.ts';
import { seedSession, type TestStore, testStore } from './store.ts';

export interface Report {
  schema_version: number;
  ok: boolean;
  findings: Finding[];
}

/** A bench whose home is that of `world`. */
function benchOf(world: TestStore): Bench {
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  return bench;
}

/** A home as `sling` makes it: closed to others, with a row in it. */
export async function soundWorld(): Promise<{ world: TestStore; bench: Bench }> {
  const world = await testStore();
  for (const dir of [world.home, homePaths.run(world.home)]) chmodSync(dir, 0o700);
  for (const suffix of ['', '-wal', '-shm']) chmodSync(`${homePaths.database(world.home)}${suffix}`, 0o600);
  await seedSession(world, { name: 'ewe' });
  return { world, bench: benchOf(world) };
}

export async function doctor(bench: Bench, code: number, ...args: string[]): Promise<Report> {
  return (await bench.json<Record<string, unknown>>(['doctor', '--quick', ...args], code)) as unknown as Report;
}

export const of = (report: Report, check: string) => report.findings.filter((finding) => finding.check === check);
export const problems = (report: Report) =>
  report.findings.filter(({ level }) => level === 'problem').map(({ check }) => check);

/** What no drover would write. */
export function tamper(world: TestStore, sql: string): void {
  const db = new Database(homePaths.database(world.home));
  try {
    db.run('PRAGMA busy_timeout = 5000');
    db.run(sql);
  } finally {
    db.close();
  }
}
