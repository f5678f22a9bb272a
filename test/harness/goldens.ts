import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findHarness } from '../../src/harness/registry.ts';
import type { HarnessEvent } from '../../src/model/harness.ts';

const ROOT = join(import.meta.dir, '../fixtures/harness');

export interface Recording {
  /** `<harness>/<case>` */
  name: string;
  lines: string[];
  /** One entry per line; `null` for a malformed one. */
  parsed: (HarnessEvent[] | null)[];
  at_exit: HarnessEvent[];
}

/** Every recorded run of the real CLIs, read by its adapter. */
export function recordings(): Recording[] {
  return readdirSync(ROOT).flatMap((id) => {
    const names = readdirSync(join(ROOT, id)).filter((file) => file.endsWith('.jsonl'));
    return names.map((file) => recording(id, file.slice(0, -'.jsonl'.length)));
  });
}

export function recording(id: string, name: string): Recording {
  const harness = findHarness(id, {});
  const path = join(ROOT, id, name);
  const lines = readFileSync(`${path}.jsonl`, 'utf8').split('\n').filter(Boolean);
  const { exit_code, signal, stderr_tail } = JSON.parse(readFileSync(`${path}.json`, 'utf8'));
  return {
    name: `${id}/${name}`,
    lines,
    parsed: lines.map((line) => harness.parse(line)),
    at_exit: harness.at_exit({ code: exit_code, signal, stderr_tail }),
  };
}

export function eventsOf({ parsed, at_exit }: Recording): HarnessEvent[] {
  return [...parsed.flatMap((events) => events ?? []), ...at_exit];
}

/** The events of one type, narrowed. */
export function only<T extends HarnessEvent['type']>(events: HarnessEvent[], type: T) {
  return events.filter((event): event is Extract<HarnessEvent, { type: T }> => event.type === type);
}
