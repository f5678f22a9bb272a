import { Database } from 'bun:sqlite';
import { describe, expect, test } from 'bun:test';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { appendEvent } from '../../src/store/event.ts';
import { openStore } from '../../src/store/open.ts';
import { openReader } from '../../src/store/reader.ts';
import { MIGRATIONS } from '../../src/store/schema.ts';
import { getSession } from '../../src/store/session.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import { seedSession, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';
import { otherProcesses, race } from './process.ts';

const FREE = { tryEnter: () => () => undefined };
const options = (path: string) => ({ path, durability: 'full' as const, clock: systemClock, gate: FREE, wait_ms: 200 });
const OPENER = resolve(import.meta.dir, 'fixtures/opener.ts');
const NOBODY = 65_534;

function freshHome(): string {
  const home = join(tempDir('open'), 'home');
  mkdirSync(homePaths.run(home), { recursive: true, mode: 0o700 });
  return home;
}

/** Runs `opener.ts` as `command` starts it; what it printed. */
function opened(command: string[], path: string, ...args: string[]): string {
  const { stdout, stderr } = Bun.spawnSync([...command, process.execPath, OPENER, path, ...args], {
    env: { ...process.env },
  });
  return stdout.toString().trim() || stderr.toString();
}

describe('the first open (O-01, CX-59)', () => {
  test('16 processes open a fresh home at once: no error, one schema', async () => {
    for (let round = 0; round < 2; round++) {
      const home = freshHome();
      const racers = await otherProcesses(home, 16);
      expect(await race(racers, () => ({ op: 'open' }))).toEqual(Array(16).fill(null));
      await Promise.all(racers.map((each) => each.kill()));
      const db = new Database(homePaths.database(home), { readonly: true });
      expect(db.query('PRAGMA user_version').get()).toEqual({ user_version: MIGRATIONS.length });
      expect(db.query('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' });
      db.close();
    }
  }, 60_000);

  test('the pragmas are in effect', async () => {
    const world = await testStore();
    const pragma = (name: string) =>
      world.store.read((tx) => Object.values(tx.get<Record<string, unknown>>(`PRAGMA ${name}`) ?? {})[0]);
    expect(await pragma('journal_mode')).toBe('wal');
    expect(await pragma('busy_timeout')).toBe(5_000);
    expect(await pragma('foreign_keys')).toBe(1);
    expect(await pragma('trusted_schema')).toBe(0);
    expect(await pragma('synchronous')).toBe(1);
    const full = await openStore({ ...options(homePaths.database(world.home)), busy_timeout_ms: 50 });
    expect(await full.read((tx) => tx.get('PRAGMA synchronous'))).toEqual({ synchronous: 2 });
    expect(await full.read((tx) => tx.get('PRAGMA busy_timeout'))).toEqual({ timeout: 50 });
    full.close();
  });

  test('it waits for its turn at the gate, and says so when that does not come', async () => {
    const home = freshHome();
    const gate = openWriteGate(homePaths.gate(home));
    const other = openWriteGate(homePaths.gate(home));
    const leave = other.tryEnter();
    await expect(openStore({ ...options(homePaths.database(home)), gate })).rejects.toMatchObject({
      code: 'store_busy',
      kind: 'parked',
    });
    expect(existsSync(homePaths.database(home))).toBe(false);
    leave?.();
    (await openStore({ ...options(homePaths.database(home)), gate })).close();
    for (const each of [gate, other]) each.close();
  });

  test('a migration is one transaction: when it fails, nothing of it stays (O-15)', async () => {
    const path = join(tempDir('open'), 'drover.db');
    const db = new Database(path, { create: true });
    // The last table of the first migration is there already.
    db.run('CREATE TABLE leases (name TEXT)');
    db.close();
    await expect(openStore(options(path))).rejects.toThrow('already exists');
    const after = new Database(path, { readonly: true });
    expect(after.query("SELECT name FROM sqlite_master WHERE type = 'table'").all()).toEqual([{ name: 'leases' }]);
    expect(after.query('PRAGMA user_version').get()).toEqual({ user_version: 0 });
    after.close();
  });

  test('opening again runs no step twice and loses no row: the version tells, no column is looked for (O-15, O-36)', async () => {
    const world = await testStore();
    const { home, store } = world;
    const row = await seedSession(world);
    const schema = () => store.read((tx) => tx.all('SELECT name, sql FROM sqlite_master ORDER BY name'));
    const before = await schema();
    (await openStore(options(homePaths.database(home)))).close();
    expect(await schema()).toEqual(before);
    expect(before.length).toBeGreaterThan(10);
    expect(await getSession(store, row.id)).toEqual(row);
    expect(await store.read((tx) => tx.get('PRAGMA user_version'))).toEqual({ user_version: MIGRATIONS.length });
  });
});

describe('a database that a newer drover wrote', () => {
  test('is refused with the way out, and not one byte of it changes', async () => {
    for (const journal of ['wal', 'delete']) {
      const path = join(tempDir('open'), 'drover.db');
      const db = new Database(path, { create: true });
      db.run(`PRAGMA journal_mode = ${journal}`);
      db.run('CREATE TABLE future (x)');
      db.run(`PRAGMA user_version = ${MIGRATIONS.length + 1}`);
      db.close();
      const before = readFileSync(path);
      const refusal = { code: 'schema_newer', kind: 'unavailable', details: { preserved: 'nothing was changed' } };
      await expect(openStore(options(path))).rejects.toMatchObject(refusal);
      await expect(openReader(options(path))).rejects.toMatchObject(refusal);
      expect(readFileSync(path).equals(before)).toBe(true);
    }
  });
});

describe('reading only (H-09)', () => {
  test('where there is no database yet, none is made', async () => {
    const dir = tempDir('open');
    const path = join(dir, 'drover.db');
    expect(await openReader(options(path))).toBeNull();
    expect(await openReader(options(join(dir, 'no', 'such', 'drover.db')))).toBeNull();
    expect(existsSync(path)).toBe(false);
  });

  test('an existing one is read without the gate; an empty one, as somebody is just making it, is left alone', async () => {
    const { home } = await testStore();
    const closed = { tryEnter: () => null };
    const reader = await openReader({ ...options(homePaths.database(home)), gate: closed });
    expect(await reader?.read((tx) => tx.get('SELECT count(*) AS n FROM sessions'))).toEqual({ n: 0 });
    reader?.close();
    const path = join(tempDir('open'), 'drover.db');
    writeFileSync(path, '');
    expect(await openReader(options(path))).toBeNull();
    expect(readFileSync(path, 'utf8')).toBe('');
  });
});

describe('what the machine refuses is a typed error', () => {
  test('a damaged file', async () => {
    const path = join(tempDir('open'), 'drover.db');
    writeFileSync(path, 'this is no database, whatever its name says. '.repeat(100));
    await expect(openStore(options(path))).rejects.toMatchObject({ code: 'store_corrupt', kind: 'unavailable' });
    await expect(openReader(options(path))).rejects.toMatchObject({ code: 'store_corrupt' });
    expect(readFileSync(path, 'utf8')).toStartWith('this is no database');
  });

  test('a file whose pages are damaged', async () => {
    const { home, store } = await testStore();
    await store.write((tx) => {
      for (let i = 0; i < 2_000; i++) appendEvent(tx, { session_id: 'x', turn: null, type: 't', data: {}, at: 1 });
    });
    await store.read((tx) => tx.get('PRAGMA wal_checkpoint(TRUNCATE)'));
    const path = join(tempDir('open'), 'drover.db');
    const bytes = readFileSync(homePaths.database(home));
    bytes.fill(0xa5, 4_096);
    writeFileSync(path, bytes);
    const broken = await openStore(options(path)).catch((error) => error);
    const error =
      'read' in broken
        ? await broken
            .read((tx: never) => (tx as { all: (sql: string) => unknown }).all('SELECT * FROM events'))
            .catch((e: unknown) => e)
        : broken;
    expect(error).toMatchObject({ code: 'store_corrupt', kind: 'unavailable' });
    if ('close' in broken) broken.close();
  });

  test('a directory that is not there, and one that is a file', async () => {
    const dir = tempDir('open');
    writeFileSync(join(dir, 'file'), '');
    for (const path of [join(dir, 'no', 'drover.db'), join(dir, 'file', 'drover.db'), dir]) {
      await expect(openStore(options(path))).rejects.toMatchObject({ code: 'store_readonly', kind: 'unavailable' });
    }
  });

  // The super-user may write anything, so that these are tried as nobody.
  const asNobody = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
  const canDrop = process.getuid?.() === 0 && Bun.spawnSync([...asNobody, process.execPath, '--version']).success;
  const isRoot = process.getuid?.() === 0;
  const reason = canDrop || !isRoot ? '' : ' (skipped: cannot start the interpreter as nobody)';
  const command = isRoot ? asNobody : [];

  test.skipIf(isRoot && !canDrop)(`a directory and a file that may only be read${reason}`, async () => {
    const home = freshHome();
    const path = homePaths.database(home);
    (await openStore(options(path))).close();
    if (isRoot) for (const each of [home, path]) chownSync(each, NOBODY, NOBODY);
    // Nobody has to be able to come this far.
    for (const above of ['..', '../..', '../../..']) chmodSync(resolve(home, above), 0o711);
    expect(opened(command, path, 'open')).toBe('open');
    chmodSync(path, 0o400);
    expect(opened(command, path, 'write')).toBe('store_readonly');
    chmodSync(path, 0o000);
    expect(opened(command, path, 'open')).toBe('store_readonly');
    expect(opened(command, path, 'reader')).toBe('store_readonly');
    chmodSync(path, 0o600);
    for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
    chmodSync(home, 0o500);
    expect(opened(command, path, 'write')).toBe('store_readonly');
    expect(opened(command, join(home, 'other.db'), 'open')).toBe('store_readonly');
    chmodSync(home, 0o700);
    expect(opened(command, path, 'write')).toBe('written');
  });

  const full = mountedTmpfs();
  test.skipIf(full === null)(
    `a full disk, and it goes on when there is space again${full === null ? ' (skipped: no tmpfs may be mounted)' : ''}`,
    () => {
      const script = `set -e
      mount -t tmpfs -o size=1m tmpfs "$1"
      "$2" "$3" "$1/drover.db" fill`;
      const dir = tempDir('full');
      const { stdout, stderr } = Bun.spawnSync(
        ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', dir, process.execPath, OPENER],
        { env: { ...process.env } },
      );
      expect(stdout.toString().trim().split('\n')).toEqual(['disk_full', 'counted', 'written']);
      expect(stderr.toString()).toBe('');
    },
  );
});

function mountedTmpfs(): string | null {
  const probe = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', 'mount -t tmpfs -o size=1m tmpfs /mnt'];
  return Bun.which('unshare') !== null && Bun.spawnSync(probe, { stderr: 'ignore' }).success ? 'yes' : null;
}

test('the file itself says whose it is: owner and mode are left as they were', async () => {
  const home = freshHome();
  const path = homePaths.database(home);
  (await openStore(options(path))).close();
  chmodSync(path, 0o600);
  (await openStore(options(path))).close();
  expect(statSync(path).mode & 0o777).toBe(0o600);
});
