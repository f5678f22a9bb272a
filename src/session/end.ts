import { findHarness } from '../harness/registry.ts';
import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import type { Harness } from '../model/harness.ts';
import { terminalMailOf } from '../model/role.ts';
import type { SessionRow } from '../model/session.ts';
import type { TurnRow } from '../model/turn.ts';
import type { Judged } from '../store/gate-run.ts';
import { getSession } from '../store/session.ts';
import { endSession, type Settled, type SettleInput, settleTurn, settleUnlessDone } from '../store/settle.ts';
import type { VerdictDraft } from '../store/verdict.ts';
import { fileSize } from '../sys/directory.ts';
import { tailBytes } from '../sys/files.ts';
import { readExit, turnFiles } from '../sys/turn-files.ts';
import type { Deps } from './deps.ts';
import type { TreeEnd } from './end-tree.ts';
import { loadRole } from './roles.ts';
import { contractHint } from './turn.ts';

const STDERR_TAIL = 16 * 1024;

/**
 * Settles a turn whose process is gone or has just been ended: reads the exit status, asks the adapter, and writes the
 * outcome (MODEL §2.6), unless it would complete the session: then nothing is written, and its gate has to be asked. The
 * stream must be ingested to its end before, and what the turn changed be noted. `null`: settled by somebody else.
 */
export async function settleUnlessGated(deps: Deps, ended: EndedTurn): Promise<Settled | 'needs_gate' | null> {
  return settleUnlessDone(deps.store, await settlementOf(deps, ended));
}

/** The same once its gate has spoken; null: it has none. */
export async function settleJudged(deps: Deps, ended: EndedTurn, gate: Judged | null): Promise<Settled | null> {
  return settleTurn(deps.store, { ...(await settlementOf(deps, ended)), gate });
}

/** A turn without a process. */
export interface EndedTurn {
  session: SessionRow;
  turn: TurnRow;
  tree: TreeEnd;
}

async function settlementOf(deps: Deps, { session, turn, tree }: EndedTurn): Promise<SettleInput> {
  const config = await deps.config_for(session.repo_root);
  const role = loadRole(deps, session.role);
  const parent = session.parent_id === null ? null : await getSession(deps.store, session.parent_id);
  const terminal = terminalMailOf(role, session.parent_id !== null);
  const exit = readExit(turn.dir);
  const now = deps.clock.now();
  const harness = knownHarness(() => findHarness(session.harness, config.harness_runners));
  return {
    session_id: session.id,
    turn: turn.turn,
    exit,
    tree_empty: tree.proven_empty,
    survivors: tree.survivors.length,
    leftovers: tree.leftovers,
    loss: exit === null && tree.killed.length > 0 ? lossOf({ session, turn, tree, harness, config, now }) : null,
    exit_events:
      harness?.at_exit({ code: exit?.code ?? null, signal: exit?.signal ?? null, stderr_tail: stderrTail(turn) }) ?? [],
    has_contract: terminal.length > 0,
    is_persistent: role.is_persistent,
    contract_hint: contractHint(deps, terminal, parent?.name ?? null),
    max_attempts: config.turn.max_attempts,
    backoff_ms: config.turn.backoff_ms,
    backoff_cap_ms: config.turn.backoff_cap_ms,
    limits: config.limits,
    random: Math.random(),
    now,
  };
}

interface Loss {
  session: SessionRow;
  turn: TurnRow;
  tree: TreeEnd;
  harness: Harness | null;
  config: Config;
  now: number;
}

/**
 * The record of an end that no timer and no watchdog decided: the process vanished without a status, and what it had
 * started was still there and was ended. The facts are those of the turn's timers, and how many processes it took.
 */
function lossOf({ session, turn, tree, harness, config, now }: Loss): VerdictDraft {
  const { stdout, stderr } = turnFiles(turn.dir);
  const { started_at, first_event_at, last_event_at, result_at, tools_open, end_cause } = turn;
  const facts = {
    ...{ process: 'gone', started_at, first_event_at, last_event_at, result_at, tools_open, end_cause },
    timeout_ms: session.timeout_ms,
    early_first_event: harness?.bits.early_first_event ?? false,
    log_bytes: fileSize(stdout) + fileSize(stderr),
    ...{ awake_since: 0, killed: tree.killed.length, survivors: tree.survivors.length },
  };
  const left = tree.killed.length === 1 ? 'one process' : `${tree.killed.length} processes`;
  return {
    ...{ session_id: session.id, turn: turn.turn, judged_by: 'supervisor', tier: 0, health: 'dead', cause: null },
    ...{ act: 'end', level: 0, evidence: `it vanished without an exit status; ${left} it had started had to be ended` },
    ...{ facts_json: JSON.stringify(facts), limits_json: JSON.stringify({ turn: config.turn }), at: now },
  };
}

/** Ends a session that cannot go on for a reason outside of its turns; an open turn is marked to be ended. */
export async function failSession(deps: Deps, row: SessionRow, reason: string): Promise<void> {
  await endSession(deps.store, {
    session_id: row.id,
    event: 'fail',
    actor: 'supervisor',
    reason,
    fence: row.turn,
    died: true,
    now: deps.clock.now(),
  });
}

/** A custom harness may have left the config while its turn ran; the turn is settled without its adapter then. */
export function knownHarness(find: () => Harness): Harness | null {
  try {
    return find();
  } catch (error) {
    if (error instanceof AppError) return null;
    throw error;
  }
}

/** '' also when the harness has closed the file to us: that must not keep its turn from being settled. */
function stderrTail(turn: TurnRow): string {
  try {
    return tailBytes(turnFiles(turn.dir).stderr, STDERR_TAIL).toString('utf8');
  } catch (error) {
    if (error instanceof AppError && (error.kind === 'refused' || error.kind === 'failed')) return '';
    throw error;
  }
}
