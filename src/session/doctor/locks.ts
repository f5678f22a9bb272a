import type { Config } from '../../model/config.ts';
import { type Diagnosis, fine, mendable, problem, warning } from '../../model/finding.ts';
import { homePaths } from '../../model/home.ts';
import type { Store } from '../../store/store.ts';
import { pendingWork } from '../../store/traces.ts';
import { fileExists } from '../../sys/directory.ts';
import { isFlocked } from '../../sys/flock.ts';
import { liveness } from '../../sys/identity.ts';
import { acquirePidLock } from '../../sys/lock.ts';
import { readPidLock, silentSince } from '../../sys/pid-file.ts';
import { discardFile } from '../../sys/publish.ts';
import { ask } from '../../sys/socket.ts';
import type { DoctorDeps } from './deps.ts';

const ANSWER_MS = 5_000;

type Name = 'supervisor' | 'watchdog';

/** Who holds the locks of the home, whether it is who it says, and whether the supervisor answers. */
export async function lockFindings(deps: DoctorDeps, store: Store | null, config: Config): Promise<Diagnosis[]> {
  const isUp = isFlocked(homePaths.lock(deps.home, 'supervisor'));
  return [
    ...(isUp ? await heldSupervisor(deps) : [leftover(deps, 'supervisor') ?? fine('supervisor', 'none is up')]),
    ...(isUp || store === null ? [] : await unsupervised(store)),
    watchdogFinding(deps, isUp && config.watchdog.is_enabled),
  ];
}

/** What is wrong with the owner that a held lock names; null when it is proven. */
function impostor(deps: DoctorDeps, name: Name): string | null {
  const owner = readPidLock(homePaths.lock(deps.home, name));
  if (owner === null) return 'its lock is held, but names nobody';
  if (liveness(owner) === 'alive') return null;
  return `its lock is held, but the process it names (${owner.pid}) is not alive`;
}

async function heldSupervisor(deps: DoctorDeps): Promise<Diagnosis[]> {
  const path = homePaths.lock(deps.home, 'supervisor');
  const reply = await ask(homePaths.socket(deps.home), 'status', ANSWER_MS);
  const pid = readPidLock(path)?.pid ?? null;
  if (reply === null) {
    const hint = `See ${homePaths.log(deps.home, 'supervisor')}. It may be ended at any time; the next one adopts its turns:\ndrover down\ndrover up`;
    return [
      problem('supervisor', `pid ${pid ?? '?'} holds the lock but does not answer within ${ANSWER_MS / 1000} s`, hint),
    ];
  }
  const wrong = impostor(deps, 'supervisor');
  if (wrong !== null) return [problem('supervisor', wrong, 'Start it anew:\ndrover down\ndrover up')];
  const { version, running } = JSON.parse(reply) as { version?: string; running?: number };
  if (version !== deps.version) {
    return [
      warning(
        'supervisor',
        `pid ${pid} is of version ${version ?? '?'}, this is ${deps.version}`,
        'Start it anew; running turns go on:\ndrover down\ndrover up',
      ),
    ];
  }
  return [fine('supervisor', `pid ${pid} answers, ${running ?? 0} turns in flight`)];
}

/** What a process that was killed has left: a name in a free lock, a socket nobody listens at. */
function leftover(deps: DoctorDeps, name: Name): Diagnosis | null {
  const path = homePaths.lock(deps.home, name);
  const owner = readPidLock(path);
  const socket = homePaths.socket(deps.home);
  const isSocketLeft = name === 'supervisor' && fileExists(socket);
  if (owner === null && !isSocketLeft) return null;
  const what = `none is up; ${owner === null ? 'a socket' : `pid ${owner.pid}`} of one that was killed is left over`;
  return mendable(warning(name, what, 'Harmless; the next one takes it over.'), 'clear the leftovers', async () => {
    const taken = acquirePidLock(path);
    if (!taken.acquired) return 'left it alone: somebody has taken it by now';
    if (isSocketLeft) discardFile(socket);
    taken.lock.release();
    return 'cleared the lock of the dead';
  });
}

async function unsupervised(store: Store): Promise<Diagnosis[]> {
  const { open_turns, queued } = await pendingWork(store);
  if (open_turns + queued === 0) return [];
  const what = `${open_turns} turns in flight and ${queued} queued sessions have no supervisor`;
  return [warning('work', what, 'Start one, it adopts them:\ndrover up')];
}

function watchdogFinding(deps: DoctorDeps, isWanted: boolean): Diagnosis {
  const path = homePaths.lock(deps.home, 'watchdog');
  if (isFlocked(path)) {
    const wrong = impostor(deps, 'watchdog');
    if (wrong !== null) return problem('watchdog', wrong, 'The supervisor starts another one:\ndrover down\ndrover up');
    const pid = readPidLock(path)?.pid;
    const since = silentSince(path, deps.clock.now());
    if (since === null) return fine('watchdog', `pid ${pid}`);
    const what = `pid ${pid} holds its lock and is silent since ${new Date(since).toISOString()}`;
    const who = isWanted ? 'The supervisor replaces it within two minutes; at once' : 'Take its place';
    return problem('watchdog', what, `${who}:\ndrover watch --background --kill-others`);
  }
  const dead = leftover(deps, 'watchdog');
  if (dead !== null) return dead;
  if (!isWanted) return fine('watchdog', 'none is up');
  return warning(
    'watchdog',
    'none is up beside the supervisor',
    `The supervisor starts one within a minute; see ${homePaths.log(deps.home, 'watchdog')}`,
  );
}
