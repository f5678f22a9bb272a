import type { Command } from 'commander';
import { homePaths } from '../../model/home.ts';
import type { SessionState } from '../../model/session.ts';
import { launcherOf } from '../../session/end-tree.ts';
import { standingHalt } from '../../store/halted.ts';
import { type OpenTurn, openTurns } from '../../store/turn.ts';
import { lastTick } from '../../store/verdict.ts';
import { ring } from '../../supervisor/ensure.ts';
import { systemClock } from '../../sys/clock.ts';
import { isFlocked } from '../../sys/flock.ts';
import { processStat } from '../../sys/identity.ts';
import { residentBytes } from '../../sys/memory.ts';
import { readPidLock } from '../../sys/pid-file.ts';
import { sampleTrees, type TreeSample } from '../../sys/sample.ts';
import { treeOf } from '../../sys/tree.ts';
import { readExit } from '../../sys/turn-files.ts';
import type { Context } from '../context.ts';
import { age, megabytes, paint, printJson, safe, table } from '../output.ts';
import { haltLine } from '../render-halt.ts';
import { paintState } from '../render-session.ts';
import { examples, type Verb } from '../verb.ts';
import { type WatchdogFacts, watchdogLine, watchdogOf } from '../watchdog-facts.ts';

/** `state`: `silent` holds the lock but does not answer in time. */
interface SupervisorFacts {
  state: 'up' | 'silent' | 'down';
  pid: number | null;
  version: string | null;
  rss_bytes: number;
  /** No new turn starts: the disk of the home has less than `limits.min_free_mb`. */
  disk_low: boolean;
  log: string;
}

interface TurnProcess {
  session_id: string;
  name: string;
  state: SessionState;
  turn: number;
  launcher_pid: number | null;
  harness_pids: number[];
  processes: number;
  rss_bytes: number;
  /** Largest that the watchdog has seen, and what it uses now if that is more. */
  peak_memory_bytes: number;
  cpu_ms: number;
  started_at: number;
  end_cause: string | null;
}

export const verb: Verb = {
  configure(command: Command, context: Context) {
    command.action(() => run(context));
    examples(command, ['drover ps', 'drover ps --json']);
    command.addHelpText(
      'after',
      '\nEvery repository of this home. It only looks.\n\nExit codes: 0, also when nothing runs.',
    );
  },
};

async function run(context: Context): Promise<void> {
  const store = await context.reader();
  const supervisor = await supervisorOf(context.home);
  const open = store === null ? [] : await openTurns(store);
  const samples = sampleTrees(open.flatMap(({ turn }) => launcherOf(turn) ?? []));
  const turns = open.map((one) => processesOf(one, samples));
  const now = systemClock.now();
  const watchdog = watchdogOf(context.home, store === null ? null : await lastTick(store), now);
  const halt = store === null ? null : await standingHalt(store);
  if (context.globals.json) return printJson({ halt, supervisor, watchdog, turns });
  if (halt !== null) console.log(haltLine(halt, now));
  console.log(render(supervisor, watchdog, turns, now));
}

async function supervisorOf(home: string): Promise<SupervisorFacts> {
  const path = homePaths.lock(home, 'supervisor');
  const log = homePaths.log(home, 'supervisor');
  if (!isFlocked(path)) return { state: 'down', pid: null, version: null, rss_bytes: 0, disk_low: false, log };
  const reply = await ring(home, 'status');
  const answer = reply === null ? {} : (JSON.parse(reply) as { pid?: number; version?: string; disk_low?: boolean });
  const pid = answer.pid ?? readPidLock(path)?.pid ?? null;
  return {
    state: reply === null ? 'silent' : 'up',
    pid,
    version: answer.version ?? null,
    rss_bytes: pid === null ? 0 : residentBytes(pid),
    disk_low: answer.disk_low ?? false,
    log,
  };
}

/** The launcher's children are the harness; everything the turn has started counts for size and memory. */
function processesOf({ session, turn }: OpenTurn, samples: ReadonlyMap<number, TreeSample>): TurnProcess {
  const launcher = launcherOf(turn);
  const tree = treeOf({ marker: turn.marker, launcher, launcher_end_uptime_ms: readExit(turn.dir)?.uptime_ms ?? null });
  const rss_bytes = tree.reduce((sum, { pid }) => sum + residentBytes(pid), 0);
  const isHarness = (pid: number) => launcher !== null && processStat(pid)?.parent === launcher.pid;
  return {
    session_id: session.id,
    name: session.name,
    state: session.state,
    turn: turn.turn,
    launcher_pid: launcher?.pid ?? null,
    harness_pids: tree.map(({ pid }) => pid).filter(isHarness),
    processes: tree.length,
    rss_bytes,
    peak_memory_bytes: Math.max(turn.peak_memory_bytes, rss_bytes),
    cpu_ms: Math.max(turn.cpu_ms, samples.get(launcher?.pid ?? 0)?.cpu_ms ?? 0),
    started_at: turn.started_at,
    end_cause: turn.end_cause,
  };
}

function render(
  supervisor: SupervisorFacts,
  watchdog: WatchdogFacts,
  turns: readonly TurnProcess[],
  now: number,
): string {
  const head = `${supervisorLine(supervisor, turns.length)}\n${watchdogLine(watchdog, now)}`;
  if (turns.length === 0) return `${head}\nno turn is in flight`;
  const header = ['NAME', 'STATE', 'TURN', 'LAUNCHER', 'HARNESS', 'PROCESSES', 'MEMORY', 'PEAK', 'CPU', 'AGE', ''].map(
    (cell) => paint('dim', cell),
  );
  const rows = turns.map((turn) => [
    paint('bold', safe(turn.name)),
    paintState(turn.state),
    String(turn.turn),
    turn.launcher_pid === null ? '-' : String(turn.launcher_pid),
    turn.harness_pids.join(',') || '-',
    String(turn.processes),
    megabytes(turn.rss_bytes),
    megabytes(turn.peak_memory_bytes),
    age(turn.cpu_ms),
    age(now - turn.started_at),
    turn.end_cause === null ? '' : `being ended: ${turn.end_cause}`,
  ]);
  return `${head}\n\n${table([header, ...rows])}`;
}

function supervisorLine({ state, pid, version, rss_bytes, disk_low, log }: SupervisorFacts, turns: number): string {
  if (state === 'down')
    return `supervisor: none is up${turns > 0 ? paint('yellow', '; `drover up` starts one, which adopts the turns below') : ''}`;
  if (state === 'silent')
    return paint(
      'yellow',
      `supervisor: pid ${pid ?? '?'} holds the lock but does not answer; \`drover down\` ends it, see ${log}`,
    );
  const low = disk_low ? paint('yellow', '\ndisk low: no new turn starts, see limits.min_free_mb') : '';
  return `supervisor: pid ${pid}, version ${version ?? '?'}, ${megabytes(rss_bytes)}, log ${log}${low}`;
}
