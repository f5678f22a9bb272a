import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HarnessEvent } from '../../src/model/harness.ts';
import { tempDir } from '../support/temp.ts';

export const MAIN = join(import.meta.dir, '../../src/rehearsal/main.ts');

export interface Options {
  /** The script as data; `{turns: [steps]}` is built around a plain list. */
  steps?: unknown[];
  script?: unknown;
  prompt?: string;
  args?: string[];
  /** Beside the scrubbed environment; `undefined` takes a variable away. */
  env?: Record<string, string | undefined>;
  cwd?: string;
}

export interface Rehearsal {
  cwd: string;
  process: Bun.Subprocess;
  pid: number;
  /** What stands in the output file now; output goes into a file, as in a real turn. */
  bytes: () => Buffer;
  stderr: () => string;
  /** The complete lines that are events. */
  events: () => HarnessEvent[];
}

/** Starts the real executable. The caller ends what does not end by itself. */
export function start(options: Options): Rehearsal {
  const cwd = options.cwd ?? tempDir('rehearsal');
  const files = tempDir('rehearsal-out');
  const script = options.script ?? (options.steps === undefined ? undefined : { turns: [options.steps] });
  const args = [...(options.args ?? [])];
  if (script !== undefined) {
    writeFileSync(`${files}/script.json`, JSON.stringify(script));
    args.push('--script', `${files}/script.json`);
  }
  writeFileSync(`${files}/prompt`, options.prompt ?? 'Rehearse.');
  const opened = ['stdout', 'stderr'].map((name) => openSync(`${files}/${name}`, 'a'));
  const [stdout = 1, stderr = 2] = opened;
  const child = Bun.spawn([process.execPath, '--no-env-file', '--config=/dev/null', MAIN, 'run', ...args], {
    cwd,
    env: { ...process.env, ...options.env },
    stdin: Bun.file(`${files}/prompt`),
    stdout,
    stderr,
  });
  for (const fd of opened) closeSync(fd);
  const bytes = () => readFileSync(`${files}/stdout`);
  return {
    cwd,
    process: child,
    pid: child.pid,
    bytes,
    stderr: () => readFileSync(`${files}/stderr`, 'utf8'),
    events: () =>
      bytes()
        .toString()
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as HarnessEvent),
  };
}

/** Plays to the end. */
export async function rehearse(
  options: Options,
): Promise<Rehearsal & { code: number | null; signal: NodeJS.Signals | number | null }> {
  const rehearsal = start(options);
  await rehearsal.process.exited;
  return { ...rehearsal, code: rehearsal.process.exitCode, signal: rehearsal.process.signalCode };
}

/** The events of one type. */
export function only<T extends HarnessEvent['type']>(
  events: HarnessEvent[],
  type: T,
): Extract<HarnessEvent, { type: T }>[] {
  return events.filter((event): event is Extract<HarnessEvent, { type: T }> => event.type === type);
}
