import { Database } from 'bun:sqlite';
import { beforeAll, expect, test } from 'bun:test';
import { mkdirSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, droverBench } from '../support/drover.ts';
import {
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
import { claimOnly } from '../support/stored.ts';
import { until } from '../support/until.ts';

// Each test: what one session, one repository or one file brings about must stay with it.

let bench: Bench;
const DONE = { turns: [[{ say: 'done' }]] };

beforeAll(() => {
  bench = droverBench({ config: { turn: { max_attempts: 2, backoff_ms: 50, sigkill_delay_ms: 300 } } });
});

const hold = (name: string) => join(bench.home, `go-${name}`);
const held = (name: string) => ({ turns: [[{ say: 'at work' }, { wait_for_file: hold(name) }, { say: 'done' }]] });
const release = (name: string) => writeFileSync(hold(name), '');

test('files in the tree that are pipes, devices or loops stop nobody (E-049)', async () => {
  const made = Bun.spawnSync(['mkfifo', join(bench.repo, 'package.json')]);
  expect(made.exitCode).toBe(0);
  mkdirSync(join(bench.repo, '.claude'));
  symlinkSync('/dev/zero', join(bench.repo, '.claude/package-manager.json'));
  await rehearse(bench, 'piped', DONE);
  await untilState(bench, 'piped', 'completed');
  rmSync(join(bench.repo, 'package.json'));
  rmSync(join(bench.repo, '.claude'), { recursive: true });
}, 60_000);

test("a repository's settings that cannot be read are refused at the door and stop no running work (E-174)", async () => {
  await rehearse(bench, 'early', held('early'));
  await untilTalking(bench, 'early');
  mkdirSync(join(bench.repo, '.drover'));
  const path = join(bench.repo, '.drover/config.yaml');
  const spoil = [
    () => writeFileSync(path, 'default_role: [unclosed'),
    () => symlinkSync('config.yaml', path),
    () => expect(Bun.spawnSync(['mkfifo', path]).exitCode).toBe(0),
  ];
  for (const make of spoil) {
    make();
    expect([2, 1]).toContain((await bench.run(['sling', '--harness', 'rehearsal', 'x'])).code);
    const before = supervisorPid(bench);
    expect((await bench.run(['down'])).code).toBe(0);
    expect((await bench.run(['up'])).code).toBe(0);
    expect(supervisorPid(bench)).not.toBe(before);
    unlinkSync(path);
  }
  writeFileSync(path, 'default_role: [unclosed');
  release('early');
  await untilState(bench, 'early', 'completed');
  rmSync(join(bench.repo, '.drover'), { recursive: true });
  expect(peek(bench, "SELECT * FROM sessions WHERE state = 'failed'")).toEqual([]);
}, 60_000);

test('a harness that empties its own output loses its result and holds up nobody (fault 28)', async () => {
  const cut = `for fd in /proc/[0-9]*/fd/1; do case $(readlink $fd) in */${'$DROVER_SESSION_ID'}/*) : >$fd ;; esac; done`;
  await rehearse(bench, 'cutter', {
    turns: [[{ line: 9000 }, { run: `exec >/dev/null; sleep 0.3; ${cut}` }, { wait_for_file: hold('cutter') }]],
  });
  await untilTalking(bench, 'cutter');
  await until('its output is cut', () => Bun.file(join(turnDir(bench, 'cutter'), 'stdout.jsonl')).size < 9000);
  await rehearse(bench, 'bystander', DONE);
  await untilState(bench, 'bystander', 'completed');
  release('cutter');
  await untilSession(bench, 'cutter', (row) => row.ended_at !== null);
}, 60_000);

test('a turn directory that somebody removes ends that turn and no other', async () => {
  await rehearse(bench, 'homeless', held('homeless'));
  await untilTalking(bench, 'homeless');
  rmSync(turnDir(bench, 'homeless'), { recursive: true });
  await rehearse(bench, 'housed', DONE);
  await untilState(bench, 'housed', 'completed');
  release('homeless');
  await bench.run(['stop', 'homeless']);
  await until('its turn is settled', () => turnsOf(bench, 'homeless').every((turn) => turn.ended_at !== null), 15_000);
}, 60_000);

/** A session that is stored and not begun: one slot, which somebody else has. */
async function queuedIn(narrow: Bench, name: string, script: unknown): Promise<string> {
  await rehearse(narrow, 'holder', { turns: [[{ say: 'here' }, { wait_for_file: join(narrow.home, 'go') }]] });
  await untilTalking(narrow, 'holder');
  await rehearse(narrow, name, script);
  expect((await narrow.run(['down'])).code).toBe(0);
  expect(sessionOf(narrow, name).state).toBe('queued');
  return sessionOf(narrow, name).id;
}

test('claimed and never started: the next supervisor starts that same turn, once (faults 6, CX-34)', async () => {
  const narrow = droverBench({ config: { max_live_sessions: 1 } });
  const started = join(narrow.home, 'started');
  const id = await queuedIn(narrow, 'claimed', { turns: [[{ run: `echo x >>${started}` }]] });
  const { turn } = await claimOnly(narrow, id);
  expect(turn.turn).toBe(1);
  expect((await narrow.run(['up'])).code).toBe(0);
  const row = await untilState(narrow, 'claimed', 'completed');
  expect([row.turn, await Bun.file(started).text()]).toEqual([1, 'x\n']);
  expect(supervisorLog(narrow)).toContain('claimed but never started');
}, 60_000);

test('claimed, never started and stopped meanwhile: the turn is closed and the session can be resumed', async () => {
  const narrow = droverBench({ config: { max_live_sessions: 1 } });
  const id = await queuedIn(narrow, 'aborted', DONE);
  await claimOnly(narrow, id);
  expect((await narrow.run(['stop', 'aborted'])).code).toBe(0);
  await until('the turn is closed', () => turnsOf(narrow, 'aborted').every((turn) => turn.ended_at !== null), 15_000);
  writeFileSync(join(narrow.home, 'go'), '');
  expect((await narrow.run(['resume', 'aborted'])).code).toBe(0);
  expect((await untilState(narrow, 'aborted', 'completed')).turn).toBe(2);
}, 60_000);

test('a turn that nobody follows is found by the supervisor itself within seconds', async () => {
  const narrow = droverBench({ config: { max_live_sessions: 1 } });
  const id = await queuedIn(narrow, 'stray', DONE);
  expect((await narrow.run(['up'])).code).toBe(0);
  const { turn } = await claimOnly(narrow, id);
  expect(turn.turn).toBe(1);
  await untilState(narrow, 'stray', 'completed', 20_000);
}, 60_000);

test('a bug that one session brings out ends that session, and the next supervisor serves the others (fault 8)', async () => {
  const runner = { program: 'sh', base_args: ['-c', 'true'], add_dir_flag: '--add-dir' };
  const narrow = droverBench({ config: { max_live_sessions: 1, harness_runners: { runner } } });
  await queuedIn(narrow, 'fine', DONE);
  await narrow.run(['sling', '--harness', 'runner', '--name', 'cursed', 'x']);
  const db = new Database(join(narrow.drover_home, 'drover.db'));
  db.run('PRAGMA busy_timeout = 5000');
  db.run(`UPDATE sessions SET created_at = 1, profile_json = '{"add_dirs":7}' WHERE name = 'cursed'`);
  db.close();
  writeFileSync(join(narrow.home, 'go'), '');
  const row = await untilState(narrow, 'cursed', 'failed');
  expect(row.end_reason).toStartWith('internal: TypeError');
  await until('somebody serves', async () => {
    await narrow.run(['up']);
    return sessionOf(narrow, 'fine').state === 'completed';
  });
  expect(turnsOf(narrow, 'cursed').map(({ outcome }) => outcome)).not.toContain(null);
}, 60_000);

test('a queued session whose directory is gone fails with the reason (E-009)', async () => {
  const narrow = droverBench({ config: { max_live_sessions: 1 } });
  const id = await queuedIn(narrow, 'evicted', DONE);
  rmSync(narrow.repo, { recursive: true });
  const options = { cwd: narrow.home };
  expect((await narrow.run(['up'], options)).code).toBe(0);
  writeFileSync(join(narrow.home, 'go'), '');
  const row = await untilState(narrow, 'evicted', 'failed');
  expect([row.id, row.end_reason]).toEqual([id, expect.stringContaining('spawn_error')]);
  mkdirSync(narrow.repo);
}, 60_000);
