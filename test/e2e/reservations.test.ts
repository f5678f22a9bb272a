import { expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { homePaths } from '../../src/model/home.ts';
import type { PathReservationRow, ReservationRow } from '../../src/model/reservation.ts';
import { droverBench } from '../support/drover.ts';
import { peek, refused, rehearse, sessionOf, untilState, untilTalking } from '../support/peek.ts';

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

test('a session in a worktree has its branch alone while it lives, and whoever wants it is told so (H-36)', async () => {
  const bench = droverBench();
  const go = join(bench.home, 'go');
  const turn = [{ say: 'at work' }, { wait_for_file: go }, { say: 'done' }];
  await rehearse(bench, 'ewe', { turns: [turn] }, ['--worktree']);
  await untilTalking(bench, 'ewe');
  const { id, branch, worktree_path } = sessionOf(bench, 'ewe');
  const taken = await refused(bench, ['reserve', '--thread', branch ?? ''], [3, 'live_owner']);
  expect(taken.message).toContain(id);
  const { stdout } = await bench.run(['reservations']);
  expect(stdout).toContain(`  ${id} [active] thread=${branch}\n`);
  expect(stdout).toContain(`    path: ${worktree_path}\n    session: ewe\n`);
  writeFileSync(go, '');
  await untilState(bench, 'ewe', 'completed');
  expect(peek<ReservationRow>(bench, 'SELECT * FROM reservations')).toEqual([
    expect.objectContaining({ session_id: id, thread: branch ?? '', status: 'complete' }),
  ]);
}, 60_000);
