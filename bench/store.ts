import { Database } from 'bun:sqlite';
import { join } from 'node:path';
import { homePaths } from '../src/model/home.ts';
import { atMost, type Figure, information, timesFloor } from './support/figure.ts';
import { interleave, median } from './support/measure.ts';
import type { Scale } from './support/scale.ts';
import { seedSessions } from './support/seed.ts';
import { moveSession } from './support/step.ts';
import { BUN, openWorld, type World } from './support/world.ts';
import type { WriterReport } from './writer.ts';

/** One guarded step of a session with its event, and many writers at once. */
export async function benchStore({ small }: Scale): Promise<Figure[]> {
  return [...(await steps(small)), ...(await writers(small))];
}

async function steps(small: boolean): Promise<Figure[]> {
  const world = await openWorld();
  const ids = await seedWorking(world, 2_000);
  const figures: Figure[] = [];
  for (const durability of ['full', 'normal'] as const) {
    const store = await world.open(durability);
    const db = rawDatabase(world, durability);
    const step = rawStep(db);
    const batch = durability === 'full' ? 40 : 400;
    // Forth and back: every round leaves the sessions as it found them.
    const samples = await interleave(small ? 10 : 40, {
      floor: () => timed(batch, (id, stalls) => step(id, stalls), ids),
      product: () => timed(batch, (id, stalls) => moveSession(store, id, stalls), ids),
    });
    db.close();
    const floor = median(samples.floor);
    figures.push(
      timesFloor(1.3, {
        name: `transition + event, ${durability}`,
        unit: 'µs',
        floor,
        product: median(samples.product),
      }),
    );
  }
  await world.close();
  return figures;
}

/** Microseconds per step. */
async function timed(
  sessions: number,
  step: (id: string, stalls: boolean) => void | Promise<void>,
  ids: readonly string[],
): Promise<number> {
  const some = ids.slice(0, sessions);
  const start = performance.now();
  for (const id of some) await step(id, true);
  for (const id of some) await step(id, false);
  return ((performance.now() - start) * 1000) / (2 * sessions);
}

/** The same statements by hand. */
function rawStep(db: Database): (id: string, stalls: boolean) => void {
  const seen = db.prepare('SELECT state FROM sessions WHERE id = ?');
  const moved = db.prepare(
    `UPDATE sessions SET state = ?, updated_at = ?, ended_at = NULL, end_reason = NULL, parked_reason = NULL,
       parked_evidence = NULL, resume_at = NULL, stalled_since = ?, escalation_level = 0
     WHERE id = ? AND state IN ('booting','working','stalled') AND turn = ? RETURNING *`,
  );
  const logged = db.prepare(
    `INSERT INTO state_log (session_id, from_state, to_state, event, actor, reason, turn, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const event = db.prepare(
    `INSERT INTO event_batches (seq, session_id, turn, at, count, events_json)
     SELECT coalesce(max(seq), 0) + 1, ?, ?, ?, 1, ? FROM event_batches`,
  );
  return (id, stalls) => {
    const now = Date.now();
    db.run('BEGIN IMMEDIATE');
    const { state } = seen.get(id) as { state: string };
    const to = stalls ? 'stalled' : 'working';
    if (moved.get(to, now, stalls ? now : null, id, 1) === null) throw new Error(`${id} is ${state}`);
    logged.run(id, state, to, stalls ? 'stall' : 'progress', 'supervisor', null, 1, now);
    event.run(id, 1, now, JSON.stringify([['text', 'info', null, { text: 'said' }]]));
    db.run('COMMIT');
  };
}

function rawDatabase(world: World, durability: 'full' | 'normal'): Database {
  const db = new Database(homePaths.database(world.home), { strict: true });
  for (const pragma of ['busy_timeout = 5000', `synchronous = ${durability}`, 'foreign_keys = ON'])
    db.run(`PRAGMA ${pragma}`);
  return db;
}

/** Sessions in the middle of their first turn. */
async function seedWorking(world: World, count: number): Promise<string[]> {
  const ids = await seedSessions(world, { count, live: count });
  await world.store.write((tx) => tx.run("UPDATE sessions SET state = 'working'"));
  return ids;
}

const WRITERS = 16;

/** As many processes as a busy fleet has, each writing as fast as it can. */
async function writers(small: boolean): Promise<Figure[]> {
  const world = await openWorld();
  const ids = await seedWorking(world, WRITERS * 100);
  const start = Date.now() + 2_000;
  const children = Array.from({ length: WRITERS }, (_, i) => {
    const own = ids.slice(i * 100, (i + 1) * 100).join(',');
    const command = [
      BUN,
      '--no-env-file',
      join(import.meta.dir, 'writer.ts'),
      world.home,
      String(start),
      String(small ? 2_000 : 8_000),
      own,
    ];
    return Bun.spawn(command, { env: world.env, cwd: world.dir, stdio: ['ignore', 'pipe', 'inherit'] });
  });
  const reports = await Promise.all(
    children.map(async (child) => JSON.parse(await child.stdout.text()) as WriterReport),
  );
  await world.close();
  const writes = reports.map((report) => report.writes);
  const total = writes.reduce((sum, each) => sum + each, 0);
  const note = `${total} writes, fewest ${Math.min(...writes)}, most ${Math.max(...writes)} per process`;
  const worst = (of: keyof WriterReport) => Math.max(...reports.map((report) => report[of]));
  return [
    atMost(0, { name: `BUSY leaked by ${WRITERS} writers`, unit: '', product: worst('refused'), note }),
    atMost(500, { name: 'longest wait of one write', unit: 'ms', product: worst('longest_ms') }),
    information({ name: 'the slowest hundredth begins at', unit: 'ms', product: worst('p99_ms') }),
  ];
}
