import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Dice } from '../durability/dice.ts';
import { CampaignHome } from '../durability/home.ts';
import { Nemesis, type Victim } from '../durability/nemesis.ts';
import { judgeHolds, judgeLines, type LineFigures, parseLedger } from './judge.ts';
import { LinesOperator } from './operator.ts';
import { placesOf } from './places.ts';
import { AUTHOR, seedRepository } from './repository.ts';

export interface LinesOptions {
  package_dir: string;
  seed: number;
  /** Alive at the same time; whoever is done is replaced while the time lasts. */
  live: number;
  /** At most, over the whole time. */
  sessions: number;
  files: number;
  duration_ms: number;
  /** How slowly the harnesses write: hundredths of a second between two lines, ten times as many at most. */
  pace: number;
  /** For what is left to be settled and merged when nobody is killed any more. */
  drain_ms: number;
  /** Mean time between two kills; null: nobody is killed. */
  kill_every_ms: number | null;
  /** Nothing merged is a finding as well: such a run says nothing. */
  must_merge: boolean;
  /** Leave the home behind, to be looked at. */
  keep: boolean;
  say: (line: string) => void;
}

export interface LinesReport {
  lines: LineFigures;
  double_reservations: string[];
  bugs: string[];
  info: Record<string, unknown> & {
    kills: Record<Victim, number>;
    sessions: number;
    turns: number;
    merges: number;
    reservations: number;
  };
}

/** Beyond this, ended sessions whose branch is not merged yet hold up new ones. */
const MAX_WORKTREES = 64;
const TELL_MS = 60_000;
const LINES_PER_FILE = 12;
const SHARED_THREADS = 2;
/** Chores that go on side by side, beside the one who only merges. */
const WORKERS = 2;
/** One verb of the operator's in so many is killed in the middle. */
const CUT_EVERY = 6;
const CUT_MS = 400;
/** Of the worktrees that are left at the end one in so many is cleaned away by force, with whatever it holds. */
const FORCED = 3;

/** Sessions that write into the same files, a queue that merges all the time, and nobody of drover's who is safe. */
export async function linesCampaign(options: LinesOptions): Promise<LinesReport> {
  const dice = new Dice(options.seed);
  const home = new CampaignHome(options.package_dir, (own) => configOf(own, options));
  const start = performance.now();
  try {
    prepare(home, options.files);
    const operator = new LinesOperator(home, dice.fork(), options);
    const nemesis = new Nemesis(home, dice.fork(), operator);
    await war(options, { dice, home, operator, nemesis });
    const drained = performance.now();
    options.say(`lines: ${nemesis.kills} kills, ${operator.slung} sessions; draining`);
    home.flag('drain');
    await drain(home, operator, options);
    await home.run(['stop', '--all', '--quiet']);
    await settled(home);
    const forced = await forceClean(home, operator);
    await operator.verb(['merge', '--queue', '--all-ended', '--json']);
    await home.run(['down', '--quiet']);
    const { holds, double_reservations } = judgeHolds(noted(home, 'holds'));
    const ledger = parseLedger(noted(home, 'ledger'));
    const lines = judgeLines(ledger, placesOf(home));
    const merged = mergeFigures(home);
    const bugs: string[] = [];
    bugs.push(...operator.ledger.bugs, ...bugsIn(home), ...brokenIn(home));
    if (options.must_merge && merged.merges === 0) bugs.push('nothing was written or merged: this says nothing');
    const end = performance.now();
    return {
      lines,
      double_reservations,
      bugs,
      info: {
        ...{ kills: nemesis.killed, sessions: operator.slung, turns: ledger.turns, reservations: holds },
        ...{ lines_of_the_beginning: options.files * LINES_PER_FILE, ...merged },
        ...{ rebases: operator.rebased, forced_cleans: forced, verbs: operator.ledger.verbs },
        ...{ cut_verbs: operator.ledger.cut, verb_codes: operator.codes },
        ...{ seconds: seconds(end - start), drain_seconds: seconds(end - drained) },
      },
    };
  } finally {
    await home.close(options.keep);
    if (options.keep) options.say(`lines: the home is ${home.dir}`);
  }
}

function configOf(home: CampaignHome, { live, files, pace, seed }: LinesOptions): unknown {
  const env = {
    ...{ CAMPAIGN_SEED: seed % 32_768, CAMPAIGN_FILES: files, CAMPAIGN_SHARED: SHARED_THREADS, CAMPAIGN_PACE: pace },
    ...{ ...AUTHOR, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: 1 },
  };
  const words = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, String(value)]));
  return {
    ...{ max_live_sessions: live, max_worktrees: MAX_WORKTREES },
    turn: { max_attempts: 3, backoff_ms: 50, backoff_cap_ms: 200, sigkill_delay_ms: 300, first_event_ms: 30_000 },
    watchdog: { interval_ms: 1_000, stale_ms: 30_000, zombie_ms: 60_000, nudge_interval_ms: 20_000 },
    limits: { stagger_ms: 50, min_free_mb: 1 },
    gate: { commands: ['test -z "$(ls broken 2>&-)"', "! grep -rE '^(<<<<<<<|>>>>>>>) ' src"], timeout_ms: 60_000 },
    harness_runners: { lines: home.runner('lines-turn.sh', [], words) },
  };
}

function prepare(home: CampaignHome, files: number): void {
  mkdirSync(join(home.dir, 'tmp'));
  for (const name of ['ledger', 'holds']) writeFileSync(join(home.dir, name), '');
  writeFileSync(join(home.dir, 'base'), `${seedRepository(home, files, LINES_PER_FILE)}\n`);
}

interface Sides {
  dice: Dice;
  home: CampaignHome;
  operator: LinesOperator;
  nemesis: Nemesis;
}

/** Work, merges and kills side by side until the time is over. */
async function war(options: LinesOptions, { dice, home, operator, nemesis }: Sides): Promise<void> {
  const start = performance.now();
  const isOver = () => performance.now() - start > options.duration_ms;
  const cut = () => (options.kill_every_ms !== null && dice.roll(CUT_EVERY) === 0 ? dice.roll(CUT_MS) : undefined);
  await home.run(['up', '--quiet']);
  const work = async () => {
    while (!isOver()) {
      if (dice.roll(2) === 0 || !(await operator.sling(cut()))) await operator.act(cut());
      await Bun.sleep(20 + dice.roll(80));
    }
  };
  const merge = async () => {
    while (!isOver()) {
      await operator.merge(cut());
      await Bun.sleep(50 + dice.roll(200));
    }
  };
  const strike = async (every_ms: number) => {
    while (!isOver()) {
      await Bun.sleep(dice.roll(2 * every_ms));
      await nemesis.strike();
    }
  };
  const tell = async () => {
    for (let next = TELL_MS; !isOver(); await Bun.sleep(200)) {
      if (performance.now() - start < next) continue;
      next += TELL_MS;
      options.say(`lines: ${seconds(performance.now() - start)} s, ${nemesis.kills} kills, ${operator.slung} sessions`);
    }
  };
  const kills = options.kill_every_ms === null ? [] : [strike(options.kill_every_ms)];
  await Promise.all([merge(), tell(), ...kills, ...Array.from({ length: WORKERS }, work)]);
}

/** Nobody is killed and nothing new begins: what waits is settled, what is done is merged, as long as the time lasts. */
async function drain(home: CampaignHome, operator: LinesOperator, { drain_ms }: LinesOptions): Promise<void> {
  const end = performance.now() + drain_ms;
  await home.run(['up', '--quiet']);
  while (performance.now() < end) {
    const chores = operator.chores(false);
    for (const chore of chores) if (performance.now() < end) await operator.verb(chore);
    await operator.merge();
    if (chores.length === 0 && home.rows(RESTLESS).length === 0) return;
    await Bun.sleep(50);
  }
}

/** Sessions that still have something before them: at work, or with something unread. */
const RESTLESS = `SELECT 1 FROM sessions AS s WHERE ended_at IS NULL
  AND (state <> 'idle' OR EXISTS (SELECT 1 FROM mail WHERE to_id = s.id AND read_at IS NULL)
    OR EXISTS (SELECT 1 FROM turns WHERE session_id = s.id AND ended_at IS NULL))`;

async function settled(home: CampaignHome): Promise<void> {
  const end = performance.now() + 10_000;
  while (home.rows('SELECT 1 FROM turns WHERE ended_at IS NULL').length > 0 && performance.now() < end)
    await Bun.sleep(20);
}

/**
 * Takes away some of the worktrees that are left, each with a line that stands in a file of it, and one in a new file, that
 * nobody has committed; how many were.
 */
async function forceClean(home: CampaignHome, operator: LinesOperator): Promise<number> {
  const held = home.rows<{ id: string; path: string }>(
    `SELECT id, worktree_path AS path FROM sessions AS s WHERE worktree_path IS NOT NULL AND ended_at IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM sessions WHERE recovered_from = s.id) ORDER BY id`,
  );
  let cleaned = 0;
  for (const { id, path } of held.slice(0, Math.ceil(held.length / FORCED))) {
    if (existsSync(path)) for (const file of ['src/f1.txt', 'new/file.txt']) operator.leave(path, file);
    const ran = await operator.verb(['worktree', 'clean', '--force', id, '--json']);
    if (ran.code === 0) cleaned += 1;
  }
  return cleaned;
}

/** What the supervisors of this home have said about themselves. */
function bugsIn(home: CampaignHome): string[] {
  const lines = home.log().split('\n');
  return lines
    .filter((line) => line.includes('This is a bug in drover'))
    .map((line) => `supervisor: ${line.slice(0, 400)}`);
}

/** Whatever died while it wrote: the repository is whole. */
function brokenIn(home: CampaignHome): string[] {
  const done = Bun.spawnSync(['git', '-C', home.repo, 'fsck', '--no-dangling', '--no-progress'], { env: home.env });
  return done.exitCode === 0 ? [] : [`git fsck: ${done.exitCode} ${done.stderr.toString().slice(0, 400)}`];
}

function mergeFigures(home: CampaignHome) {
  const outcomes = home.rows<{ outcome: string | null; n: number }>(
    'SELECT outcome, count(*) AS n FROM merges GROUP BY outcome',
  );
  const [left] = home.rows<{ n: number }>('SELECT count(*) AS n FROM merges WHERE missing_json IS NOT NULL');
  const of = (outcome: string) => outcomes.find((row) => row.outcome === outcome)?.n ?? 0;
  const [incidents] = home.rows<{ opened: number; resolved: number }>(
    'SELECT count(*) AS opened, count(resolved_at) AS resolved FROM incidents',
  );
  return {
    ...{ merges: of('merged'), conflicts: of('conflict'), gate_reds: of('gate'), failed_merges: of('failed') },
    ...{ merges_with_missing_lines: left?.n ?? 0 },
    ...{ incidents_opened: incidents?.opened ?? 0, incidents_resolved: incidents?.resolved ?? 0 },
  };
}

function noted(home: CampaignHome, name: string): string {
  const path = join(home.dir, name);
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

function seconds(ms: number): number {
  return Math.round(ms / 100) / 10;
}
