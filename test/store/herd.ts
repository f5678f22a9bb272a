import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { AppError } from '../../src/model/error.ts';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { newId, newSecret } from '../../src/model/id.ts';
import type { MailType } from '../../src/model/mail.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { nudgeSession, pauseSession, resumeSession, stopSession } from '../../src/store/control.ts';
import { ingest } from '../../src/store/ingest.ts';
import { claimNow, type MailDraft, sendMail } from '../../src/store/mail.ts';
import { listPools, setPool } from '../../src/store/pool.ts';
import { movePools } from '../../src/store/pool-advance.ts';
import { getSession } from '../../src/store/session.ts';
import { abortTurn, endSession, settleTurn } from '../../src/store/settle.ts';
import { transition } from '../../src/store/transition.ts';
import { claimTurn, openTurns, releaseDue, takeLease } from '../../src/store/turn.ts';
import { seedSession, type TestStore } from '../support/store.ts';

export const ENDINGS = ['ok', 'crash', 'lost', 'limit', 'usage', 'auth', 'timeout', 'linger', 'tree'] as const;
export type Ending = (typeof ENDINGS)[number];

/** One thing that somebody does to a herd of sessions; `who` and `whom` are taken modulo their number. */
export type Step =
  | { do: 'sling'; who: number; has_parent: boolean; is_persistent: boolean }
  | { do: 'settle'; who: number; ending: Ending }
  | { do: 'mail'; who: number; whom: number; type: MailType }
  | { do: 'nudge'; who: number; interrupt: boolean }
  | { do: 'usage'; who: number; mode: 'add' | 'turn' | 'thread'; tokens: number }
  | {
      do: 'claim' | 'event' | 'take' | 'stop' | 'pause' | 'resume' | 'stall' | 'bury' | 'abort' | 'release';
      who: number;
    };

/** What a herd must remember to know what the database should say. */
export class Herd {
  readonly ids: string[] = [];
  readonly persistent = new Set<string>();
  /** Mail id → turns that were confirmed with it in their prompt. */
  readonly confirmed = new Map<string, number>();
  /** Session id → deaths that were to be told by `worker_died`. */
  readonly deaths = new Map<string, number>();
  now = 1_000;
  #fence = 0;
  readonly #world: TestStore;

  constructor(world: TestStore) {
    this.#world = world;
  }

  /** Does it; a refusal (an `AppError`) is an answer like any other. */
  async step(step: Step): Promise<void> {
    this.now += 10;
    try {
      await this.#act(step);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
    }
    await this.#seeMail();
  }

  async #act(step: Step): Promise<unknown> {
    const { store } = this.#world;
    if (step.do === 'sling') return this.#sling(step);
    if (step.do === 'release') {
      this.now += 100_000;
      await releaseDue(store, this.now, 'supervisor');
      // Somebody has logged in again.
      for (const { name, opens_at, state } of await listPools(store))
        if (state === 'blocked' && opens_at === null) await setPool(store, name, { type: 'release' }, this.now);
      return movePools(store, { now: this.now, stagger_ms: 10 });
    }
    const session_id = this.#pick(step.who);
    if (session_id === null) return null;
    const key = { session_id, now: this.now };
    switch (step.do) {
      case 'claim':
        return this.#claim(session_id);
      case 'event':
        return this.#feed(session_id, [{ type: 'text', text: 'x' }]);
      case 'usage':
        return this.#feed(session_id, [{ type: 'usage', mode: step.mode, tokens: tokens(step.tokens) }]);
      case 'settle':
        return this.#settle(session_id, step.ending);
      case 'mail':
        return this.#mail(session_id, this.#pick(step.whom) ?? session_id, step.type);
      case 'take':
        return claimNow(store, session_id);
      case 'nudge':
        return nudgeSession(store, { ...key, draft: DRAFT, interrupt: step.interrupt });
      case 'stop':
        return stopSession(store, { ...key, actor: 'cli', reason: 'x' });
      case 'pause':
        return pauseSession(store, { ...key, reason: 'x' });
      case 'resume':
        return resumeSession(store, { ...key, brief: DRAFT, interrupt_reason: 'x', always_brief: false });
      case 'stall':
        return this.#stall(session_id);
      case 'bury':
        return this.#bury(session_id);
      case 'abort':
        return this.#abort(session_id);
    }
  }

  #pick(who: number): string | null {
    return this.ids[who % this.ids.length] ?? null;
  }

  async #row(id: string): Promise<SessionRow> {
    const row = await getSession(this.#world.store, id);
    if (row === null) throw new Error(`no session ${id}`);
    return row;
  }

  async #sling(step: Extract<Step, { do: 'sling' }>): Promise<void> {
    const parent_id = step.has_parent ? this.#pick(step.who) : null;
    const { id } = await seedSession(this.#world, { parent_id });
    this.ids.push(id);
    if (step.is_persistent) this.persistent.add(id);
  }

  async #claim(session_id: string): Promise<void> {
    if (this.#fence === 0) this.#fence = await takeLease(this.#world.store, 'test', this.now);
    const dir_of = (turn: number) => `/turns/${turn}`;
    const draft = { session_id, lease_fence: this.#fence, marker: newSecret(), dir_of, token_hash: newId('run') };
    await claimTurn(this.#world.store, { ...draft, max_in_flight: 3, now: this.now });
  }

  async #open(session_id: string) {
    return (await openTurns(this.#world.store)).find(({ session }) => session.id === session_id)?.turn ?? null;
  }

  async #feed(session_id: string, events: HarnessEvent[]): Promise<void> {
    const turn = await this.#open(session_id);
    if (turn === null) return;
    const from = turn.stdout_offset;
    const lines = events.map((event, i) => ({ offset: from + i, end: from + i + 1, events: [event] }));
    const batch = { session_id, turn: turn.turn, from_offset: from, to_offset: from + events.length, lines };
    await ingest(this.#world.store, [{ ...batch, oversize: 0, now: this.now }]);
  }

  async #settle(session_id: string, ending: Ending): Promise<void> {
    const turn = await this.#open(session_id);
    if (turn === null) return;
    const ok = ending === 'ok' || ending === 'linger' || ending === 'tree';
    if (ok) await this.#feed(session_id, [{ type: 'text', text: 'x' }, RESULT]);
    const reserved = await this.#mails('to_id = :session_id AND delivered_turn = :turn AND read_at IS NULL', {
      session_id,
      turn: turn.turn,
    });
    const row = await this.#row(session_id);
    const exits = { ok: { code: 0, signal: null }, lost: null, linger: null };
    const settled = await settleTurn(this.#world.store, {
      session_id,
      turn: turn.turn,
      exit: ending in exits ? exits[ending as keyof typeof exits] : { code: 1, signal: null },
      tree_empty: ending !== 'tree',
      survivors: 0,
      leftovers: 0,
      exit_events: ending in LIMITS ? [limit(LIMITS[ending as keyof typeof LIMITS])] : [],
      has_contract: row.parent_id !== null && !this.persistent.has(session_id),
      is_persistent: this.persistent.has(session_id),
      contract_hint: 'report',
      max_attempts: 2,
      backoff_ms: 20,
      backoff_cap_ms: 100,
      limits: { ...DEFAULT_CONFIG.limits, usage_wait_ms: 50_000 },
      random: 0.5,
      now: this.now,
    });
    if (settled === null) throw new Error('the open turn was not settled');
    if (settled.settlement.mail === 'confirm')
      for (const id of reserved) this.confirmed.set(id, (this.confirmed.get(id) ?? 0) + 1);
    if (settled.moved && settled.settlement.died) await this.#died(row);
  }

  async #stall(session_id: string): Promise<void> {
    const { turn: fence } = await this.#row(session_id);
    const stall = { session_id, event: 'stall', actor: 'watchdog', now: this.now, fence } as const;
    await this.#world.store.write((tx) => transition(tx, stall));
  }

  async #bury(session_id: string): Promise<void> {
    const row = await this.#row(session_id);
    const input = {
      session_id,
      event: 'bury',
      actor: 'watchdog',
      reason: 'x',
      fence: row.turn,
      died: true,
      now: this.now,
    } as const;
    if ((await endSession(this.#world.store, input)) !== null) await this.#died(row);
  }

  async #abort(session_id: string): Promise<void> {
    const turn = await this.#open(session_id);
    if (turn === null) return;
    const row = await this.#row(session_id);
    await abortTurn(this.#world.store, { session_id, turn: turn.turn, reason: 'spawn_error', now: this.now });
    if ((await this.#row(session_id)).ended_at === this.now) await this.#died(row);
  }

  async #died(row: SessionRow): Promise<void> {
    if (row.parent_id === null) return;
    const parent = await this.#row(row.parent_id);
    if (parent.state === 'completed' || parent.state === 'zombie') return;
    this.deaths.set(row.id, (this.deaths.get(row.id) ?? 0) + 1);
  }

  async #mail(from: string, to: string, type: MailType): Promise<void> {
    const sender = await this.#row(from);
    if (sender.ended_at !== null || from === to) return;
    const recipient = await this.#row(to);
    const draft = { ...DRAFT, from_name: sender.name, from_id: from, type };
    const input = {
      draft,
      to: [{ id: to, name: recipient.name }],
      sender,
      is_terminal: type === 'worker_done',
      now: this.now,
    };
    await sendMail(this.#world.store, input);
  }

  #mails(where: string, params: Record<string, string | number>): Promise<string[]> {
    return this.#world.store.read((tx) =>
      tx.all<{ id: string }>(`SELECT id FROM mail WHERE ${where}`, params).map(({ id }) => id),
    );
  }

  async #seeMail(): Promise<void> {
    for (const id of await this.#mails('to_id IS NOT NULL', {})) if (!this.confirmed.has(id)) this.confirmed.set(id, 0);
  }
}

const DRAFT: Omit<MailDraft, 'to_id' | 'to_name'> = {
  from_name: 'operator',
  from_id: null,
  type: 'nudge',
  priority: 'normal',
  subject: 's',
  body: 'b',
  payload_json: null,
};
const RESULT: HarnessEvent = { type: 'result', ok: true, reason: 'ok', text: 'r', model_turns: 1, denials: [] };

function tokens(input_tokens: number) {
  return { input_tokens, output_tokens: 1, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0 };
}

const LIMITS = { limit: 'rate_limit', usage: 'usage_limit', auth: 'auth' } as const;

function limit(kind: (typeof LIMITS)[keyof typeof LIMITS]): HarnessEvent {
  return {
    type: 'limit',
    limit: { kind, status: null, message: '', resets_at: null, retry_after_ms: null, final: true },
  };
}
