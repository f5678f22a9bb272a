import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Dice } from './dice.ts';
import { CampaignHome } from './home.ts';

export interface LimitOptions {
  sessions: number;
  seed: number;
  /** The checkout of drover that is looked at; default: this one. */
  package_dir?: string;
}

export interface LimitFigures extends Record<string, unknown> {
  /** Calls refused by the provider beyond those of the turns that were in flight when the limit struck. Goal: at most 1. */
  limit_extra_calls: number;
  /** Sessions that were held and did their work later. */
  resumed: number;
  /** Turns started twice, and work done twice. Goal: 0. */
  doubled_turns: number;
  /** Sessions whose work was not done. Goal: 0. */
  unfinished: number;
  /** Attempts that refusals cost. Goal: 0. */
  attempts_spent: number;
}

/** How long a step may take before the campaign counts as failed. */
const LIMIT_MS = 120_000;
/** The first reset that is told; the provider still refuses then. */
const FALSE_RESET_MS = 3_000;
/** From the false reset on to the true one. */
const TRUE_RESET_MS = 3_000;
const STAGGER_MS = 60;

/**
 * One credential, many sessions: a usage limit in the middle of their work, a reset that is false, one that is true. How
 * many calls does the provider refuse, does everybody come back, and is anything done twice? Ends whatever it started,
 * also when it is interrupted.
 */
export async function limitCampaign(options: LimitOptions): Promise<LimitFigures> {
  const { sessions, seed } = options;
  const at_once = Math.max(2, Math.ceil(sessions * 0.6));
  const home = new CampaignHome(options.package_dir ?? resolve(import.meta.dir, '../..'), (own) => ({
    max_live_sessions: at_once,
    turn: { max_attempts: 2, sigkill_delay_ms: 300 },
    limits: { stagger_ms: STAGGER_MS, usage_wait_ms: FALSE_RESET_MS, min_free_mb: 1 },
    profiles: { shared: { pool: 'shared' } },
    harness_runners: { limited: own.runner('limit-turn.sh', [], { LIMIT_SEED: String(seed % 1000) }) },
  }));
  const start = performance.now();
  const interrupted = () => void home.close().finally(() => process.exit(130));
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, interrupted);
  try {
    const blocked_at = await strike(home, { sessions, at_once, dice: new Dice(seed) });
    await untilDone(home, sessions);
    const figures = judge(home, sessions, blocked_at);
    await home.down();
    return { ...figures, sessions, at_once, seconds: Math.round((performance.now() - start) / 100) / 10 };
  } finally {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, interrupted);
    await home.close();
  }
}

/** Everybody is put to work and meets the limit; it goes after one false reset. Returns when the pool was blocked. */
async function strike(
  home: CampaignHome,
  { sessions, at_once, dice }: { sessions: number; at_once: number; dice: Dice },
): Promise<number> {
  // However long that takes: nobody starts before all of them are there.
  await demand(home, ['pools', 'block', 'shared']);
  const numbers = Array.from({ length: sessions }, (_, i) => i);
  await Promise.all(Array.from({ length: 4 }, () => slingAll(home, numbers)));
  await until('everybody parked', () => home.rows(AT_WORK).length === 0);
  await demand(home, ['pools', 'release', 'shared']);
  // Some are at work, some wait for a slot, some have not even been let go.
  const early = Math.ceil(at_once / 3) + dice.roll(Math.max(1, Math.floor(at_once / 3)));
  await until('the first calls', () => of(callsOf(home), 'start').length >= early);
  refuseUntil(home, Date.now() + FALSE_RESET_MS);
  const pool = await until('the block', () => home.rows<{ blocked_at: number }>(POOL)[0]);
  const opens_at = Date.now() + FALSE_RESET_MS + TRUE_RESET_MS;
  // Who is in flight learns the false one; from the probe on the true one is told.
  await until('everybody held', () => home.rows(AT_WORK).length === 0);
  refuseUntil(home, opens_at);
  await until('the true reset', () => Date.now() >= opens_at - 200);
  rmSync(join(home.dir, 'blocked'));
  return pool.blocked_at;
}

const POOL = "SELECT blocked_at FROM pools WHERE name = 'shared' AND state IN ('blocked','probing')";
const AT_WORK = "SELECT 1 FROM sessions WHERE ended_at IS NULL AND state <> 'parked'";

async function slingAll(home: CampaignHome, numbers: number[]): Promise<void> {
  for (let number = numbers.pop(); number !== undefined; number = numbers.pop()) {
    const named = ['--name', `l${number}`, '--harness', 'limited', '--profile', 'shared'];
    await demand(home, ['sling', ...named, 'Count the sheep']);
  }
}

async function demand(home: CampaignHome, args: string[]): Promise<void> {
  const ran = await home.run([...args, '--quiet']);
  if (ran.code !== 0) throw new Error(`drover ${args.join(' ')}: exit ${ran.code}\n${ran.stderr}`);
}

/** In one step, so that nobody reads half an instant. */
function refuseUntil(home: CampaignHome, resets_at: number): void {
  const path = join(home.dir, 'blocked');
  writeFileSync(`${path}.new`, `${resets_at}\n`);
  renameSync(`${path}.new`, path);
}

async function untilDone(home: CampaignHome, sessions: number): Promise<void> {
  await until(
    'the end of all sessions',
    () => home.rows('SELECT 1 FROM sessions WHERE ended_at IS NOT NULL').length === sessions,
  ).catch((error) => {
    // Who is missing is a finding, and not a reason to say nothing.
    if (home.rows('SELECT 1 FROM sessions').length !== sessions) throw new Error(`${error}\n${home.log()}`);
  });
}

interface Call {
  kind: string;
  session_id: string;
  turn: number;
}

function judge(home: CampaignHome, sessions: number, blocked_at: number): LimitFigures {
  const calls = callsOf(home);
  const key = ({ session_id, turn }: { session_id: string; turn: number }) => `${session_id} ${turn}`;
  const turns = home.rows<{ session_id: string; turn: number; started_at: number; outcome: string }>(
    'SELECT session_id, turn, started_at, outcome FROM turns',
  );
  const before = new Set(turns.filter(({ started_at }) => started_at <= blocked_at).map(key));
  const refused = of(calls, 'refused');
  const in_flight = new Set(refused.map(key).filter((each) => before.has(each))).size;
  const ended = of(calls, 'end').map(({ session_id }) => session_id);
  const held = home.rows<{ session_id: string }>(
    "SELECT DISTINCT session_id FROM state_log WHERE to_state = 'parked' AND at >= :blocked_at",
    { blocked_at },
  );
  const attempts = home.rows<{ attempt: number }>('SELECT attempt FROM sessions');
  return {
    limit_extra_calls: refused.length - in_flight,
    resumed: held.filter(({ session_id }) => ended.includes(session_id)).length,
    doubled_turns: doubles(of(calls, 'start').map(key)) + doubles(ended),
    unfinished: sessions - new Set(ended).size,
    attempts_spent: attempts.reduce((sum, row) => sum + row.attempt, 0),
    ...{ held: held.length, in_flight, refused_calls: refused.length, turns: turns.length },
    limited_turns: turns.filter(({ outcome }) => outcome === 'limited').length,
  };
}

function of(calls: readonly Call[], kind: string): Call[] {
  return calls.filter((call) => call.kind === kind);
}

function callsOf(home: CampaignHome): Call[] {
  return home.witness().split('\n').filter(Boolean).map(parse);
}

function parse(line: string): Call {
  const [kind = '', session_id = '', turn = '0'] = line.split(' ');
  return { kind, session_id, turn: Number(turn) };
}

function doubles(keys: readonly string[]): number {
  return keys.length - new Set(keys).size;
}

async function until<T>(what: string, look: () => T | null | undefined | false): Promise<T> {
  const end = performance.now() + LIMIT_MS;
  for (;;) {
    const found = look();
    if (found) return found;
    if (performance.now() > end) throw new Error(`waited ${LIMIT_MS} ms for ${what}`);
    await Bun.sleep(10);
  }
}
