import { lookAtWorktree } from '../git/look.ts';
import { AppError } from '../model/error.ts';
import type { GateFinding } from '../model/gate-run.ts';
import { parseCommandMarker } from '../model/marker.ts';
import type { SessionRow } from '../model/session.ts';
import type { TurnRow } from '../model/turn.ts';
import { beginGate, leaveGate, noteUntrustedGate } from '../store/gate-run.ts';
import { isDirectory } from '../sys/directory.ts';
import { writePrivate } from '../sys/files.ts';
import { readGateMarker, turnFiles } from '../sys/turn-files.ts';
import type { Deps } from './deps.ts';
import { endProcesses, type GateVerdict, runGates } from './gate.ts';
import { newCommandMarker } from './identity.ts';

/** What has to pass before a session is completed. */
export interface TurnGate {
  commands: readonly string[];
  cwd: string;
  /** For all of them together. */
  timeout_ms: number;
  /** So many red ones in a row hold the session. */
  max_rounds: number;
}

/** False: no turn of this session is ever judged. Costs nothing. */
export async function mayHaveGate(deps: Deps, session: SessionRow): Promise<boolean> {
  const { gate, untrusted_keys } = await deps.config_for(session.repo_root);
  if (ownCommands(session).length > 0) return true;
  return session.worktree_path !== null && (gate.commands.length > 0 || isBarred(untrusted_keys));
}

function isBarred(untrusted_keys: readonly string[] | undefined): boolean {
  return untrusted_keys?.includes('gate.commands') === true;
}

/**
 * The gate of a session that says it is done, or null. Its own is the word of whoever slung it and judges it wherever it
 * works; the repository's judges only what a session has changed in a worktree of its own: in the person's checkout nobody
 * can say whose fault a red one is, and who changed nothing has broken nothing.
 */
export async function gateOf(deps: Deps, session: SessionRow): Promise<TurnGate | null> {
  const { gate, untrusted_keys } = await deps.config_for(session.repo_root);
  const { worktree_path: root, working_dir } = session;
  const { timeout_ms, max_rounds } = gate;
  const own = ownCommands(session);
  if (own.length > 0) return { commands: own, cwd: root ?? working_dir, timeout_ms, max_rounds };
  if (root === null || !(await mayHaveGate(deps, session)) || !(await hasWork(session, root))) return null;
  if (isBarred(untrusted_keys))
    await noteUntrustedGate(deps.store, session, trustHint(session.repo_root), deps.clock.now());
  return gate.commands.length === 0 ? null : { commands: gate.commands, cwd: root, timeout_ms, max_rounds };
}

/** None also when somebody has written something else there. */
function ownCommands({ gate_json }: Pick<SessionRow, 'gate_json'>): string[] {
  try {
    const value: unknown = JSON.parse(gate_json ?? '[]');
    return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}

/** Of a worktree that git cannot tell about nobody knows that nothing was changed. */
async function hasWork({ repo_root, branch, base_commit }: SessionRow, path: string): Promise<boolean> {
  if (branch === null || base_commit === null) return true;
  try {
    const { head, dirty } = await lookAtWorktree({ repo_root, path, branch });
    return head !== base_commit || dirty.length > 0;
  } catch (error) {
    if (error instanceof AppError && error.kind !== 'bug') return true;
    throw error;
  }
}

function trustHint(repo_root: string): string {
  return `${repo_root}/.drover/config.yaml names gates; they are run when ${repo_root} is in trusted_repositories of your own config`;
}

/**
 * Runs a gate on what a turn has left. Whoever comes after our death finds its processes by a file in the turn's directory
 * (`endGate`). One that ends whoever runs it, again and again, is red without another run. `null`: it was interrupted, which says nothing about the work, or the turn is over. Errors: those of `runGates`.
 */
export async function judgeTurn(
  deps: Deps,
  turn: Pick<TurnRow, 'session_id' | 'turn' | 'dir'>,
  gate: TurnGate,
  signal: AbortSignal,
): Promise<GateFinding | null> {
  await endGate(deps, turn);
  const key = { session_id: turn.session_id, turn: turn.turn };
  const started_at = deps.clock.now();
  const cut = await beginGate(deps.store, key, started_at);
  if (cut === 0) return null;
  try {
    const { verdict, ...said } = cut > MOST_CUT ? deadly(gate) : await runIn(deps, turn, gate, signal);
    return verdict === 'interrupted' ? null : { ...said, verdict, started_at, ended_at: deps.clock.now() };
  } finally {
    await leaveGate(deps.store, key);
  }
}

/** So many supervisors may end while a gate of one turn runs: one that is killed by chance is no reason to say no. */
const MOST_CUT = 3;

async function runIn(deps: Deps, turn: Pick<TurnRow, 'dir'>, gate: TurnGate, signal: AbortSignal) {
  const { gate_log: log, gate_marker } = turnFiles(turn.dir);
  const { commands, cwd, timeout_ms } = gate;
  if (!isDirectory(cwd)) return red(gate, `there is no directory ${cwd} any more`);
  const marker = await newCommandMarker(deps, 'gate');
  writePrivate(gate_marker, marker);
  return runGates(deps, { commands, cwd, timeout_ms, log, marker, signal });
}

function deadly(gate: TurnGate): GateVerdict {
  return red(gate, `it was begun ${MOST_CUT} times, and each time the supervisor that ran it was killed meanwhile`);
}

function red({ commands }: TurnGate, reason: string): GateVerdict {
  return { verdict: 'red', command: commands[0] ?? null, reason, output: '' };
}

/** Ends what is left of a gate that judged this turn before: its supervisor may have died. */
export async function endGate(deps: Pick<Deps, 'clock'>, turn: Pick<TurnRow, 'dir'>): Promise<void> {
  const marker = readGateMarker(turn.dir);
  // Agents can write there as well: only what looks like a gate's is believed.
  if (marker !== null && parseCommandMarker(marker)?.kind === 'gate') await endProcesses(deps, marker);
}
