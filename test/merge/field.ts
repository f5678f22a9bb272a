import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { mergeQueue, type QueueRequest } from '../../src/merge/queue.ts';
import type { QueueReport } from '../../src/merge/report.ts';
import type { SessionRow, SessionState } from '../../src/model/session.ts';
import { newRepository, plainGit } from '../git/plain.ts';
import { seedSession, type TestStore, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

/** A repository on `main` with `README.md` (`hello`), a store, and sessions with worktrees of it. */
export interface Field extends TestStore {
  repo: string;
  /** A session in this state with a worktree on `drover/<name>`; every commit writes these files. */
  session(name: string, options?: SessionOptions): Promise<SessionRow>;
  row(id: string): SessionRow & Promise<SessionRow>;
  rowOf(session: Pick<SessionRow, 'id'>): Promise<SessionRow>;
  queue(options?: Partial<QueueRequest>): Promise<QueueReport>;
  all<T>(sql: string): Promise<T[]>;
}

export interface SessionOptions {
  state?: SessionState;
  /** Each becomes a commit. */
  commits?: Record<string, string>[];
  /** Left uncommitted. */
  dirty?: Record<string, string>;
  /** Minutes since its row changed. */
  minutes_ago?: number;
  base?: string;
  base_branch?: string | null;
  parent_id?: string;
}

export async function field(config: unknown = null, env: Record<string, string> = {}): Promise<Field> {
  const world = await testStore(env);
  const repo = newRepository();
  commit(repo, { 'README.md': 'hello\n' });
  if (config !== null) writeConfig(world, config);
  const self = { ...world, repo } as Field;
  self.session = (name, options = {}) => makeSession(self, name, options);
  self.rowOf = async ({ id }) => {
    const [row] = await self.all<SessionRow>(`SELECT * FROM sessions WHERE id = '${id}'`);
    if (row === undefined) throw new Error(`no session ${id}`);
    return row;
  };
  self.all = (sql) => world.store.read((tx) => tx.all(sql));
  self.queue = (options = {}) =>
    mergeQueue(world.deps, {
      ...{ repo_root: repo, into: null, all_ended: true, is_clean: true, dry_run: false, by: 'operator' },
      signal: new AbortController().signal,
      ...options,
    });
  return self;
}

/** JSON is YAML: the config of the person. */
export function writeConfig(world: TestStore, config: unknown): void {
  const path = join(world.deps.env.XDG_CONFIG_HOME ?? '', 'drover/config.yaml');
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, JSON.stringify(config));
}

export function commit(dir: string, files: Record<string, string>, subject = 'work'): string {
  write(dir, files);
  plainGit(dir, 'add', '-A');
  plainGit(dir, 'commit', '--quiet', '-m', subject);
  return plainGit(dir, 'rev-parse', 'HEAD');
}

export function write(dir: string, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), text);
  }
}

async function makeSession(world: Field, name: string, options: SessionOptions): Promise<SessionRow> {
  const {
    state = 'completed',
    commits = [],
    dirty = {},
    minutes_ago = 1,
    base = 'main',
    base_branch = 'main',
  } = options;
  const path = join(tempDir('worktree'), name);
  const branch = `drover/${name}`;
  plainGit(world.repo, 'worktree', 'add', '--quiet', '-b', branch, path, base);
  for (const files of commits) commit(path, files, `${name} works`);
  write(path, dirty);
  const row = await seedSession(world, {
    ...{ name, task: `task of ${name}`, repo_root: world.repo, working_dir: path, worktree_path: path, branch },
    ...{ base_branch, base_ref: plainGit(world.repo, 'rev-parse', base) },
    ...(options.parent_id === undefined ? {} : { parent_id: options.parent_id }),
  });
  const at = world.clock.now() - minutes_ago * 60_000;
  const ended_at = ['completed', 'failed', 'stopped', 'zombie'].includes(state) ? at : null;
  await world.store.write((tx) =>
    tx.run(
      'UPDATE sessions SET state = :state, ended_at = :ended_at, updated_at = :at, end_reason = :why WHERE id = :id',
      {
        ...{ id: row.id, state, ended_at, at, why: ended_at === null ? null : 'test' },
      },
    ),
  );
  return world.rowOf(row);
}
