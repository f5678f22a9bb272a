import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, DEFAULT_CONFIG } from '../../src/model/config.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { resume } from '../../src/session/control.ts';
import type { Deps } from '../../src/session/deps.ts';
import { prepareWorktree } from '../../src/session/worktree.ts';
import { stopSession } from '../../src/store/control.ts';
import { listEvents } from '../../src/store/event.ts';
import type { NewSession } from '../../src/store/new-session.ts';
import { getSession } from '../../src/store/session.ts';
import { newRepository, plainGit } from '../git/plain.ts';
import { endTurn, seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';

/** A real repository and a store, with settings of its own. */
export interface Field {
  world: TestStore;
  deps: Deps;
  repo: string;
  /** Changed in place: it is what every use case is told. */
  config: Config;
  /** A queued session that asked for a worktree, on a branch `drover/<name>` from HEAD. */
  asking(name: string, draft?: Partial<NewSession>): Promise<SessionRow>;
  /** The same, with its worktree made; queued. */
  settled(name: string, draft?: Partial<NewSession>): Promise<SessionRow & { worktree_path: string }>;
  /** The same, and its work is over. */
  completed(name: string, draft?: Partial<NewSession>): Promise<SessionRow & { worktree_path: string }>;
  now(row: Pick<SessionRow, 'id'>): Promise<SessionRow>;
  stop(row: Pick<SessionRow, 'id'>): Promise<void>;
  resume(row: Pick<SessionRow, 'id'>): Promise<void>;
  /** Data of this session's events of one type. */
  events(row: Pick<SessionRow, 'id'>, type: string): Promise<Record<string, unknown>[]>;
  branches(): string[];
  /** Paths of all worktrees that git knows beside the main one. */
  trees(): string[];
}

export async function field(options: { repo?: string } = {}): Promise<Field> {
  const world = await testStore();
  const repo = options.repo ?? newRepository();
  const config: Config = structuredClone(DEFAULT_CONFIG);
  const deps: Deps = { ...world.deps, config_for: async () => config };
  const here: Field = {
    ...{ world, deps, repo, config },
    asking: (name, draft = {}) => {
      world.clock.advance(10);
      const base_ref = plainGit(repo, 'rev-parse', 'HEAD');
      const place = { repo_root: repo, working_dir: repo, branch: `drover/${name}`, base_ref, base_branch: 'main' };
      return seedSession(world, { name, role: 'solo', ...place, ...draft });
    },
    settled: async (name, draft) => {
      const row = await here.asking(name, draft);
      const prepared = await prepareWorktree(deps, row);
      const now = await here.now(row);
      if (prepared !== 'ready' || now.worktree_path === null) throw new Error(`${prepared}: ${now.end_reason}`);
      return { ...now, worktree_path: now.worktree_path };
    },
    completed: async (name, draft) => {
      const row = await here.settled(name, draft);
      await endTurn(world, await takeTurn(world, row.id));
      return { ...(await here.now(row)), worktree_path: row.worktree_path };
    },
    now: async ({ id }) => {
      const row = await getSession(world.store, id);
      if (row === null) throw new Error(`no session ${id}`);
      return row;
    },
    stop: async ({ id }) => {
      await stopSession(world.store, { session_id: id, actor: 'cli', reason: 'test', now: world.clock.now() });
    },
    resume: async (row) => {
      await resume(deps, { name: 'operator', session: null }, await here.now(row), {});
    },
    events: async ({ id }, type) =>
      (await listEvents(world.store, { session_id: id }))
        .filter((event) => event.type === type)
        .map((event) => JSON.parse(event.data_json)),
    branches: () => plainGit(repo, 'for-each-ref', '--format=%(refname:short)', 'refs/heads').split('\n'),
    trees: () =>
      plainGit(repo, 'worktree', 'list', '--porcelain')
        .split('\n')
        .flatMap((line) => (line.startsWith('worktree ') ? [line.slice('worktree '.length)] : []))
        .filter((path) => path !== repo),
  };
  return here;
}

/** Where the default template puts it. */
export const treeOf = ({ world }: Field, row: SessionRow) =>
  join(world.home, 'worktrees', `${row.project}-${row.id.slice(-6)}`);

export const isThere = (...parts: string[]) => existsSync(join(...parts));
