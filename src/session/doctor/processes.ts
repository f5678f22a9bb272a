import { AppError } from '../../model/error.ts';
import { type Diagnosis, fine, mendable, problem, warning } from '../../model/finding.ts';
import { MARKER_VARIABLE } from '../../model/marker.ts';
import type { Store } from '../../store/store.ts';
import { type MarkedTurn, turnsOfMarkers } from '../../store/traces.ts';
import { inheritedValues } from '../../sys/ancestry.ts';
import { liveness } from '../../sys/identity.ts';
import { type MarkedProcess, markedProcesses } from '../../sys/marked.ts';
import { killTree } from '../../sys/tree.ts';
import { type DoctorDeps, someOf } from './deps.ts';

/**
 * Processes of turns that are over, or that this home does not know (ARCHITECTURE §1 "Nothing outlives its turn"). They
 * are proven ours by the turn's marker and our DROVER_HOME in their environment.
 */
export async function processFindings(deps: DoctorDeps, store: Store | null): Promise<Diagnosis[]> {
  // Processes first, rows second: a turn is stored before its process is started.
  const marked = markedProcesses(deps.home);
  if (marked.length === 0) return [fine('processes', 'none of a turn')];
  if (store === null) {
    return [warning('processes', `${marked.length} of turns are alive; without the database nobody knows of which`)];
  }
  const groups = Map.groupBy(marked, ({ marker }) => marker);
  const turns = new Map((await turnsOfMarkers(store, [...groups.keys()])).map((turn) => [turn.marker, turn]));
  const own = new Set(inheritedValues(MARKER_VARIABLE));
  const found: Diagnosis[] = [];
  let inFlight = 0;
  for (const [marker, members] of groups) {
    const turn = turns.get(marker) ?? null;
    const alive = members.filter(({ id }) => liveness(id) !== 'dead');
    if (turn !== null && turn.ended_at === null) inFlight += alive.length;
    else if (alive.length > 0) found.push(orphans(deps, turn, alive, own.has(marker)));
  }
  return found.length > 0 ? found : [fine('processes', `${inFlight}, all of turns in flight`)];
}

function orphans(deps: DoctorDeps, turn: MarkedTurn | null, alive: MarkedProcess[], isOwn: boolean): Diagnosis {
  const whose =
    turn === null
      ? `of a turn of ${alive[0]?.session_id ?? 'a session'} that this database does not know`
      : `of turn ${turn.turn} of ${turn.name} (${turn.session_id}), which is over`;
  const list = someOf(
    alive.map(({ id, command }) => `${id.pid} ${command}`.trim()),
    3,
  );
  const found = problem('processes', `${alive.length} alive ${whose}: ${list}`, 'drover doctor --fix ends them.');
  if (isOwn) {
    return problem('processes', found.finding.what, 'This command is one of them, so --fix leaves them alone.');
  }
  return mendable(found, 'end them', async () => {
    const known = alive.map(({ id }) => id);
    const turnOf = { marker: alive[0]?.marker ?? null, launcher: null, known };
    const { killed, survivors } = await killTree(turnOf, { clock: deps.clock });
    if (survivors.length > 0) {
      throw new AppError('failed', 'still_alive', `still alive: ${survivors.map(({ pid }) => pid).join(', ')}`);
    }
    return `ended ${someOf(killed.map(({ pid }) => String(pid)))}`;
  });
}
