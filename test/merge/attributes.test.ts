import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { plainGit, tryPlainGit } from '../git/plain.ts';
import { tempDir } from '../support/temp.ts';
import { commit, field } from './field.ts';

const LIST = 'one\ntwo\nthree\nfour\n';
const AT_END = `${LIST}second\n`;

/** What the target says about its files, and what the person's checkout says, which is on another branch. */
const CASES = [
  { name: 'the checkout would unite', target: '', checkout: '*.txt merge=union\n', second: AT_END, conflicts: true },
  {
    name: 'the target unites',
    target: '*.txt merge=union\n',
    checkout: '* -merge\n',
    second: AT_END,
    conflicts: false,
  },
  { name: 'the target will not', target: '*.txt -merge\n', checkout: '', second: `second\n${LIST}`, conflicts: true },
  { name: 'the checkout would not', target: '', checkout: '* -merge\n', second: `second\n${LIST}`, conflicts: false },
];

test.each(CASES)(
  'merges are those of a clean clone of the target: $name',
  async ({ target, checkout, second, conflicts }) => {
    const world = await field();
    commit(world.repo, { 'list.txt': LIST, 'b.txt': 'b\n', '.gitattributes': target });
    const names = ['apart', 'aside', 'first', 'second'];
    await world.session('apart', { minutes_ago: 9, commits: [{ 'apart.txt': 'a\n' }] });
    await world.session('aside', { minutes_ago: 8, commits: [{ 'aside.txt': 'b\n' }] });
    await world.session('first', { minutes_ago: 7, commits: [{ 'list.txt': `${LIST}first\n` }] });
    await world.session('second', { minutes_ago: 6, commits: [{ 'list.txt': second }] });
    const clone = join(tempDir('clone'), 'clone');
    plainGit('/', 'clone', '--quiet', world.repo, clone);
    plainGit(world.repo, 'switch', '--quiet', '-c', 'elsewhere');
    writeFileSync(join(world.repo, '.gitattributes'), checkout);

    const report = await world.queue();

    const trees = names.map((name) => {
      const merged = tryPlainGit(clone, ['merge', '--quiet', '--no-ff', '--no-edit', `origin/drover/${name}`]);
      if (merged.code !== 0) plainGit(clone, 'merge', '--abort');
      return merged.code === 0 ? plainGit(clone, 'rev-parse', 'HEAD^{tree}') : 'conflict';
    });
    const log = plainGit(world.repo, 'log', '--first-parent', '--merges', '--reverse', '--format=%T', 'main').split(
      '\n',
    );
    expect(log).toEqual(trees.filter((tree) => tree !== 'conflict'));
    expect(report.merged.map(({ branch }) => branch)).toEqual(
      names.filter((_, at) => trees[at] !== 'conflict').map((name) => `drover/${name}`),
    );
    expect(trees.map((tree) => tree === 'conflict')).toEqual([false, false, false, conflicts]);
    expect(report.rebased).toEqual([]);
  },
);
