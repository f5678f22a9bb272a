/** `writer.ts HOME START MS IDS`: a process that moves its sessions forth and back until the time is over. */
import { AppError } from '../src/model/error.ts';
import { homePaths } from '../src/model/home.ts';
import { openStore } from '../src/store/open.ts';
import { systemClock } from '../src/sys/clock.ts';
import { openWriteGate } from '../src/sys/gate.ts';
import { percentile } from './support/measure.ts';
import { moveSession } from './support/step.ts';

export interface WriterReport {
  writes: number;
  /** Writes that gave up. */
  refused: number;
  longest_ms: number;
  p99_ms: number;
}

const [home = '', start = '', ms = '', ids = ''] = process.argv.slice(2);
const gate = openWriteGate(homePaths.gate(home));
const store = await openStore({ path: homePaths.database(home), durability: 'full', clock: systemClock, gate });
await Bun.sleep(Number(start) - Date.now());

const own = ids.split(',');
const waits: number[] = [];
let refused = 0;
for (let i = 0; Date.now() < Number(start) + Number(ms); i += 1) {
  const before = performance.now();
  try {
    await moveSession(store, own[i % own.length] ?? '', Math.floor(i / own.length) % 2 === 0);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    refused += 1;
  }
  waits.push(performance.now() - before);
}
store.close();
gate.close();
const report: WriterReport = {
  writes: waits.length - refused,
  refused,
  longest_ms: waits.reduce((longest, each) => Math.max(longest, each), 0),
  p99_ms: percentile(waits, 99),
};
console.log(JSON.stringify(report));
