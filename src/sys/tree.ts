import { readFileSync } from 'node:fs';
import type { Clock } from '../model/clock.ts';
import { MARKER_VARIABLE } from '../model/marker.ts';
import { findGroup, killGroup, membersOf, removeGroup } from './cgroup.ts';
import { bootId, identityOf, type ProcessId, type ProcessStat, signal, startTime } from './identity.ts';
import { liveProcesses, nextProcesses, type SeenProcess } from './process-list.ts';

/**
 * All processes of a turn, and their end.
 *
 * A process belongs to the turn when its environment carries the turn's marker, or it is in the launcher's session or the
 * turn's control group, or its parent belongs (to a fixed point); once proven it stays proven, by pid + start time, after
 * its parent is gone. Where turns cannot have control groups, one thing gets through: a daemon that scrubs its
 * environment, leaves the session and loses its parents before the first look.
 */
export interface TurnProcesses {
  /** Value of `MARKER_VARIABLE`; null when there is none to look for. */
  marker: string | null;
  /** The leader of the turn's session. */
  launcher: ProcessId | null;
  /** When the launcher is known to have ended (`TurnExit.uptime_ms`): proves older members of its session. */
  launcher_end_uptime_ms?: number | null;
  /** The turn's control group as recorded at its start; believed only when its name was made of the marker. */
  group?: string | null;
  /** Processes proven by an earlier look. */
  known?: ProcessId[];
}

export interface KillOptions {
  clock: Clock;
  /** From the first signal to SIGKILL. Default 2000. */
  grace_ms?: number;
  /** Default SIGTERM. SIGKILL skips the grace. */
  first_signal?: NodeJS.Signals;
  /** How long the launcher, once alone, may take to record the exit status. Default 500; 0 = signal it like the rest. */
  spare_ms?: number;
}

export interface KillResult {
  /** Nothing of the turn is left, and nothing is left that might be its own. */
  proven_empty: boolean;
  /** Members we signalled that are gone. */
  killed: ProcessId[];
  /** Members that did not go, and processes in the launcher's session that could not be proven (never signalled). */
  survivors: ProcessId[];
}

const GRACE_MS = 2000;
const SPARE_MS = 500;
/** How long SIGKILL is repeated before we give up. */
const FORCE_MS = 5000;
const POLL_MS = [2, 5, 10, 20, 40] as const;
/** How many more looks are taken while a young process shows no environment. */
const BLANK_LOOKS = 8;
/** The kernel's unit of CPU times and start times: 1/100 s on every Linux. */
export const TICK_MS = 10;

/** The living processes of a turn, never ourselves. Errors: `unavailable` / `proc_missing` without /proc. */
export function treeOf(turn: TurnProcesses): ProcessId[] {
  return new TreeScan(turn).look().members;
}

/**
 * Ends a turn's processes: the first signal (and SIGCONT, for the stopped), then SIGKILL, each through a pidfd to a
 * proven process (I23), with a new look before every round until two looks in a row find nothing. The launcher comes
 * last, so that it can record how the harness ended. Gives up `grace_ms` + 5 s after the start and says who is left.
 */
export async function killTree(turn: TurnProcesses, options: KillOptions): Promise<KillResult> {
  const { clock, first_signal = 'SIGTERM', grace_ms = GRACE_MS, spare_ms = SPARE_MS } = options;
  const scan = new TreeScan(turn);
  const rounds = new Rounds(scan, first_signal, spare_ms);
  const start = clock.monotonic();
  const grace = first_signal === 'SIGKILL' ? 0 : grace_ms;
  let empty = 0;
  let blank = 0;
  for (let round = 0; ; round++) {
    const now = clock.monotonic();
    const left = await rounds.next(now, now - start >= grace);
    if (left.members.length > 0 || left.is_outrun) empty = 0;
    // A process in the middle of an exec shows no environment for a moment and could be one of ours.
    else if (left.blank > 0 && blank < BLANK_LOOKS) blank += 1;
    else empty += 1;
    if (empty === 2 || now - start > grace + FORCE_MS) {
      const survivors = [...left.members, ...left.unproven];
      const gone = (id: ProcessId) => !left.members.some((member) => key(member) === key(id));
      const proven_empty = survivors.length === 0 && !left.is_outrun;
      if (proven_empty) scan.forget();
      return { proven_empty, killed: rounds.signalled.filter(gone), survivors };
    }
    if (empty === 0)
      await clock.sleep(left.members.length === 0 ? 1 : (POLL_MS[Math.min(round, POLL_MS.length - 1)] ?? 0));
  }
}

/** One look and one round of signals at a time. */
class Rounds {
  readonly #scan: TreeScan;
  readonly #first: NodeJS.Signals;
  readonly #spareMs: number;
  readonly #signalled = new Map<string, ProcessId>();
  #aloneSince: number | null = null;

  constructor(scan: TreeScan, first: NodeJS.Signals, spareMs: number) {
    this.#scan = scan;
    this.#first = first;
    this.#spareMs = spareMs;
  }

  get signalled(): ProcessId[] {
    return [...this.#signalled.values()];
  }

  async next(now: number, force: boolean): Promise<Look> {
    const spared = (id: ProcessId) => this.#spareMs > 0 && this.#scan.isLauncher(id);
    // One stroke first: looking for what forks as fast as it can takes long, and it grows meanwhile.
    if (force) for (const id of this.#scan.killGroup(this.#spareMs > 0)) this.#signalled.set(key(id), id);
    // When forcing, a process is killed the moment it is seen: a chain of short-lived forks outruns a second pass.
    // Those known only by their parent are proven by this look, and fall at the next.
    const look = force
      ? this.#scan.look((id) => spared(id) || this.#send(id, 'SIGKILL'))
      : await this.#scan.lookWithOthers();
    const others = look.members.filter((id) => !spared(id));
    if (!force) for (const id of others) this.#ask(id);
    this.#aloneSince = others.length > 0 ? null : (this.#aloneSince ?? now);
    if (this.#aloneSince !== null && now - this.#aloneSince >= this.#spareMs) {
      for (const id of look.members) this.#send(id, 'SIGKILL');
    }
    return look;
  }

  /** The polite signal, once; a stopped process gets the chance to answer it. */
  #ask(id: ProcessId): void {
    if (this.#signalled.has(key(id))) return;
    this.#send(id, this.#first);
    this.#send(id, 'SIGCONT');
  }

  #send(id: ProcessId, name: NodeJS.Signals): void {
    if (signal(id, name)) this.#signalled.set(key(id), id);
  }
}

interface Look {
  members: ProcessId[];
  /** Processes of ours or of anybody, younger than the launcher, whose environment was empty. */
  blank: number;
  /** In the launcher's session by number, but the number may have been reused since the launcher ended. */
  unproven: ProcessId[];
  /** Somebody is in the turn's control group who was born while we looked. */
  is_outrun: boolean;
}

/** Looks at /proc again and again, and remembers what was proven before. */
class TreeScan {
  /** The marker as it stands in an environment, between NULs; null when there is none. */
  readonly #marked: string | null;
  readonly #proven: Set<string>;
  readonly #launcher: ProcessId | null;
  readonly #group: string | null;
  /** Ticks up to which the launcher is known to have lived, so that its session number was not reused. */
  #sessionUntil: number;

  constructor(turn: TurnProcesses) {
    const variable = Buffer.from(`\0${MARKER_VARIABLE}=${turn.marker}\0`).toString('latin1');
    this.#marked = turn.marker ? variable : null;
    this.#launcher = turn.launcher?.boot_id === bootId() ? turn.launcher : null;
    this.#proven = new Set((turn.known ?? []).filter((id) => id.boot_id === bootId()).map(key));
    this.#group = turn.marker === null ? null : findGroup(turn.marker, turn.group ?? null);
    this.#sessionUntil = (turn.launcher_end_uptime_ms ?? 0) / TICK_MS;
  }

  isLauncher(id: ProcessId): boolean {
    return this.#launcher !== null && key(id) === key(this.#launcher);
  }

  /** Ends whoever is in the control group and says who that was. */
  killGroup(isLauncherSpared: boolean): ProcessId[] {
    const isSpared = (id: ProcessId) => isLauncherSpared && this.isLauncher(id);
    const members = this.#group === null ? [] : membersOf(this.#group).flatMap((pid) => identityOf(pid) ?? []);
    const doomed = members.filter((id) => !isSpared(id));
    if (this.#group === null || doomed.length === 0) return [];
    return killGroup(this.#group, isLauncherSpared ? this.#launcher : null) ? doomed : [];
  }

  /** Nobody is left: the control group goes as well. */
  forget(): void {
    if (this.#group !== null) removeGroup(this.#group);
  }

  /** Together with all who look now: each sees what he would by himself. */
  async lookWithOthers(): Promise<Look> {
    return this.#judge(await nextProcesses(this.#lists));
  }

  /** `onDirect` is called at once for each member found by marker, by session or proven before. */
  look(onDirect?: (id: ProcessId) => void): Look {
    return this.#judge(liveProcesses(this.#lists), onDirect);
  }

  /** Of a control group the kernel says whether somebody was missed. */
  get #lists(): number {
    return this.#group === null ? MAX_LISTS : 1;
  }

  #judge(processes: Iterable<SeenProcess>, onDirect?: (id: ProcessId) => void): Look {
    const boot_id = bootId();
    const children = new Map<number, ProcessStat[]>();
    const seen = new Map<number, ProcessStat>();
    const members = new Map<string, ProcessStat>();
    const unproven: ProcessStat[] = [];
    let blank = 0;
    for (const { stat, marked: environment } of processes) {
      const { pid } = stat;
      append(children, stat.parent, stat);
      seen.set(pid, stat);
      const inSession = this.#inSession(stat);
      const marked = inSession === 'yes' || this.#proven.has(key(stat)) ? 'yes' : this.#isMarked(environment);
      if (marked === 'blank' && this.#isYounger(stat)) blank += 1;
      if (marked === 'yes') {
        members.set(key(stat), stat);
        onDirect?.({ pid, start_time: stat.start_time, boot_id });
      } else if (inSession === 'maybe') unproven.push(stat);
    }
    // Read after the start times above: a pid that was given to somebody else in between carries another one.
    const group = this.#group === null ? [] : membersOf(this.#group);
    for (const stat of group.flatMap((pid) => seen.get(pid) ?? [])) members.set(key(stat), stat);
    addDescendants(members, children);
    for (const id of members.keys()) this.#proven.add(id);
    const identify = ({ pid, start_time }: ProcessStat) => ({ pid, start_time, boot_id });
    return {
      members: [...members.values()].map(identify),
      blank,
      is_outrun: group.some((pid) => !seen.has(pid)),
      unproven: unproven.filter((stat) => !members.has(key(stat))).map(identify),
    };
  }

  /**
   * A session's number is its leader's pid. While the leader lives, the number is its own; later only what started in
   * the leader's lifetime is proven: the number may have been given to somebody else since.
   */
  #inSession(stat: ProcessStat): 'yes' | 'maybe' | 'no' {
    const launcher = this.#launcher;
    if (launcher === null || stat.session !== launcher.pid) return 'no';
    const now = uptimeMs() / TICK_MS;
    if (startTime(launcher.pid) === launcher.start_time) {
      this.#sessionUntil = now;
      return 'yes';
    }
    const started = Number(stat.start_time);
    if (started < Number(launcher.start_time)) return 'no';
    return started <= this.#sessionUntil ? 'yes' : 'maybe';
  }

  #isYounger(stat: ProcessStat): boolean {
    return this.#launcher === null || Number(stat.start_time) >= Number(this.#launcher.start_time);
  }

  #isMarked(marked: SeenProcess['marked']): 'yes' | 'no' | 'blank' {
    if (this.#marked === null || marked === null) return 'no';
    return marked === 'blank' ? 'blank' : marked.includes(this.#marked) ? 'yes' : 'no';
  }
}

/** Adds children of members, and theirs. */
function addDescendants(members: Map<string, ProcessStat>, children: Map<number, ProcessStat[]>): void {
  const todo = [...members.values()];
  for (let parent = todo.pop(); parent !== undefined; parent = todo.pop()) {
    for (const child of children.get(parent.pid) ?? []) {
      if (members.has(key(child))) continue;
      members.set(key(child), child);
      todo.push(child);
    }
  }
}

function append(map: Map<number, ProcessStat[]>, at: number, stat: ProcessStat): void {
  const list = map.get(at);
  if (list) list.push(stat);
  else map.set(at, [stat]);
}

/** More lists than this in one look are not taken, however fast new processes come. */
const MAX_LISTS = 40;

/** Time since boot in ms, by the clock of process start times and of `TurnExit.uptime_ms`; steps of 10 ms. */
export function uptimeMs(): number {
  return Math.round(Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * 1000);
}

function key(id: { pid: number; start_time: string }): string {
  return `${id.pid}:${id.start_time}`;
}
