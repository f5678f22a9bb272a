import { checkoutOf } from '../git/common-dir.ts';
import { workFacts } from '../git/facts.ts';
import { isToolless } from '../harness/argv.ts';
import { findHarness } from '../harness/registry.ts';
import { neutralise } from '../harness/untrusted.ts';
import { AppError } from '../model/error.ts';
import type { Harness, HarnessCommand, McpServer, TurnSpec } from '../model/harness.ts';
import { homePaths } from '../model/home.ts';
import { newSecret } from '../model/id.ts';
import { type Role, terminalMailOf } from '../model/role.ts';
import type { SessionRow } from '../model/session.ts';
import { fillTemplate } from '../model/template.ts';
import type { TurnRow } from '../model/turn.ts';
import { getSession } from '../store/session.ts';
import { abortTurn } from '../store/settle.ts';
import { type Claim, claimedInput, claimTurn, recordLaunch, refreshToken } from '../store/turn.ts';
import { startOfDay } from '../sys/day.ts';
import { makeAhead, privateDir, syncFile, writePrivate } from '../sys/files.ts';
import type { ProcessId } from '../sys/identity.ts';
import { holdTurn, type LaunchedTurn, launchTurn, prepareTurn, type TurnLaunch } from '../sys/launch.ts';
import { takeSpare } from '../sys/spare.ts';
import { turnFiles } from '../sys/turn-files.ts';
import { composePrompt } from './brief.ts';
import { template } from './control.ts';
import type { Deps } from './deps.ts';
import { turnEnvironment } from './environment.ts';
import { hashToken } from './identity.ts';
import { launchProfile } from './launch-profile.ts';
import { slotsFor } from './own-desks.ts';
import { reservedByOthers } from './reserved-paths.ts';
import { loadRole } from './roles.ts';
import { refuseUnsafe } from './safety.ts';

/** A turn whose process runs. */
export interface StartedTurn {
  session: SessionRow;
  turn: TurnRow;
  identity: ProcessId;
  /** Resolves when the launcher is gone; only for turns this process started. */
  exited: Promise<void>;
}

/** What became of an attempt to start a turn: `none` could not be claimed now, `failed` is recorded on the session. */
export type Start = { started: StartedTurn } | { started: null; why: 'none' | 'failed' };

const NOT_NOW: Start = { started: null, why: 'none' };

/** Claims the next turn and starts its process (ARCHITECTURE §5 turn, CX-34). */
export async function startTurn(deps: Deps, session_id: string, lease_fence: number): Promise<Start> {
  const row = await getSession(deps.store, session_id);
  if (row === null) return NOT_NOW;
  const config = await deps.config_for(row.repo_root);
  const token = newSecret();
  const dir_of = (turn: number) => homePaths.turn(deps.home, session_id, turn);
  // Empty, it says nothing, whether or not the turn is claimed.
  const isMade = row.turn === 0 && takeSpare(homePaths.spares(deps.home), homePaths.session(deps.home, session_id));
  const made = isMade ? null : makeAhead(dir_of(row.turn + 1));
  const now = deps.clock.now();
  const claim = await claimTurn(deps.store, {
    session_id,
    lease_fence,
    marker: newSecret(),
    dir_of,
    token_hash: hashToken(token),
    max_in_flight: slotsFor(deps.home, row, config),
    now,
    day: startOfDay(now),
  });
  const start = claim === null ? NOT_NOW : await launchClaimed(deps, claim, token, onDisk(deps.home));
  await made;
  return start;
}

/**
 * Resolves once what was written until now survives a power cut. Rejects with `unavailable` / `store_io`: then nothing
 * may run, and the claim is found by whoever looks for turns that were never started.
 */
async function onDisk(home: string): Promise<void> {
  try {
    await syncFile(homePaths.databaseLog(home));
  } catch (error) {
    throw new AppError('unavailable', 'store_io', `The disk did not take what was written: ${error}`, {
      hint: 'Check the disk; nothing was started.',
    });
  }
}

/** Starts a turn that was claimed but whose process was never started (a crash in between). Same turn, same mail. */
export async function relaunchTurn(deps: Deps, session: SessionRow, turn: TurnRow): Promise<Start> {
  const token = newSecret();
  await refreshToken(deps.store, session.id, hashToken(token));
  const input = await claimedInput(deps.store, session.id, turn.turn);
  return launchClaimed(deps, { session, turn, ...input }, token, Promise.resolve());
}

async function launchClaimed(deps: Deps, claim: Claim, token: string, durable: Promise<void>): Promise<Start> {
  let launched: Launched;
  try {
    launched = await launch(deps, claim, token, durable);
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug' || error.code === 'store_io') throw error;
    await abortTurn(deps.store, {
      session_id: claim.session.id,
      turn: claim.turn.turn,
      reason: `spawn_error: ${error.message}`,
      now: deps.clock.now(),
    });
    return { started: null, why: 'failed' };
  }
  const { identity, exited, command, goes_on } = launched;
  // Between two turns nobody waits, and the next one starts with a mail that somebody waits for.
  if (goes_on) void exited.then(() => prepareTurn(homePaths.turn(deps.home, claim.session.id, claim.turn.turn + 1)));
  await record(deps, claim, identity, command);
  return { started: { session: claim.session, turn: claim.turn, identity, exited } };
}

/**
 * From here on there is a process, which the turn directory names as well: a busy store must not disown it, nor a full
 * disk that has no room for what people may want to read.
 */
async function record(deps: Deps, { session, turn }: Claim, identity: ProcessId, command: () => string): Promise<void> {
  try {
    await recordLaunch(deps.store, {
      session_id: session.id,
      turn: turn.turn,
      pid: identity.pid,
      pid_start_time: identity.start_time,
      boot_id: identity.boot_id,
    });
    writePrivate(turnFiles(turn.dir).command, command());
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
  }
}

interface Launched extends LaunchedTurn {
  /** Makes the text of `command.json`. */
  command: () => string;
  /** Another turn is likely: the session stays when its work is done, or has had one after another before. */
  goes_on: boolean;
}

/** All that a start does is done while the claim goes to the disk, but for the word that lets the harness run. */
async function launch(deps: Deps, claim: Claim, token: string, durable: Promise<void>): Promise<Launched> {
  // Awaited below; what goes wrong before that is told first.
  durable.catch(() => undefined);
  const { wanted, command, goes_on } = await prepared(deps, claim, token);
  const held = holdTurn(wanted);
  try {
    await durable;
    // Killed while it waited, it has run nothing.
    const launched = held.run() ?? launchTurn(wanted);
    return { ...launched, command, goes_on };
  } finally {
    held.drop();
  }
}

interface Prepared extends Pick<Launched, 'command' | 'goes_on'> {
  wanted: TurnLaunch;
}

/** Writes what the process will find in the turn's directory. */
async function prepared(deps: Deps, claim: Claim, token: string): Promise<Prepared> {
  const { session, turn } = claim;
  const config = await deps.config_for(session.repo_root);
  const harness = findHarness(session.harness, config.harness_runners);
  const role = loadRole(deps, session.role);
  const root = checkoutOf(session.working_dir)?.root ?? session.working_dir;
  refuseUnsafe(harness, config, { dir: session.working_dir, root, main_root: session.repo_root });
  privateDir(turn.dir);
  const files = turnFiles(turn.dir);
  const prompt = await promptOf(deps, claim, harness, role);
  const spec = specOf(deps, session, turn, { prompt, token, role });
  const command = harness.command(spec);
  // Nobody reads these before the process does, and a start that was cut off writes them anew: no rename is needed.
  writePrivate(files.prompt, prompt);
  for (const [name, content] of Object.entries(command.files)) writePrivate(`${turn.dir}/${name}`, content);
  const env = turnEnvironment(deps, { session, turn, harness, role, token, added: command.env });
  const stdin_path = command.stdin === prompt ? files.prompt : `${turn.dir}/stdin`;
  if (command.stdin !== prompt) writePrivate(stdin_path, command.stdin);
  const { program, args } = command;
  return {
    wanted: { dir: turn.dir, program, args, cwd: session.working_dir, env, stdin_path, marker: turn.marker },
    command: () => commandRecord(command, session, env),
    goes_on: role.is_persistent || turn.turn > 1,
  };
}

/** What was started, for people and for replays: names of variables, never their values. */
function commandRecord(command: HarnessCommand, session: SessionRow, env: Record<string, string>): string {
  const record = {
    program: command.program,
    args: command.args,
    cwd: session.working_dir,
    env: Object.keys(env).sort(),
  };
  return `${JSON.stringify(record, null, 2)}\n`;
}

function specOf(
  deps: Deps,
  session: SessionRow,
  turn: TurnRow,
  { prompt, token, role }: { prompt: string; token: string; role: Role },
): TurnSpec {
  const checkout = checkoutOf(session.working_dir);
  const tools = role.tools.filter((tool) => !tool.startsWith('mcp__'));
  const mcp: McpServer = {
    name: 'drover',
    command: `${deps.package_dir}/bin/drover`,
    args: ['mcp'],
    env: { DROVER_HOME: deps.home, DROVER_TOKEN: token, DROVER_SESSION_ID: session.id },
  };
  return {
    session_id: session.id,
    session_name: session.name,
    turn: turn.turn,
    prompt,
    prompt_path: turnFiles(turn.dir).prompt,
    turn_dir: turn.dir,
    cwd: session.working_dir,
    git_common_dir: checkout?.common_dir ?? null,
    git_dir: checkout?.git_dir ?? null,
    profile: launchProfile(session, role),
    tools,
    model: session.model,
    native_session_id: session.native_session_id,
    max_turns: session.max_turns,
    mcp: isToolless({ tools }) ? null : mcp,
    home: deps.env.HOME ?? '',
  };
}

async function promptOf(deps: Deps, claim: Claim, harness: Harness, role: Role): Promise<string> {
  const { session } = claim;
  const parent = session.parent_id === null ? null : await getSession(deps.store, session.parent_id);
  const neutral = (text: string) => neutralise(text, harness.bits.at_mentions);
  const profile = launchProfile(session, role);
  return composePrompt({
    session,
    role,
    mails: claim.mails,
    notifications: claim.notifications,
    rules: rulesOf(deps, session, role, parent?.name ?? null),
    interruption: await interruptionOf(deps, session),
    reserved: await reservedByOthers(deps, session),
    task_text: (task) => harness.task_text(task, profile),
    neutralise: neutral,
  });
}

/** How to report, by the session's contract. */
function rulesOf(deps: Deps, session: SessionRow, role: Role, parent: string | null): string {
  const terminal = terminalMailOf(role, parent !== null);
  return fillTemplate(template(deps, 'brief'), {
    name: session.name,
    parent: parent ?? 'operator',
    contract: contractHint(deps, terminal, parent),
  });
}

/** One sentence: what must be sent before the work counts as done. */
export function contractHint(
  deps: Pick<Deps, 'package_dir'>,
  terminal: readonly string[],
  parent: string | null,
): string {
  if (terminal.length === 0) return 'Your work is done when you end your turn; your last message is your report.';
  return fillTemplate(template(deps, 'reminder'), {
    types: terminal.join(' or '),
    type: terminal[0] ?? 'worker_done',
    parent: parent ?? 'operator',
  }).trim();
}

/** Why the turn before was ended, what is committed and what is not; null when nothing interrupted it. */
async function interruptionOf(deps: Deps, session: SessionRow): Promise<string | null> {
  if (session.interrupt_reason === null) return null;
  const facts = await workFacts(session.working_dir, session.base_commit);
  const list = (lines: readonly string[]) =>
    lines.length === 0 ? '(nothing)' : lines.map((line) => `- ${line}`).join('\n');
  return fillTemplate(template(deps, 'interruption'), {
    reason: session.interrupt_reason,
    branch: facts?.branch ?? '(no branch)',
    commits: list(facts?.commits.map((commit) => `${commit.id.slice(0, 10)} ${commit.subject}`) ?? []),
    dirty: list(facts?.dirty ?? []),
    in_progress: facts?.in_progress ?? 'none',
  });
}
