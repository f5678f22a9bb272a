import { expect, test } from 'bun:test';
import { resolve } from 'node:path';
import type { MailRow } from '../../src/model/mail.ts';
import type { SessionRow } from '../../src/model/session.ts';
import type { TurnRow } from '../../src/model/turn.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { leaksOf } from '../support/leaks.ts';
import { peek, supervisorLog, supervisorPid } from '../support/peek.ts';
import { until } from '../support/until.ts';

const MOODY = resolve(import.meta.dir, '../fixtures/bin/moody');
const NAMES = ['a', 'b', 'c', 'd', 'e'];
const OPERATIONS = 60;
const seed = Number(process.env.CHAOS_SEED ?? Math.floor(Math.random() * 1e9));

/** Numbers from a seed, so that a bad day can be had again (mulberry32). */
function dice(from: number): (sides: number) => number {
  let state = from;
  return (sides) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % sides;
  };
}

/** Exit codes of a verb that was understood: done, refused, parked. Anything else is a defect. */
const UNDERSTOOD = [0, 1, 3, 75];

async function act(bench: Bench, roll: (sides: number) => number): Promise<void> {
  const name = NAMES[roll(NAMES.length)] ?? 'a';
  const verbs = [
    ['nudge', name, `n${roll(1000)}`],
    ['nudge', name, `i${roll(1000)}`, '--interrupt'],
    ['mail', 'send', '--to', name, '--subject', `m${roll(1000)}`],
    ['mail', 'send', '--to', name, '--subject', `m${roll(1000)}`],
    ['pause', name],
    ['resume', name],
    ['resume', name],
    ['stop', name],
    ['recover', name],
    ['down'],
  ];
  const args = verbs[roll(verbs.length + 1)];
  if (args === undefined) {
    kill(supervisorPid(bench));
    return;
  }
  const ran = await bench.run(args);
  if (!UNDERSTOOD.includes(ran.code)) throw new Error(`seed ${seed}: ${args.join(' ')}: ${ran.code}\n${ran.stderr}`);
}

/** Its lock may name one that was killed before, and that nobody has followed yet. */
function kill(pid: number): void {
  try {
    if (pid > 1) process.kill(pid, 'SIGKILL');
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('ESRCH');
  }
}

/** Live sessions that have nobody: no process, nothing that wakes them, no person who holds them (ARCHITECTURE §1.3). */
function forgotten(bench: Bench): SessionRow[] {
  const waiting = `SELECT 1 FROM mail WHERE to_id = s.id AND read_at IS NULL`;
  return peek<SessionRow>(
    bench,
    `SELECT * FROM sessions AS s WHERE ended_at IS NULL AND state <> 'parked'
       AND (state <> 'idle' OR EXISTS (${waiting}) OR EXISTS (SELECT 1 FROM turns WHERE session_id = s.id AND ended_at IS NULL))`,
  );
}

test('whatever people do, and however often the supervisor dies: nobody is forgotten, nothing is lost, nothing lives on (ARCHITECTURE §1)', async () => {
  console.log(`CHAOS_SEED=${seed}`);
  const moody = { program: MOODY, event_format: 'ndjson', resume_flag: '--resume' };
  const turn = { max_attempts: 3, backoff_ms: 50, backoff_cap_ms: 200, sigkill_delay_ms: 200, first_event_ms: 5_000 };
  const bench = droverBench({ config: { max_live_sessions: 3, turn, harness_runners: { moody } } });
  for (const name of NAMES) {
    const role = name < 'd' ? 'monitor' : 'solo';
    expect(
      (await bench.run(['sling', '--harness', 'moody', '--name', name, '--role', role, `task ${name}`])).code,
    ).toBe(0);
  }
  const roll = dice(seed);
  for (let i = 0; i < OPERATIONS; i += 2) await Promise.all([act(bench, roll), act(bench, roll)]);
  expect((await bench.run(['up'])).code).toBe(0);
  try {
    await until('everybody rests', () => forgotten(bench).length === 0, 30_000);
  } catch (error) {
    throw new Error(`seed ${seed}: ${error}\n${JSON.stringify(forgotten(bench), null, 1)}\n${supervisorLog(bench)}`);
  }
  expect(supervisorLog(bench)).not.toContain('bug');
  const markers = peek<TurnRow>(bench, 'SELECT * FROM turns').map(({ marker }) => marker);
  for (const marker of markers) expect(leaksOf(marker)).toEqual([]);
  const open = peek<TurnRow>(bench, 'SELECT * FROM turns WHERE ended_at IS NULL OR outcome IS NULL');
  expect(open).toEqual([]);
  const unread = peek<MailRow>(
    bench,
    `SELECT m.* FROM mail AS m JOIN sessions AS s ON s.id = m.to_id
     WHERE s.ended_at IS NULL AND s.state <> 'parked' AND m.read_at IS NULL`,
  );
  expect(unread).toEqual([]);
  const twice = peek(bench, 'SELECT session_id, turn FROM turns GROUP BY session_id, turn HAVING count(*) > 1');
  expect(twice).toEqual([]);
}, 180_000);
