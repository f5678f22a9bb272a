import { afterAll, beforeEach, expect, mock, test } from 'bun:test';
import * as original from '../../src/git/look.ts';
import { commit, type Field, field } from './field.ts';

const real = { ...original };
let looks = 0;

mock.module('../../src/git/look.ts', () => ({
  ...real,
  lookAtWorktree: (wanted: Parameters<typeof real.lookAtWorktree>[0]) => {
    looks += 1;
    return real.lookAtWorktree(wanted);
  },
}));
afterAll(() => {
  mock.module('../../src/git/look.ts', () => real);
});
beforeEach(() => {
  looks = 0;
});

const MANY = 5;
const each = <T>(make: (i: number) => T): T[] => Array.from({ length: MANY }, (_, i) => make(i));

/** Sessions that only conflict with the target; `own` adds to what the target has by now, or contradicts it. */
async function conflicting(own: string): Promise<{ world: Field; ids: string[] }> {
  const world = await field();
  const ids: string[] = [];
  for (const i of each((at) => at)) {
    const commits = own === 'a\nb\n' ? [{ [`f${i}`]: 'a\n' }, { [`f${i}`]: own }] : [{ [`f${i}`]: own }];
    ids.push((await world.session(`s${i}`, { minutes_ago: 20 - i, commits })).id);
  }
  commit(world.repo, Object.fromEntries(each((i) => [`f${i}`, 'a\n'])));
  return { world, ids };
}

test('rebasing many asks about each a few times, not about all after each: those that cannot be', async () => {
  const { world, ids } = await conflicting('other\n');
  const report = await world.queue();
  expect(report.failures.map(({ session_id }) => session_id)).toEqual(ids);
  expect(looks).toBeLessThanOrEqual(4 * MANY);
}, 60_000);

test('rebasing many asks about each a few times, not about all after each: those that can be, in their order', async () => {
  const { world, ids } = await conflicting('a\nb\n');
  const report = await world.queue();
  expect(report.rebased.map(({ session_id }) => session_id)).toEqual(ids);
  expect(report.merged.map(({ session_id }) => session_id)).toEqual(ids);
  expect(report.exit_code).toBe(0);
  expect(looks).toBeLessThanOrEqual(4 * MANY);
}, 60_000);
