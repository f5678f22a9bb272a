import { expect, test } from 'bun:test';
import { recover, resume } from '../../src/session/control.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { plainGit } from '../git/plain.ts';
import { droverBench } from '../support/drover.ts';
import { commit, type Field, field } from './field.ts';

const RED = 'if [ -e bad.txt ]; then echo "bad.txt is here" >&2; exit 7; fi';
const OPERATOR = { name: 'operator', session: null };
const NOTE =
  /drover\/\w+, at [0-9a-f]{12}, into main at [0-9a-f]{12}, was not merged: gate `.*`: exit code 7\.\n\nThe end of what it said:\nbad.txt is here/;

const gated = () => field({ gate: { commands: [RED] } });

const bodies = async (world: Field, to_id: string) =>
  (await listMail(world.store, { to_id })).map(({ body }) => body).join('\n');

test('who takes over work that its gate keeps out has what the gate said in its brief', async () => {
  const world = await gated();
  const done = await world.session('done', { commits: [{ 'bad.txt': 'x\n' }] });
  await world.queue();
  const heir = await recover(world.deps, OPERATOR, await world.rowOf(done), 'mend it');
  expect(await bodies(world, heir.id)).toMatch(new RegExp(`^mend it\n\nIts branch ${NOTE.source}\n\nThe task:\n`));
});

test('who is resumed has it as well, also without words of a person’s', async () => {
  const world = await gated();
  const row = await world.session('stopped', { state: 'stopped', commits: [{ 'bad.txt': 'x\n' }] });
  await world.queue();
  await resume(world.deps, OPERATOR, await world.rowOf(row), {});
  const told = await bodies(world, row.id);
  expect(told).toContain('You are resumed by a person.');
  expect(told).toMatch(NOTE);
});

test('nothing is said of what went in since, or of what was held before the session’s last end', async () => {
  const world = await gated();
  const [mended, later] = [
    await world.session('mended', { commits: [{ 'bad.txt': 'x\n' }] }),
    await world.session('later', { commits: [{ 'bad.txt': 'y\n' }] }),
  ];
  await world.queue();
  await world.store.write((tx) =>
    tx.run('UPDATE sessions SET ended_at = :now WHERE id = :id', { id: later.id, now: world.clock.now() + 1 }),
  );
  plainGit(mended.worktree_path ?? '', 'rm', '--quiet', 'bad.txt');
  commit(mended.worktree_path ?? '', { 'more.txt': 'm\n' });
  expect((await world.queue({ is_clean: false })).merged).toMatchObject([{ session_id: mended.id }]);
  for (const row of [mended, later]) {
    const heir = await recover(world.deps, OPERATOR, await world.rowOf(row), undefined);
    expect(await bodies(world, heir.id)).not.toContain('was not merged');
  }
});

test('show and status say what keeps finished work out of its target, and show how to go on', async () => {
  const world = await gated();
  const { id } = await world.session('done', { commits: [{ 'bad.txt': 'x\n' }] });
  await world.queue();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  const { stdout } = await bench.run(['show', id]);
  expect(stdout).toMatch(
    /Merge +not merged into main: gate `.*`: exit code 7, \d+\w+ ago; drover recover done lets it be mended/,
  );
  expect(stdout).toContain('MERGE\n| bad.txt is here');
  expect((await bench.run(['status', '--all'])).stdout).toContain('not merged into main: gate');
  expect(await bench.json(['show', id])).toMatchObject({
    merge_held: { outcome: 'gate', output: 'bad.txt is here' },
  });
  expect(await bench.json(['status', '--all'])).toMatchObject({
    sessions: [{ merge_held: expect.stringContaining('exit code 7') }],
  });
}, 60_000);
