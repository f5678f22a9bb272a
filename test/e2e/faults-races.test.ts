import { expect, test } from 'bun:test';
import { join } from 'node:path';
import type { MailRow } from '../../src/model/mail.ts';
import { type Bench, DROVER, droverBench } from '../support/drover.ts';
import { assertNoLeaks, leaksOf } from '../support/leaks.ts';
import { ownSeconds } from '../support/own-seconds.ts';
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
import { beforeRemoval } from '../support/temp.ts';
import { until } from '../support/until.ts';

const DONE = { turns: [[{ say: 'done' }]] };

/** Does `work` for each, never more than `width` at once: two cores are shared with what is tested. */
async function each<T>(list: readonly T[], width: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...list];
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    }),
  );
}

test('sixteen verbs make a home at once: each is served, by one supervisor and one database (fault 38)', async () => {
  const bench = droverBench({ config: { max_live_sessions: 4 } });
  const script = bench.script('first', DONE);
  const names = Array.from({ length: 16 }, (_, i) => `first-${i}`);
  const slung = await Promise.all(
    names.map((name) => bench.run(['sling', '--harness', 'rehearsal', '--name', name, `rehearsal-script: ${script}`])),
  );
  expect(slung.map(({ code, stderr }) => [code, stderr])).toEqual(names.map(() => [0, '']));
  for (const name of names) expect((await untilState(bench, name, 'completed', 40_000)).turn).toBe(1);
  const up = supervisorLog(bench).match(/^.*supervisor \d+ of .*, lease \d+$/gm) ?? [];
  expect(up).toHaveLength(1);
  expect(peek(bench, 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
}, 120_000);

test('four watchdogs at once are one: the others end with 3 and say who runs (fault 39)', async () => {
  const bench = droverBench({ config: { watchdog: { is_enabled: false } } });
  await rehearse(bench, 'any', DONE);
  const rivals = Array.from({ length: 4 }, () => {
    const child = Bun.spawn([DROVER, 'watch'], { cwd: bench.repo, env: bench.env, stderr: 'pipe' });
    beforeRemoval(() => child.kill('SIGKILL'));
    return child;
  });
  const codes: (number | null)[] = rivals.map(() => null);
  rivals.map((child, i) => child.exited.then((code) => (codes[i] = code)));
  await until('three have given up', () => codes.filter((code) => code !== null).length === 3, 20_000);
  expect(codes.filter((code) => code === 3)).toHaveLength(3);
  const winner = rivals[codes.indexOf(null)];
  const said = await Promise.all(rivals.filter((child) => child !== winner).map((child) => child.stderr.text()));
  for (const text of said) expect(text).toContain(`already runs (pid ${winner?.pid})`);
  winner?.kill('SIGTERM');
  expect(await winner?.exited).toBe(0);
}, 120_000);

test('twenty mails that come while a turn is being settled are each delivered once (fault 42, I5)', async () => {
  const bench = droverBench({ config: { turn: { sigkill_delay_ms: 6_000 } } });
  const go = join(bench.home, 'go');
  // What shrugs off the polite signal keeps the end of the turn open for as long as the grace.
  const seconds = ownSeconds();
  const stubborn = `trap "" TERM; sleep ${seconds} & sleep ${seconds}`;
  const script = {
    turns: [[{ run: `sh -c '${stubborn}' >/dev/null 2>&1 &` }, { say: 'here' }, { wait_for_file: go }]],
  };
  await rehearse(bench, 'box', { ...script, on_mail: [{ say: 'read' }] }, ['--role', 'monitor']);
  await untilTalking(bench, 'box');
  await until('it is stubborn', () => leaksOf(seconds).length >= 2);
  await Bun.write(go, '');
  await until('its harness has ended', async () =>
    (await Bun.file(join(turnDir(bench, 'box'), 'exit.json')).text()).includes('code'),
  );
  const subjects = Array.from({ length: 20 }, (_, i) => `letter ${i}.`);
  await each(subjects, 4, async (subject) => {
    expect((await bench.run(['mail', 'send', '--to', 'box', '--subject', subject])).code).toBe(0);
  });
  const mails = () =>
    peek<MailRow>(bench, "SELECT * FROM mail WHERE to_id = :id AND subject LIKE 'letter %'", {
      id: sessionOf(bench, 'box').id,
    });
  await until('all are read', () => mails().every(({ read_at }) => read_at !== null), 30_000);
  const row = await untilSession(bench, 'box', ({ state }) => state === 'idle');
  const [first] = turnsOf(bench, 'box');
  // The race took place: mail came before the first turn was settled.
  expect(mails().filter(({ created_at }) => created_at < (first?.ended_at ?? 0)).length).toBeGreaterThan(0);
  expect(mails()).toHaveLength(20);
  for (const { deliveries, delivered_turn } of mails()) {
    expect(deliveries).toBe(1);
    expect(delivered_turn).toBeGreaterThan(1);
  }
  const prompts = Array.from({ length: row.turn }, (_, i) => promptOf(bench, 'box', i + 1));
  for (const subject of subjects)
    expect([subject, prompts.filter((prompt) => prompt.includes(`Subject: ${subject}`)).length]).toEqual([subject, 1]);
  expect(first).toMatchObject({ outcome: 'completed', tree_empty: 1 });
  expect(leaksOf(seconds)).toEqual([]);
}, 120_000);

const stopped = (bench: Bench, name: string) =>
  bench.json<{ stopped: Record<string, unknown>[] }>(['stop', name]).then((said) => said.stopped[0]);

test('a stop before the first word: the process is gone, the session is stopped and can be resumed (fault 40)', async () => {
  const seconds = ownSeconds();
  const mute = { program: 'sh', base_args: ['-c', `cat >/dev/null; sleep ${seconds}`], event_format: 'ndjson' };
  const bench = droverBench({ config: { turn: { sigkill_delay_ms: 300 }, harness_runners: { mute } } });
  await bench.run(['sling', '--harness', 'mute', '--name', 'mute', 'go']);
  await until('its process runs', () => leaksOf(seconds).length > 0);
  expect(sessionOf(bench, 'mute').state).toBe('booting');
  expect(await stopped(bench, 'mute')).toMatchObject({ prev: 'booting', state: 'stopped', process_gone: true });
  expect(leaksOf(seconds)).toEqual([]);
  await until('its turn is settled', () => turnsOf(bench, 'mute')[0]?.ended_at);
  expect(sessionOf(bench, 'mute')).toMatchObject({ state: 'stopped', end_reason: 'operator' });
  expect(turnsOf(bench, 'mute')).toMatchObject([{ outcome: 'cancelled', end_cause: 'stop', events: 0, tree_empty: 1 }]);
  await bench.json(['resume', 'mute']);
  await until('its second turn runs', () => leaksOf(seconds).length > 0);
  expect(await stopped(bench, 'mute')).toMatchObject({ state: 'stopped', process_gone: true });
  await assertNoLeaks(seconds);
}, 120_000);

test('stops that race with starts: every session is stopped, no process of any is left, none starts later (fault 40)', async () => {
  const bench = droverBench({ config: { max_live_sessions: 12, turn: { sigkill_delay_ms: 300 } } });
  const seconds = ownSeconds();
  const script = bench.script('racer', { turns: [[{ say: 'here' }, { run: `sleep ${seconds}` }]] });
  const pid = await rehearse(bench, 'warm', DONE).then(() => supervisorPid(bench));
  const names = Array.from({ length: 12 }, (_, i) => `racer-${i}`);
  await each(names, 3, async (name) => {
    const args = ['sling', '--harness', 'rehearsal', '--name', name, `rehearsal-script: ${script}`];
    expect((await bench.run(args)).code).toBe(0);
    await Bun.sleep(Number(name.split('-')[1]) * 12);
    expect(await stopped(bench, name)).toMatchObject({ state: 'stopped', process_gone: true });
  });
  const open = () => peek(bench, 'SELECT 1 FROM turns WHERE ended_at IS NULL');
  await until('all turns are closed', () => open().length === 0);
  expect(leaksOf(seconds)).toEqual([]);
  for (const name of names) {
    expect(sessionOf(bench, name)).toMatchObject({ state: 'stopped', ended_at: expect.any(Number) });
    for (const turn of turnsOf(bench, name)) {
      expect(['cancelled', 'lost']).toContain(turn.outcome ?? 'none');
      expect(leaksOf(turn.marker)).toEqual([]);
    }
  }
  expect(new Set(names.flatMap((name) => turnsOf(bench, name).map(({ turn }) => turn)))).toEqual(new Set([1]));
  expect(supervisorPid(bench)).toBe(pid);
}, 120_000);
