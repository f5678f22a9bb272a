import { expect, test } from 'bun:test';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionRow } from '../../src/model/session.ts';
import { type Bench, DROVER, droverBench } from '../support/drover.ts';
import { peek, refused, rehearse, sessionOf, supervisorPid, untilState, untilTalking } from '../support/peek.ts';
import { until } from '../support/until.ts';

const held = (bench: Bench, name: string) => ({
  turns: [[{ say: 'at work' }, { wait_for_file: join(bench.home, `go-${name}`) }, { say: 'done' }]],
});
const release = (bench: Bench, name: string) => writeFileSync(join(bench.home, `go-${name}`), '');

const slots = (bench: Bench) =>
  peek<{ path: string; session_id: string }>(bench, 'SELECT path, session_id FROM worktrees');
const trees = (bench: Bench) => bench.git('worktree', 'list').split('\n').length - 1;

test('one slot for three: who waits says so, and starts by itself when it is freed, by a person or by us (E-012, E-015, CX-23, I11)', async () => {
  const bench = droverBench({ config: { max_worktrees: 1, turn: { sigkill_delay_ms: 300 } } });
  for (const name of ['first', 'second', 'third']) await rehearse(bench, name, held(bench, name), ['--worktree']);
  await untilTalking(bench, 'first');
  const waits = { position: 1, max: 1, held: 1, held_by_ended: 0 };
  const { sessions } = await bench.json<{ sessions: (SessionRow & { worktree_wait: unknown })[] }>(['status']);
  expect(Object.fromEntries(sessions.map((row) => [row.name, row.worktree_wait]))).toEqual({
    first: null,
    second: waits,
    third: { ...waits, position: 2 },
  });
  expect((await bench.run(['status'])).stdout).toContain('waits for a worktree, no. 2 in line: 1 of 1 taken');
  expect((await bench.run(['show', 'second'])).stdout).toContain(
    'queued (waits for a worktree, no. 1 in line: 1 of 1 taken)',
  );
  expect((await bench.run(['worktree', 'list'])).stdout).toContain('1 of 1 slots taken; waiting: second, third');
  expect(sessionOf(bench, 'second')).toMatchObject({ state: 'queued', turn: 0, worktree_path: null });
  expect(trees(bench)).toBe(1);

  const waiter = Bun.spawn([DROVER, 'wait', 'second'], { cwd: bench.repo, env: bench.env, stderr: 'pipe' });
  let said = '';
  const reading = (async () => {
    for await (const part of waiter.stderr) said += new TextDecoder().decode(part);
  })();
  await until('who waits is told for what', () => said.includes('drover worktree list'));

  const stopped = await bench.json<{ stopped: object[] }>(['stop', 'first', '--clean-worktree']);
  expect(stopped.stopped).toEqual([
    expect.objectContaining({ state: 'stopped', worktree_removed: true, worktree_kept: null }),
  ]);
  await untilTalking(bench, 'second');
  const second = sessionOf(bench, 'second');
  expect(second.working_dir).toBe(second.worktree_path ?? '');
  expect(slots(bench)).toEqual([{ path: second.worktree_path ?? '', session_id: second.id }]);

  // It completes with nothing of its own: its worktree makes room.
  release(bench, 'second');
  await untilTalking(bench, 'third');
  expect(sessionOf(bench, 'second')).toMatchObject({ state: 'completed', worktree_path: null });
  expect(await waiter.exited).toBe(0);
  await reading;
  expect(said.match(/second waits for a worktree, no. 1 in line: 1 of 1 taken/g)).toHaveLength(1);
  expect(trees(bench)).toBe(1);
  release(bench, 'third');
  await untilState(bench, 'third', 'completed');
}, 60_000);

test('kill -9 of the supervisor while a worktree is being set up: one worktree, hooks in order, others not kept waiting (E-016)', async () => {
  const bench = droverBench();
  const log = join(bench.home, 'hooks.log');
  const go = join(bench.home, 'go-hook');
  const say = (what: string) => `echo ${what} >>'${log}'`;
  mkdirSync(join(bench.home, '.config/drover'), { recursive: true });
  const hooks = {
    after_create: `${say('begun')}; until [ -e '${go}' ]; do sleep 0.05; done; ${say('created')}`,
    before_run: say('before'),
    after_run: say('after'),
  };
  writeFileSync(join(bench.home, '.config/drover/config.yaml'), JSON.stringify({ worktree: { hooks } }));
  const lines = () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []);
  await rehearse(bench, 'one', { turns: [[{ say: 'done' }]] }, ['--worktree']);
  await until('the hook runs', () => lines().includes('begun'));
  await rehearse(bench, 'beside', { turns: [[{ say: 'done' }]] });
  await untilState(bench, 'beside', 'completed');
  process.kill(supervisorPid(bench), 'SIGKILL');
  expect((await bench.run(['up'])).code).toBe(0);
  writeFileSync(go, '');
  const row = await untilState(bench, 'one', 'completed', 40_000);
  expect(lines().slice(-3)).toEqual(['created', 'before', 'after']);
  expect(lines().filter((line) => line === 'before')).toHaveLength(1);
  expect(slots(bench)).toEqual([{ path: row.worktree_path ?? '', session_id: row.id }]);
  expect(trees(bench)).toBe(1);
  expect((await bench.run(['logs', 'one'])).stdout).toContain('hook after_run');
  expect(
    (await bench.json<{ findings: { check: string }[] }>(['doctor', '--quick'], 0)).findings.map(({ check }) => check),
  ).not.toContain('I11');
}, 60_000);

test('worktree clean on the command line: what it refuses, keeps, removes and saves (E-149, O-85)', async () => {
  const bench = droverBench();
  await rehearse(bench, 'live', held(bench, 'live'), ['--worktree']);
  await rehearse(bench, 'done', { turns: [[{ write: { path: 'loose', content: 'x' } }]] }, ['--worktree']);
  await rehearse(bench, 'plain', { turns: [[{ say: 'hi' }]] });
  await untilTalking(bench, 'live');
  for (const name of ['done', 'plain']) await untilState(bench, name, 'completed');
  const id = sessionOf(bench, 'live').id;
  const clean = (...args: string[]) => ['worktree', 'clean', ...args];
  const live = await refused(bench, clean('done', 'live', '--force'), [3, 'session_live']);
  expect(live.message).toMatch(new RegExp(`^Cannot delete the worktree of active session ${id} while it is working$`));
  expect((await refused(bench, ['clean', 'live'], [3, 'session_live'])).message).toBe(
    `Cannot delete active session ${id} while it is working`,
  );
  await refused(bench, clean('plain'), [4, 'no_worktree']);
  await refused(bench, clean('--force'), [2, 'worktree_not_named']);
  expect(trees(bench)).toBe(2);
  const kept = await bench.json<{ cleaned: string[]; active: string[]; kept: { why: string }[] }>(clean());
  expect([kept.cleaned, kept.active]).toEqual([[], [id]]);
  expect((await bench.run(clean('done'))).code).toBe(3);
  const forced = await bench.run(clean('done', '--force'));
  expect(forced.code).toBe(0);
  const ref = `refs/drover/rescued/${sessionOf(bench, 'done').id}`;
  expect(forced.stdout).toContain(`everything is saved in ${ref}`);
  expect(forced.stdout).toContain(`commit ${bench.git('rev-parse', ref)}`);
  expect(bench.git('show', `${ref}:loose`)).toBe('x');
  expect(trees(bench)).toBe(1);
  release(bench, 'live');
  await untilState(bench, 'live', 'completed');
}, 60_000);

test('a repository that is not trusted and names hooks: no worktree is begun, and nothing is stored', async () => {
  const bench = droverBench();
  mkdirSync(join(bench.repo, '.drover'));
  writeFileSync(join(bench.repo, '.drover/config.yaml'), 'worktree: {hooks: {after_create: "touch /tmp/owned"}}\n');
  const error = await refused(
    bench,
    ['sling', '--harness', 'rehearsal', '--worktree', 'x'],
    [3, 'repository_untrusted'],
  );
  expect(error.message).toContain('worktree.hooks.after_create');
  expect(error.hint).toContain(`add ${bench.repo} to trusted_repositories`);
}, 60_000);

test('a repository whose path is no text is refused before anything is stored', async () => {
  const bench = droverBench();
  const make = 'dir=$(printf "far\\377m"); mkdir "$dir" && cd "$dir" && git init -q .';
  const sling = `${make} && exec '${DROVER}' --json sling --harness rehearsal --worktree x`;
  const ran = Bun.spawnSync(['sh', '-c', sling], { env: bench.env, cwd: bench.home });
  expect([ran.exitCode, JSON.parse(ran.stdout.toString()).error]).toMatchObject([
    2,
    { code: 'cwd_missing', preserved: 'nothing was stored' },
  ]);
}, 60_000);
