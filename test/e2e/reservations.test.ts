import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { homePaths } from '../../src/model/home.ts';
import type { PathReservationRow, ReservationRow } from '../../src/model/reservation.ts';
import { droverBench } from '../support/drover.ts';
import { peek, rehearse, sessionOf, untilState } from '../support/peek.ts';

test('an agent is told what others have reserved, reserves in its turn, and all of it ends with its session', async () => {
  const bench = droverBench();
  await bench.run(['reserve', '--path', 'src/auth/**', '--reason', 'moving the login']);
  const drover = '"$DROVER_BIN"';
  const turn = [
    {
      run: `${drover} reserve --path 'docs/**' --reason mine && ${drover} reserve --thread feature/ewe && ${drover} heartbeat`,
    },
    { say: 'done' },
  ];
  await rehearse(bench, 'ewe', { turns: [turn] });
  await untilState(bench, 'ewe', 'completed');
  const { id } = sessionOf(bench, 'ewe');
  const prompt = readFileSync(`${homePaths.turn(bench.drover_home, id, 1)}/prompt.md`, 'utf8');
  expect(prompt).toContain('\n- src/auth/** by operator: moving the login\n');
  // Its own were there while it worked, and are over with it.
  const [thread] = peek<ReservationRow>(bench, 'SELECT * FROM reservations');
  expect(thread).toMatchObject({ session_id: id, owner_session_id: id, thread: 'feature/ewe', status: 'complete' });
  expect(thread?.heartbeat_at as number).toBeGreaterThan(thread?.started_at as number);
  expect(thread?.completed_at).toBe(sessionOf(bench, 'ewe').ended_at as number);
  const paths = peek<PathReservationRow>(bench, 'SELECT * FROM path_reservations ORDER BY glob');
  expect(paths.map((row) => [row.glob, row.owner_name, row.released_at === null])).toEqual([
    ['docs/**', 'ewe', false],
    ['src/auth/**', 'operator', true],
  ]);
  expect(await bench.json(['reservations', '--session', 'ewe'])).toMatchObject({ reservations: [] });
}, 60_000);
