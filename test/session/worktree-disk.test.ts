import { expect } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '../../src/model/error.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { prepareWorktree } from '../../src/session/worktree.ts';
import { slotCounts } from '../../src/store/worktree.ts';
import { commitFile } from '../git/plain.ts';
import { testOnSmallDisk } from '../support/small-disk.ts';
import { type Field, field, isThere } from './field.ts';

/** What `prepareWorktree` comes to, or the code of its error. */
const come = async (at: Field, row: SessionRow) =>
  prepareWorktree(at.deps, row).catch((error: unknown) => (error instanceof AppError ? error.code : error));

testOnSmallDisk(
  'a disk without room for the worktree or the files it wants: nothing half-done, and the session starts when there is room',
  { file: 'test/session/worktree-disk.test.ts', size: '4m' },
  async (disk) => {
    const at = await field();
    at.config.worktree.root = join(disk.bench.drover_home, 'trees');
    commitFile(at.repo, '.gitignore', '.env\n', 'ignore');
    commitFile(at.repo, 'big', Buffer.from(crypto.getRandomValues(new Uint8Array(60_000))).toString('hex'), 'big');
    writeFileSync(join(at.repo, '.worktreeinclude'), '.env\n');
    writeFileSync(join(at.repo, '.env'), 'x'.repeat(400_000));
    const row = await at.asking('one');
    disk.fill();
    expect(await come(at, row)).toBe('disk_full');
    expect([at.trees(), at.branches()]).toEqual([[], ['main']]);
    disk.spare(300);
    expect(await come(at, row)).toBe('disk_full');
    const path = at.trees()[0] ?? '';
    expect([isThere(path, 'big'), isThere(path, '.env')]).toEqual([true, false]);
    expect(await at.now(row)).toMatchObject({ state: 'queued', worktree_path: null, end_reason: null });
    expect(await slotCounts(at.world.store)).toEqual([{ repo_root: at.repo, held: 1, held_by_ended: 0 }]);
    disk.free();
    expect(await come(at, row)).toBe('ready');
    expect(isThere(path, '.env')).toBe(true);
  },
);
