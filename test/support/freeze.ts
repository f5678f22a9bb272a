import { homePaths } from '../../src/model/home.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import { liveness, processStat } from '../../src/sys/identity.ts';
import type { Bench } from './drover.ts';
import { beforeRemoval } from './temp.ts';
import { until } from './until.ts';

/** States of `/proc` in which a process may do something yet. */
const RUNS = ['R', 'S', 'D'];

/**
 * Stops processes of this bench, in this order, between two writes: one that is stopped inside of a write lets nobody
 * else write, which is another fault than to hang. The result lets them go on; so does the end of the test file.
 */
export async function freeze(bench: Bench, ...pids: number[]): Promise<() => void> {
  const goOn = () => {
    for (const pid of pids.toReversed()) if (liveness({ pid }) === 'alive') process.kill(pid, 'SIGCONT');
  };
  beforeRemoval(goOn);
  await until('they stand still between two writes', async () => {
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    // The signal is on its way until it has arrived; who is ended meanwhile stands still as well.
    await until('they stand still', () => !pids.some((pid) => RUNS.includes(processStat(pid)?.state ?? '')));
    if (!isWriting(bench)) return true;
    goOn();
    await Bun.sleep(20);
    return false;
  });
  return goOn;
}

function isWriting(bench: Bench): boolean {
  const gate = openWriteGate(homePaths.gate(bench.drover_home));
  const leave = gate.tryEnter();
  leave?.();
  gate.close();
  return leave === null;
}
