import { findHarness } from '../harness/registry.ts';
import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import { profileOf } from '../model/session.ts';
import type { Deps } from '../session/deps.ts';
import { knownHarness } from '../session/end.ts';
import { launcherOf } from '../session/end-tree.ts';
import { listEvents } from '../store/event.ts';
import type { OpenTurn } from '../store/turn.ts';
import { watchDirectory } from '../sys/tail.ts';
import { readExit } from '../sys/turn-files.ts';
import { type Prices, RunningTurn } from './running.ts';

/** What a turn directory tells of itself. */
interface TurnNews {
  /** The launcher has recorded how the harness ended. */
  onExit(turn: RunningTurn): void;
  /** The stream has grown, or something has changed that has no name. */
  onStream(turn: RunningTurn): void;
  log(line: string): void;
}

/** Begins to follow a turn in flight: its adapter, its place in the stream, and a watch on its directory. */
export async function followTurn(deps: Deps, { session, turn: row }: OpenTurn, news: TurnNews): Promise<RunningTurn> {
  const config = await deps.config_for(session.repo_root);
  const turn = new RunningTurn({
    session,
    row,
    harness: knownHarness(() => findHarness(session.harness, config.harness_runners)),
    identity: launcherOf(row),
    max_line_bytes: config.turn.max_line_bytes,
    prices: await pricesOf(deps, config, { session, turn: row }),
  });
  const onChange = (name: string | null) => {
    // First: whatever else goes wrong here, the next poll looks again.
    turn.hasEcho = true;
    // The name alone says nothing: the harness can touch it as well.
    if (name === 'exit.json' && hasExit(row.dir, news.log)) {
      turn.gone = true;
      news.onExit(turn);
    } else if (name === null || name === 'stdout.jsonl') {
      turn.dirty = true;
      news.onStream(turn);
    }
  };
  turn.watch(watchDirectory(row.dir, onChange, (error) => news.log(`watch ${row.dir}: ${error.message}`)));
  return turn;
}

/** Events among which a stream says what its model is called. */
const BEGINNING = 100;

/** Null while no model has a price. What the stream has said of its model before is in the events. */
async function pricesOf({ store }: Deps, { prices }: Config, { session, turn }: OpenTurn): Promise<Prices | null> {
  if (Object.keys(prices).length === 0) return null;
  const beginning = { session_id: session.id, turn: turn.turn, limit: BEGINNING };
  const rows = turn.stdout_offset === 0 ? [] : await listEvents(store, beginning);
  const said = rows.find(({ type }) => type === 'session');
  const { model = null } = said === undefined ? {} : (JSON.parse(said.data_json) as { model?: string | null });
  return { table: prices, models: [model, session.model, profileOf(session)?.model ?? null] };
}

/** Nobody above a watcher catches anything: what cannot be read now is looked at again. */
function hasExit(dir: string, log: (line: string) => void): boolean {
  try {
    return readExit(dir) !== null;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    log(`${dir}: ${error.code}: ${error.message}`);
    return false;
  }
}
