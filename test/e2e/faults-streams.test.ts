import { beforeAll, expect, test } from 'bun:test';
import { existsSync, lstatSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Bench, droverBench } from '../support/drover.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import {
  peek,
  promptOf,
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
import { until } from '../support/until.ts';

const POURS = resolve(import.meta.dir, '../fixtures/bin/pours');
const DONE = { turns: [[{ say: 'done' }]] };
const MB = 1_000_000;

/**
 * `FAULTS_FULL=1`: a gigabyte. Otherwise a sixteenth of it: the machine's disk is shared, and what is held here, that
 * memory does not grow with the stream, shows with less.
 */
const POURED = process.env.FAULTS_FULL === '1' ? 1_024 * MB : 64 * MB;
const LINE = 64_000;
/** One line beyond what is kept of a line; in full size always, because it is quick. */
const GIANT = 200 * MB;
/** Bun itself and the program are a good part of it. */
const MOST_MB = 400;

let bench: Bench;
const pours = (...args: string[]) => ({ program: POURS, base_args: args, event_format: 'ndjson' });

beforeAll(() => {
  const harness_runners = {
    flood: pours('lines', String(Math.ceil(POURED / LINE)), String(LINE)),
    giant: pours('line', String(GIANT)),
    mixed: pours('mixed'),
  };
  const turn = { max_attempts: 1, sigkill_delay_ms: 300, max_log_bytes: 4_000 * MB };
  bench = droverBench({ config: { turn, harness_runners } });
});

const sling = (harness: string) => bench.run(['sling', '--harness', harness, '--name', harness, 'go']);
const peakMb = () => {
  const status = readFileSync(`/proc/${supervisorPid(bench)}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_000;
};

test('a stream of very many bytes, and one line of 200 MB: read once, in bounded memory, and others go on meanwhile (faults 28, 29)', async () => {
  await Promise.all([sling('flood'), sling('giant')]);
  await rehearse(bench, 'beside', DONE);
  await untilState(bench, 'beside', 'completed');
  const limit_ms = POURED > 100 * MB ? 280_000 : 50_000;
  for (const name of ['flood', 'giant']) await untilState(bench, name, 'completed', limit_ms);
  const [flood] = turnsOf(bench, 'flood');
  const lines = Math.ceil(POURED / LINE) + 3;
  expect(flood).toMatchObject({ lines, events: lines, malformed: 0, result_text: 'poured' });
  expect(flood?.stdout_offset).toBe(statSync(join(turnDir(bench, 'flood'), 'stdout.jsonl')).size);
  expect(flood?.stdout_offset).toBeGreaterThan(POURED);
  // The giant is counted and left out, and what follows it is read.
  expect(turnsOf(bench, 'giant')).toMatchObject([
    { lines: 4, malformed: 1, result_text: 'poured', outcome: 'completed' },
  ]);
  expect(statSync(join(turnDir(bench, 'giant'), 'stdout.jsonl')).size).toBeGreaterThan(GIANT);
  const peak = peakMb();
  console.log(`${POURED / MB} MB and a line of ${GIANT / MB} MB: the supervisor's peak is ${Math.round(peak)} MB`);
  expect(peak).toBeLessThan(MOST_MB);
}, 300_000);

test('several writers in each other’s lines, with NUL, bytes that are no text and torn halves: whole lines count, once each (faults 30, 31)', async () => {
  await sling('mixed');
  await untilState(bench, 'mixed', 'completed');
  const [turn] = turnsOf(bench, 'mixed');
  const { id } = sessionOf(bench, 'mixed');
  const texts = peek<{ text: string }>(
    bench,
    "SELECT json_extract(data_json, '$.text') AS text FROM events WHERE session_id = :id AND type = 'text' ORDER BY seq",
    { id },
  ).map(({ text }) => text);
  const whole = texts.filter((text) => text.startsWith('whole '));
  expect(whole).toEqual(Array.from({ length: 60 }, (_, i) => `whole ${i + 1}`));
  expect(texts.at(-1)).toBe('after it');
  expect(turn).toMatchObject({ outcome: 'completed', result_text: 'poured' });
  expect(turn?.malformed).toBeGreaterThan(0);
  expect(turn?.stdout_offset).toBe(statSync(join(turnDir(bench, 'mixed'), 'stdout.jsonl')).size);
}, 60_000);

test('a resumed turn that names the conversation of another session: told, and the one that was seen goes on (O-55)', async () => {
  await rehearse(bench, 'owner', { turns: [[{ session: 'conversation-of-owner' }, { say: 'mine' }]] });
  await untilState(bench, 'owner', 'completed');
  const own = [{ session: 'conversation-of-thief' }, { say: 'hi' }];
  const thief = { turns: [own, [{ session: 'conversation-of-owner' }, { say: 'yours' }]] };
  await rehearse(bench, 'thief', thief, ['--role', 'monitor']);
  await untilSession(bench, 'thief', (row) => row.state === 'idle' && row.turn === 1);
  await bench.json(['nudge', 'thief', `again\nrehearsal-script: ${bench.script('thief', thief)}`]);
  const row = await untilSession(bench, 'thief', (each) => each.state === 'idle' && each.turn === 2);
  const warnings = peek<{ data_json: string }>(
    bench,
    "SELECT data_json FROM events WHERE session_id = :id AND turn = 2 AND type = 'warning'",
    { id: row.id },
  ).map(({ data_json }) => JSON.parse(data_json));
  expect(warnings).toContainEqual(
    expect.objectContaining({ warning: 'resume_mismatch', observed: 'conversation-of-owner' }),
  );
  expect(row.native_session_id).toBe('conversation-of-owner');
  expect(sessionOf(bench, 'owner')).toMatchObject({ state: 'completed', native_session_id: 'conversation-of-owner' });
}, 60_000);

const FILES = ['stdout.jsonl', 'stderr.log', 'prompt.md', 'pid.json', 'exit.json', 'command.json'];

test('pipes in the place of the files of a later turn stop nobody, and the turn is as any other', async () => {
  // Some of them may stand there already: the directory of a turn that is likely to come is prepared.
  const plant = `dir="$DROVER_HOME/sessions/$DROVER_SESSION_ID/turns/2"; mkdir -p "$dir" && cd "$dir" && rm -rf ${FILES.join(' ')} && mkfifo ${FILES.join(' ')}`;
  const script = { turns: [[{ run: plant }, { say: 'planted' }], [{ say: 'again' }]] };
  await rehearse(bench, 'planter', script, ['--role', 'monitor']);
  await untilSession(bench, 'planter', (row) => row.state === 'idle' && row.turn === 1);
  for (const name of FILES)
    expect([name, lstatSync(join(turnDir(bench, 'planter', 2), name)).isFIFO()]).toEqual([name, true]);
  await bench.json(['nudge', 'planter', `and now?\nrehearsal-script: ${bench.script('planter', script)}`]);
  await untilSession(bench, 'planter', (row) => row.state === 'idle' && row.turn === 2);
  for (const name of FILES)
    expect([name, lstatSync(join(turnDir(bench, 'planter', 2), name)).isFile()]).toEqual([name, true]);
  expect(promptOf(bench, 'planter', 2)).toContain('and now?');
  expect(turnsOf(bench, 'planter')[1]).toMatchObject({ outcome: 'completed', exit_code: 0, result_text: 'again' });
  await rehearse(bench, 'neighbour', DONE);
  await untilState(bench, 'neighbour', 'completed');
}, 60_000);

test('pipes in the place of the files of the turn itself stop neither its supervisor nor the next one', async () => {
  const go = join(bench.home, 'go');
  const plant = `cd "$DROVER_HOME/sessions/$DROVER_SESSION_ID/turns/1" && rm -f ${FILES.join(' ')} && mkfifo ${FILES.join(' ')}`;
  const planted = (name: string) => `${go}-planted-${name}`;
  for (const name of ['followed', 'adopted']) {
    const steps = [{ say: 'here' }, { run: plant }, { touch: planted(name) }, { wait_for_file: go }];
    await rehearse(bench, name, { turns: [steps] });
  }
  for (const name of ['followed', 'adopted']) {
    const { marker } = await untilTalking(bench, name);
    await until('its files are pipes', () => existsSync(planted(name)));
    expect(lstatSync(join(turnDir(bench, name), 'stderr.log')).isFIFO()).toBe(true);
    if (name === 'adopted') {
      process.kill(supervisorPid(bench), 'SIGKILL');
      expect((await bench.run(['up'])).code).toBe(0);
    }
    await rehearse(bench, `beside-${name}`, DONE);
    await untilState(bench, `beside-${name}`, 'completed');
    await bench.json(['stop', name]);
    await until('its turn is settled', () => turnsOf(bench, name)[0]?.ended_at, 20_000);
    await assertNoLeaks(marker);
  }
  expect(supervisorLog(bench)).not.toContain('bug');
}, 60_000);
