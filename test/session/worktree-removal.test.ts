import { afterAll, describe, expect, test } from 'bun:test';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WorktreeRow } from '../../src/model/merge.ts';
import { prepareWorktree, undoClaim } from '../../src/session/worktree.ts';
import { forceWorktree, judgeWork, judgeWorktree, removeWorktree } from '../../src/session/worktree-clean.ts';
import { claimSlot, dropRemovals, heldSlots, returnStray, strayClaims, takeStray } from '../../src/store/worktree.ts';
import { WorktreeDesk } from '../../src/supervisor/worktrees.ts';
import { plainGit } from '../git/plain.ts';
import { takeTurn } from '../support/store.ts';
import { until } from '../support/until.ts';
import { type Field, field, isThere, treeOf } from './field.ts';

const sleepers: { kill(): void; exited: Promise<number> }[] = [];
afterAll(async () => {
  for (const child of sleepers) child.kill();
  await Promise.all(sleepers.map((child) => child.exited));
});

/** A claim with its whole checkout, whose session was stopped before it was attached. */
async function stray(at: Field) {
  const row = await at.asking('one');
  const path = treeOf(at, row);
  await claimSlot(at.world.store, { session_id: row.id, path, max: 9, now: at.world.clock.now() });
  plainGit(at.repo, 'worktree', 'add', '-q', '-b', 'drover/one', path);
  await at.stop(row);
  const [slot] = await strayClaims(at.world.store);
  return { row, path, slot: slot as WorktreeRow };
}

/** A store of which `first` runs before its first write. */
function before(at: Field, first: () => Promise<unknown>): Field['deps'] {
  const { store } = at.world;
  let writes = 0;
  const spying: typeof store = Object.assign(Object.create(store), {
    read: store.read.bind(store),
    write: async (work: Parameters<typeof store.write>[0]) => {
      if (writes++ === 0) await first();
      return store.write(work);
    },
  });
  return { ...at.deps, store: spying };
}

describe('a claim that is to be taken back, and whose session is resumed (I22)', () => {
  test('before it is taken: nothing of it is touched', async () => {
    const at = await field();
    const { row, path, slot } = await stray(at);
    await at.resume(row);
    expect(await undoClaim(at.deps, slot)).toBe('busy');
    expect((await heldSlots(at.world.store, null)).map((held) => held.slot)).toEqual([slot]);
    expect(await prepareWorktree(at.deps, await at.now(row))).toBe('ready');
    expect(await undoClaim(at.deps, slot)).toBe('busy');
    expect(await at.now(row)).toMatchObject({ state: 'queued', worktree_path: path });
    expect([isThere(path, 'a'), at.branches()]).toEqual([true, ['drover/one', 'main']]);
  });

  test('nor when the desk looked before, and acts after', async () => {
    const at = await field();
    const { row, path } = await stray(at);
    let work: () => Promise<void> = async () => {};
    const tasks = {
      begin: (_key: string, begun: () => Promise<void>) => {
        work = begun;
      },
    };
    const desk = new WorktreeDesk({ deps: at.deps, log: () => undefined }, tasks as never, () => undefined);
    await desk.look(() => false);
    await at.resume(row);
    expect(await desk.prepare(await at.now(row))).toBe('ready');
    await takeTurn(at.world, row.id);
    await work();
    expect(await at.now(row)).toMatchObject({ state: 'booting', worktree_path: path });
    expect(isThere(path, 'a')).toBe(true);
  });

  test('after it is taken: it waits until the slot is free, then it is made anew', async () => {
    const at = await field();
    const { row, path, slot } = await stray(at);
    expect(await takeStray(at.world.store, slot, at.world.clock.now())).toBe(true);
    expect(await takeStray(at.world.store, slot, at.world.clock.now())).toBe(false);
    await at.resume(row);
    expect(await prepareWorktree(at.deps, await at.now(row))).toBe('wait');
    await returnStray(at.world.store, slot);
    expect(await prepareWorktree(at.deps, await at.now(row))).toBe('ready');
    expect((await at.now(row)).worktree_path).toBe(path);
  });

  test('a supervisor that starts gives back at once what the one before it was taking back when it was killed', async () => {
    const at = await field();
    const newDesk = () =>
      new WorktreeDesk({ deps: at.deps, log: () => undefined }, { begin: () => undefined }, () => undefined);
    const desk = newDesk();
    await desk.look(() => false);
    const { row, slot } = await stray(at);
    await takeStray(at.world.store, slot, at.world.clock.now());
    await at.resume(row);
    await desk.look(() => false);
    expect(await prepareWorktree(at.deps, await at.now(row))).toBe('wait');
    await newDesk().look(() => false);
    expect(await prepareWorktree(at.deps, await at.now(row))).toBe('ready');
  });

  test('what could not be taken back is given back, also after an error; who was killed is followed up', async () => {
    const at = await field();
    const { path, slot } = await stray(at);
    const child = Bun.spawn(['sleep', '600'], { cwd: path });
    sleepers.push(child);
    expect(await undoClaim(at.deps, slot)).toBe('busy');
    child.kill();
    await child.exited;
    const config = join(at.repo, '.git/config');
    const sound = readFileSync(config);
    writeFileSync(config, '[spoilt');
    await expect(undoClaim(at.deps, slot)).rejects.toMatchObject({ code: 'git_failed' });
    writeFileSync(config, sound);
    expect(await strayClaims(at.world.store)).toEqual([slot]);
    await takeStray(at.world.store, slot, at.world.clock.now());
    expect(await strayClaims(at.world.store)).toEqual([]);
    expect(await dropRemovals(at.world.store, at.world.clock.now() + 16 * 60_000)).toBe(1);
    expect(await strayClaims(at.world.store)).toEqual([slot]);
  });
});

describe('before a worktree goes', () => {
  test('the main checkout is never judged to be one, whoever says so', async () => {
    const at = await field();
    plainGit(at.repo, 'branch', 'kept');
    expect(await judgeWork({ branch: 'main', repo_root: at.repo }, at.repo)).toMatchObject({
      kind: 'in_use',
      why: 'it is the main checkout of its repository',
    });
  });

  for (const kind of ['clean', 'force'] as const) {
    const remove = async (at: Field, deps: Field['deps'], id: string) => {
      const row = await at.now({ id });
      const path = row.worktree_path ?? '';
      const owned = { row, path, ids: [id] };
      return kind === 'force'
        ? forceWorktree(deps, owned, { discard_ignored: false })
        : removeWorktree(deps, owned, await judgeWorktree(at.deps, owned));
    };
    const ended = async (at: Field) => {
      const row = await at.settled('one');
      if (kind === 'force') writeFileSync(join(row.worktree_path, 'new'), 'x');
      await at.stop(row);
      return row;
    };

    test(`who came while the hook ran keeps it (${kind})`, async () => {
      const at = await field();
      const row = await ended(at);
      const [begun, go] = [join(at.world.home, 'begun'), join(at.world.home, 'go')];
      at.config.worktree.hooks.before_remove = `touch '${begun}'; until [ -e '${go}' ]; do sleep 0.02; done`;
      const removing = remove(at, at.deps, row.id);
      await until('the hook runs', () => existsSync(begun));
      const child = Bun.spawn(['sleep', '600'], { cwd: row.worktree_path });
      sleepers.push(child);
      writeFileSync(go, '');
      expect(await removing).toEqual({ removed: false, why: `process ${child.pid} works in it` });
      expect([isThere(row.worktree_path, 'a'), (await at.now(row)).worktree_path]).toEqual([true, row.worktree_path]);
    });

    test(`so does a session that is resumed in the last moment (${kind})`, async () => {
      const at = await field();
      const row = await ended(at);
      const deps = before(at, () => at.resume(row));
      expect(await remove(at, deps, row.id)).toEqual({ removed: false, why: 'another session needs it by now' });
      expect(isThere(row.worktree_path, 'a')).toBe(true);
      expect(await at.now(row)).toMatchObject({ state: 'queued', worktree_path: row.worktree_path });
      expect((await heldSlots(at.world.store, null)).map(({ slot }) => slot.removing_at)).toEqual([null]);
    });
  }

  test('who came while it was being saved keeps it', async () => {
    const at = await field();
    const row = await at.settled('one');
    writeFileSync(join(row.worktree_path, 'new'), 'x');
    await at.stop(row);
    const owned = { row: await at.now(row), path: row.worktree_path, ids: [row.id] };
    // The clock is asked for when the saving begins.
    let isThereSomebody = false;
    const deps = Object.defineProperty({ ...at.deps }, 'clock', {
      get: () => {
        if (!isThereSomebody) sleepers.push(Bun.spawn(['sleep', '600'], { cwd: row.worktree_path }));
        isThereSomebody = true;
        return at.deps.clock;
      },
    });
    const forced = await forceWorktree(deps, owned, { discard_ignored: false });
    expect(forced).toEqual({ removed: false, why: expect.stringMatching(/^process \d+ works in it$/) });
    expect([isThere(row.worktree_path, 'new'), (await at.now(row)).worktree_path]).toEqual([true, row.worktree_path]);
  });

  test('what the hook has written is work that keeps it', async () => {
    const at = await field();
    const row = await at.completed('one');
    at.config.worktree.hooks.before_remove = 'echo report >report';
    const owned = { row: await at.now(row), path: row.worktree_path, ids: [row.id] };
    const verdict = await judgeWorktree(at.deps, owned);
    expect(verdict.kind).toBe('free');
    expect(await removeWorktree(at.deps, owned, verdict)).toEqual({
      removed: false,
      why: 'changes that are not committed: report',
    });
  });
});
