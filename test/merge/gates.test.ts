import { expect, test } from 'bun:test';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mergeSession } from '../../src/merge/one.ts';
import { homePaths } from '../../src/model/home.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { plainGit } from '../git/plain.ts';
import { assertNoLeaks } from '../support/leaks.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';
import { commit, type Field, field, write, writeConfig } from './field.ts';

/** A gate that appends what it sees to a file, so that a test knows how often and on what it ran. */
async function gated(commands: string[], more: Record<string, unknown> = {}, env: Record<string, string> = {}) {
  const log = join(tempDir('gate-log'), 'runs');
  writeFileSync(log, '');
  const world = await field(
    { gate: { commands: [`ls | sort | tr '\\n' ' ' >> ${log}; echo >> ${log}`, ...commands] }, ...more },
    env,
  );
  const runs = () =>
    readFileSync(log, 'utf8')
      .trim()
      .split('\n')
      .filter((line) => line !== '');
  return { world, runs };
}

const merge = (world: Field, row: SessionRow) =>
  mergeSession(world.deps, {
    ...{ row, into: null, is_clean: true, dry_run: false, by: 'operator', signal: new AbortController().signal },
  });

const RED_IF_BAD = 'if [ -e bad.txt ]; then echo "bad.txt is here" >&2; exit 7; fi';

test('gates run on the merged result, in a checkout of their own, before the target moves', async () => {
  const { world, runs } = await gated([
    `test "$(git -C "$REPO" rev-parse main)" = "$(git rev-parse HEAD^1)"`.replace('$REPO', '.'),
  ]);
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  commit(world.repo, { 'b.txt': 'b\n' });

  expect(await merge(world, row)).toMatchObject({ outcome: 'merged' });

  expect(runs()).toEqual(['README.md a a.txt b.txt']);
  expect(readdirSync(homePaths.merges(world.home))).toEqual([]);
  expect(plainGit(world.repo, 'worktree', 'list').split('\n')).toHaveLength(1);
});

test('a red gate: the target stays, output is kept, who answers for it has mail with the command that goes on', async () => {
  const { world, runs } = await gated([RED_IF_BAD]);
  const row = await world.session('builder', { commits: [{ 'bad.txt': 'x\n' }] });
  const target = plainGit(world.repo, 'rev-parse', 'main');

  const report = await world.queue();

  expect(report).toMatchObject({
    merged: [],
    outcomes: [{ session_id: row.id, outcome: 'gate', output: 'bad.txt is here' }],
    blocked_by_queue_session_ids: [row.id],
    failures: [{ session_id: row.id, reason: expect.stringContaining('exit code 7') }],
    exit_code: 75,
  });
  expect(plainGit(world.repo, 'rev-parse', 'main')).toBe(target);
  expect(existsSync(row.worktree_path ?? '')).toBe(true);
  const [mail] = await world.all<{ to_name: string; body: string }>("SELECT * FROM mail WHERE type = 'merge_failed'");
  expect(mail?.to_name).toBe('operator');
  expect(mail?.body).toContain(
    "drover recover builder --text 'The gate is red on your branch merged into main. Mend it.'",
  );
  expect(mail?.body).toContain('bad.txt is here');
  expect(runs()).toHaveLength(2); // with it, and the target alone

  // Not again on the same two commits; a person's word counts; and so does a new commit.
  expect((await world.queue()).exit_code).toBe(75);
  expect(runs()).toHaveLength(2);
  expect(await world.all("SELECT * FROM mail WHERE type = 'merge_failed'")).toHaveLength(1);
  expect(await merge(world, row)).toMatchObject({ outcome: 'gate' });
  expect(runs()).toHaveLength(4);
  plainGit(row.worktree_path ?? '', 'rm', '--quiet', 'bad.txt');
  commit(row.worktree_path ?? '', { 'good.txt': 'y\n' });
  expect(await world.queue()).toMatchObject({ merged: [{ session_id: row.id }], exit_code: 0 });
});

test('a session that is put back to work is told by its next prompt, a child’s parent when it is not', async () => {
  const { world } = await gated([RED_IF_BAD]);
  const lead = await world.session('lead', { state: 'idle' });
  const row = await world.session('builder', { state: 'failed', commits: [{ 'bad.txt': 'x\n' }], parent_id: lead.id });
  await merge(world, row);
  const mails = await world.all<{ to_name: string; body: string }>("SELECT * FROM mail WHERE type = 'merge_failed'");
  expect(mails.map((mail) => mail.to_name)).toEqual(['lead']);
  expect(mails[0]?.body).toContain('drover resume builder --text');
});

test('a batch is tried together; red is bisected: what is green goes in, the culprit alone is held', async () => {
  const { world, runs } = await gated([RED_IF_BAD]);
  const names = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight'];
  const rows: SessionRow[] = [];
  for (const [i, name] of names.entries()) {
    const file = name === 'six' ? 'bad.txt' : `${name}.txt`;
    rows.push(await world.session(name, { minutes_ago: 20 - i, commits: [{ [file]: `${name}\n` }] }));
  }

  const report = await world.queue();

  const culprit = rows[5]?.id ?? '';
  expect(report.merged.map((each) => each.session_id)).toEqual(
    rows.map((row) => row.id).filter((id) => id !== culprit),
  );
  expect(report.failures.map((each) => each.session_id)).toEqual([culprit]);
  // All eight, four, six, five; then seven and eight together: fewer runs than entries.
  expect(runs()).toHaveLength(5);
  for (const name of names.filter((each) => each !== 'six'))
    expect(existsSync(join(world.repo, `${name}.txt`))).toBe(true);
  expect(existsSync(join(world.repo, 'bad.txt'))).toBe(false);
  // Each went in by a merge commit of its own.
  expect(plainGit(world.repo, 'log', '--merges', '--first-parent', '--format=%s', 'main').split('\n')).toHaveLength(7);
  expect(report.exit_code).toBe(75);
}, 60_000);

test('two culprits in one batch are both found', async () => {
  const { world } = await gated(['! ls | grep -q bad']);
  const rows: SessionRow[] = [];
  for (const [i, file] of ['a.txt', 'bad-1.txt', 'c.txt', 'bad-2.txt'].entries()) {
    rows.push(await world.session(`s${i}`, { minutes_ago: 20 - i, commits: [{ [file]: 'x\n' }] }));
  }
  const report = await world.queue();
  expect(report.merged.map((each) => each.session_id)).toEqual([rows[0]?.id ?? '', rows[2]?.id ?? '']);
  expect(report.failures.map((each) => each.session_id)).toEqual([rows[1]?.id ?? '', rows[3]?.id ?? '']);
}, 60_000);

test('a target that is red by itself is said; an entry that mends it goes in', async () => {
  const { world } = await gated(['test ! -e broken || test -e mended']);
  commit(world.repo, { broken: 'x\n' });
  const plain = await world.session('plain', { minutes_ago: 3, commits: [{ 'a.txt': 'a\n' }] });
  const first = await world.queue();
  expect(first.failures).toEqual([
    { session_id: plain.id, reason: expect.stringContaining('main is red without it, too') },
  ]);

  const mender = await world.session('mender', { minutes_ago: 2, commits: [{ mended: 'm\n' }] });
  expect((await world.queue()).merged.map((each) => each.session_id)).toEqual([mender.id, plain.id]);
}, 60_000);

test('a gate that does not end is ended with all it started, and counts as red', async () => {
  const mark = tempDir('slow-gate');
  const { world } = await gated([`cd ${mark} && (sleep 300 & setsid sleep 300 & sleep 300)`], {});
  writeConfig(world, {
    gate: { commands: [`cd ${mark} && (sleep 300 & setsid sleep 300 & sleep 300)`], timeout_ms: 700 },
  });
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const outcome = await merge(world, row);
  expect(outcome).toMatchObject({ outcome: 'gate', reason: expect.stringContaining('not done after 700 ms') });
  await assertNoLeaks(mark);
}, 60_000);

test('a daemon that a green gate leaves behind is ended', async () => {
  const mark = tempDir('daemon-gate');
  const { world } = await gated([`cd ${mark} && setsid sleep 300 >/dev/null 2>&1 & sleep 0.1`]);
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  expect(await merge(world, row)).toMatchObject({ outcome: 'merged' });
  await assertNoLeaks(mark);
});

test('gates get no token, no credential and no home of drover', async () => {
  const seen = join(tempDir('gate-env'), 'env');
  const secrets = {
    ANTHROPIC_API_KEY: 'secret-1',
    DROVER_TOKEN: 'secret-2',
    OPENAI_API_KEY: 'secret-3',
    DROVER_HOME: '/h',
  };
  const { world } = await gated([`env > ${seen}`], {}, secrets);
  delete world.deps.env.DROVER_TOKEN;
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  await merge(world, row);
  const env = readFileSync(seen, 'utf8');
  expect(env).not.toMatch(/secret-|DROVER_HOME|DROVER_TOKEN/);
  expect(env).toContain('DROVER_SESSION_ID=gate');
  expect(env).toContain('PATH=');
});

test('gates that a repository without trust names: merging is refused, not done without them', async () => {
  const world = await field({});
  write(world.repo, { '.drover/config.yaml': 'gate: {commands: ["touch ran"]}\n' });
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const before = plainGit(world.repo, 'for-each-ref');
  expect(merge(world, row)).rejects.toMatchObject({ kind: 'refused', code: 'repository_untrusted' });
  await expect(world.queue()).rejects.toMatchObject({ code: 'repository_untrusted' });
  expect(plainGit(world.repo, 'for-each-ref')).toBe(before);
  writeConfig(world, { trusted_repositories: [world.repo] });
  expect(await merge(world, row)).toMatchObject({ outcome: 'merged' });
});

test('an interrupted gate is nobody’s fault: nothing is recorded, moved or left', async () => {
  const mark = join(tempDir('interrupted'), 'begun');
  const { world } = await gated([`touch ${mark}; sleep 300`]);
  const row = await world.session('builder', { commits: [{ 'a.txt': 'a\n' }] });
  const target = plainGit(world.repo, 'rev-parse', 'main');
  const stop = new AbortController();
  const merging = world.queue({ signal: stop.signal });
  await until('the gate runs', () => existsSync(mark));
  stop.abort();
  await expect(merging).rejects.toMatchObject({ kind: 'interrupted' });
  expect(plainGit(world.repo, 'rev-parse', 'main')).toBe(target);
  expect(await world.all('SELECT * FROM merges')).toEqual([]);
  expect(existsSync(row.worktree_path ?? '')).toBe(true);
  expect(readdirSync(homePaths.merges(world.home))).toEqual([]);
}, 60_000);
