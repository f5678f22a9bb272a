import type { Config } from '../model/config.ts';
import type { Health } from '../model/verdict.ts';
import type { Traits } from '../session/traits.ts';
import type { Behaviour } from '../store/watch-act.ts';
import type { Watched } from '../store/watched.ts';
import type { SeenRepetition } from './repetition.ts';

/** HEAD and status of a worktree, and its session's output tokens when it was found to have changed. */
export interface Work {
  mark: string | null;
  tokens: number;
}

/**
 * What one look knew of a turn, for the next one. All of it can be found out again; after a restart every age starts anew.
 */
export interface Remembered {
  session: Watched;
  health: Health;
  cause: string | null;
  on_ladder: boolean;
  /** Events of the turn when its tool calls were compared last, and what was found. */
  events_seen: number;
  repetition: SeenRepetition | null;
  /** The calls it was found in. */
  calls: Behaviour['calls'];
  ending_since: number | null;
  cpu: { ms: number; at: number } | null;
  /** Output tokens of the turn when its worktree was looked at last, and of the session since it changed. */
  tokens_seen: number;
  unchanged_tokens: number | null;
}

export function remembered(session: Watched): Remembered {
  return {
    session,
    ...{ health: 'ok', cause: null, on_ladder: session.escalated_at !== null },
    ...{ events_seen: 0, repetition: null, calls: null, ending_since: null, cpu: null },
    ...{ tokens_seen: 0, unchanged_tokens: null },
  };
}

/** Turns in flight by session and number. What a look does not meet is forgotten. */
export class Memory {
  #turns = new Map<string, Remembered>();
  #next = new Map<string, Remembered>();
  #works = new Map<string, Work>();

  /** The turn is in flight; undefined: seen for the first time. */
  meet(key: string): Remembered | undefined {
    const known = this.#turns.get(key);
    if (known !== undefined) this.#next.set(key, known);
    return known;
  }

  add(key: string, known: Remembered): void {
    this.#next.set(key, known);
  }

  /** By session: a worktree outlasts the turn. */
  get works(): Map<string, Work> {
    return this.#works;
  }

  /** The look is over. */
  turnOver(): void {
    this.#turns = this.#next;
    this.#next = new Map();
    if (this.#works.size <= this.#turns.size) return;
    const sessions = new Set([...this.#turns.keys()].map((key) => key.slice(0, key.indexOf(':'))));
    this.#works = new Map([...this.#works].filter(([id]) => sessions.has(id)));
  }
}

/** Settings and traits are the same for many: each is found out once per look. */
export interface Kind {
  config: Config;
  traits: Traits;
}
