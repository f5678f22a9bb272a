import { expect, test } from 'bun:test';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { outcomeLines } from '../../src/cli/render-merge.ts';
import { plainGit } from '../git/plain.ts';
import { field } from './field.ts';

test('a merge says what git ignores and went with the worktree; a repository inside keeps that', async () => {
  const world = await field();
  const build = async (name: string) => {
    const row = await world.session(name, { commits: [{ [`${name}.txt`]: 'x\n', '.gitignore': 'build/\n' }] });
    const path = row.worktree_path ?? '';
    mkdirSync(join(path, 'build'));
    writeFileSync(join(path, 'build/out'), '');
    return path;
  };
  const [plain, inner] = [await build('plain'), await build('inner')];
  plainGit('/', 'init', '-q', join(inner, 'build/dep'));
  const { merged, outcomes } = await queueOf(world);
  expect(merged.toSorted()).toEqual(['inner', 'plain']);
  expect(outcomes.plain).toMatchObject({ cleaned_worktree: true, kept: null, ignored: '1 ignored file: build/' });
  expect(outcomes.inner).toMatchObject({
    cleaned_worktree: false,
    kept: `worktree ${inner}: other repositories are inside it: build/dep`,
    ignored: null,
  });
  expect([existsSync(plain), existsSync(inner)]).toEqual([false, true]);
  expect(outcomes.plain === undefined ? [] : outcomeLines(outcomes.plain)).toEqual(
    expect.arrayContaining([expect.stringContaining('with it 1 ignored file: build/')]),
  );
});

async function queueOf(world: Awaited<ReturnType<typeof field>>) {
  const { merged, outcomes } = await world.queue();
  return {
    merged: merged.map(({ branch }) => branch.replace('drover/', '')),
    outcomes: Object.fromEntries(outcomes.map((outcome) => [outcome.name, outcome])),
  };
}
