import type { GateRunRow } from '../model/gate-run.ts';
import type { DecisionRow, FileActivityRow, IncidentRow } from '../model/incident.ts';
import type { MailRow } from '../model/mail.ts';
import type { MergeRow } from '../model/merge.ts';
import type { PoolRow } from '../model/pool.ts';
import { profileOf, type SessionRow } from '../model/session.ts';
import type { TurnRow } from '../model/turn.ts';
import type { VerdictRow } from '../model/verdict.ts';
import type { WorktreeWait } from '../session/worktree-wait.ts';
import type { StateLogRow } from '../store/event.ts';
import { age, clip, dollars, instantText, megabytes, paint, safe, table, tokens } from './output.ts';
import { poolText } from './render-pool.ts';
import { describe, gateText, paintState, reason, waitText } from './render-session.ts';

/** Everything the store knows of one session. */
export interface SessionFacts {
  session: SessionRow;
  turns: TurnRow[];
  mail: ShownMail[];
  state_log: StateLogRow[];
  verdicts: VerdictRow[];
  /** What gates said of its turns. */
  gate_runs: GateRunRow[];
  /** What keeps its finished work out of its target; null: nothing, or nobody has tried since its end. */
  merge_held: MergeRow | null;
  /** Files that it and another session changed, and what was decided about it. */
  incidents: IncidentRow[];
  decisions: DecisionRow[];
  /** The newest things it did to files; for `--json`. */
  activity: FileActivityRow[];
  children: SessionRow[];
  parent: SessionRow | null;
  /** The credential it shares; null while nobody has said anything of it. */
  pool: PoolRow | null;
  /** Its place in the line for a worktree; null when it does not wait for one. */
  worktree_wait: WorktreeWait | null;
  /** The directory of its turns; null when it is gone or was never made. */
  files: string | null;
}

/** `state` as `mailState` tells it. */
export type ShownMail = MailRow & { direction: 'in' | 'out'; state: string };

const SHOWN_CHILDREN = 5;
const SHOWN_ROWS = 30;

/** One session for people: its fields in the order of E-169, then turns, mail and states (E-167). */
export function renderShow(facts: SessionFacts, now: number): string {
  const blocks = [
    table(fields(facts, now)),
    turnBlock(facts.turns, now),
    mailBlock(facts.mail, now),
    stateBlock(facts.state_log, now),
    gateBlock(facts.gate_runs, now),
    mergeBlock(facts.merge_held),
    verdictBlock(facts.verdicts, now),
    incidentBlock(facts, now),
  ];
  const result = facts.session.result_text;
  if (result) blocks.push(`${heading('RESULT')}\n${result.split('\n').map(safe).join('\n')}`);
  return blocks.filter((block) => block !== '').join('\n\n');
}

function fields(facts: SessionFacts, now: number): string[][] {
  const { session: row, turns, children, parent, pool, worktree_wait, files } = facts;
  const profile = profileOf(row);
  const live = turns.find((turn) => turn.ended_at === null);
  const gating = gateText(live?.gating_since ?? null, now);
  const why =
    gating !== ''
      ? gating
      : worktree_wait === null
        ? reason(row, now, pool === null ? [] : [pool])
        : waitText(worktree_wait);
  const total = row.input_tokens + row.output_tokens;
  const rows: [label: string, value: string | null][] = [
    ['Session', `${paint('bold', safe(row.name))}  ${row.id}`],
    ['Task', clip(row.task, 160)],
    ['Role', row.prompt_version ?? row.role],
    ['Harness', safe(row.native_session_id === null ? row.harness : `${row.harness}  ${row.native_session_id}`)],
    ['State', `${paintState(row.state)}${why === '' ? '' : ` (${safe(why)})`}`],
    ['Gate', lastGate(facts.gate_runs)],
    ['Merge', mergeLine(facts, now)],
    ['Evidence', row.parked_evidence === null ? null : clip(row.parked_evidence, 160)],
    ['Pool', poolLine(row, pool, now)],
    ['Profile', row.profile_name === null ? null : safe(row.profile_name)],
    ['Model', safe(row.model ?? profile?.model ?? '')],
    ['Permissions', profile?.permission_mode ?? null],
    ['Token budget', profile?.token_budget ? tokens(profile.token_budget) : null],
    ['Cost budget', profile?.max_budget_usd ? `$${profile.max_budget_usd.toFixed(4)}` : null],
    ['Parent', parent === null ? row.parent_id : describe(parent, now)],
    ['Run', row.run_id],
    ['Recovered', row.recovered_from === null ? null : `from ${row.recovered_from}`],
    ['PID', live?.pid ? `${live.pid}  turn ${live.turn}` : null],
    ['Directory', safe(row.working_dir)],
    [
      'Branch',
      row.branch === null ? null : `${safe(row.branch)}${row.base_ref ? `  from ${row.base_ref.slice(0, 12)}` : ''}`,
    ],
    ['Worktree', row.worktree_path === null ? null : safe(row.worktree_path)],
    ['Files', files],
    ['Tokens', `${tokens(total)} total (in ${tokens(row.input_tokens)} / out ${tokens(row.output_tokens)})`],
    ['Tools', String(row.tool_calls)],
    ['Cost', dollars(row.cost_micros)],
    ['Last event', when(row.last_activity_at, now)],
    ['Children', children.length === 0 ? null : childList(children, now)],
    ['Created', when(row.created_at, now)],
    ['Updated', when(row.updated_at, now)],
    ['Ended', when(row.ended_at, now)],
  ];
  return rows.flatMap(([label, value]) => (value === null || value === '' ? [] : [[paint('dim', label), value]]));
}

/** Left out where it is nothing but the harness, and nothing holds it. */
function poolLine(row: SessionRow, pool: PoolRow | null, now: number): string | null {
  const why = pool === null ? '' : poolText(pool, now);
  if (pool === null || why === '') return row.pool === row.harness ? null : safe(row.pool);
  return `${safe(row.pool)}  ${pool.state}, ${why}`;
}

function childList(children: readonly SessionRow[], now: number): string {
  const shown = children.slice(0, SHOWN_CHILDREN).map((row) => describe(row, now));
  if (children.length > SHOWN_CHILDREN) shown.push(`and ${children.length - SHOWN_CHILDREN} more`);
  return shown.join('; ');
}

function heading(text: string): string {
  return paint('bold', text);
}

/** The last rows under a heading; says how many older ones there are. */
function block(title: string, header: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const shown = rows.slice(-SHOWN_ROWS);
  const left = rows.length - shown.length;
  const lines = table([header.map((cell) => paint('dim', cell)), ...shown]);
  return `${heading(title)}\n${lines}${left > 0 ? `\n${paint('dim', `${left} earlier ones: --json has all`)}` : ''}`;
}

function turnBlock(turns: readonly TurnRow[], now: number): string {
  const rows = turns.map((turn) => [
    String(turn.turn),
    turn.outcome ?? 'running',
    safe(turn.reason ?? ''),
    exitText(turn),
    age((turn.ended_at ?? now) - turn.started_at),
    tokens(turn.input_tokens + turn.output_tokens),
    `${turn.is_cost_estimated === 1 ? '~' : ''}${dollars(turn.cost_micros)}`,
    turn.peak_memory_bytes === 0 ? '-' : megabytes(turn.peak_memory_bytes),
    turn.cpu_ms === 0 ? '-' : age(turn.cpu_ms),
    leftText(turn),
    `${turn.events}${turn.malformed > 0 ? ` (${turn.malformed} malformed lines)` : ''}`,
  ]);
  const header = [
    'TURN',
    'OUTCOME',
    'REASON',
    'EXIT',
    'TOOK',
    'TOKENS',
    'COST',
    'PEAK MEMORY',
    'CPU',
    'LEFT',
    'EVENTS',
  ];
  return block('TURNS', header, rows);
}

/** Processes the harness left behind: how many had to be ended, and how many did not go. */
function leftText({ leftovers, survivors }: TurnRow): string {
  if (survivors > 0) return `${leftovers} (${survivors} did not go)`;
  return leftovers === 0 ? '-' : String(leftovers);
}

function exitText(turn: TurnRow): string {
  if (turn.exit_signal !== null) return turn.exit_signal;
  return turn.exit_code === null ? '-' : String(turn.exit_code);
}

function mailBlock(mail: readonly ShownMail[], now: number): string {
  const rows = mail.map((row) => [
    row.id,
    row.direction === 'in' ? `from ${safe(row.from_name)}` : `to ${safe(row.to_name)}`,
    row.type,
    row.priority,
    row.state,
    `${age(now - row.created_at)} ago`,
    clip(row.subject, 60),
  ]);
  return block('MAIL', ['ID', 'WITH', 'TYPE', 'PRIORITY', 'STATE', 'SENT', 'SUBJECT'], rows);
}

function stateBlock(log: readonly StateLogRow[], now: number): string {
  const rows = log.map((row) => [
    `${age(now - row.at)} ago`,
    `${row.from_state ?? '-'} → ${row.to_state}`,
    row.event,
    row.actor,
    String(row.turn),
    clip(row.reason ?? '', 80),
  ]);
  return block('STATES', ['WHEN', 'CHANGE', 'EVENT', 'BY', 'TURN', 'REASON'], rows);
}

/** `red, round 2: npm test: exit code 1`; null when none has judged it. */
function lastGate(runs: readonly GateRunRow[]): string | null {
  const last = runs.at(-1);
  if (last === undefined) return null;
  const where = `${last.verdict}, turn ${last.turn}`;
  return last.verdict === 'green' ? where : `${where}: ${clip(`${last.command}: ${last.reason}`, 120)}`;
}

function gateBlock(runs: readonly GateRunRow[], now: number): string {
  const rows = runs.map((row) => [
    `${age(now - row.ended_at)} ago`,
    String(row.turn),
    String(row.round),
    row.verdict,
    age(row.ended_at - row.started_at),
    clip(row.command ?? '', 60),
    clip(row.reason ?? '', 60),
  ]);
  return block('GATES', ['WHEN', 'TURN', 'ROUND', 'VERDICT', 'TOOK', 'COMMAND', 'REASON'], rows);
}

/** Why its work is not in its target, and the command that lets somebody mend it. */
function mergeLine({ session, merge_held }: SessionFacts, now: number): string | null {
  if (merge_held === null) return null;
  const { target, reason, ended_at } = merge_held;
  const verb = session.state === 'completed' || session.state === 'zombie' ? 'recover' : 'resume';
  const why = clip(`not merged into ${target}: ${reason}`, 160);
  return `${why}, ${age(now - (ended_at ?? now))} ago; drover ${verb} ${safe(session.name)} lets it be mended`;
}

const OUTPUT_LINES = 12;

/** The end of what the gate of its merge said. */
function mergeBlock(held: MergeRow | null): string {
  const output = held?.output?.trim() ?? '';
  if (output === '') return '';
  const lines = output.split('\n').slice(-OUTPUT_LINES);
  return `${heading('MERGE')}\n${lines.map((line) => paint('dim', `| ${clip(line, 160)}`)).join('\n')}`;
}

function verdictBlock(verdicts: readonly VerdictRow[], now: number): string {
  const rows = verdicts.map((row) => [
    `${age(now - row.at)} ago`,
    String(row.turn),
    row.judged_by,
    row.cause === null || row.cause === row.health ? row.health : `${row.health} (${safe(row.cause)})`,
    row.act === 'none' ? '-' : row.act,
    clip(row.evidence, 80),
  ]);
  return block('VERDICTS', ['WHEN', 'TURN', 'BY', 'HEALTH', 'ACT', 'EVIDENCE'], rows);
}

function incidentBlock({ session, incidents }: SessionFacts, now: number): string {
  const rows = incidents.map((row) => [
    row.id,
    `${age(now - row.created_at)} ago`,
    clip(row.path, 60),
    row.resolved_at === null ? (row.paused_session_id === session.id ? 'open, holds it' : 'open') : 'resolved',
    clip(row.resolution ?? row.summary, 80),
  ]);
  return block('INCIDENTS', ['ID', 'WHEN', 'PATH', 'STATE', 'WHAT'], rows);
}

/** `2026-01-31 08:00:00Z (12s ago)`; null when it has not happened. */
function when(at: number | null, now: number): string | null {
  if (at === null) return null;
  return `${instantText(at)
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z')} (${age(now - at)} ago)`;
}
