import { PREDECESSORS, type SessionState } from '../../src/model/session.ts';

/** What the campaign itself wrote down, what its harnesses noted, and what the database says in the end. */
export interface KillFacts {
  /** Acknowledged tasks, by the word that stands in each. */
  tasks: readonly string[];
  /** Acknowledged mail to sessions, likewise. */
  mails: readonly string[];
  witness: Witness;
  sessions: readonly {
    id: string;
    name: string;
    state: string;
    ended_at: number | null;
    recovered_from: string | null;
  }[];
  turns: readonly TurnFact[];
  log: readonly LogFact[];
  /** Every lease seen, in the order they were seen. */
  leases: readonly LeaseFact[];
  /** Sightings of two owners of one thing at once. */
  sightings: readonly string[];
  /** Processes of the campaign that live when nothing should. */
  left: readonly string[];
  /** Whether a stall may be recorded this long after a turn's start at the earliest. */
  stale_ms: number;
}

export interface TurnFact {
  session_id: string;
  turn: number;
  started_at: number;
  ended_at: number | null;
  outcome: string | null;
  /** Whole lines in its output, and events in the database that name one. */
  lines: readonly number[];
  events: readonly number[];
}

export interface LogFact {
  seq: number;
  session_id: string;
  from_state: string | null;
  to_state: string;
  event: string;
  turn: number;
  at: number;
}

export interface LeaseFact {
  fence: number;
  /** Pid of the supervisor. */
  pid: number;
  taken_at: number;
}

export interface Start {
  session: string;
  turn: number;
  pid: number;
  launcher: number;
  supervisor: number;
  at: number;
}

/** The harnesses' own notes. */
export interface Witness {
  starts: Start[];
  reads: { session: string; turn: number; tokens: string[] }[];
  sent: string[];
  ends: { session: string; turn: number }[];
}

/** Every figure has to be 0. */
export const KILL_FIGURES = [
  'lost_tasks',
  'lost_mail',
  'doubled_mail',
  'doubled_turns',
  'stuck_sessions',
  'orphans',
  'illegal_transitions',
  'double_owners',
  'lost_events',
  'doubled_events',
  'false_ends',
] as const;
export type KillFigure = (typeof KILL_FIGURES)[number];
/** Per figure the cases, in words. */
export type Findings = Record<KillFigure, string[]>;

const CLEAN = ['completed', 'handed_off'];

/** The notes of all turns; a line that was cut off by a kill says nothing. */
export function parseWitness(text: string): Witness {
  const witness: Witness = { starts: [], reads: [], sent: [], ends: [] };
  for (const line of text.split('\n').slice(0, -1)) {
    const [kind, session = '', turn = '', pid = '', ...rest] = line.split(' ').filter((word) => word !== '');
    const key = { session, turn: Number(turn) };
    const [first = '0', second = '0', third = '0'] = rest;
    if (kind === 'start') {
      const times = { launcher: Number(first), supervisor: Number(second), at: Number(third) / 1000 };
      witness.starts.push({ ...key, pid: Number(pid), ...times });
    } else if (kind === 'read') witness.reads.push({ ...key, tokens: [...new Set(rest)] });
    else if (kind === 'sent') witness.sent.push(first);
    else if (kind === 'end') witness.ends.push(key);
  }
  return witness;
}

/** Compares the three accounts. Pure. */
export function judgeKills(facts: KillFacts): Findings {
  const clean = new Set(facts.turns.filter(({ outcome }) => CLEAN.includes(outcome ?? '')).map(keyOf));
  const readings = new Map<string, string[]>();
  for (const { session, turn, tokens } of facts.witness.reads) {
    const key = `${session}/${turn}`;
    if (!clean.has(key)) continue;
    for (const token of tokens) {
      const turns = readings.get(token) ?? [];
      if (!turns.includes(key)) readings.set(token, [...turns, key]);
    }
  }
  const unread = (tokens: readonly string[]) => [...new Set(tokens)].filter((token) => !readings.has(token));
  return {
    lost_tasks: unread(facts.tasks),
    lost_mail: unread([...facts.mails, ...facts.witness.sent]),
    doubled_mail: [...readings].flatMap(([token, turns]) =>
      // A task is said again to the successor of a session that died: that is no mail.
      turns.length > 1 && !token.startsWith('tok-t-') ? [`${token} in ${turns.join(' and ')}`] : [],
    ),
    doubled_turns: doubledTurns(facts.witness.starts),
    stuck_sessions: stuck(facts),
    orphans: [...facts.left],
    illegal_transitions: illegalMoves(facts),
    double_owners: [...facts.sightings, ...brokenLeases(facts.leases), ...deposed(facts)],
    lost_events: facts.turns.flatMap((turn) => missing(turn, turn.lines, turn.events)),
    doubled_events: facts.turns.flatMap(doubledEvents),
    false_ends: falseEnds(facts, clean),
  };
}

function keyOf({ session_id, turn }: Pick<TurnFact, 'session_id' | 'turn'>): string {
  return `${session_id}/${turn}`;
}

function doubledTurns(starts: readonly Start[]): string[] {
  const pids = new Map<string, Set<number>>();
  for (const { session, turn, pid } of starts) {
    const key = `${session}/${turn}`;
    pids.set(key, (pids.get(key) ?? new Set()).add(pid));
  }
  return [...pids].flatMap(([key, set]) => (set.size > 1 ? [`${key} by ${[...set].join(' and ')}`] : []));
}

/** After the drain everybody has ended, every turn is settled, and who died has a successor. */
function stuck(facts: KillFacts): string[] {
  const live = facts.sessions.filter(({ ended_at }) => ended_at === null).map(({ id, state }) => `${id} is ${state}`);
  const open = facts.turns.filter(({ ended_at }) => ended_at === null).map((turn) => `${keyOf(turn)} is open`);
  const heirs = new Set(facts.sessions.map(({ recovered_from }) => recovered_from));
  const dead = facts.sessions.flatMap(({ id, state }) =>
    ['zombie', 'failed'].includes(state) && !heirs.has(id) ? [`${id} is ${state} without a successor`] : [],
  );
  return [...live, ...open, ...dead];
}

/** The log as one chain per session, held against the table of states; and nobody speaks too late about a turn. */
export function illegalMoves({ log, turns, stale_ms }: Pick<KillFacts, 'log' | 'turns' | 'stale_ms'>): string[] {
  const at = new Map<string, LogFact>();
  const starts = new Map(turns.map((turn) => [keyOf(turn), turn.started_at]));
  const found: string[] = [];
  for (const row of log.toSorted((a, b) => a.seq - b.seq)) {
    const before = at.get(row.session_id);
    const say = (what: string) => found.push(`${row.session_id} #${row.seq} ${row.event}: ${what}`);
    if ((before?.to_state ?? null) !== row.from_state) say(`from ${row.from_state}, but it was ${before?.to_state}`);
    if (row.from_state === null ? row.to_state !== 'queued' : !isLegal(row))
      say(`${row.from_state} to ${row.to_state}`);
    if (before !== undefined && row.turn < before.turn) say(`turn ${row.turn} after turn ${before.turn}`);
    if (before !== undefined && row.turn > before.turn + 1) say(`turn ${row.turn} right after turn ${before.turn}`);
    const young = row.at - (starts.get(keyOf(row)) ?? 0);
    if (row.event === 'stall' && young < stale_ms) say(`after ${young} ms of its turn, a word about an earlier one`);
    at.set(row.session_id, row);
  }
  return found;
}

function isLegal({ from_state, to_state }: LogFact): boolean {
  const legal: readonly (string | null)[] = PREDECESSORS[to_state as SessionState] ?? [];
  return legal.includes(from_state);
}

function brokenLeases(leases: readonly LeaseFact[]): string[] {
  return leases.flatMap((lease, i) => {
    const before = leases[i - 1];
    return before !== undefined && lease.fence <= before.fence ? [`fence ${lease.fence} after ${before.fence}`] : [];
  });
}

/** Turns whose launcher a supervisor started although another one had the lease by then. */
function deposed({ leases, witness }: KillFacts): string[] {
  return witness.starts.flatMap((start) => {
    const own = leases.findLast(({ pid, taken_at }) => pid === start.supervisor && taken_at <= start.at);
    const newer = leases.find(({ fence, taken_at }) => own !== undefined && fence > own.fence && taken_at < start.at);
    return newer === undefined
      ? []
      : [
          `${start.session}/${start.turn} by ${start.supervisor} under lease ${own?.fence}, lease ${newer.fence} was taken`,
        ];
  });
}

function missing(turn: TurnFact, lines: readonly number[], events: readonly number[]): string[] {
  const known = new Set(events);
  const lost = lines.filter((offset) => !known.has(offset));
  return turn.ended_at === null || lost.length === 0 ? [] : [`${keyOf(turn)}: ${lost.length} of ${lines.length} lines`];
}

function doubledEvents(turn: TurnFact): string[] {
  const more = turn.events.length - new Set(turn.events).size;
  return more === 0 ? [] : [`${keyOf(turn)}: ${more} lines twice`];
}

/** Turns that drover calls clean although their harness never came to its end. */
function falseEnds(facts: KillFacts, clean: ReadonlySet<string>): string[] {
  const ended = new Set(facts.witness.ends.map(({ session, turn }) => `${session}/${turn}`));
  return [...clean].filter((key) => !ended.has(key));
}
