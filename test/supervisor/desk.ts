import type { Desk, DeskOptions } from '../../src/supervisor/desk.ts';
import { type Field, field } from '../session/field.ts';

/** The time of one world for every supervisor in it; it stands still until it is moved. */
export interface Night {
  at: Field;
  now: number;
  /** A supervisor of its own: its own connection, and what it begins beside the loop is known. */
  supervisor<T extends Desk>(make: (options: DeskOptions) => T): Promise<Supervisor<T>>;
}

export interface Supervisor<T> {
  desk: T;
  deps: DeskOptions['deps'];
  lines: string[];
  /** How often work was begun. */
  begun: () => number;
  /** One look, and what it begins brought to its end. */
  look: () => Promise<void>;
}

/** A repository, a store, and a clock of our own. */
export async function night(now: number): Promise<Night> {
  const at = await field();
  at.config.default_harness = 'rehearsal';
  const world: Night = {
    ...{ at, now },
    supervisor: async (make) => {
      const clock = { ...at.world.clock, now: () => world.now };
      const deps = { ...at.deps, clock, store: await at.world.second() };
      const lines: string[] = [];
      let begun = 0;
      let last: Promise<void> = Promise.resolve();
      const begin = (_key: string, work: () => Promise<void>) => {
        begun += 1;
        last = work();
      };
      const stop = new AbortController().signal;
      const log = (line: string) => lines.push(line);
      const desk = make({ deps, begin, ring: () => undefined, log, stop, holder: crypto.randomUUID() });
      const look = async () => {
        await desk.look(world.now);
        await last;
      };
      return { desk, deps, lines, begun: () => begun, look };
    },
  };
  return world;
}
