import { readFileSync } from 'node:fs';
import { errnoOf } from '../../src/sys/errno.ts';
import { until } from './measure.ts';

/** The first instant after `start` that a harness noted in `file`; both in milliseconds of wall time. */
export async function stampAfter(file: string, start: number): Promise<number> {
  return until('a harness to start', () => {
    const last = lastLine(file);
    return last !== null && last >= start ? last : null;
  });
}

/** The last complete line, `<seconds>.<microseconds>`, in milliseconds. */
function lastLine(file: string): number | null {
  try {
    const lines = readFileSync(file, 'latin1').split('\n');
    return lines.length < 2 ? null : Number(lines.at(-2)) * 1000;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
}
