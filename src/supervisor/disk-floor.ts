import type { Clock } from '../model/clock.ts';
import { diskFree } from '../sys/files.ts';

/** The disk is asked at most so often. */
const EVERY_MS = 1_000;
const MEGABYTE = 1_048_576;

/**
 * Whether DROVER_HOME has room for another turn (`limits.min_free_mb`): a full disk costs running turns their output and
 * everybody the database. A change is logged once.
 */
export class DiskFloor {
  readonly #home: string;
  readonly #clock: Clock;
  readonly #log: (line: string) => void;
  #free = Number.POSITIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;
  /** Floors at which turns wait, in bytes by repository. */
  readonly #floors = new Map<string, number>();

  constructor(home: string, clock: Clock, log: (line: string) => void) {
    this.#home = home;
    this.#clock = clock;
    this.#log = log;
  }

  /** True while turns wait for room. */
  get isLow(): boolean {
    return [...this.#floors.values()].some((floor) => this.#ask() < floor);
  }

  /** `min_free_mb`: as the repository of the turn wants it. 0: never asked. */
  refuses(repo_root: string, min_free_mb: number): boolean {
    const floor = min_free_mb * MEGABYTE;
    const isLow = floor > 0 && this.#ask() < floor;
    const wasLow = this.#floors.delete(repo_root);
    if (isLow) this.#floors.set(repo_root, floor);
    const free = `${Math.floor(this.#free / MEGABYTE)} MB free`;
    if (isLow && !wasLow)
      this.#log(`disk low: ${free}, limits.min_free_mb is ${min_free_mb}; no turn starts in ${repo_root}`);
    if (wasLow && !isLow) this.#log(`disk: ${free}, turns start again in ${repo_root}`);
    return isLow;
  }

  #ask(): number {
    const now = this.#clock.monotonic();
    if (now - this.#askedAt < EVERY_MS) return this.#free;
    this.#askedAt = now;
    this.#free = diskFree(this.#home);
    return this.#free;
  }
}
