import type { Config } from '../model/config.ts';
import type { Health, WatchAct } from '../model/verdict.ts';
import type { Deps } from '../session/deps.ts';
import { traitsOf } from '../session/traits.ts';
import { appendTick, latestVerdicts } from '../store/verdict.ts';
import { type CloseRow, type Glance, glances, type Watched, watchedSessions } from '../store/watched.ts';
import { diskFree } from '../sys/files.ts';
import { type Case, carryOut, type Done } from './act.ts';
import type { Awake, Wakefulness } from './awake.ts';
import { type Climb, escalate } from './escalate.ts';
import { judge, type WatchFacts, type WatchVerdict } from './judge.ts';
import type { Kills } from './kills.ts';
import { type Kind, Memory, type Remembered, remembered } from './memory.ts';
import { addUsage, lookClosely, quickFacts, type Seen, unchangedTokens, wantsCalls, wantsWork } from './observe.ts';
import { NOBODY, TriageDesk } from './triage.ts';

export interface WatcherOptions {
  deps: Deps;
  awake: Awake;
  kills: Kills;
  /** False: look and judge, and leave everything as it is. */
  may_act: boolean;
  log: (line: string) => void;
}

/** What a look found about one turn that is not simply well. */
export interface Finding {
  session_id: string;
  name: string;
  turn: number;
  health: Health;
  cause: string | null;
  evidence: string;
  act: WatchAct;
  level: number;
  /** False: somebody was first, and nothing was done. */
  landed: boolean;
}

export interface TickReport {
  at: number;
  took_ms: number;
  /** Turns in flight; looked at closely; left for the next look because time or number ran out. */
  watched: number;
  looked: number;
  left: number;
  wakefulness: Wakefulness;
  disk_free_bytes: number | null;
  findings: Finding[];
  failures: string[];
  /** The supervisor has something to look at. */
  rings: boolean;
}

/** Turns that one look asks the machine about, and the shares of its interval after which it stops looking, and acting. */
const MAX_LOOKS = 200;
const SHARE = { look: 0.4, treat: 0.7 };
/** Worktrees that are looked at at the same time. */
const MAX_WORKS = 2;

interface Candidate {
  glance: Glance;
  key: string;
  known: Remembered;
  quick: WatchFacts;
  kind: Kind;
}

/** One turn that was looked at closely, and what was made of it. */
interface Judged {
  of: Candidate;
  at: Seen;
  verdict: WatchVerdict;
  known: Remembered;
}

/** Looks at all turns in flight, and closely at those that are not plainly well (O-67, ARCHITECTURE §5). */
export class Watcher {
  readonly #options: WatcherOptions;
  readonly #memory = new Memory();
  readonly #desk: TriageDesk;
  #cursor = 0;
  #works = 0;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#desk = new TriageDesk(options.deps, options.log);
  }

  /** One look. Never throws; takes a part of `interval_ms` at the most, whatever the store holds. */
  async tick(interval_ms: number, patience_ms?: number): Promise<TickReport> {
    const { clock, store } = this.#options.deps;
    const start = clock.monotonic();
    const now = clock.now();
    const report: TickReport = {
      ...{ at: now, took_ms: 0, watched: 0, looked: 0, left: 0, disk_free_bytes: null, rings: false },
      ...{ wakefulness: this.#options.awake.look(now, start, interval_ms, patience_ms), findings: [], failures: [] },
    };
    await this.#try(report, 'look', () => {
      const after = (share: number) => start + interval_ms * share;
      return this.#look(report, { look: after(SHARE.look), treat: after(SHARE.treat), patience_ms });
    });
    report.took_ms = Math.round(clock.monotonic() - start);
    if (this.#options.may_act && isWorthARow(report)) {
      const { at, took_ms, watched } = report;
      await this.#try(report, 'report', () =>
        appendTick(store, { at, took_ms, watched, report_json: JSON.stringify(report) }),
      );
    }
    return report;
  }

  /** One session that cannot be judged must not keep the others from it; what went wrong is in the report and the log. */
  async #try(report: TickReport, what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      report.failures.push(`${what}: ${error}`);
      this.#options.log(`${what}: ${error instanceof Error ? error.stack : error}`);
    }
  }

  async #look(
    report: TickReport,
    deadline: { look: number; treat: number; patience_ms: number | undefined },
  ): Promise<void> {
    const { deps } = this.#options;
    report.disk_free_bytes = diskFree(deps.home);
    const candidates = await this.#candidates(report);
    const first = candidates.length === 0 ? 0 : this.#cursor % candidates.length;
    const seen: Judged[] = [];
    const pulse = () => this.#pulse(report, deadline.patience_ms);
    this.#desk.begin();
    // In turn: those who were left out at the last look come first.
    for (const of of [...candidates.slice(first), ...candidates.slice(0, first)]) {
      if (report.looked >= MAX_LOOKS || deps.clock.monotonic() > deadline.look) break;
      report.looked += 1;
      const at_work = (close: CloseRow) => this.#lookAtWork(close, of.known);
      const { known, kind } = of;
      await this.#try(report, known.session.name, async () => {
        const at = await lookClosely(deps.store, of.glance, of.quick, { known, at_work, config: kind.config, pulse });
        if (at !== null) seen.push({ of, at, verdict: judge(at.facts, kind.config, at.now), known });
      });
    }
    report.left = candidates.length - report.looked;
    this.#cursor = first + report.looked;
    const unwell = seen.filter(({ verdict }) => verdict.health !== 'ok');
    if (unwell.length > 0) await this.#try(report, 'usage', async () => addUsage(unwell));
    for (const judged of seen) {
      // What was judged and not treated is found again by the next look.
      if (deps.clock.monotonic() > deadline.treat) report.left += 1;
      else await this.#try(report, judged.known.session.name, () => this.#treat(report, judged));
    }
    if (this.#options.may_act) await this.#try(report, 'triage', () => this.#tidy(report.at));
    this.#memory.turnOver();
  }

  /** A look takes its time, and whoever sleeps in the middle of one knows as little as after one between two. */
  #pulse(report: TickReport, patience_ms: number | undefined): { now: number; awake_since: number } {
    const { awake, deps } = this.#options;
    const now = deps.clock.now();
    const wakefulness = awake.look(now, deps.clock.monotonic(), 0, patience_ms);
    if (wakefulness !== 'steady') report.wakefulness = wakefulness;
    return { now, awake_since: awake.since };
  }

  /** Everything that is not plainly well by its row and by what is remembered. */
  async #candidates(report: TickReport): Promise<Candidate[]> {
    const { deps, awake } = this.#options;
    const all = (await glances(deps.store)).map((glance) => {
      const key = `${glance.session_id}:${glance.turn}`;
      return { glance, key, known: this.#memory.meet(key) };
    });
    report.watched = all.length;
    const isFirst = await this.#introduce(all.filter(({ known }) => known === undefined));
    const kinds = new Map<string, Kind>();
    const found: Candidate[] = [];
    for (const { glance, key, known: before } of all) {
      const known = before ?? isFirst.get(key);
      if (known === undefined || this.#desk.sitsHere(known.session)) continue;
      const { harness, role, repo_root } = known.session;
      const name = `${harness}\n${role}\n${repo_root}`;
      const kind = kinds.get(name) ?? (await this.#kindOf(known.session));
      kinds.set(name, kind);
      const quick = quickFacts(glance, known, kind.traits, awake.since);
      if (!isPlainlyWell(glance, known, quick, kind.config, report.at)) found.push({ glance, key, known, quick, kind });
    }
    return found;
  }

  /** Turns seen for the first time: who they are, and what was said of them last. */
  async #introduce(all: readonly { glance: Glance; key: string }[]): Promise<Map<string, Remembered>> {
    const { store } = this.#options.deps;
    const found = new Map<string, Remembered>();
    if (all.length === 0) return found;
    const ids = all.map(({ glance }) => glance.session_id);
    const [sessions, verdicts] = [await watchedSessions(store, ids), await latestVerdicts(store, ids)];
    for (const { glance, key } of all) {
      const session = sessions.get(glance.session_id);
      if (session === undefined) continue;
      const known = remembered(session);
      const last = verdicts.get(glance.session_id);
      if (last?.turn === glance.turn) Object.assign(known, { health: last.health, cause: last.cause });
      this.#memory.add(key, known);
      found.set(key, known);
    }
    return found;
  }

  async #kindOf(session: Watched): Promise<Kind> {
    const { deps } = this.#options;
    const config = await deps.config_for(session.repo_root);
    return { config, traits: traitsOf(deps, session, config) };
  }

  async #treat(report: TickReport, { of, at: seen, verdict, known }: Judged): Promise<void> {
    const { glance } = of;
    const { config, traits } = of.kind;
    const { now } = seen;
    const { escalation_level, escalated_at, escalation_cause } = seen.close;
    const key = { session_id: glance.session_id, turn: glance.turn, level: escalation_level };
    const at = { awake_since: seen.facts.awake_since, now };
    const opinion = verdict.act === 'climb' ? await this.#desk.about(key, config, at) : NOBODY;
    const { triage, id: triage_id } = opinion;
    const climb: Climb = {
      rung: { escalation_level, escalated_at, escalation_cause },
      verdict,
      facts: seen.facts,
      can_resume: traits.can_resume && seen.close.native_session_id !== null,
      triage,
    };
    const step = escalate(climb, config.watchdog, now);
    // Of a turn that is just being ended nothing new is said.
    const isSettled = seen.facts.end_cause !== null && verdict.act === 'none';
    const isNew = !isSettled && (verdict.health !== known.health || verdict.cause !== known.cause);
    const done = await this.#act({ seen, climb, step, config, isNew, calls: known.calls, triage_id }, known);
    if (verdict.act === 'ring' || step.act !== 'none') report.rings = true;
    if (done !== 'missed' && !isSettled) Object.assign(known, { health: verdict.health, cause: verdict.cause });
    if (verdict.health === 'ok' && verdict.act === 'none' && step.act === 'none') return;
    const { health, cause, evidence } = verdict;
    const { name } = known.session;
    const finding = { session_id: glance.session_id, name, turn: glance.turn, health, cause, evidence };
    report.findings.push({ ...finding, act: step.act, level: step.level, landed: done !== 'missed' });
    const missed = done === 'missed' ? ' (somebody was first)' : '';
    if (step.act !== 'none') this.#options.log(`${name} turn ${glance.turn}: ${step.act}${missed}: ${evidence}`);
  }

  async #act(of: Case, known: Remembered): Promise<Done> {
    if (!this.#options.may_act) return 'nothing';
    // Still there after its end was recorded: ended again, without another record.
    if (of.step.act === 'end' && of.seen.facts.end_cause !== null && !of.isNew) {
      this.#options.kills.add(of.seen.close.turn, of.config.turn.sigkill_delay_ms);
      return 'nothing';
    }
    // The rest are asked about at the next look: what nobody was asked about is not ended for want of an answer.
    if (of.step.act === 'triage' && !this.#desk.hasTime(of.config.watchdog)) return 'nothing';
    const done = await carryOut(this.#options.deps.store, of, (act) => this.#desk.ask(of, act));
    if (done === 'kill') this.#options.kills.add(of.seen.close.turn, of.config.turn.sigkill_delay_ms);
    if (done !== 'missed' && of.step.ladder !== 'keep') known.on_ladder = of.step.ladder === 'set';
    return done;
  }

  async #tidy(now: number): Promise<void> {
    const { deps } = this.#options;
    await this.#desk.tidy((await deps.config_for(deps.home)).watchdog.triage_timeout_ms, now);
  }

  /** In the background, because git may take its time: what it finds counts at the next look. */
  #lookAtWork(close: CloseRow, known: Remembered): boolean {
    if (this.#works >= MAX_WORKS) return false;
    this.#works += 1;
    unchangedTokens(close, this.#memory.works)
      .then(
        (tokens) => {
          known.unchanged_tokens = tokens;
        },
        (error) => this.#options.log(`${known.session.name}: its worktree: ${error}`),
      )
      .finally(() => {
        this.#works -= 1;
      });
    return true;
  }
}

function isPlainlyWell(glance: Glance, known: Remembered, quick: WatchFacts, config: Config, now: number): boolean {
  if (glance.end_cause !== null || known.on_ladder || known.health !== 'ok') return false;
  if (wantsCalls(glance, known, config.watchdog.loop_repeats) || wantsWork(glance, known)) return false;
  return judge(quick, config, now).health === 'ok';
}

function isWorthARow({ findings, failures, wakefulness }: TickReport): boolean {
  return findings.length > 0 || failures.length > 0 || wakefulness !== 'steady';
}
