import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { listBackups } from '../../src/session/backups.ts';
import { MIGRATIONS } from '../../src/store/schema.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import { liveness } from '../../src/sys/identity.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { leaksOf } from '../support/leaks.ts';
import {
  counts,
  errorOf,
  peek,
  rehearse,
  sessionOf,
  supervisorLog,
  supervisorPid,
  turnDir,
  turnsOf,
  untilSession,
  untilState,
  untilTalking,
} from '../support/peek.ts';
import { testOnSmallDisk } from '../support/small-disk.ts';
import { beforeRemoval } from '../support/temp.ts';
import { until } from '../support/until.ts';

const bin = (name: string) => resolve(import.meta.dir, '../fixtures/bin', name);
const TURN = { max_attempts: 1, sigkill_delay_ms: 300 };
const DONE = { turns: [[{ say: 'done' }]] };
const INSISTS = { program: bin('insists'), base_args: ['4000'], event_format: 'ndjson' };
const DISK = { file: import.meta.path, size: '12m', config: { turn: TURN, harness_runners: { insists: INSISTS } } };

/** What stands in the stream, and what was made of it: the same lines, each once, in the same order. */
function expectWhole(bench: Bench, name: string): void {
  const { id } = sessionOf(bench, name);
  const raw = readFileSync(join(turnDir(bench, name), 'stdout.jsonl'), 'utf8').split('\n');
  const lines = raw.filter((line) => line.trim() !== '');
  const rows = peek<{ type: string; line_offset: number; text: string | null }>(
    bench,
    `SELECT type, line_offset, json_extract(data_json, '$.text') AS text FROM events
     WHERE session_id = :id AND line_offset IS NOT NULL ORDER BY seq`,
    { id },
  );
  const whole = lines.flatMap((line) => parsed(line) ?? []);
  // Long texts are kept short in the store.
  const start = ({ type, text }: { type: string; text?: string | null }) => `${type} ${(text ?? '').slice(0, 60)}`;
  const wrong = whole.findIndex((line, i) => start(line) !== start(rows[i] ?? { type: 'missing' }));
  expect([rows.length, whole[wrong]]).toEqual([whole.length, undefined]);
  expect(new Set(rows.map(({ line_offset }) => line_offset)).size).toBe(rows.length);
  expect(turnsOf(bench, name)[0]).toMatchObject({ lines: lines.length, malformed: lines.length - whole.length });
}

/** null: cut off by the full disk. */
function parsed(line: string): { type: string; text?: string } | null {
  try {
    return JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

testOnSmallDisk(
  'a disk that is full while a turn floods: nothing read twice or lost, and it goes on by itself (fault 17)',
  DISK,
  async (disk) => {
    const { bench } = disk;
    expect((await bench.run(['sling', '--harness', 'insists', '--name', 'flood', 'go'])).code).toBe(0);
    await until('it floods', () => (turnsOf(bench, 'flood')[0]?.events ?? 0) > 300, 20_000);
    disk.fill();
    const pid = supervisorPid(bench);
    const said = () => readFileSync(join(turnDir(bench, 'flood'), 'stdout.jsonl')).length;
    const read = () => turnsOf(bench, 'flood')[0]?.stdout_offset ?? 0;
    await until('the store is behind and stays there', async () => {
      const before = read();
      await Bun.sleep(1_200);
      return read() === before && said() > before;
    });
    const error = errorOf(await bench.run(['--json', 'sling', '--harness', 'rehearsal', 'x']));
    expect(error.code).toBe('disk_full');
    disk.free();
    await untilState(bench, 'flood', 'completed', 40_000);
    expect(turnsOf(bench, 'flood')).toMatchObject([{ outcome: 'completed', exit_code: 0, result_text: 'all said' }]);
    expectWhole(bench, 'flood');
    const numbers = peek<{ text: string }>(
      bench,
      "SELECT DISTINCT json_extract(data_json, '$.text') AS text FROM events WHERE type = 'text'",
    ).filter(({ text }) => text.startsWith('number '));
    expect(numbers).toHaveLength(4_000);
    expect(supervisorPid(bench)).toBe(pid);
    expect(peek(bench, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
  },
);

testOnSmallDisk(
  'down works on a full disk: the one who took the last byte may be ours (fault 17)',
  DISK,
  async (disk) => {
    const { bench } = disk;
    await rehearse(bench, 'one', { turns: [[{ say: 'done' }]] });
    await untilState(bench, 'one', 'completed');
    const pid = supervisorPid(bench);
    disk.fill();
    const down = await bench.run(['down']);
    expect([down.code, down.stderr]).toEqual([0, expect.stringContaining('disk_full')]);
    expect(liveness({ pid })).toBe('dead');
    disk.free();
  },
);

testOnSmallDisk(
  'a disk that is full when a turn ends: the true end is on record all the same, settled once (fault 17)',
  DISK,
  async (disk) => {
    const { bench } = disk;
    const go = join(bench.home, 'go');
    const held = (...rest: unknown[]) => ({ turns: [[{ say: 'at work' }, { wait_for_file: go }, ...rest]] });
    await rehearse(bench, 'good', held());
    await rehearse(bench, 'bad', held({ exit: 7 }));
    for (const name of ['good', 'bad']) await untilTalking(bench, name);
    disk.fill();
    writeFileSync(go, '');
    for (const name of ['good', 'bad'])
      await until(`${name} has ended`, () =>
        readFileSync(join(turnDir(bench, name), 'exit.json'), 'utf8').includes('code'),
      );
    // Long enough for several tries to settle it.
    await Bun.sleep(1_500);
    for (const name of ['good', 'bad']) expect(sessionOf(bench, name).state).toBe('working');
    disk.free();
    await untilState(bench, 'good', 'completed');
    await untilState(bench, 'bad', 'failed');
    expect(turnsOf(bench, 'good')).toMatchObject([{ outcome: 'completed', exit_code: 0, tree_empty: 1 }]);
    expect(turnsOf(bench, 'bad')).toMatchObject([{ outcome: 'crashed', exit_code: 7, tree_empty: 1 }]);
    const ends = "SELECT event FROM state_log WHERE event IN ('complete','fail','die','settle') ORDER BY event";
    expect(peek<{ event: string }>(bench, ends).map(({ event }) => event)).toEqual(['complete', 'fail']);
    expect(peek(bench, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
  },
);

/** A database as the first drover made it, with a row in it. */
function versionOne(path: string): void {
  mkdirSync(join(dirname(path), 'run'), { mode: 0o700 });
  const db = new Database(path, { create: true });
  db.run('PRAGMA journal_mode = WAL');
  db.run(MIGRATIONS[0] ?? '');
  db.run("INSERT INTO leases (name, holder, fence, taken_at) VALUES ('supervisor', 'an old one', 41, 1)");
  db.run('PRAGMA user_version = 1');
  db.close();
}

testOnSmallDisk(
  'a disk that is full during a migration: a typed error, the file as it was, and it works when there is room (faults 16, 17)',
  DISK,
  async (disk) => {
    const { bench } = disk;
    const path = join(bench.drover_home, 'drover.db');
    versionOne(path);
    const before = readFileSync(path);
    disk.fill();
    const sling = ['--json', 'sling', '--harness', 'rehearsal', '--name', 'first', 'x'];
    for (const args of [sling, ['--json', 'mail', 'send', '--to', 'x', '--subject', 'y'], ['--json', 'up']]) {
      const error = errorOf(await bench.run(args));
      expect([args[1], error.kind, error.code]).toEqual([args[1], 'unavailable', 'disk_full']);
    }
    // A little more room each time: it fails at one step after the other of the migration.
    let failures = 0;
    for (; readFileSync(path).equals(before) && failures < 60; failures += 1) {
      disk.spare(8);
      const ran = await bench.run(sling);
      if (ran.code === 0) break;
      expect([failures, ran.code, errorOf(ran).code]).toEqual([failures, 69, 'disk_full']);
    }
    console.log(`${failures} attempts found too little room`);
    expect(failures).toBeGreaterThan(2);
    disk.free();
    await rehearse(bench, 'second', DONE);
    await untilState(bench, 'second', 'completed');
    expect(peek(bench, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
    expect(peek(bench, 'PRAGMA user_version')).toEqual([{ user_version: MIGRATIONS.length }]);
    // The lease goes on from where it was: a fence never goes back.
    expect(peek<{ fence: number }>(bench, 'SELECT fence FROM leases')[0]?.fence).toBeGreaterThan(41);
  },
);

testOnSmallDisk(
  'a home that can only be read: every verb that writes says so, nothing starts, and nothing is lost (fault 23)',
  DISK,
  async (disk) => {
    const { bench } = disk;
    await rehearse(bench, 'before', DONE);
    await untilState(bench, 'before', 'completed');
    expect((await bench.run(['down'])).code).toBe(0);
    disk.remount('ro');
    for (const args of [
      ['sling', '--harness', 'rehearsal', 'x'],
      ['mail', 'send', '--to', 'before', '--subject', 'y'],
    ]) {
      const ran = await bench.run(['--json', ...args]);
      expect([args[0], ran.code, errorOf(ran).kind]).toEqual([args[0], 69, 'unavailable']);
      expect(errorOf(ran).hint).not.toBe('');
    }
    expect([69, 1]).toContain((await bench.run(['up'])).code);
    expect(supervisorPid(bench)).toBe(0);
    disk.remount('rw');
    await rehearse(bench, 'after', DONE);
    await untilState(bench, 'after', 'completed');
    expect(sessionOf(bench, 'before').state).toBe('completed');
  },
);

/** Longer than whatever waits for a lock. `FAULTS_FULL=1`: as long as the fault is said to last. */
const HELD_MS = process.env.FAULTS_FULL === '1' ? 30_000 : 8_000;

test('a database that somebody keeps locked: 75 for every verb that writes, turns go on, nothing is half done (fault 21)', async () => {
  const emit = { program: bin('emitter.sh'), base_args: [String(HELD_MS / 40)], event_format: 'ndjson' };
  const bench = droverBench({ config: { turn: TURN, harness_runners: { emit } } });
  const go = join(bench.home, 'go');
  await rehearse(bench, 'rests', DONE, ['--role', 'monitor']);
  await untilState(bench, 'rests', 'idle');
  const held = { turns: [[{ say: 'at work' }, { wait_for_file: join(bench.home, 'end') }]] };
  for (const name of ['held', 'unwanted']) await rehearse(bench, name, held);
  await bench.run(['sling', '--harness', 'emit', '--name', 'talks', 'go']);
  for (const name of ['held', 'unwanted', 'talks']) await untilTalking(bench, name);
  const supervisor = supervisorPid(bench);
  const script = [process.execPath, bin('holds-database.ts'), join(bench.drover_home, 'drover.db'), go];
  const holder = Bun.spawn(script, { stdout: 'pipe', stderr: 'inherit' });
  beforeRemoval(() => holder.kill('SIGKILL'));
  await until('it is held', async () => (await holder.stdout.getReader().read()).value !== undefined);
  const start = performance.now();
  const before = counts(bench);
  const verbs = [
    ['sling', '--harness', 'rehearsal', 'x'],
    ['mail', 'send', '--to', 'rests', '--subject', 'y'],
    ['nudge', 'rests'],
    ['stop', 'unwanted'],
  ];
  const refusals = await Promise.all(verbs.map((args) => bench.run(['--json', ...args])));
  for (const [i, ran] of refusals.entries())
    expect([verbs[i]?.[0], ran.code, errorOf(ran).code]).toEqual([verbs[i]?.[0], 75, 'store_busy']);
  // The one exception: what somebody wants ended ends all the same, and the refusal says so.
  expect(errorOf(refusals[3] ?? { code: 0, stdout: '', stderr: '' }).message).toContain(
    '1 of 1 running turns were ended',
  );
  expect(leaksOf(turnsOf(bench, 'unwanted')[0]?.marker ?? 'none')).toEqual([]);
  // Who only reads is served as ever.
  expect((await bench.run(['status'])).code).toBe(0);
  await until('it was long enough', () => performance.now() - start > HELD_MS, HELD_MS + 10_000);
  expect(counts(bench)).toEqual(before);
  expect(sessionOf(bench, 'rests')).toMatchObject({ state: 'idle', turn: 1 });
  expect(sessionOf(bench, 'held').state).toBe('working');
  writeFileSync(go, '');
  await holder.exited;
  await untilState(bench, 'talks', 'completed', 40_000);
  expectWhole(bench, 'talks');
  writeFileSync(join(bench.home, 'end'), '');
  await untilState(bench, 'held', 'completed');
  await bench.json(['nudge', 'rests']);
  await untilSession(bench, 'rests', (row) => row.turn === 2 && row.state === 'idle');
  expect(supervisorPid(bench)).toBe(supervisor);
  await bench.json(['stop', 'unwanted']);
  const bad =
    "SELECT s.name, t.turn, t.outcome FROM turns AS t JOIN sessions AS s ON s.id = t.session_id WHERE t.outcome <> 'completed'";
  expect(peek(bench, bad)).toEqual([{ name: 'unwanted', turn: 1, outcome: 'crashed' }]);
}, 120_000);

test('a database that cannot even be opened for writing: what somebody wants ended ends all the same, and the answer says so (fault 21)', async () => {
  const bench = droverBench({ config: { turn: TURN } });
  await rehearse(bench, 'unwanted', { turns: [[{ say: 'at work' }, 'hang']] });
  const { marker } = await untilTalking(bench, 'unwanted');
  const gate = openWriteGate(homePaths.gate(bench.drover_home));
  const leave = await until('the gate is ours', () => gate.tryEnter());
  const ran = await bench.run(['--json', 'stop', 'unwanted']);
  expect([ran.code, errorOf(ran).code]).toEqual([75, 'store_busy']);
  expect(errorOf(ran).message).toContain('1 of 1 running turns were ended all the same');
  expect(leaksOf(marker)).toEqual([]);
  leave();
  gate.close();
  await until('its turn is settled', () => turnsOf(bench, 'unwanted')[0]?.ended_at, 20_000);
}, 60_000);

/** Ruins a page in the middle of each table, as a bad disk would, under whoever has it open. */
function ruin(path: string): void {
  const fd = openSync(path, 'r+');
  const { size } = fstatSync(fd);
  for (let at = 4_096; at < size; at += 4_096) writeSync(fd, Buffer.alloc(2_048, 0xa5), 0, 2_048, at);
  closeSync(fd);
}

test('a corrupt database: the verbs say so and where to go, the doctor has the copy of the day, nothing is overwritten (fault 22)', async () => {
  const bench = droverBench({ config: { turn: TURN } });
  await rehearse(bench, 'ewe', DONE);
  await untilState(bench, 'ewe', 'completed');
  const backup = await until('the copy of the day', () => listBackups(bench.drover_home)[0], 30_000);
  await bench.run(['down']);
  const path = join(bench.drover_home, 'drover.db');
  for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
  ruin(path);
  const ruined = readFileSync(path);
  for (const args of [['sling', '--harness', 'rehearsal', 'x'], ['show', 'ewe'], ['mail', 'list'], ['status']]) {
    const ran = await bench.run(['--json', ...args]);
    const error = errorOf(ran);
    expect([args[0], ran.code, error.code]).toEqual([args[0], 69, 'store_corrupt']);
    expect(error.hint).toContain('drover doctor');
  }
  expect((await bench.run(['up'])).code).toBe(69);
  expect(supervisorPid(bench)).toBe(0);
  expect(readFileSync(path).equals(ruined)).toBe(true);
  const said = await bench.json<{ findings: { check: string; hint: string }[] }>(['doctor', '--quick'], 1);
  expect(said.findings.find(({ check }) => check === 'database')?.hint).toContain(backup.path);
  expect(existsSync(backup.path)).toBe(true);
  const copy = new Database(backup.path, { readonly: true });
  expect(copy.query('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
  copy.close();
}, 60_000);

test('a database that breaks under a running supervisor: it says so again and again, and the turns live on (fault 22)', async () => {
  const bench = droverBench({ config: { turn: TURN } });
  const go = join(bench.home, 'go');
  await rehearse(bench, 'ewe', { turns: [[{ say: 'at work' }, { wait_for_file: go }, { run: `touch ${go}-seen` }]] });
  await untilTalking(bench, 'ewe');
  const path = join(bench.drover_home, 'drover.db');
  const db = new Database(path);
  db.run('PRAGMA busy_timeout = 5000');
  db.run('PRAGMA wal_checkpoint(TRUNCATE)');
  db.close();
  ruin(path);
  await refusedAs(bench, ['sling', '--harness', 'rehearsal', 'x'], 'store_corrupt');
  await until('the supervisor has noticed', () => supervisorLog(bench).includes('store_corrupt'), 20_000);
  expect(supervisorLog(bench)).not.toContain('bug');
  writeFileSync(go, '');
  await until('the harness went on', () => existsSync(`${go}-seen`));
}, 60_000);

async function refusedAs(bench: Bench, args: string[], code: string): Promise<void> {
  const ran = await bench.run(['--json', ...args]);
  expect([ran.code, errorOf(ran).code]).toEqual([69, code]);
}
