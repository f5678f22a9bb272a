import type { Deps } from '../session/deps.ts';

export interface DeskOptions {
  deps: Deps;
  /** What may take its time is done beside; typed failures are tried again until they pass. */
  begin: (key: string, work: () => Promise<void>) => void;
  /** Something has changed: look at the database. */
  ring: () => void;
  log: (line: string) => void;
  /** Aborted when this supervisor ends. */
  stop: AbortSignal;
  /** Who we are, for claims: no two supervisors have the same. */
  holder: string;
}

/** One of those who start work that nobody slings by hand. Everything it knows can be rebuilt from the database. */
export interface Desk {
  /** When time alone changes something; null: only an event does. Wall milliseconds. */
  readonly wake_at: number | null;
  look(now: number): Promise<void>;
}
