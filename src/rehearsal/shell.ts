import { closeSync, openSync, readSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What of a command's output goes into its tool result. Bytes. */
const OUTPUT_LIMIT = 64 * 1024;

export interface Ran {
  /** 128 + n for the end by signal n, as shells say it. */
  code: number;
  /** Standard output and error in the order in which they came. */
  output: string;
}

/**
 * Runs a program as an agent's shell tool does: in a session of its own, with our environment and nothing to read. Its
 * output goes into a file, so a daemon that it leaves behind cannot make us wait. A program that cannot be started is
 * an answer (code 127), not an error: a model would read it and go on.
 */
export async function runCommand(argv: string[]): Promise<Ran> {
  const path = join(tmpdir(), `drover-rehearsal-${process.pid}-${crypto.randomUUID()}`);
  const fd = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  try {
    const child = Bun.spawn(argv, { stdin: 'ignore', stdout: fd, stderr: fd, detached: true });
    const code = await child.exited;
    const kept = Buffer.alloc(OUTPUT_LIMIT);
    return {
      code,
      output: kept
        .subarray(0, readSync(fd, kept, 0, OUTPUT_LIMIT, 0))
        .toString('utf8')
        .trimEnd(),
    };
  } catch (error) {
    return { code: 127, output: error instanceof Error ? error.message : String(error) };
  } finally {
    closeSync(fd);
  }
}
