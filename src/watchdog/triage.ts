import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import { homePaths } from '../model/home.ts';
import { template } from '../session/control.ts';
import type { Deps } from '../session/deps.ts';
import { ownSession } from '../session/own-session.ts';
import { transcriptTail } from '../session/transcript-tail.ts';
import { stopSession } from '../store/control.ts';
import type { Sling } from '../store/new-session.ts';
import { getSession } from '../store/session.ts';
import { type AskLimits, askTriage, mayAsk, overdueAnswers, type Question, questionOf } from '../store/triage.ts';
import { listVerdicts } from '../store/verdict.ts';
import type { Act } from '../store/watch-act.ts';
import type { Case } from './act.ts';
import { type Climb, TRIAGE } from './escalate.ts';
import { triagePrompt } from './triage-prompt.ts';
import { questionState } from './triage-question.ts';

/** What is shown of the session that is stuck. */
const TAIL = { events: 60, bytes: 8_192 };
/** It has no tools: one answer, and one more if the first was a mistake. */
const MAX_TURNS = 2;

/** Questions about one turn that may fail; a busy store deserves a second try. */
const MAX_FAILURES = 2;
/** Turns that are remembered for that. */
const MAX_REMEMBERED = 1_000;

/** What is known of a second opinion; `id` names the session that gave it. */
export interface Opinion {
  triage: Climb['triage'];
  id: string | null;
}

export const NOBODY: Opinion = { triage: 'none', id: null };

/**
 * The second opinion of tier 1 (O-27, O-69): a session without tools and rights is asked what to do about a stuck one.
 * Everything about a question is in the store, so that a watchdog which dies in the middle of one loses nothing.
 */
export class TriageDesk {
  readonly #deps: Deps;
  readonly #log: (line: string) => void;
  readonly #place: string;
  #asked = 0;
  /** How often asking about a turn went wrong. */
  readonly #failures = new Map<string, number>();
  /** Why nobody can be asked, so that it is said once. */
  #trouble = '';

  constructor(deps: Deps, log: (line: string) => void) {
    this.#deps = deps;
    this.#log = log;
    this.#place = homePaths.desk(deps.home, 'triage');
  }

  /** Sessions that answer are not judged: their own limit ends them. */
  sitsHere({ repo_root }: { repo_root: string }): boolean {
    return repo_root === this.#place;
  }

  /** A look begins. */
  begin(): void {
    this.#asked = 0;
  }

  /** May one more be asked in this look? The rest wait for the next one. */
  hasTime({ triage_per_tick }: Config['watchdog']): boolean {
    return this.#asked < triage_per_tick;
  }

  /** What is known about this turn, or whether somebody can be asked. Only the rungs around the question ask the store. */
  async about(
    key: { session_id: string; turn: number; level: number },
    config: Config,
    { awake_since, now }: { awake_since: number; now: number },
  ): Promise<Opinion> {
    const { triage_harness, triage_timeout_ms, triage_per_tick } = config.watchdog;
    if (triage_harness === null || triage_per_tick === 0) return NOBODY;
    if (key.level === TRIAGE - 1) {
      if ((this.#failures.get(nameOf(key)) ?? 0) >= MAX_FAILURES) return NOBODY;
      const sling = this.#sling(config, { name: 'triage', task: '' });
      const isOpen = sling !== null && (await mayAsk(this.#deps.store, limitsOf(sling, config, now)));
      return isOpen ? { triage: 'open', id: null } : NOBODY;
    }
    const question = key.level === TRIAGE ? await questionOf(this.#deps.store, key) : null;
    if (question === null) return NOBODY;
    const state = questionState(question, { timeout_ms: triage_timeout_ms, awake_since }, now);
    if (state === 'waiting') return { triage: 'asked', id: question.triage_id };
    return state === 'answered' ? await opinionOf(question) : NOBODY;
  }

  /**
   * Takes the step. False: somebody was first, or nobody can be asked any more. What it throws is counted: a question
   * that cannot be put must not hold the ladder for ever.
   */
  async ask(of: Case, act: Act): Promise<boolean> {
    this.#asked += 1;
    const key = nameOf(of.seen.close.turn);
    try {
      const asked = await this.#ask(of, act);
      this.#failures.delete(key);
      return asked;
    } catch (error) {
      if (this.#failures.size >= MAX_REMEMBERED) this.#failures.clear();
      this.#failures.set(key, (this.#failures.get(key) ?? 0) + 1);
      throw error;
    }
  }

  async #ask(of: Case, act: Act): Promise<boolean> {
    const { config } = of;
    const { now } = of.seen;
    const { session_id } = of.seen.close.turn;
    const session = await getSession(this.#deps.store, session_id);
    if (session === null) return false;
    const task = triagePrompt(template(this.#deps, 'triage'), {
      session,
      turn: of.seen.close.turn.turn,
      verdict: of.climb.verdict,
      facts: of.seen.facts,
      verdicts: await listVerdicts(this.#deps.store, session_id),
      transcript: await transcriptTail(this.#deps, session, TAIL),
      now,
    });
    const name = `triage-${session.name}`.slice(0, 58).replace(/[^a-z0-9]+$/, '');
    const sling = this.#sling(config, { name, task });
    if (sling === null) return false;
    const asked = await askTriage(this.#deps.store, act, {
      sling: { ...sling, now },
      limits: limitsOf(sling, config, now),
    });
    return asked !== null;
  }

  /** Ends the sessions whose answer nobody waits for any more. */
  async tidy(timeout_ms: number, now: number): Promise<void> {
    const { store } = this.#deps;
    for (const session_id of await overdueAnswers(store, { desk: this.#place, before: now - timeout_ms })) {
      await stopSession(store, { session_id, actor: 'watchdog', reason: 'no answer in time', now });
    }
  }

  /** `null`: such a session cannot be started here, which is said once. */
  #sling(config: Config, { name, task }: { name: string; task: string }): Sling | null {
    const { triage_harness, triage_model: model, triage_timeout_ms: timeout_ms } = config.watchdog;
    if (triage_harness === null) return null;
    const own = { name, task, model, timeout_ms, max_turns: MAX_TURNS, desk: this.#place };
    try {
      const sling = ownSession(this.#deps, config, { ...own, role: 'triage', harness: triage_harness });
      this.#trouble = '';
      return sling;
    } catch (error) {
      if (!(error instanceof AppError) || error.kind === 'bug') throw error;
      if (this.#trouble !== error.message) this.#log(`triage: ${error.message}`);
      this.#trouble = error.message;
      return null;
    }
  }
}

const nameOf = ({ session_id, turn }: { session_id: string; turn: number }) => `${session_id}:${turn}`;

function limitsOf({ draft }: Sling, { watchdog }: Config, now: number): AskLimits {
  return { per_day: watchdog.triage_per_day, pool: draft.pool, now };
}

async function opinionOf({ triage_id, session }: Question): Promise<Opinion> {
  // Only here: a look that finds no answer does not load the schema library.
  const { triageAnswer } = await import('../model/triage-answer.ts');
  const answer = triageAnswer(session?.result_text ?? '');
  return answer === null ? NOBODY : { triage: answer, id: triage_id };
}
