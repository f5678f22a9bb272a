import { homePaths } from '../../src/model/home.ts';
import { signal } from '../../src/sys/identity.ts';
import { percentile } from '../support/measure.ts';
import { Dice } from './dice.ts';
import { CampaignHome } from './home.ts';
import { lockOwner } from './processes.ts';
import type { Report } from './report.ts';
import { judgeWatch, type Suspension, type Watched } from './watch-verdict.ts';

export interface WatchOptions {
  package_dir: string;
  seed: number;
  isSmall: boolean;
  /** How many of either kind; default: by size. */
  healthy?: number;
  sick?: number;
  /** How often drover is suspended at the most. */
  lids?: number;
  keep: boolean;
  say: (line: string) => void;
}

const HEALTHY = [
  'quick',
  'tool',
  'slow',
  'late',
  'flood',
  'trailing',
  'pausing',
  'tools',
  'polling',
  'polls-builds',
  'children',
];
const SICK = ['hang-first', 'hang-turn', 'hang-tool', 'hang-result', 'livelock', 'dead', 'forked'];

/** Milliseconds. Wide enough that a busy machine does not make the healthy sick. */
interface Limits {
  first: number;
  stale: number;
  nudge: number;
  zombie: number;
  tool: number;
  result: number;
}

const SMALL: Limits = { first: 3_000, stale: 2_500, nudge: 1_000, zombie: 4_500, tool: 7_000, result: 2_000 };
const FULL: Limits = { first: 4_000, stale: 4_000, nudge: 2_000, zombie: 8_000, tool: 12_000, result: 3_000 };
const REPEATS = 6;
/** Later than this is not seen at all. */
const MARGIN_MS = 10_000;
const SLINGS = 3;
const UNAVAILABLE = 69;
const BUSY = 75;

/** Healthy and sick harnesses side by side: who is ended, who is not, and how soon. */
export async function watchCampaign(options: WatchOptions): Promise<Report> {
  const limits = options.isSmall ? SMALL : FULL;
  const { healthy = options.isSmall ? 20 : 500, sick = options.isSmall ? 14 : 500 } = options;
  const home = new CampaignHome(options.package_dir, (own) => configOf(own, limits));
  const start = performance.now();
  try {
    const plan = planOf(new Dice(options.seed), healthy, sick);
    await home.run(['up', '--quiet']);
    const suspensions: Suspension[] = [];
    const work = new AbortController();
    const lids = suspend(home, {
      limits,
      suspensions,
      over: work.signal,
      isSmall: options.isSmall,
      most: options.lids ?? 6,
    });
    await Promise.all([slingAll(home, plan), rest(home, plan.length, options.say)]);
    work.abort();
    await lids;
    const watched = outcomesOf(home, plan, limits);
    const { false_kills, missed_hangs, ...seen } = judgeWatch(watched, suspensions, MARGIN_MS);
    await home.run(['stop', '--all', '--quiet']);
    await home.down();
    const of = (times: readonly number[], percent: number) => (times.length === 0 ? null : percentile(times, percent));
    return {
      zero: { false_kills, missed_hangs },
      numbers: {
        ...{ detect_ms_p50: of(seen.detect_ms, 50), detect_ms_p99: of(seen.detect_ms, 99) },
        ...{ settle_ms_p50: of(seen.settle_ms, 50), settle_ms_p99: of(seen.settle_ms, 99) },
        early_ends: seen.early_ends.length,
      },
      info: {
        ...{ healthy, sick, suspensions: suspensions.length, limits },
        by_shape: byShape(watched, suspensions),
        ...(seen.early_ends.length === 0 ? {} : { ended_early: seen.early_ends.slice(0, 20) }),
        seconds: Math.round((performance.now() - start) / 100) / 10,
      },
    };
  } finally {
    await home.close(options.keep);
    if (options.keep) options.say(`watch: the home is ${home.dir}`);
  }
}

function configOf(home: CampaignHome, limits: Limits): unknown {
  const env = {
    ...{ WATCH_FIRST: limits.first, WATCH_STALE: limits.stale, WATCH_NUDGE: limits.nudge, WATCH_ZOMBIE: limits.zombie },
    ...{ WATCH_RESULT: limits.result, WATCH_REPEATS: REPEATS },
  };
  const words = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, String(value)]));
  const runners = [...HEALTHY, ...SICK].map((shape) => [shape, home.runner('watch-turn.sh', [shape], words)]);
  return {
    max_live_sessions: 40,
    turn: {
      ...{ max_attempts: 1, sigkill_delay_ms: 300, first_event_ms: limits.first, between_events_ms: 120_000 },
      ...{ first_event_late_ms: limits.first, tool_ms: limits.tool, after_result_ms: limits.result },
    },
    watchdog: {
      ...{ interval_ms: 250, stale_ms: limits.stale, zombie_ms: limits.zombie, nudge_interval_ms: limits.nudge },
      loop_repeats: REPEATS,
    },
    limits: { stagger_ms: 50, min_free_mb: 1 },
    harness_runners: Object.fromEntries(runners),
  };
}

interface Planned {
  name: string;
  shape: string;
}

/** Every shape equally often, in an order of chance. */
function planOf(dice: Dice, healthy: number, sick: number): Planned[] {
  const shapes = [
    ...Array.from({ length: healthy }, (_, i) => HEALTHY[i % HEALTHY.length] ?? ''),
    ...Array.from({ length: sick }, (_, i) => SICK[i % SICK.length] ?? ''),
  ];
  for (let i = shapes.length - 1; i > 0; i -= 1) {
    const j = dice.roll(i + 1);
    [shapes[i], shapes[j]] = [shapes[j] ?? '', shapes[i] ?? ''];
  }
  return shapes.map((shape, i) => ({ name: `w${i}`, shape }));
}

async function slingAll(home: CampaignHome, plan: readonly Planned[]): Promise<void> {
  let next = 0;
  const work = async () => {
    for (let one = plan[next]; one !== undefined; one = plan[next]) {
      next += 1;
      const args = ['sling', '--harness', one.shape, '--name', one.name, '--quiet', 'Watch the gate'];
      let ran = await home.run(args);
      // Whoever was suspended in the middle of a write keeps others from theirs; nothing was stored then.
      while (ran.code === BUSY) ran = await home.run(args);
      // While drover is suspended nobody answers the ring; what was stored starts afterwards.
      if (ran.code !== 0 && ran.code !== UNAVAILABLE) throw new Error(`sling ${one.name}: ${ran.stderr}`);
    }
  };
  await Promise.all(Array.from({ length: SLINGS }, work));
}

/**
 * Now and then drover's own processes stop for longer than its limits, in turn alone and with all harnesses (a closed
 * lid). Nothing that happened meanwhile is anybody's fault.
 */
async function suspend(
  home: CampaignHome,
  {
    limits,
    suspensions,
    over,
    isSmall,
    most,
  }: { limits: Limits; suspensions: Suspension[]; over: AbortSignal; isSmall: boolean; most: number },
): Promise<void> {
  const [before_ms, between_ms, times] = isSmall ? [2_500, 0, Math.min(most, 1)] : [20_000, 40_000, most];
  await pause(before_ms, over);
  for (let i = 0; i < times && !over.aborted; i += 1) {
    const daemons = (['watchdog', 'supervisor'] as const).map((name) => lockOwner(homePaths.lock(home.state, name)));
    const everybody = i % 2 === 0 ? [] : home.processes().map(({ identity }) => identity);
    const stopped = [...daemons.filter((owner) => owner !== null), ...everybody];
    const from = Date.now();
    for (const id of stopped) signal(id, 'SIGSTOP');
    await Bun.sleep(Math.max(limits.zombie, 5_000) + 1_500);
    for (const id of stopped.toReversed()) signal(id, 'SIGCONT');
    suspensions.push({ from, to: Date.now() });
    await pause(between_ms, over);
  }
}

async function pause(ms: number, over: AbortSignal): Promise<void> {
  const end = performance.now() + ms;
  while (performance.now() < end && !over.aborted) await Bun.sleep(50);
}

/** Until all are at rest, or nothing has ended for far too long. */
async function rest(home: CampaignHome, total: number, say: WatchOptions['say']): Promise<void> {
  let ended = 0;
  let since = performance.now();
  let told = 0;
  while (performance.now() - since < 3 * MARGIN_MS) {
    const now = home.rows('SELECT 1 FROM sessions WHERE ended_at IS NOT NULL').length;
    if (now > ended) since = performance.now();
    ended = now;
    if (home.rows(OPEN).length === 0 && ended >= total) return;
    if (ended >= told + 100) {
      told = ended;
      say(`watch: ${ended} of ${total} sessions have ended`);
    }
    await Bun.sleep(100);
  }
}

const OPEN = `SELECT 1 FROM sessions AS s WHERE ended_at IS NULL
  OR EXISTS (SELECT 1 FROM turns WHERE session_id = s.id AND ended_at IS NULL)`;

/** How long each kind of sickness may last; null: its harness is gone, which shows at once. */
function allowedFor(shape: string, limits: Limits): number | null {
  const ladder = Math.min(limits.zombie, limits.stale + 2 * limits.nudge);
  const allowed: Record<string, number> = {
    ...{ 'hang-first': limits.first, 'hang-turn': ladder, 'hang-tool': limits.tool, 'hang-result': limits.result },
    livelock: 2 * limits.nudge,
  };
  return allowed[shape] ?? null;
}

interface SessionFact {
  id: string;
  name: string;
  state: string;
}

function outcomesOf(home: CampaignHome, plan: readonly Planned[], limits: Limits): Watched[] {
  const notes = notesOf(home.witness());
  const sessions = new Map(
    home.rows<SessionFact>('SELECT id, name, state FROM sessions').map((row) => [row.name, row]),
  );
  const turns = home.rows<{
    session_id: string;
    end_cause: string | null;
    outcome: string | null;
    ended_at: number | null;
  }>('SELECT session_id, end_cause, outcome, ended_at FROM turns ORDER BY turn');
  const decided = new Map(decisions(home).map(({ session_id, at }) => [session_id, at]));
  return plan.map(({ name, shape }) => {
    const { id = '', state = 'missing' } = sessions.get(name) ?? {};
    const own = turns.filter(({ session_id }) => session_id === id);
    const allowed_ms = allowedFor(shape, limits);
    // Nobody has to decide anything about a harness that is gone: its turn has to be settled.
    const decision = allowed_ms === null ? undefined : decided.get(id);
    return {
      ...{ name, shape, state, is_sick: SICK.includes(shape), allowed_ms },
      last_at: notes.get(`last ${id}`) ?? null,
      has_ended: notes.has(`end ${id}`),
      end_causes: own.map(({ end_cause }) => end_cause),
      outcomes: own.map(({ outcome }) => outcome),
      decided_at: decision ?? own[0]?.ended_at ?? null,
    };
  });
}

/** The first recorded word that ends a turn; none where drover keeps no verdicts. */
function decisions(home: CampaignHome): { session_id: string; at: number }[] {
  if (home.rows("SELECT 1 FROM sqlite_schema WHERE name = 'verdicts'").length === 0) return [];
  return home.rows(
    "SELECT session_id, min(at) AS at FROM verdicts WHERE act IN ('end', 'terminate') GROUP BY session_id",
  );
}

/** `<kind> <session>` → the first instant of it. */
function notesOf(witness: string): Map<string, number> {
  const notes = new Map<string, number>();
  for (const line of witness.split('\n').slice(0, -1)) {
    const [kind = '', session = '', , , at = ''] = line.split(' ');
    if (!notes.has(`${kind} ${session}`)) notes.set(`${kind} ${session}`, Number(at) / 1000);
  }
  return notes;
}

/** The time to detect (of a harness that is gone: to settle) of each sickness, p50 and longest. */
function byShape(watched: readonly Watched[], suspensions: readonly Suspension[]): Record<string, string> {
  const said: Record<string, string> = {};
  for (const shape of SICK) {
    const { detect_ms, settle_ms } = judgeWatch(
      watched.filter((each) => each.shape === shape),
      suspensions,
      MARGIN_MS,
    );
    const times = [...detect_ms, ...settle_ms];
    if (times.length > 0) said[shape] = `${percentile(times, 50)}/${times.at(-1)} ms`;
  }
  return said;
}
