import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mergeQueue } from '../src/merge/queue.ts';
import { type Figure, information, timesFloor } from './support/figure.ts';
import { interleave, median } from './support/measure.ts';
import type { Scale } from './support/scale.ts';
import { openWorld, queueSession, type World } from './support/world.ts';

const BRANCHES = 50;
const FILES = 50;

/** Fifty ready branches through the queue, against fifty bare `git merge`. No gates. */
export async function benchQueue({ small }: Scale): Promise<Figure[]> {
  const world = await openWorld();
  const rounds = small ? 2 : 5;
  const samples = await interleave(rounds, {
    floor: () => bareMerges(world, false),
    product: () => throughQueue(world, false),
    floor_clean: () => bareMerges(world, true),
    product_clean: () => throughQueue(world, true),
  });
  await world.close();
  const of = (name: keyof typeof samples) => median(samples[name]) / BRANCHES;
  const unit = 'ms';
  return [
    timesFloor(1.5, {
      ...{ name: `${BRANCHES} ready branches, each`, unit, floor: of('floor'), product: of('product') },
      note: 'floor: git merge',
    }),
    information({
      ...{
        name: 'the same, worktrees and branches removed',
        unit,
        floor: of('floor_clean'),
        product: of('product_clean'),
      },
      note: 'floor: git merge, worktree remove, branch -d',
    }),
  ];
}

interface Ground {
  repo: string;
  branches: { name: string; path: string }[];
}

let grounds = 0;

/** A repository with fifty worktrees, each with one commit on a branch of its own. */
function newGround(world: World): Ground {
  grounds += 1;
  const dir = join(world.dir, `ground-${grounds}`);
  const repo = join(dir, 'repo');
  mkdirSync(repo, { recursive: true });
  const text = (line: string) => `${'a line\n'.repeat(50)}${line}`;
  git(world, repo, 'init', '-q', '-b', 'main');
  for (const [key, value] of [
    ['user.name', 'bench'],
    ['user.email', 'bench@localhost'],
  ] as const)
    git(world, repo, 'config', key, value);
  for (let i = 0; i < FILES; i += 1) writeFileSync(join(repo, `file-${i}.txt`), text(''));
  git(world, repo, 'add', '-A');
  git(world, repo, 'commit', '-qm', 'start');
  const branches = Array.from({ length: BRANCHES }, (_, i) => {
    const [name, path] = [`drover/work-${i}`, join(dir, `work-${i}`)];
    git(world, repo, 'worktree', 'add', '-q', '-b', name, path);
    writeFileSync(join(path, `file-${i % FILES}.txt`), text(`line of ${i}\n`));
    git(world, path, 'commit', '-qam', `work ${i}`);
    return { name, path };
  });
  return { repo, branches };
}

function git(world: World, cwd: string, ...args: string[]): void {
  const done = Bun.spawnSync(['git', ...args], { cwd, env: world.env, stdin: 'ignore' });
  if (done.exitCode !== 0) throw new Error(`git ${args.join(' ')}: ${done.stderr}`);
}

function bareMerges(world: World, cleans: boolean): number {
  const { repo, branches } = newGround(world);
  const start = performance.now();
  for (const { name, path } of branches) {
    git(world, repo, 'merge', '-q', '--no-ff', '--no-edit', name);
    if (!cleans) continue;
    git(world, repo, 'worktree', 'remove', path);
    git(world, repo, 'branch', '-q', '-d', name);
  }
  return performance.now() - start;
}

async function throughQueue(world: World, is_clean: boolean): Promise<number> {
  const { repo, branches } = newGround(world);
  for (const { name, path } of branches) {
    const more = { name: name.replace('/', '-'), branch: name, base_branch: 'main', base_ref: 'main' };
    const row = await queueSession(world, { ...more, repo_root: repo, worktree_path: path, working_dir: path });
    await world.store.write((tx) =>
      tx.run("UPDATE sessions SET state = 'completed', ended_at = :now, end_reason = 'bench' WHERE id = :id", {
        ...{ id: row.id, now: Date.now() },
      }),
    );
  }
  const start = performance.now();
  const report = await mergeQueue(world.deps, {
    ...{ repo_root: repo, into: null, all_ended: null, is_clean, dry_run: false, by: 'operator' },
    signal: new AbortController().signal,
  });
  const taken = performance.now() - start;
  if (report.merged.length !== branches.length) throw new Error(`merged ${report.merged.length} of ${branches.length}`);
  if (is_clean && report.merged.some((each) => !each.cleaned_worktree))
    throw new Error(JSON.stringify(report.outcomes));
  return taken;
}
