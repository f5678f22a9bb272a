import { describe, expect, test } from 'bun:test';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { oddTime } from '../../src/plan/schedule.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { peek } from '../support/peek.ts';

// What starts nothing needs no supervisor; those that it is woken by end it at once.
const quiet = () => droverBench({ config: { default_harness: 'rehearsal', watchdog: { enabled: false } } });
const add = (bench: Bench, ...more: string[]) => bench.json(['schedule', 'add', '--cron', '0 0 1 1 *', ...more]);
const names = async (bench: Bench) =>
  (await bench.json<{ schedules: { name: string }[] }>(['schedule', 'list'])).schedules.map(({ name }) => name);
const error = async (bench: Bench, args: string[], code: number) =>
  (await bench.json<{ error: { code: string; message: string } }>(['schedule', ...args], code)).error;

describe('drover schedule', () => {
  test('add stores what was said, with the first time; list, show, disable, enable and rm know it (E-055, E-057)', async () => {
    const bench = quiet();
    const named = ['--name', 'new-year', '--tz', 'Pacific/Auckland', '--harness', 'rehearsal', '--role', 'reviewer'];
    const policy = ['--overlap', 'queue', '--catch-up', 'all', '--catch-up-max', '5', '--no-worktree', '--group', 'g'];
    const { schedule } = await add(bench, ...named, ...policy, 'count the sheep');
    expect(schedule).toMatchObject({
      ...{ name: 'new-year', cron: '0 0 1 1 *', timezone: 'Pacific/Auckland', harness: 'rehearsal', role: 'reviewer' },
      ...{ task: 'count the sheep', worktree: 0, overlap: 'queue', catch_up: 'all', catch_up_max: 5, plan_file: null },
      ...{ project: 'repo', task_group: 'g', working_dir: bench.repo, repo_root: bench.repo, is_enabled: 1 },
      next_run_at: expect.stringMatching(/^\d{4}-12-31T11:00:00\.000Z$/),
    });
    const list = await bench.run(['schedule']);
    expect(list.stdout).toMatch(/new-year +0 0 1 1 \* +Pacific\/Auckland +\w{3} \d{4}-01-01 00:00:00 in/);
    expect((await bench.run(['schedule', 'show', 'new-year'])).stdout).toContain('it has not been due yet');
    expect(await bench.json(['schedule', 'disable', 'new-year'])).toMatchObject({
      schedule: { is_enabled: 0, disabled_reason: 'switched off by operator', next_run_at: null },
    });
    expect(await bench.json(['schedule', 'enable', 'new-year'])).toMatchObject({
      schedule: { is_enabled: 1, next_run_at: expect.stringContaining('-12-31T11:00') },
    });
    expect(await bench.json(['schedule', 'rm', 'new-year'])).toMatchObject({ removed: true });
    expect(await bench.json(['schedule', 'rm', 'new-year'])).toMatchObject({ removed: false });
    expect(await names(bench)).toEqual([]);
  }, 60_000);

  test('a mistake in anything that can be known now is told now, and nothing is stored (E-055, E-056)', async () => {
    const bench = quiet();
    const bad: [string[], string, number?][] = [
      [['add', '--cron', '* * *', 't'], 'cron_invalid'],
      [['add', '--cron', '0 0 31 2 *', 't'], 'cron_without_future'],
      [['add', '--cron', '* * * * *', '--tz', 'Mars/Base', 't'], 'zone_unknown'],
      [['add', '--cron', '* * * * *', '--profile', 'nope', 't'], 'unknown_profile'],
      [['add', '--cron', '* * * * *', '--harness', 'nope', 't'], 'unknown_harness'],
      [['add', '--cron', '* * * * *', '--role', 'nope', 't'], 'unknown_role'],
      [['add', '--cron', '* * * * *', '--name', 'Not Good', 't'], 'name_invalid'],
      [['add', '--cron', '* * * * *', ' '], 'task_empty'],
      [['add', '--cron', '* * * * *'], 'usage'],
      [['add', '--cron', '* * * * *', '--overlap', 'pile', 't'], 'usage'],
      [['add', '--cron', '* * * * *', '--catch-up-max', '0', 't'], 'usage'],
      [['add', '--cron', '* * * * *', '--plan', 'none.yaml'], 'usage'],
      [['show', 'nobody'], 'schedule_not_found', 4],
      [['run', 'nobody'], 'schedule_not_found', 4],
      [['enable', 'nobody'], 'schedule_not_found', 4],
      [['preview', 'nobody'], 'schedule_not_found', 4],
      [['preview', '* * *'], 'cron_invalid'],
    ];
    for (const [args, code, exit = 2] of bad)
      expect([args, (await error(bench, args, exit)).code]).toEqual([args, code]);
    expect(await names(bench)).toEqual([]);
  }, 60_000);

  test('a text that starts with a dash is a task behind --, and one with NUL is none', async () => {
    const bench = quiet();
    const behind = await bench.run(['schedule', 'add', '--cron', '0 0 1 1 *', '--name', 'a', '--json', '--', '-rf']);
    expect(JSON.parse(behind.stdout)).toMatchObject({ schedule: { task: '-rf' } });
    writeFileSync(join(bench.repo, 'nul'), 'a\0b');
    const at = ['add', '--cron', '0 0 1 1 *', `@${join(bench.repo, 'nul')}`];
    expect((await error(bench, at, 2)).code).toBe('task_has_nul');
    const twice = ['add', '--cron', '0 0 1 1 *', '--name', 'a', 't'];
    expect((await error(bench, twice, 3)).code).toBe('schedule_exists');
  }, 60_000);

  test('the file of a plan is checked when it is added, and says itself how its steps start', async () => {
    const bench = quiet();
    const file = join(bench.repo, 'night.yaml');
    writeFileSync(file, 'name: night\nsteps:\n  - {id: a, task: t, needs: [b]}\n');
    const at = ['add', '--cron', '0 0 1 1 *', '--plan', 'night.yaml'];
    expect((await error(bench, at, 2)).message).toContain(`${file}:3:`);
    expect((await error(bench, [...at, '--harness', 'rehearsal'], 2)).code).toBe('usage');
    expect((await error(bench, [...at, 'a task too'], 2)).code).toBe('usage');
    writeFileSync(file, 'name: night\nsteps:\n  - {id: a, task: t}\n');
    expect(await add(bench, '--plan', 'night.yaml')).toMatchObject({
      schedule: { name: 'night', plan_file: file, task: null },
    });
  }, 60_000);

  test('the plain holes of a plan are filled each time it starts, and the label is that of its project (E-055, E-058)', async () => {
    const bench = quiet();
    writeFileSync(join(bench.repo, 'night.yaml'), 'name: night\nsteps:\n  - {id: a, task: "mend {{ what }}"}\n');
    const at = ['--plan', 'night.yaml'];
    const add0 = ['add', '--cron', '0 0 1 1 *'];
    expect((await error(bench, [...add0, ...at], 2)).message).toContain('{{ what }}: no value was given');
    expect((await error(bench, [...add0, ...at, '--var', 'what'], 2)).code).toBe('usage');
    expect((await error(bench, [...add0, 'a task', '--var', 'what=x'], 2)).code).toBe('usage');
    const filled = ['--var', 'what=the roof = all', '--label', 'shop'];
    expect(await add(bench, ...at, ...filled)).toMatchObject({ schedule: { project: 'shop' } });
    expect((await bench.run(['schedule', 'show', 'night'])).stdout).toContain('what=the roof = all');
    expect(await add(bench, '--name', 'task', '--label', 'shop', 'a task')).toMatchObject({
      schedule: { project: 'shop', variables_json: null },
    });
    await bench.json(['schedule', 'run', 'night']);
    const [step] = peek<{ spec_json: string }>(bench, 'SELECT spec_json FROM plan_steps');
    expect(JSON.parse(step?.spec_json ?? '{}')).toMatchObject({ values: { what: 'the roof = all' } });
  }, 30_000);

  test('preview shows both zones, and stores nothing', async () => {
    const bench = quiet();
    const args = ['schedule', 'preview', '30 2 28-31 3 *', '--tz', 'Europe/Berlin', '--count', '2'];
    expect(
      (await bench.run(['schedule', 'preview', '30 2 * * *', '--tz', 'Europe/Berlin', '--count', '1'])).stdout,
    ).toMatch(/02:30:00 +\d{4}-\d\d-\d\dT0[01]:30:00\.000Z/);
    const { times } = await bench.json<{ times: { at: string; local: string }[] }>(args);
    expect(times).toHaveLength(2);
    expect(existsSync(bench.drover_home)).toBe(false);
  }, 60_000);
});

test('run starts it now, as a row of its own, and the due times stay as they are', async () => {
  const bench = quiet();
  const { schedule } = await add(bench, '--name', 'now', 'count the sheep');
  const { session } = await bench.json<{ session: { name: string } }>(['schedule', 'run', 'now']);
  await bench.until(session.name, ({ state }) => state === 'completed');
  const { runs } = await bench.json<{ runs: unknown[] }>(['schedule', 'runs', 'now']);
  expect(runs).toMatchObject([{ state: 'fired', reason: 'by hand', times: 1 }]);
  const shown = await bench.json<{ schedule: { next_run_at: string } }>(['schedule', 'show', 'now']);
  expect(shown.schedule.next_run_at).toBe((schedule as { next_run_at: string }).next_run_at);
  expect((await bench.run(['schedule', 'runs', 'now'])).stdout).toContain('by hand');
}, 60_000);

test('odd times are named: those behind a gap, and those that come twice', () => {
  const odd = (cron: string, zone: string, at: string) => oddTime(cron, zone, Date.parse(at));
  const forward = 'the clock is put forward over the time that was meant: it is due behind the gap';
  expect(odd('30 2 * * *', 'Europe/Berlin', '2026-03-29T01:30:00Z')).toBe(forward);
  expect(odd('30 3 * * *', 'Europe/Berlin', '2026-03-29T01:30:00Z')).toBeNull();
  expect(odd('30 2 * * *', 'Europe/Berlin', '2026-03-30T00:30:00Z')).toBeNull();
  expect(odd('30 2 * * *', 'Europe/Berlin', '2026-10-25T00:30:00Z')).toBe(
    'the clock is put back: this time comes twice',
  );
  expect(odd('30 4 * * *', 'Europe/Berlin', '2026-10-25T03:30:00Z')).toBeNull();
  expect(odd('30 1 * * *', 'Europe/Berlin', '2026-10-24T23:30:00Z')).toBeNull();
  expect(odd('0 0 * * *', 'America/Santiago', '2026-09-06T04:00:00Z')).toBe(forward);
});
