import { existsSync, readFileSync } from 'node:fs';
import type { CampaignHome } from './home.ts';
import type { Lookout } from './lookout.ts';
import { type KillFacts, type LogFact, parseWitness, type TurnFact } from './verdict.ts';

/** Everything there is to compare, when all is over: no process of drover's should live any more. */
export async function factsOf(
  home: CampaignHome,
  acknowledged: { tasks: readonly string[]; mails: readonly string[] },
  lookout: Lookout,
  stale_ms: number,
): Promise<KillFacts> {
  const events = new Map<string, number[]>();
  for (const row of home.rows<{ key: string; line_offset: number }>(
    "SELECT session_id || '/' || turn AS key, line_offset FROM events WHERE line_offset IS NOT NULL ORDER BY seq",
  )) {
    const list = events.get(row.key);
    if (list) list.push(row.line_offset);
    else events.set(row.key, [row.line_offset]);
  }
  const turns = home.rows<Omit<TurnFact, 'lines' | 'events'> & { dir: string }>(
    'SELECT session_id, turn, dir, started_at, ended_at, outcome FROM turns',
  );
  return {
    tasks: acknowledged.tasks,
    mails: acknowledged.mails,
    witness: parseWitness(home.witness()),
    sessions: home.rows('SELECT id, name, state, ended_at, recovered_from FROM sessions'),
    turns: turns.map(({ dir, ...turn }) => ({
      ...turn,
      lines: wholeLines(`${dir}/stdout.jsonl`),
      events: events.get(`${turn.session_id}/${turn.turn}`) ?? [],
    })),
    log: home.rows<LogFact>('SELECT seq, session_id, from_state, to_state, event, turn, at FROM state_log'),
    leases: lookout.leases,
    sightings: lookout.sightings,
    left: await leftOf(home),
    stale_ms,
  };
}

/** Where the complete lines of a stream begin, in bytes. */
function wholeLines(path: string): number[] {
  if (!existsSync(path)) return [];
  const text = readFileSync(path, 'latin1');
  const offsets: number[] = [];
  for (let at = 0, end = text.indexOf('\n'); end >= 0; at = end + 1, end = text.indexOf('\n', at)) offsets.push(at);
  return offsets;
}

/** Who lives although nobody should; who is just ending gets some seconds. */
async function leftOf(home: CampaignHome): Promise<string[]> {
  const end = performance.now() + 5_000;
  for (;;) {
    const left = home.processes();
    if (left.length === 0 || performance.now() > end)
      return left.map(({ identity, command, kind }) => `${identity.pid} ${kind} ${command}`);
    await Bun.sleep(20);
  }
}
