import { rmSync } from 'node:fs';
import { homePaths } from '../../src/model/home.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import { type ProcessId, signal } from '../../src/sys/identity.ts';
import { factsOf } from './facts.ts';
import { CampaignHome, type Running } from './home.ts';
import { Lookout } from './lookout.ts';
import { lockOwner } from './processes.ts';
import { type Findings, judgeKills, KILL_FIGURES } from './verdict.ts';

/**
 * A supervisor that is stopped in the middle of a write (a suspended machine, a debugger), whose lock file and doorbell a
 * cleaner of temporary files removes, so that another one takes over, and that then goes on where it was. Nothing that it
 * still has in hand may count: each round gives it one late word and looks for what became of it.
 */
export interface DisplacedOptions {
  package_dir: string;
  keep: boolean;
  say: (line: string) => void;
}

const STALE_MS = 900;
const LIMIT_MS = 60_000;

/** The three rounds side by side; their findings together. */
export async function displacedRounds(options: DisplacedOptions): Promise<Findings> {
  // Every round cleans up after itself before one of them may fail for all.
  const rounds = await Promise.allSettled([lateClaims, lateStall, lateEvents].map((round) => withHome(options, round)));
  const all = rounds.map((round) => {
    if (round.status === 'rejected') throw round.reason;
    return round.value;
  });
  const sum = (figure: keyof Findings) => all.flatMap((findings) => findings[figure]);
  return Object.fromEntries(KILL_FIGURES.map((figure) => [figure, sum(figure)])) as Findings;
}

interface Stage {
  home: CampaignHome;
  lookout: Lookout;
}

async function withHome(options: DisplacedOptions, round: (stage: Stage) => Promise<void>): Promise<Findings> {
  const home = new CampaignHome(options.package_dir, (own) => ({
    max_live_sessions: 24,
    turn: { max_attempts: 1, sigkill_delay_ms: 300 },
    watchdog: { interval_ms: 200, stale_ms: STALE_MS, zombie_ms: 60_000, nudge_interval_ms: 60_000 },
    limits: { stagger_ms: 50, min_free_mb: 1 },
    harness_runners: Object.fromEntries(
      ['chat', 'quiet', 'talk'].map((mode) => [mode, own.runner('campaign-turn.sh', [], { CAMPAIGN_MODE: mode })]),
    ),
  }));
  const lookout = new Lookout(home, 60);
  try {
    await round({ home, lookout });
    home.flag('over');
    home.flag('go');
    await until(home, 'the end of all sessions', () => home.rows(LIVE).length === 0);
    await home.down();
    lookout.noteLease();
    return judgeKills(await factsOf(home, { tasks: [], mails: [] }, lookout, STALE_MS));
  } finally {
    home.flag('over');
    await home.close(options.keep);
    if (options.keep) options.say(`displaced: the home is ${home.dir}`);
  }
}

const LIVE = 'SELECT 1 FROM sessions WHERE ended_at IS NULL';

/** The first supervisor is about to claim turns when it is stopped; the lease is another's when it goes on. */
async function lateClaims({ home, lookout }: Stage): Promise<void> {
  await home.run(['up', '--quiet']);
  const old = daemons(home);
  lookout.noteLease();
  await standStill(home, old);
  // Nobody answers the ring, so the verbs would wait; what they stored is stored.
  const slings = Array.from({ length: 8 }, (_, i) => sling(home, 'chat', `s${i + 1}`, 'monitor'));
  await until(home, 'eight sessions', () => home.rows('SELECT 1 FROM sessions').length === 8);
  for (const each of slings) each.kill();
  await atGate(home, async () => {
    send(old, 'SIGCONT');
    await waitsAtGate(home);
    await Bun.sleep(50);
    send(old, 'SIGSTOP');
    displace(home);
  });
  await succeed(home, lookout);
  send(old, 'SIGCONT');
  await until(home, 'eight turns', () => home.rows('SELECT 1 FROM turns WHERE ended_at IS NOT NULL').length >= 8);
  await home.run(['stop', '--all', '--quiet']);
}

/** It is about to call turn 1 stalled; by the time it does, that is over and turn 2 is at work. */
async function lateStall({ home, lookout }: Stage): Promise<void> {
  // Whoever judges silence has to be there before the gate closes.
  await home.run(['up', '--quiet']);
  await home.run(['watch', '--background', '--quiet']);
  await sling(home, 'quiet', 's1', 'solo').ended;
  await spoken(home, 1);
  const old = daemons(home);
  lookout.noteLease();
  await home.run(['mail', 'send', '--to', 's1', '--subject', 'more', '--body', 'tok-o-1', '--quiet']);
  await atGate(home, async () => {
    // They look every half second at the least; then one of them stands at the gate with its verdict.
    await Bun.sleep(STALE_MS + 1_200);
    send(old, 'SIGSTOP');
    displace(home);
  });
  await succeed(home, lookout);
  home.flag('go');
  await spoken(home, 2);
  send(old, 'SIGCONT');
  await Bun.sleep(300);
}

/** It has read a piece of a stream and is about to write it; the next one has read and written the same piece. */
async function lateEvents({ home, lookout }: Stage): Promise<void> {
  await sling(home, 'talk', 's1', 'solo').ended;
  await spoken(home, 1);
  const old = daemons(home);
  lookout.noteLease();
  await atGate(home, async () => {
    await waitsAtGate(home);
    await Bun.sleep(150);
    send(old, 'SIGSTOP');
    displace(home);
  });
  await succeed(home, lookout);
  const before = eventsIn(home);
  await until(home, 'the events', () => eventsIn(home) > before + 10);
  send(old, 'SIGCONT');
  await Bun.sleep(300);
}

/** What drover keeps running in this home. */
function daemons(home: CampaignHome): ProcessId[] {
  const owners = (['supervisor', 'watchdog'] as const).map((name) => lockOwner(homePaths.lock(home.state, name)));
  return owners.filter((owner) => owner !== null);
}

/** Stopped between two writes: inside of one they would let nobody store anything. */
async function standStill(home: CampaignHome, ids: readonly ProcessId[]): Promise<void> {
  const gate = openWriteGate(homePaths.gate(home.state));
  try {
    await until(home, 'a moment between two writes', () => {
      send(ids, 'SIGSTOP');
      const leave = gate.tryEnter();
      leave?.();
      if (leave === null) send(ids, 'SIGCONT');
      return leave !== null;
    });
  } finally {
    gate.close();
  }
}

function send(ids: readonly ProcessId[], name: 'SIGSTOP' | 'SIGCONT'): void {
  for (const id of ids) signal(id, name);
}

function displace(home: CampaignHome): void {
  for (const path of [homePaths.lock(home.state, 'supervisor'), homePaths.socket(home.state)])
    rmSync(path, { force: true });
}

/** Another supervisor, as soon as it has the lease. */
async function succeed(home: CampaignHome, lookout: Lookout): Promise<void> {
  const fence = lookout.leases.at(-1)?.fence ?? 0;
  void home.start(['up', '--foreground']).ended;
  await until(home, 'another lease', () => {
    lookout.noteLease();
    return (lookout.leases.at(-1)?.fence ?? 0) > fence;
  });
}

function sling(home: CampaignHome, harness: string, name: string, role: string): Running {
  return home.start(['sling', '--harness', harness, '--role', role, '--name', name, '--quiet', `Mend tok-t-${name}`]);
}

async function spoken(home: CampaignHome, turn: number): Promise<void> {
  await until(
    home,
    `turn ${turn} to speak`,
    () => home.rows('SELECT 1 FROM turns WHERE turn = :turn AND events > 1', { turn }).length > 0,
  );
}

function eventsIn(home: CampaignHome): number {
  return home.rows('SELECT 1 FROM events WHERE line_offset IS NOT NULL').length;
}

/** Keeps everybody's writes waiting while `work` goes on. */
async function atGate(home: CampaignHome, work: () => Promise<void>): Promise<void> {
  const gate = openWriteGate(homePaths.gate(home.state));
  try {
    const leave = await until(home, 'the gate', () => gate.tryEnter());
    await work();
    leave();
  } finally {
    gate.close();
  }
}

async function waitsAtGate(home: CampaignHome): Promise<void> {
  const gate = openWriteGate(homePaths.gate(home.state));
  try {
    await until(home, 'somebody at the gate', () => gate.isWanted());
  } finally {
    gate.close();
  }
}

async function until<T>(home: CampaignHome, what: string, look: () => T | null | false): Promise<T> {
  const end = performance.now() + LIMIT_MS;
  for (;;) {
    const found = look();
    if (found !== null && found !== false) return found;
    if (performance.now() > end) throw new Error(`waited ${LIMIT_MS} ms for ${what}\n${home.log()}`);
    await Bun.sleep(2);
  }
}
