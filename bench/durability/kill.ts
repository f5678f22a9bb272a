import { Dice } from './dice.ts';
import { factsOf } from './facts.ts';
import { CampaignHome } from './home.ts';
import { Lookout } from './lookout.ts';
import { Nemesis, type Victim } from './nemesis.ts';
import { Operator } from './operator.ts';
import { type Findings, judgeKills } from './verdict.ts';

export interface KillOptions {
  package_dir: string;
  seed: number;
  sessions: number;
  kills: number;
  /** No new kill after this. */
  cap_ms: number;
  max_live: number;
  /** Leave the home behind, to be looked at. */
  keep: boolean;
  say: (line: string) => void;
}

export interface KillReport {
  findings: Findings;
  info: {
    sessions: number;
    kills: Record<Victim, number>;
    tasks: number;
    mails: number;
    verbs: number;
    cut_verbs: number;
    turns: number;
    events: number;
    leases: number;
    seconds: number;
    drain_seconds: number;
  };
}

/** Between two kills at most; the mean is half of it. */
const GAP_MS = 300;
/** Workers of the operator beside the kills. */
const WORKERS = 2;
const DRAIN_MS = 90_000;
/** Nobody may be called stalled sooner: the harnesses speak every few hundredths of a second. */
const STALE_MS = 20_000;

/** Sessions with mail between them, and no process of drover's that is safe. */
export async function killCampaign(options: KillOptions): Promise<KillReport> {
  const dice = new Dice(options.seed);
  const home = new CampaignHome(options.package_dir, (own) => configOf(own, options.max_live));
  const operator = new Operator(home, dice.fork());
  const nemesis = new Nemesis(home, dice.fork(), operator);
  const lookout = new Lookout(home, options.kills > 200 ? 100 : 60);
  const start = performance.now();
  try {
    await operator.sling();
    lookout.start();
    await war(options, { dice, operator, nemesis });
    const drained = performance.now();
    options.say(`kill: ${nemesis.kills} kills, ${operator.slung} sessions; draining`);
    await drain(home, operator);
    await home.run(['stop', '--all', '--quiet']);
    await settled(home);
    await home.down();
    await lookout.stop();
    const facts = await factsOf(home, operator.ledger, lookout, STALE_MS);
    const findings = judgeKills(facts);
    findings.illegal_transitions.push(...operator.ledger.bugs.map((bug) => `a bug: ${bug}`));
    const end = performance.now();
    return {
      findings,
      info: {
        ...{ sessions: operator.slung, kills: nemesis.killed, tasks: facts.tasks.length },
        ...{ mails: facts.mails.length + facts.witness.sent.length, verbs: operator.ledger.verbs },
        ...{ cut_verbs: operator.ledger.cut, turns: facts.turns.length, leases: facts.leases.at(-1)?.fence ?? 0 },
        events: facts.turns.reduce((sum, { events }) => sum + events.length, 0),
        ...{ seconds: seconds(end - start), drain_seconds: seconds(end - drained) },
      },
    };
  } finally {
    await lookout.stop();
    await home.close(options.keep);
    if (options.keep) options.say(`kill: the home is ${home.dir}`);
  }
}

function configOf(home: CampaignHome, max_live: number): unknown {
  return {
    max_live_sessions: max_live,
    turn: { max_attempts: 3, backoff_ms: 50, backoff_cap_ms: 200, sigkill_delay_ms: 300, first_event_ms: 30_000 },
    watchdog: { interval_ms: 500, stale_ms: STALE_MS, zombie_ms: 60_000, nudge_interval_ms: 20_000 },
    limits: { stagger_ms: 50, min_free_mb: 1 },
    harness_runners: { fake: home.runner('campaign-turn.sh', [], { CAMPAIGN_MODE: 'chat' }) },
  };
}

interface Sides {
  dice: Dice;
  operator: Operator;
  nemesis: Nemesis;
}

/** Kills and the operator's day side by side, until enough have fallen. */
async function war(options: KillOptions, { dice, operator, nemesis }: Sides): Promise<void> {
  const end = performance.now() + options.cap_ms;
  const isOver = () => nemesis.kills >= options.kills || performance.now() > end;
  const wanted = () => Math.min(options.sessions, 4 + Math.ceil((options.sessions * nemesis.kills) / options.kills));
  const work = async () => {
    while (!isOver()) {
      // One sling in eight is cut in the middle as well.
      const cut = dice.roll(8) === 0 ? dice.roll(150) : undefined;
      if (operator.slung < wanted()) await operator.sling(cut);
      else await operator.act();
      await Bun.sleep(20 + dice.roll(80));
    }
    while (operator.slung < options.sessions) await operator.sling();
  };
  const strike = async () => {
    for (let said = 0; !isOver(); ) {
      await nemesis.strike();
      await Bun.sleep(dice.roll(GAP_MS));
      if (nemesis.kills < said + 100) continue;
      said = nemesis.kills;
      options.say(
        `kill: ${nemesis.kills} of ${options.kills} kills, ${operator.slung} of ${options.sessions} sessions`,
      );
    }
  };
  await Promise.all([strike(), ...Array.from({ length: WORKERS }, work)]);
}

/** Sessions that still have something before them: at work, or with something unread. */
const RESTLESS = `SELECT 1 FROM sessions AS s WHERE ended_at IS NULL
  AND (state <> 'idle' OR EXISTS (SELECT 1 FROM mail WHERE to_id = s.id AND read_at IS NULL)
    OR EXISTS (SELECT 1 FROM turns WHERE session_id = s.id AND ended_at IS NULL))`;

/** No more kills, no new mail: the dead are brought back until all tasks are done and everything is read. */
async function drain(home: CampaignHome, operator: Operator): Promise<void> {
  home.flag('drain');
  const end = performance.now() + DRAIN_MS;
  await home.run(['up', '--quiet']);
  while (performance.now() < end) {
    if (await operator.revive()) continue;
    if (home.rows(RESTLESS).length === 0 && operator.dead().length === 0) return;
    await Bun.sleep(50);
  }
}

async function settled(home: CampaignHome): Promise<void> {
  const end = performance.now() + 10_000;
  while (home.rows('SELECT 1 FROM turns WHERE ended_at IS NULL').length > 0 && performance.now() < end) {
    await Bun.sleep(20);
  }
}

function seconds(ms: number): number {
  return Math.round(ms / 100) / 10;
}
