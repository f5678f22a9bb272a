import { AppError } from '../model/error.ts';
import type { WorktreeRow } from '../model/merge.ts';
import type { SessionRow } from '../model/session.ts';
import type { Deps } from '../session/deps.ts';
import { beforeRun } from '../session/run-hooks.ts';
import { type Prepared, prepareWorktree, undoClaim } from '../session/worktree.ts';
import { ignoredText } from '../session/worktree-clean.ts';
import { pruneOne } from '../session/worktree-slots.ts';
import { noteKept, sessionsOfEndedSteps } from '../store/step-worktree.ts';
import { dropRemovals, returnStrays, slotCounts, slotQueue, strayClaims } from '../store/worktree.ts';
import type { Tasks } from './tasks.ts';

/** Nothing could be done: looked at again after the first pause, and after twice as long each time up to the last. */
const PAUSE_MS = { first: 2_000, last: 300_000 };

/**
 * Looks after the slots for worktrees: who waits for one, what can be taken away to make room, and what a supervisor that
 * was killed has left half done. All of it can be rebuilt from the database. Times are monotonic milliseconds.
 */
export class WorktreeDesk {
  readonly #deps: Deps;
  readonly #log: (line: string) => void;
  readonly #tasks: Pick<Tasks, 'begin'>;
  readonly #ring: () => void;
  readonly #preparing = new Set<string>();
  readonly #pauses = new Map<string, { until: number; pause_ms: number; mark: string }>();
  #isTending = false;
  #hasLooked = false;
  #full: string[] = [];

  /** `ring`: something has changed, look at the database. */
  constructor(options: { deps: Deps; log: (line: string) => void }, tasks: Pick<Tasks, 'begin'>, ring: () => void) {
    this.#deps = options.deps;
    this.#log = options.log;
    this.#tasks = tasks;
    this.#ring = ring;
  }

  /** Repositories in which every slot was taken at the last look. */
  get full(): readonly string[] {
    return this.#full;
  }

  /** Sessions whose worktree is being made or whose hook runs: that takes long and costs us nothing. */
  get preparing(): number {
    return this.#preparing.size;
  }

  /** Whether it is time for another look, although nothing has changed in the database. */
  isDue(now: number): boolean {
    return [...this.#pauses.values()].some(({ until }) => until <= now);
  }

  /** Worktree and hook of a session that is about to start. */
  async prepare(row: SessionRow): Promise<Prepared> {
    this.#preparing.add(row.id);
    try {
      const prepared = await prepareWorktree(this.#deps, row);
      if (prepared === 'full' && !this.#full.includes(row.repo_root)) this.#full.push(row.repo_root);
      if (prepared !== 'ready' || (await beforeRun(this.#deps, row.id))) return prepared;
      return 'failed';
    } finally {
      this.#preparing.delete(row.id);
    }
  }

  /** After something has changed: counts the slots anew, and begins what there is to do. */
  async look(isStarting: (session_id: string) => boolean): Promise<void> {
    const { store, clock } = this.#deps;
    if (!this.#hasLooked) await returnStrays(store);
    this.#hasLooked = true;
    await dropRemovals(store, clock.now());
    const counts = await slotCounts(store);
    const full: string[] = [];
    for (const { repo_root, held } of counts)
      if (held >= (await this.#deps.config_for(repo_root)).max_worktrees) full.push(repo_root);
    this.#full = full;
    const wanted: string[] = [];
    for (const root of full) if ((await slotQueue(store, root, 1)).length > 0) wanted.push(root);
    const strays = (await strayClaims(store)).filter((slot) => !isStarting(slot.session_id));
    const wishes = new Set([...wanted, ...strays.map(({ path }) => path)]);
    for (const key of this.#pauses.keys()) if (!wishes.has(key)) this.#pauses.delete(key);
    const marks = new Map<string, string>();
    for (const { repo_root: root, held_by_ended } of counts)
      if (wanted.includes(root)) marks.set(root, `${held_by_ended} ${(await sessionsOfEndedSteps(store, root)).size}`);
    const mark = (root: string) => marks.get(root) ?? '';
    const now = clock.monotonic();
    const due = strays.filter(({ path }) => !this.#isPaused(path, '', now));
    const hungry = wanted.filter((root) => !this.#isPaused(root, mark(root), now));
    if (this.#isTending || due.length + hungry.length === 0) return;
    this.#isTending = true;
    this.#tasks.begin('worktrees', async () => {
      try {
        for (const slot of due) await this.#vainly(slot.path, '', () => this.#undo(slot));
        for (const root of hungry) await this.#vainly(root, mark(root), () => this.#makeRoom(root));
      } finally {
        this.#isTending = false;
        this.#ring();
      }
    });
  }

  /** A session or a step that has ended since then may have left one that can go. */
  #isPaused(key: string, mark: string, now: number): boolean {
    const pause = this.#pauses.get(key);
    return pause !== undefined && pause.until > now && pause.mark === mark;
  }

  /** `work` says whether it changed anything; when not, it is left alone for a while. A typed failure changes nothing. */
  async #vainly(key: string, mark: string, work: () => Promise<boolean>): Promise<void> {
    let isDone = false;
    try {
      isDone = await work();
    } catch (error) {
      if (!(error instanceof AppError) || error.kind === 'bug') throw error;
      this.#log(`${key}: ${error.code}: ${error.message}`);
    }
    const before = this.#pauses.get(key);
    const pause_ms = before?.mark === mark ? Math.min(before.pause_ms * 2, PAUSE_MS.last) : PAUSE_MS.first;
    if (isDone) this.#pauses.delete(key);
    else this.#pauses.set(key, { until: this.#deps.clock.monotonic() + pause_ms, pause_ms, mark });
  }

  async #undo(slot: WorktreeRow): Promise<boolean> {
    const came = await undoClaim(this.#deps, slot);
    if (came === 'undone') this.#log(`${slot.path}: its session did not start, the slot is free again`);
    else await noteKept(this.#deps.store, [slot.path], this.#deps.clock.now());
    return came === 'undone';
  }

  async #makeRoom(repo_root: string): Promise<boolean> {
    const gone = await pruneOne(this.#deps, repo_root);
    if (gone === null) return false;
    const { path, name, state, ignored, kept_branch } = gone;
    const files = ignored.names.length === 0 ? '' : `, and in it ${ignoredText(ignored)}`;
    const whose =
      kept_branch === undefined
        ? `${state} and merged`
        : `${state} and whose step has ended (its branch ${kept_branch} stays)`;
    this.#log(`${path}: of ${name}, which is ${whose}: removed to make room${files}`);
    return true;
  }
}
