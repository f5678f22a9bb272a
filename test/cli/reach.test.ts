import { beforeAll, describe, expect, test } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionRow } from '../../src/model/session.ts';
import { stop } from '../../src/session/control.ts';
import { getSession } from '../../src/store/session.ts';
import { doorbell, environmentOf } from '../support/agent.ts';
import { DROVER } from '../support/drover.ts';
import { endTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

let world: TestStore;
let repo: string;
let abroad: string;
let lead: SessionRow;
let brother: SessionRow;
let token: string;

function repository(): string {
  const dir = tempDir('reach');
  for (const args of [
    ['init', '-q', '-b', 'main'],
    ['-c', 'user.name=t', '-c', 'user.email=t@localhost', 'commit', '-q', '--allow-empty', '-m', 'start'],
  ])
    expect(Bun.spawnSync(['git', '-C', dir, ...args]).exitCode).toBe(0);
  return dir;
}

beforeAll(async () => {
  world = await testStore();
  await doorbell(world);
  [repo, abroad] = [repository(), repository()];
  const boss = await seedSession(world, { name: 'boss', repo_root: repo, working_dir: repo });
  const own = { parent_id: boss.id, repo_root: repo, working_dir: repo };
  lead = await seedSession(world, { name: 'lead', role: 'lead', ...own });
  brother = await seedSession(world, { name: 'brother', ...own });
  token = (await takeTurn(world, lead.id)).token;
});

async function as(
  who: string | null,
  args: string[],
  cwd = repo,
): Promise<{ code: string; error: string; said: string }> {
  const child = Bun.spawn([DROVER, ...args, '--json'], {
    ...{ cwd, env: environmentOf(world, who), stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  });
  const [said] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  const { error } = JSON.parse(said) as { error?: { code: string; hint?: string; recovery_commands?: string[] } };
  return { code: error?.code ?? 'ok', error: [error?.hint, ...(error?.recovery_commands ?? [])].join(' '), said };
}

let made = 0;

/** What the verb is for: a session that is live, parked or over, started by somebody, somewhere. */
async function target(
  kind: 'live' | 'parked' | 'ended',
  draft: Parameters<typeof seedSession>[1],
): Promise<SessionRow> {
  made += 1;
  const row = await seedSession(world, { name: `t-${made}`, repo_root: repo, working_dir: repo, ...draft });
  if (kind === 'parked') await as(null, ['pause', row.id]);
  if (kind === 'ended') await endTurn(world, await takeTurn(world, row.id));
  return (await getSession(world.store, row.id)) as SessionRow;
}

const VERBS: [string[], 'live' | 'parked' | 'ended'][] = [
  [['nudge'], 'live'],
  [['nudge', '--interrupt'], 'live'],
  [['stop'], 'live'],
  [['stop', '--clean-worktree'], 'live'],
  [['pause'], 'live'],
  [['resume'], 'parked'],
  [['recover'], 'ended'],
  [['clean'], 'ended'],
  [['worktree', 'clean'], 'ended'],
  [['merge'], 'ended'],
  [['rebase'], 'ended'],
];

describe.each(VERBS)('a lead’s %j', (verb, kind) => {
  test('does what it says to its own child', async () => {
    const child = await target(kind, { parent_id: lead.id });
    const { code } = await as(token, [...verb, child.name]);
    // What has no worktree can neither be merged nor lose one.
    expect(['ok', 'no_worktree', 'nothing_to_merge', 'no_branch']).toContain(code);
    await stop(world.deps, child);
  });

  test.each([
    ['a sibling', () => ({ parent_id: brother.parent_id })],
    ['a sibling’s child', () => ({ parent_id: brother.id })],
    ['a stranger', () => ({})],
    ['a session of another repository', () => ({ repo_root: abroad, working_dir: abroad })],
  ])('does nothing to %s, and says whom to ask', async (_who, draft) => {
    const row = await target(kind, draft());
    // By its id: a name of another repository would not even be found.
    const { code, error } = await as(token, [...verb, row.id]);
    expect(code).toBe('out_of_reach');
    expect(error).toContain('ask the operator');
    expect(error).toContain('drover ask ');
    expect(await getSession(world.store, row.id)).toEqual(row);
    await stop(world.deps, row);
  });
});

test('one that is not its own spares the others that it names beside it', async () => {
  const [own, other] = [await target('live', { parent_id: lead.id }), await target('live', {})];
  for (const verb of ['stop', 'pause'])
    expect((await as(token, [verb, own.name, other.name])).code).toBe('out_of_reach');
  expect(await getSession(world.store, own.id)).toEqual(own);
  await stop(world.deps, own);
});

test('what reaches everybody is for persons: --all, --force, and drover’s own processes', async () => {
  for (const args of [
    ...[
      ['stop', '--all'],
      ['pause', '--all'],
      ['resume', '--all'],
      ['resume', '--force', 'brother'],
    ],
    ...[['worktree', 'clean', '--force', 'brother'], ['down'], ['watch', '--kill-others'], ['doctor', '--fix']],
  ])
    expect([args, (await as(token, args)).code]).toEqual([args, 'not_allowed']);
  for (const args of [['clean'], ['clean', '--all'], ['worktree', 'clean'], ['worktree', 'clean', '--all']])
    expect([args, (await as(token, args)).code]).toEqual([args, 'out_of_reach']);
  expect(await getSession(world.store, brother.id)).toEqual(brother);
}, 60_000);

test('a session starts others in its own repository alone, wherever it stands (O-74)', async () => {
  const sling = ['sling', '--harness', 'rehearsal'];
  expect((await as(token, [...sling, '--cwd', abroad, 'x'])).code).toBe('out_of_reach');
  expect((await as(token, [...sling, 'x'], abroad)).code).toBe('out_of_reach');
  expect((await as(token, ['--project', abroad, ...sling, 'x'])).code).toBe('out_of_reach');
  const below = join(repo, 'docs');
  mkdirSync(below);
  const { code, said } = await as(token, [...sling, '--cwd', below, '--name', 'here', 'x']);
  expect(code).toBe('ok');
  expect(JSON.parse(said).session).toMatchObject({ parent_id: lead.id, working_dir: below });
  // The person who pays may.
  expect((await as(null, [...sling, '--cwd', abroad, 'x'])).code).toBe('ok');
}, 60_000);

test('nobody starts one that lives on and reaches further, but who lives on (O-49, O-74)', async () => {
  const sling = ['sling', '--harness', 'rehearsal', '--role', 'coordinator', 'x'];
  expect((await as(token, sling)).code).toBe('not_allowed');
  const chief = await seedSession(world, {
    ...{ name: 'chief', role: 'orchestrator', is_persistent: 1, repo_root: repo, working_dir: repo },
  });
  const { token: own } = await takeTurn(world, chief.id);
  expect((await as(own, sling)).code).toBe('ok');
}, 60_000);
