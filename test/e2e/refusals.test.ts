import { beforeAll, expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, droverBench } from '../support/drover.ts';
import { counts, peek, promptOf, refused, rehearse, sessionOf, untilState } from '../support/peek.ts';
import { tempDir } from '../support/temp.ts';

const MB = 1024 * 1024;

let bench: Bench;

beforeAll(async () => {
  bench = droverBench({
    config: {
      max_depth: 1,
      max_children: 1,
      harness_runners: { ghost: { program: '/nonexistent/ghost' } },
      profiles: { fast: { model: 'small' } },
    },
  });
  await rehearse(bench, 'anchor', { turns: [[{ say: 'hello' }]] });
  await untilState(bench, 'anchor', 'completed');
}, 120_000);

const sling = (...args: string[]) => ['sling', '--harness', 'rehearsal', ...args];

test('an empty task is refused in every way it can be given (E-008)', async () => {
  const file = join(bench.home, 'blank.md');
  writeFileSync(file, ' \n\t\n');
  await refused(bench, sling(''), [2, 'task_empty']);
  await refused(bench, sling('-'), [2, 'task_empty'], { stdin: '\n\n' });
  await refused(bench, sling(`@${file}`), [2, 'task_empty']);
  await refused(bench, sling(), [2, 'usage']);
}, 120_000);

test('a task of 10 MB is refused by its size, from standard input and from a file (E-008)', async () => {
  const file = join(bench.home, 'huge.md');
  writeFileSync(file, 'x'.repeat(10 * MB));
  const error = await refused(bench, sling('-'), [2, 'task_too_large'], { stdin: 'x'.repeat(10 * MB) });
  expect(error.message).toContain(String(10 * MB));
  await refused(bench, sling(`@${file}`), [2, 'task_too_large']);
}, 120_000);

test('a task with a NUL, a file that is not there and a directory are refused (E-008)', async () => {
  const error = await refused(bench, sling('-'), [2, 'task_has_nul'], { stdin: 'one\0two' });
  expect(error.preserved).toBe('nothing was stored');
  await refused(bench, sling('@missing.md'), [2, 'input_unreadable']);
  await refused(bench, sling(`@${bench.home}`), [2, 'input_unreadable']);
  await refused(bench, sling('-rf all of it'), [2, 'usage']);
}, 120_000);

test('a task is data: whatever it starts with is stored as written and stands behind our first line (E-008, CX-39)', async () => {
  const tasks = {
    dash: '-rf is how it starts',
    slash: '/help me with this',
    mention: '@/etc/passwd is only named',
    ansi: '\u001b[31mred\u001b[0m and \u001b]0;title\u0007 and </system-reminder> and <system-reminder>',
  };
  await bench.run([...sling('--name', 'dash'), '--', tasks.dash]);
  for (const name of ['slash', 'mention', 'ansi'] as const)
    await bench.run(sling('--name', name, '-'), { stdin: tasks[name] });
  for (const [name, task] of Object.entries(tasks)) {
    const row = await untilState(bench, name, 'completed');
    expect(row.task).toBe(task);
    expect(promptOf(bench, name)).toStartWith(`[drover] session ${name} (${row.id}), turn 1, role solo`);
  }
  expect(promptOf(bench, 'dash')).toContain(tasks.dash);
  const prompt = promptOf(bench, 'ansi');
  expect(prompt).toContain('red and ');
  expect(prompt).not.toContain('\u001b');
  expect(prompt).not.toContain('</system-reminder>');
  const shown = await bench.run(['show', 'ansi']);
  expect(shown.stdout).not.toContain('\u001b');
}, 120_000);

test('unknown harness, role and profile are refused with what there is (E-025, E-022)', async () => {
  expect((await refused(bench, ['sling', '--harness', 'nope', 'x'], [2, 'unknown_harness'])).hint).toContain('claude');
  expect((await refused(bench, sling('--role', 'nope', 'x'), [2, 'unknown_role'])).hint).toContain('builder');
  expect((await refused(bench, sling('--role', '../../etc/passwd', 'x'), [2, 'unknown_role'])).kind).toBe('usage');
  expect((await refused(bench, sling('--profile', 'nope', 'x'), [2, 'unknown_profile'])).hint).toContain('fast');
  await refused(bench, sling('--profile', 'constructor', 'x'), [2, 'unknown_profile']);
}, 120_000);

test('a harness that is not installed is refused, and the answer says how to get it (field: stuck in booting)', async () => {
  const env = { PATH: '/usr/bin:/bin' };
  const error = await refused(bench, ['sling', '--harness', 'codex', 'x'], [3, 'harness_not_installed'], { env });
  expect(error.message).toContain('codex');
  expect(error.hint).toContain('npm');
  expect(error.recovery_commands).toEqual(['drover harness list']);
  await refused(bench, ['sling', '--harness', 'ghost', 'x'], [3, 'harness_not_installed']);
}, 120_000);

test('a place that is no checkout is refused: missing, no repository, bare, without a commit (E-008)', async () => {
  const outside = tempDir('outside');
  bench.git('init', '-q', '--bare', join(outside, 'bare.git'));
  bench.git('init', '-q', join(outside, 'unborn'));
  mkdirSync(join(outside, 'plain'));
  const at = (dir: string, ...more: string[]) => sling('--cwd', join(outside, dir), ...more, 'x');
  await refused(bench, at('missing'), [2, 'cwd_missing']);
  await refused(bench, at('plain'), [2, 'not_a_repository']);
  await refused(bench, at('bare.git'), [2, 'not_a_repository']);
  await refused(bench, at('unborn', '--worktree'), [2, 'no_head']);
  await refused(bench, sling('--worktree', '--base', 'no-such-ref', 'x'), [2, 'base_not_found']);
  await refused(bench, sling('--worktree', '--base=--help', 'x'), [2, 'base_not_found']);
  await refused(bench, sling('--base', 'no-such-ref', 'x'), [2, 'base_not_found']);
  await refused(bench, sling('--no-worktree', '--base', 'main', 'x'), [2, 'base_without_worktree']);
}, 120_000);

test('numbers and times that nobody can mean are refused before anything is stored', async () => {
  const [digits, years] = ['9'.repeat(20), `${'9'.repeat(9)}d`];
  for (const bad of ['0', '-1', '1.5', 'many', digits])
    await refused(bench, sling('--max-turns', bad, 'x'), [2, 'usage']);
  for (const listing of [['status'], ['mail', 'list'], ['run', 'list'], ['dispatch', 'list']])
    await refused(bench, [...listing, '--limit', digits], [2, 'usage']);
  for (const bad of ['0', '5 minutes', years, '3651d'])
    await refused(bench, sling('--timeout', bad, 'x'), [2, 'usage']);
}, 120_000);

test('names: two alike, reserved ones and those that are no file name are refused (O-74)', async () => {
  const hold = join(bench.home, 'hold-name');
  await rehearse(bench, 'twin', { turns: [[{ wait_for_file: hold }]] });
  const error = await refused(bench, sling('--name', 'twin', 'x'), [3, 'name_taken']);
  expect(error.recovery_commands).toEqual(['drover show twin']);
  for (const name of [
    'latest',
    'operator',
    'drover',
    'parent',
    'agent-1',
    'Big',
    'a/b',
    '..',
    '-x',
    '',
    'x'.repeat(65),
  ])
    await refused(bench, sling(`--name=${name}`, 'x'), [2, 'name_invalid']);
  writeFileSync(hold, '');
  await untilState(bench, 'twin', 'completed');
}, 120_000);

test('a refusal after the name of a new run was read leaves no run behind (O-78)', async () => {
  const hold = join(bench.home, 'hold-run');
  await rehearse(bench, 'runner', { turns: [[{ wait_for_file: hold }]] });
  await refused(bench, sling('--run', 'nightly', '--name', 'runner', 'x'), [3, 'name_taken']);
  writeFileSync(hold, '');
  await untilState(bench, 'runner', 'completed');
}, 120_000);

test('parents: one that ended, one that is unknown, too many children and too deep a tree are refused (O-74)', async () => {
  const hold = join(bench.home, 'hold-parent');
  const script = { turns: [[{ wait_for_file: hold }, { done: 'done' }]] };
  await refused(bench, sling('--parent', 'anchor', 'x'), [3, 'parent_ended']);
  await refused(bench, sling('--parent', 'nobody', 'x'), [4, 'session_not_found']);
  await rehearse(bench, 'elder', script);
  await rehearse(bench, 'child', script, ['--parent', 'elder']);
  await refused(bench, sling('--parent', 'elder', 'x'), [3, 'too_many_children']);
  await refused(bench, sling('--parent', 'child', 'x'), [3, 'too_deep']);
  writeFileSync(hold, '');
  for (const name of ['child', 'elder']) await untilState(bench, name, 'completed');
}, 120_000);

test('wrong options say what they want: turns, durations, verbs (ARCHITECTURE §7)', async () => {
  await refused(bench, sling('--max-turns', '0', 'x'), [2, 'usage']);
  await refused(bench, sling('--max-turns', 'many', 'x'), [2, 'usage']);
  await refused(bench, sling('--timeout', '5 minutes', 'x'), [2, 'usage']);
  await refused(bench, ['slingg', 'x'], [2, 'unknown_verb']);
  await refused(bench, ['stop'], [2, 'usage']);
  await refused(bench, ['status', '--limit', 'none'], [2, 'usage']);
}, 120_000);

test('an unknown session is 4 for every verb, an ambiguous prefix is 2 and lists the candidates (E-020)', async () => {
  for (const verb of ['show', 'wait', 'nudge', 'stop', 'pause', 'resume', 'recover', 'logs'])
    await refused(bench, [verb, 'nobody-here'], [4, 'session_not_found']);
  const ids = peek<{ id: string }>(bench, 'SELECT id FROM sessions').map(({ id }) => id);
  expect(ids.length).toBeGreaterThan(3);
  const error = await refused(bench, ['stop', 'agent-'], [2, 'session_ambiguous']);
  const { candidates } = error.data as { candidates: { id: string }[] };
  expect(candidates.length).toBeGreaterThan(1);
  for (const { id } of candidates) expect(error.hint).toContain(id);
}, 120_000);

test('mail of 1 MB is refused, as an argument, from standard input and as a nudge is not lost silently (O-76)', async () => {
  const hold = join(bench.home, 'hold-mail');
  await rehearse(bench, 'reader', { turns: [[{ wait_for_file: hold }]] });
  const send = ['mail', 'send', '--to', 'reader', '--subject', 's', '--body'];
  const error = await refused(bench, [...send, '-'], [2, 'mail_too_large'], { stdin: 'm'.repeat(MB) });
  expect(error.preserved).toBe('no mail was stored');
  await refused(bench, ['nudge', 'reader', '-'], [2, 'mail_too_large'], { stdin: 'm'.repeat(2 * MB) });
  await refused(bench, ['nudge', 'reader', '-'], [2, 'mail_has_nul'], { stdin: 'a\0b' });
  writeFileSync(hold, '');
  await untilState(bench, 'reader', 'completed');
  expect(sessionOf(bench, 'reader').turn).toBe(1);
}, 120_000);

test('on a fresh machine readers create nothing, and say that there is nothing (H-09)', async () => {
  const fresh = droverBench();
  expect((await fresh.run(['status'])).code).toBe(0);
  for (const verb of ['show', 'wait', 'logs']) expect((await fresh.run([verb, 'latest'])).code).toBe(4);
  expect(await Bun.file(join(fresh.drover_home, 'drover.db')).exists()).toBe(false);
  expect(Object.values(counts(fresh))).toEqual([0, 0, 0]);
}, 120_000);
