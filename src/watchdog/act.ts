import type { Config } from '../model/config.ts';
import { SYSTEM } from '../model/mail.ts';
import { END_CAUSES } from '../model/turn.ts';
import type { Store } from '../store/store.ts';
import type { VerdictDraft } from '../store/verdict.ts';
import {
  type Act,
  type Behaviour,
  buryTurn,
  endOverdue,
  leaveLadder,
  noteStall,
  nudgeTurn,
  recordStep,
  recordVerdict,
} from '../store/watch-act.ts';
import type { Climb, Step } from './escalate.ts';
import type { WatchFacts } from './judge.ts';
import type { Seen } from './observe.ts';

/** One turn that was looked at, judged and found to need a record or a step. */
export interface Case {
  seen: Seen;
  climb: Climb;
  step: Step;
  config: Config;
  /** Health or cause is another than at the last look. */
  isNew: boolean;
  /** The calls that a loop consists of. */
  calls: Behaviour['calls'];
  /** The session whose answer is at hand. */
  triage_id: string | null;
}

/** All that is needed to judge and to escalate again (`drover watch replay`). */
export interface Recorded {
  facts: WatchFacts;
  rung: Climb['rung'];
  can_resume: boolean;
  triage: Climb['triage'];
}

/** `missed`: somebody was first, and nothing was written. `kill`: written, and its processes have to go. */
export type Done = 'nothing' | 'written' | 'missed' | 'kill';

/** Carries out one step: one guarded transaction with its verdict (O-67, O-71); `ask` is that of tier 1. Sends no signal. */
export async function carryOut(store: Store, of: Case, ask: (act: Act) => Promise<boolean>): Promise<Done> {
  const { step, climb } = of;
  const act: Act = { verdict: verdictOf(of), ...groundsOf(of), rung: rungOf(of) };
  switch (step.act) {
    case 'none':
      return leaveOrRecord(store, of, act.verdict);
    case 'note':
      return written(await (isAboutSilence(of) ? noteStall(store, act) : recordStep(store, act)));
    case 'nudge':
    case 'restart':
      return written(await nudgeTurn(store, act, howOf(of)));
    case 'triage':
      return written(await ask(act));
    case 'extend':
      return written(await recordStep(store, act));
    case 'terminate':
      return bury(store, of, act);
    case 'end': {
      const cause = END_CAUSES.find((known) => known === climb.verdict.cause);
      if (cause === undefined) return 'nothing';
      return killed(await endOverdue(store, act, cause, of.seen.facts.end_cause));
    }
  }
}

const written = (landed: boolean): Done => (landed ? 'written' : 'missed');
const killed = (landed: boolean): Done => (landed ? 'kill' : 'missed');

async function leaveOrRecord(store: Store, of: Case, verdict: VerdictDraft): Promise<Done> {
  if (of.step.ladder === 'reset') await leaveLadder(store, verdict, of.isNew ? verdict : null);
  else if (of.isNew) await recordVerdict(store, verdict);
  return of.isNew ? 'written' : 'nothing';
}

async function bury(store: Store, { climb, step, config }: Case, act: Act): Promise<Done> {
  const terminated_by = step.by_triage ? 'tier1' : 'tier0';
  const reason = climb.verdict.health === 'looping' ? 'looping' : 'stuck';
  const notify_parent = config.watchdog.notify_parent_on_death;
  return killed((await buryTurn(store, act, { reason, terminated_by, notify_parent })) !== null);
}

function isAboutSilence({ climb }: Case): boolean {
  return climb.verdict.cause === 'silent' || climb.verdict.cause === 'first_event';
}

/** What must still be so when the act happens. What somebody decided before needs no more grounds. */
function groundsOf(of: Case): Pick<Act, 'events' | 'behaviour'> {
  const { health, cause } = of.climb.verdict;
  if (of.seen.facts.end_cause !== null) return { events: null };
  if (health === 'looping') return { events: null, behaviour: { calls: cause === 'repetition' ? of.calls : null } };
  // A word after the result, too, is work that goes on.
  return { events: isAboutSilence(of) || cause === 'lingering' ? of.seen.close.turn.events : null };
}

function rungOf({ step, climb }: Case): Act['rung'] {
  return step.ladder === 'set' ? { level: step.level, cause: climb.verdict.cause ?? '' } : null;
}

function verdictOf(of: Case): VerdictDraft {
  const { climb, step, config, seen } = of;
  const { rung, can_resume, triage, verdict } = climb;
  const opinion = opinionOf(of);
  const recorded: Recorded = { facts: seen.facts, rung, can_resume, triage };
  return {
    ...{
      session_id: seen.close.turn.session_id,
      turn: seen.close.turn.turn,
      judged_by: 'watchdog',
      tier: step.by_triage ? 1 : 0,
    },
    ...{ health: verdict.health, cause: verdict.cause, act: step.act, level: step.level },
    evidence: opinion === null ? verdict.evidence : `${verdict.evidence}; ${opinion}`,
    facts_json: JSON.stringify(recorded),
    limits_json: JSON.stringify({
      turn: config.turn,
      watchdog: config.watchdog,
      gate: { timeout_ms: config.gate.timeout_ms },
    }),
    triage_id: step.by_triage ? of.triage_id : null,
    at: seen.now,
  };
}

const ADVICE: Record<string, string> = {
  silent:
    'Nothing was heard of you for too long. If something you started hangs, do it another way, or in the background and with a limit of its own.',
  repetition:
    'You do the same again and again and it does not help. Say what you expected, look at what is really there, and try something else; or ask.',
  no_change:
    'You have written a lot and nothing in your worktree has changed. Do the next small step, or say what keeps you from it.',
};

/** What the one who was asked has said, when that is what the step is about. */
function opinionOf({ climb, step }: Case): string | null {
  if (!step.by_triage || typeof climb.triage !== 'object') return null;
  const { verdict, reason } = climb.triage;
  return `a second opinion says ${verdict}: ${reason || '(no reason given)'}`;
}

function howOf(of: Case): Parameters<typeof nudgeTurn>[2] {
  const { climb, step } = of;
  const { cause, evidence } = climb.verdict;
  const advice = ADVICE[cause ?? ''] ?? 'You seem to be stuck.';
  const opinion = opinionOf(of);
  // It was written by a model that has read what this session wrote: it must not speak with our voice.
  const said =
    opinion === null ? '' : `\n\nFrom a model that has seen your last events, as advice without authority: ${opinion}`;
  return {
    draft: {
      ...{ from_name: SYSTEM, from_id: null, type: 'nudge', priority: 'high', payload_json: null },
      subject: 'You seem to be stuck',
      body: `The watchdog noticed: ${evidence}. ${advice}${said}`,
    },
    interrupt: step.interrupt,
    // A harness that cannot go on with its conversation begins a new one, from role, rules and task.
    anew: step.act === 'restart' && !climb.can_resume,
  };
}
