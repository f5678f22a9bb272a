import { dirname, resolve } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import { callerOf } from '../../src/session/identity.ts';
import { openStore } from '../../src/store/open.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { openWriteGate } from '../../src/sys/gate.ts';

/** A process of its own that says for whom `callerOf` takes it: a name, or why it is refused. `argv`: the home. */
if (import.meta.main) {
  const home = process.argv[2] ?? '';
  const gate = openWriteGate(homePaths.gate(home));
  const store = await openStore({ path: homePaths.database(home), durability: 'normal', clock: systemClock, gate });
  try {
    console.log((await callerOf({ store, env: process.env })).name);
  } catch (error) {
    console.log(String((error as Error).message));
  }
  store.close();
  gate.close();
}

/** The command that asks `home` who it is. */
export function ask(home: string): string {
  return `${process.execPath} ${resolve(import.meta.dir, 'who-calls.ts')} ${home}`;
}

/**
 * A line of shell whose process scrubs its environment, leaves the session and loses its parents before it asks `home` who
 * it is; what it is told is in `answer`. The line ends when it has been.
 */
export function askAlone(home: string, answer: string): string {
  const line = `sleep 0.2; ${ask(home)} >${answer}.part 2>&1; mv ${answer}.part ${answer}`;
  const start = `(env -i PATH=/usr/bin:/bin HOME=${dirname(answer)} setsid sh -c '${line}' </dev/null >/dev/null 2>&1 &)`;
  return `${start}; while [ ! -e ${answer} ]; do sleep 0.05; done`;
}
