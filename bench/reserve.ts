import { Database } from 'bun:sqlite';
import { homePaths } from '../src/model/home.ts';
import { newId } from '../src/model/id.ts';
import { ownerProbe } from '../src/session/owner-probe.ts';
import type { NewReservation } from '../src/store/reservation.ts';
import { moveReservation, tryReserve } from '../src/store/reservation.ts';
import { ownIdentity } from '../src/sys/identity.ts';
import { type Figure, information, timesFloor } from './support/figure.ts';
import { interleave, median } from './support/measure.ts';
import type { Scale } from './support/scale.ts';
import { openWorld, type World } from './support/world.ts';

/** Reservations that have ended lie around: a week of a busy repository. */
const HISTORY = 2_000;

/** Reserving a thread and giving it back, against a bare insert of a row like it and a bare update, each committed. */
export async function benchReserve({ small }: Scale): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const durability of ['full', 'normal'] as const) {
    const world = await openWorld();
    await seedHistory(world);
    const store = await world.open(durability);
    const bare = new Database(homePaths.database(world.home), { strict: true });
    for (const pragma of ['busy_timeout = 5000', `synchronous = ${durability}`]) bare.run(`PRAGMA ${pragma}`);
    const insert = insertInto(bare);
    const times = durability === 'full' ? 25 : 200;
    const samples = await interleave(small ? 20 : 30, {
      floor: () =>
        timed(times, (thread) => {
          const session_id = newId('agent');
          committed(bare, () => insert(session_id, thread));
        }),
      product: () =>
        timed(times, async (thread) => {
          const session_id = await reserveOne(world, store, thread);
          const end = { session_id, to: 'complete', mover: 'owner', may: () => undefined, now: Date.now() } as const;
          const moved = await moveReservation(store, end);
          if (!moved.ok) throw new Error(`${session_id}: ${moved.reason}`);
        }),
    });
    bare.close();
    await world.close();
    const [floor, product] = [median(samples.floor), median(samples.product)];
    const both = {
      name: `reserve + release, ${durability}`,
      unit: 'µs',
      floor,
      product,
      note: 'two transactions to one',
    };
    figures.push(durability === 'full' ? timesFloor(3, both) : information(both));
    figures.push(
      information({
        name: `the same per second, ${durability}`,
        unit: '/s',
        floor: 1e6 / floor,
        product: 1e6 / product,
      }),
    );
  }
  return figures;
}

let next = 0;

/** Microseconds per thread. */
async function timed(times: number, act: (thread: string) => void | Promise<void>): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < times; i += 1) await act(`bench/${next++}`);
  return ((performance.now() - start) * 1000) / times;
}

function draftOf(session_id: string, repo_root: string, thread: string): NewReservation {
  const { pid, start_time, boot_id } = ownIdentity();
  const now = Date.now();
  return {
    ...{ session_id, repo_root, thread, started_at: now, token_hash: 'h'.repeat(64), pid, pid_start_time: start_time },
    ...{ boot_id, liveness_path: null, heartbeat_at: now, last_progress_at: now, lease_ms: null },
    ...{ anchor_commit: 'a'.repeat(40), anchor_tree: 'abc1234', base_short: 'abc1234', path: '/somewhere' },
    ...{ client_instance_id: null, native_actor_key: `k:${session_id}`, native_parent_actor_key: null },
    ...{ native_instance_key: null, owner_session_id: null, provider: 'p', model: 'm', harness: 'h' },
    ...{ thinking_level: null, input_tokens: null, output_tokens: null, reasoning_tokens: null, tool_calls: null },
    ...{
      cost_micros: null,
      report_flush_state: null,
      attach_reason: 'why',
      attach_precedence_json: '["agent-reserve"]',
    },
    ...{ winning_attach_rule: 'agent-reserve', probe_source: 'agent_api', probe_confidence: 1 },
  };
}

async function reserveOne({ repo }: World, store: World['store'], thread: string): Promise<string> {
  const now = Date.now();
  const found = await tryReserve(store, {
    ...{ repo_root: repo, thread, now, probe: ownerProbe(now), new_id: () => newId('agent') },
    build: (id) => draftOf(id, repo, thread),
  });
  if (found.outcome !== 'reserved') throw new Error(`${thread} has an owner`);
  return found.entry.session_id;
}

async function seedHistory({ store, repo }: World): Promise<void> {
  const now = Date.now();
  await store.write((tx) => {
    for (let i = 0; i < HISTORY; i += 1) {
      const row = { ...draftOf(newId('agent'), repo, `past/${i}`), status: 'complete', completed_at: now - i * 1000 };
      const columns = Object.keys(row);
      tx.run(
        `INSERT INTO reservations (${columns.join(', ')}) VALUES (${columns.map((column) => `:${column}`).join(', ')})`,
        row,
      );
    }
  });
}

/** `BEGIN IMMEDIATE; INSERT; COMMIT` by hand. */
function committed(db: Database, act: () => void): void {
  db.run('BEGIN IMMEDIATE');
  act();
  db.run('COMMIT');
}

function insertInto(db: Database): (session_id: string, thread: string) => void {
  const row = { ...draftOf('', '/bare', ''), status: 'active' };
  const columns = Object.keys(row);
  const statement = db.prepare(
    `INSERT INTO reservations (${columns.join(', ')}) VALUES (${columns.map((column) => `$${column}`).join(', ')})`,
  );
  return (session_id, thread) => {
    statement.run({ ...row, session_id, thread });
  };
}
