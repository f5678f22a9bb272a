import { isInFlight } from '../model/session.ts';
import type { EndCause } from '../model/turn.ts';
import type { Deps } from '../session/deps.ts';
import { endTree } from '../session/end-tree.ts';
import { ownDesks, slotsFor } from '../session/own-desks.ts';
import { afterRun } from '../session/run-hooks.ts';
import { relaunchTurn, type StartedTurn, startTurn } from '../session/turn.ts';
import { getSession } from '../store/session.ts';
import type { Store } from '../store/store.ts';
import {
  dispatchable,
  markEndCause,
  nextDueAt,
  type OpenTurn,
  openTurns,
  releaseDue,
  turnsInFlight,
  turnsToEnd,
} from '../store/turn.ts';
import { readExit } from '../sys/turn-files.ts';
import { Awake } from '../watchdog/awake.ts';
import type { TimerVerdict } from '../watchdog/timers.ts';
import { DiskFloor } from './disk-floor.ts';
import { blaming, passing } from './failure.ts';
import { followTurn } from './follow.ts';
import { Guards } from './guards.ts';
import { Intake } from './intake.ts';
import { earliest, Naps } from './naps.ts';
import { Night } from './night.ts';
import { isProcessGone, judge, recordOf, wasNeverStarted } from './observe.ts';
import { restBetween } from './pace.ts';
import type { RunningTurn } from './running.ts';
import { Tasks } from './tasks.ts';
import { TurnGates } from './turn-gates.ts';
import { Waiting } from './waiting.ts';
import { WorktreeDesk } from './worktrees.ts';

const POLL_MS = 500;
/** A turn is looked at without an event once in this many polls; of a child of ours we are told when it ends. */
const SWEEP = { adopted: 6, child: 24 };
/** Open turns that nobody follows are looked for once in this many polls. */
const ADOPT_POLLS = 18;
const MAX_STARTS = 4;

export interface LoopOptions {
  deps: Deps;
  /** Second connection with relaxed durability, for ingest alone. */
  ingest_store: Store;
  lease_fence: number;
  /** True while the pid lock is still ours; otherwise the loop ends. */
  is_owner: () => boolean;
  log: (line: string) => void;
}

/**
 * Owns all turns of this home: reconcile, dispatch, ingest, judge, end. It keeps nothing that cannot be rebuilt from
 * the database and the turn directories, so it may be killed at any instruction (ARCHITECTURE §2).
 */
export class SupervisorLoop {
  readonly #options: LoopOptions;
  readonly #deps: Deps;
  readonly #running = new Map<string, RunningTurn>();
  readonly #starting = new Set<string>();
  readonly #waiting = new Waiting();
  readonly #stop = new AbortController();
  readonly #naps: Naps;
  readonly #tasks: Tasks;
  readonly #worktrees: WorktreeDesk;
  readonly #guards: Guards;
  readonly #gates: TurnGates;
  readonly #night: Night;
  #wantsSync = true;
  /** Over when the event loop has gone round since the last sync: however often somebody rings, the doorbell is heard. */
  #breath: Promise<void> = Promise.resolve();
  #isDirty = false;
  /** The last look did not reach the end of every stream. */
  #isBehind = false;
  readonly #intake: Intake;
  #flushed = { at: 0, cost_ms: 0 };
  #dataVersion = -1;
  /** What was due by then is started or waits: a timer for it would never rest. */
  #syncedAt = 0;
  readonly #awake: Awake;
  readonly disk: DiskFloor;
  #polls = 0;
  #lastPollAt: number;
  #fatal: unknown = null;

  constructor(options: LoopOptions) {
    this.#options = options;
    this.#deps = options.deps;
    this.#naps = new Naps(options.deps.clock);
    this.disk = new DiskFloor(options.deps.home, options.deps.clock, options.log);
    this.#intake = new Intake(options.ingest_store, options.deps.clock);
    this.#tasks = new Tasks({
      ...{ clock: options.deps.clock, stop: this.#stop.signal, log: options.log },
      on_bug: (error) => {
        this.#fatal = error;
        this.stop();
      },
    });
    const begin = (key: string, work: () => Promise<void>) => this.#tasks.begin(key, work);
    const ring = () => this.ring();
    this.#guards = new Guards(options.deps, begin);
    this.#gates = new TurnGates(options, this.#stop.signal);
    this.#worktrees = new WorktreeDesk(options, this.#tasks, ring);
    const holder = `supervisor:${options.lease_fence}`;
    this.#night = new Night({ deps: options.deps, log: options.log, begin, ring, stop: this.#stop.signal, holder });
    this.#lastPollAt = options.deps.clock.now();
    this.#awake = new Awake(this.#lastPollAt, options.deps.clock.monotonic());
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /** Somebody rang: look at the database now. */
  ring(): void {
    this.#wantsSync = true;
    this.#naps.end('ring');
  }

  /** A stream has grown. */
  #news(): void {
    this.#isDirty = true;
    this.#naps.end('news');
  }

  /** Ends the loop; running turns go on without us. */
  stop(): void {
    this.#stop.abort();
    this.ring();
  }

  /** Runs until `stop()` or the lock is lost. Throws what is a bug. */
  async run(): Promise<void> {
    await this.#adoptAll();
    while (!this.#stop.signal.aborted && this.#fatal === null) {
      if (this.#isDirty) {
        if (!this.#wantsSync) await this.#naps.take(this.#rest(), 'ring');
        await this.#guard('ingest', () => this.#flush());
      }
      if (this.#wantsSync) await this.#guard('sync', () => this.#sync());
      await this.#guard('wait', () => this.#wait());
      if (this.#isPollDue()) await this.#guard('poll', () => this.#poll());
    }
    for (const turn of this.#running.values()) turn.close();
    await this.#tasks.settled();
    if (this.#fatal !== null) throw this.#fatal;
  }

  /** How long writes may gather before the next look. */
  #rest(): number {
    const { at, cost_ms } = this.#flushed;
    return restBetween({ is_behind: this.#isBehind, cost_ms, since_ms: this.#deps.clock.monotonic() - at });
  }

  /** A typed failure (disk full, store busy) is logged and tried again at the next poll; anything else is a bug. */
  async #guard(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const failure = passing(error);
      if (failure === null) throw error;
      this.#options.log(`${what}: ${failure.code}: ${failure.message}`);
      await this.#deps.clock.sleep(POLL_MS, this.#stop.signal);
      this.#wantsSync = true;
    }
  }

  async #wait(): Promise<void> {
    if (this.#isDirty || this.#wantsSync || this.#stop.signal.aborted) return;
    const untilPoll = this.#lastPollAt + POLL_MS - this.#deps.clock.now();
    const due = earliest(await nextDueAt(this.#deps.store, this.#syncedAt), this.#night.wakeAfter(this.#syncedAt));
    const untilDue = due === null ? POLL_MS : due - this.#deps.clock.now();
    if (this.#isDirty || this.#wantsSync) return;
    await this.#naps.take(Math.max(1, Math.min(untilPoll, untilDue, POLL_MS)), 'news');
    if (due !== null && due <= this.#deps.clock.now()) this.#wantsSync = true;
  }

  #isPollDue(): boolean {
    const since = this.#deps.clock.now() - this.#lastPollAt;
    return since >= POLL_MS || since < 0;
  }

  /** The slow look that makes every lost wake-up harmless. */
  async #poll(): Promise<void> {
    const now = this.#deps.clock.now();
    const gap = now - this.#lastPollAt;
    this.#awake.look(now, this.#deps.clock.monotonic(), POLL_MS);
    // The clock went back, and with it perhaps what was thought to be due.
    if (gap < 0) this.#wantsSync = true;
    this.#lastPollAt = now;
    this.#polls += 1;
    if (!this.#options.is_owner()) {
      this.#options.log('the pid lock or the database is not ours any more');
      return this.stop();
    }
    const tick = this.#deps.clock.monotonic();
    if (this.#waiting.polled(tick) || this.#worktrees.isDue(tick)) this.#wantsSync = true;
    const version = this.#deps.store.dataVersion();
    if (version !== this.#dataVersion) this.#wantsSync = true;
    this.#dataVersion = version;
    if (this.#polls % ADOPT_POLLS === 0) await this.#adoptAll();
    for (const [i, turn] of [...this.#running.values()].entries()) {
      const isDue = (i + this.#polls) % SWEEP[turn.is_child ? 'child' : 'adopted'] === 0;
      if (turn.phase === 'running') await this.#look(turn, now, isDue);
    }
  }

  /** Judges one turn; `closely` also asks the machine instead of waiting to be told. */
  async #look(turn: RunningTurn, now: number, closely: boolean): Promise<void> {
    if (closely) turn.gone ||= isProcessGone(turn);
    const isMeasured = closely || turn.hasEcho;
    turn.hasEcho = false;
    if (isMeasured) {
      turn.dirty = true;
      this.#isDirty = true;
    }
    let verdict = await this.#judge(turn, now, isMeasured);
    if (verdict.act === 'end' && turn.row.end_cause === null && verdict.cause !== 'log_limit') {
      // The stream may hold news that the last batch did not; a verdict about silence needs the newest facts.
      turn.dirty = true;
      await this.#flush();
      verdict = await this.#judge(turn, this.#deps.clock.now(), isMeasured);
    }
    if (verdict.act === 'settle') this.#end(turn);
    if (verdict.act === 'end' && verdict.cause !== null) {
      if (turn.row.end_cause === null) await this.#mark(turn, verdict, verdict.cause, now);
      this.#options.log(`${turn.session.name} turn ${turn.row.turn}: ${verdict.evidence}`);
      this.#end(turn);
    }
  }

  async #mark(turn: RunningTurn, verdict: TimerVerdict, cause: EndCause, now: number): Promise<void> {
    const record = await recordOf(this.#deps, turn, { awake_since: this.#awake.since, verdict, now });
    await markEndCause(this.#deps.store, cause, record);
  }

  #judge(turn: RunningTurn, now: number, closely: boolean): Promise<TimerVerdict> {
    return judge(this.#deps, turn, { closely, awake_since: this.#awake.since, now });
  }

  /** Reads on in every stream that has grown. */
  async #flush(): Promise<void> {
    const start = this.#deps.clock.monotonic();
    this.#isDirty = false;
    const dirty = [...this.#running.values()].filter((turn) => turn.dirty && turn.phase === 'running');
    await this.#intake.take(dirty, false);
    if (await this.#guards.budgets.spent(dirty.map(({ session }) => session))) this.#wantsSync = true;
    this.#isBehind = dirty.some((turn) => turn.dirty);
    if (this.#isBehind) this.#isDirty = true;
    this.#flushed = { at: this.#deps.clock.monotonic(), cost_ms: this.#deps.clock.monotonic() - start };
  }

  /** Database → world: what is due, what has to end, what can start. */
  async #sync(): Promise<void> {
    await this.#breath;
    this.#breath = this.#deps.clock.sleep(1);
    this.#wantsSync = false;
    const { store, clock } = this.#deps;
    this.#syncedAt = clock.now();
    await releaseDue(store, this.#syncedAt, 'supervisor');
    for (const line of await this.#guards.look(this.#syncedAt)) this.#options.log(line);
    for (const wanted of await turnsToEnd(store)) {
      const turn = this.#running.get(wanted.session_id);
      if (turn === undefined || turn.row.turn !== wanted.turn) continue;
      turn.row = { ...turn.row, end_cause: wanted.end_cause };
      this.#gates.interrupt(turn.key);
      this.#end(turn);
    }
    await this.#night.look(this.#syncedAt);
    await this.#worktrees.look((id) => this.#starting.has(id));
    await this.#dispatch();
  }

  /** Begins what there is room for. When every slot is taken nobody is tried but who has slots of its own. */
  async #dispatch(): Promise<void> {
    const { store, clock, home } = this.#deps;
    const free = Math.min(MAX_STARTS - this.#starting.size + this.#worktrees.preparing, this.#waiting.tries);
    if (free <= 0) return;
    // No repository allows more than the user, so none has room when the user's own slots are taken.
    const { max_live_sessions: slots } = await this.#deps.config_for(home);
    const room = slots - Math.max(await turnsInFlight(store), this.#running.size + this.#starting.size);
    const { shut } = this.#waiting;
    const only = ownDesks(home).filter((desk) => !shut.includes(desk));
    const known = this.#starting.size + this.#running.size + this.#waiting.size;
    const places = room > 0 ? { except: shut } : { only };
    const ids = await dispatchable(store, this.#syncedAt, free + known, places, this.#worktrees.full);
    const now = clock.monotonic();
    const isKnown = (id: string) => this.#starting.has(id) || this.#running.has(id) || this.#waiting.has(id, now);
    const fresh = ids.filter((id) => !isKnown(id));
    for (const id of fresh.slice(0, room > 0 ? Math.min(free, room) : free)) this.#begin(id);
  }

  #begin(session_id: string): void {
    this.#starting.add(session_id);
    this.#tasks.begin(session_id, async () => {
      // Without this, a session that has to wait would be tried again at once, for ever.
      let isWaiting = true;
      try {
        isWaiting = (await blaming(this.#deps, session_id, () => this.#start(session_id))) === 'wait';
      } catch (error) {
        const failure = passing(error);
        if (failure === null) throw error;
        // Not here and again: it would keep others from starting meanwhile. What was claimed is found by `#adoptAll`.
        this.#options.log(`${session_id}: ${failure.code}: ${failure.message}`);
      } finally {
        if (isWaiting) this.#waiting.add(session_id, this.#deps.clock.monotonic());
        else this.#waiting.remove(session_id);
        this.#starting.delete(session_id);
        this.ring();
      }
    });
  }

  async #start(session_id: string): Promise<'started' | 'failed' | 'wait' | 'full' | 'shut'> {
    const row = await getSession(this.#deps.store, session_id);
    if (row === null) return 'wait';
    const config = await this.#deps.config_for(row.repo_root);
    const isFull = this.#running.size >= slotsFor(this.#deps.home, row, config);
    if (isFull || this.disk.refuses(row.repo_root, config.limits.min_free_mb)) {
      this.#waiting.close(row.repo_root);
      return 'shut';
    }
    const prepared = await this.#worktrees.prepare(row);
    if (prepared !== 'ready') return prepared;
    const start = await startTurn(this.#deps, session_id, this.#options.lease_fence);
    if (start.started === null) return start.why === 'none' ? 'wait' : 'failed';
    await this.#follow(start.started);
    return 'started';
  }

  async #follow(started: StartedTurn): Promise<void> {
    const turn = await this.#register({ session: started.session, turn: started.turn });
    turn.identity = started.identity;
    turn.is_child = true;
    void started.exited.then(() => {
      turn.gone = true;
      this.#end(turn);
    });
  }

  async #register(open: OpenTurn): Promise<RunningTurn> {
    const turn = await followTurn(this.#deps, open, {
      onExit: (changed) => this.#end(changed),
      onStream: () => this.#news(),
      log: this.#options.log,
    });
    this.#running.set(turn.key, turn);
    this.#isDirty = true;
    return turn;
  }

  /** Ends a turn in the background, once: processes proven gone, stream read to its end, row settled. */
  #end(turn: RunningTurn): void {
    if (turn.phase === 'ending' || this.#running.get(turn.key) !== turn) return;
    turn.phase = 'ending';
    this.#tasks.begin(turn.key, async () => {
      const config = await this.#deps.config_for(turn.session.repo_root);
      const tree = await endTree(this.#deps, turn.row, config.turn.sigkill_delay_ms);
      await this.#intake.takeRest(turn);
      await this.#guards.budgets.spent([turn.session]);
      await afterRun(this.#deps, turn.session, this.#options.log);
      await this.#gates.settle(turn, tree);
      turn.close();
      this.#running.delete(turn.key);
      this.#waiting.freed();
      this.ring();
    });
  }

  /**
   * Takes over the turns in flight that nobody follows: those of the last supervisor (C-10), and those that a failure of
   * ours left between claim and launch, or between launch and following.
   */
  async #adoptAll(): Promise<void> {
    for (const open of await openTurns(this.#deps.store)) {
      const { id } = open.session;
      if (this.#running.has(id) || this.#starting.has(id)) continue;
      await this.#guard('adopt', () => blaming(this.#deps, id, () => this.#adopt(open)));
    }
  }

  async #adopt(open: OpenTurn): Promise<void> {
    const { session, turn: row } = open;
    if (isInFlight(session.state) && row.end_cause === null && (await wasNeverStarted(this.#deps.clock, row))) {
      this.#options.log(`${session.name} turn ${row.turn}: claimed but never started, starting it`);
      const start = await relaunchTurn(this.#deps, session, row);
      if (start.started !== null) await this.#follow(start.started);
      return;
    }
    const turn = await this.#register(open);
    const isDead = readExit(row.dir) !== null || isProcessGone(turn);
    this.#options.log(`${session.name} turn ${row.turn}: ${isDead ? 'ended while nobody watched' : 're-adopted'}`);
    if (isDead) turn.gone = true;
    if (isDead || row.end_cause !== null) this.#end(turn);
  }
}
