import type { GateFinding } from '../model/gate-run.ts';
import type { SessionRow } from '../model/session.ts';
import { noteTurnChanges } from '../session/activity.ts';
import type { Deps } from '../session/deps.ts';
import { type EndedTurn, settleJudged, settleUnlessGated } from '../session/end.ts';
import type { TreeEnd } from '../session/end-tree.ts';
import { endGate, gateOf, judgeTurn, mayHaveGate, type TurnGate } from '../session/turn-gate.ts';
import { isGateWanted } from '../store/gate-run.ts';
import { getSession } from '../store/session.ts';
import type { RunningTurn } from './running.ts';

interface Options {
  deps: Deps;
  log: (line: string) => void;
}

/** Settles turns; those that claim to be done are judged by a gate first. */
export class TurnGates {
  readonly #options: Options;
  readonly #stop: AbortSignal;
  /** By session id: the gates that run, each to be told that somebody wants its turn to end. */
  readonly #running = new Map<string, () => void>();

  constructor(options: Options, stop: AbortSignal) {
    this.#options = options;
    this.#stop = stop;
  }

  /** When we end before the gate does, nothing is settled: the next supervisor runs it again. */
  async settle({ session, row }: RunningTurn, tree: TreeEnd): Promise<void> {
    const { deps, log } = this.#options;
    const ended: EndedTurn = { session, turn: row, tree };
    await endGate(deps, row);
    // Before the settlement, so that who dies in between does it again; before the gate, whose files are not the session's.
    await noteTurnChanges(deps, session, row);
    for (;;) {
      const isGated = await mayHaveGate(deps, session);
      const claimed = isGated ? await settleUnlessGated(deps, ended) : await settleJudged(deps, ended, null);
      const settled = claimed === 'needs_gate' ? await this.#judge(ended) : claimed;
      if (settled === 'interrupted') {
        if (this.#stop.aborted) return;
        continue;
      }
      if (settled === null) return;
      const { outcome, reason } = settled.verdict;
      return log(`${session.name} turn ${row.turn}: ${outcome} (${reason}) → ${settled.session.state}`);
    }
  }

  /** Somebody wants this session's turn to end: a gate that judges it is not waited for, unless it decides all the same. */
  interrupt(session_id: string): void {
    this.#running.get(session_id)?.();
  }

  async #judge(ended: EndedTurn) {
    const { deps, log } = this.#options;
    const session: SessionRow = (await getSession(deps.store, ended.session.id)) ?? ended.session;
    const gate = await gateOf(deps, session);
    if (gate === null) return settleJudged(deps, ended, null);
    const run = await this.#run(ended, gate);
    if (run === null) return 'interrupted';
    const { command, reason } = run;
    log(
      `${session.name} turn ${ended.turn.turn}: gate ${run.verdict}${reason === null ? '' : `: ${command}: ${reason}`}`,
    );
    return settleJudged(deps, ended, { run, max_rounds: gate.max_rounds });
  }

  /** Null: interrupted, by our end or because the turn cannot complete its session any more. */
  async #run({ turn }: EndedTurn, gate: TurnGate): Promise<GateFinding | null> {
    const { deps } = this.#options;
    const over = new AbortController();
    let work: Promise<GateFinding | null> | null = null;
    try {
      for (;;) {
        const asked = Promise.withResolvers<null>();
        let isAsked = false;
        this.#running.set(turn.session_id, () => {
          isAsked = true;
          asked.resolve(null);
        });
        // Also of one that drover ended after its result: it is listed as one to be ended until it is settled.
        if (!(await isGateWanted(deps.store, turn))) return null;
        work ??= judgeTurn(deps, turn, gate, AbortSignal.any([over.signal, this.#stop]));
        const done = await Promise.race([work, asked.promise]);
        if (!isAsked) return done;
      }
    } finally {
      this.#running.delete(turn.session_id);
      over.abort();
      // Of one that has failed the error is on its way already.
      await Promise.allSettled([work]);
    }
  }
}
