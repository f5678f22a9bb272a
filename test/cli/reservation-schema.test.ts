import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { droverBench } from '../support/drover.ts';
import { DEAD_PID } from '../support/reservation.ts';

test('what every verb prints is what the schema says (HC-02, HC-23, HC-30)', async () => {
  const bench = droverBench();
  bench.git('config', 'user.name', 't');
  bench.git('config', 'user.email', 't@localhost');
  const schemas = JSON.parse((await bench.run(['schema'])).stdout);
  const check = async (name: string, args: string[]) => {
    const { schema_version: _version, ok: _ok, ...answer } = await bench.json<Record<string, unknown>>(args);
    expect(z.fromJSONSchema(schemas[name]).safeParse(answer).error?.issues ?? []).toEqual([]);
  };
  const dead = ['--hold-for-pid', String(DEAD_PID)];
  await check('AgentReservationEnvelope', ['reserve', '--thread', 'gone', ...dead]);
  const taken = [
    'reserve',
    '--thread',
    'feature/x',
    '--hold-for-pid',
    String(process.pid),
    '--actor',
    'codex:thread:1',
  ];
  const { session_id } = JSON.parse((await bench.run(taken)).stdout).reservation;
  await check('AgentReservationListOutput', ['reservations']);
  expect((await bench.json<{ verification: object }>(['reservations'])).verification).toMatchObject({
    dead_owners: [expect.any(String)],
  });
  await check('AgentReservationListOutput', ['reservations', '--alive-only', '--thread', 'none']);
  await check('ActorChainOutput', ['chain', session_id]);
  await check('PathReservationOutput', ['reserve', '--path', 'src/**', '--for', '1h']);
  await check('PathReservationOutput', ['reserve', '--path', 'src/a/**']);
  await bench.run(['reservations', 'note', 'src/x.rs', '--session', session_id]);
  await check('ContextQueryOutput', ['reservations', 'notes', session_id]);
  bench.git('checkout', '-q', 'feature/x');
  writeFileSync(join(bench.repo, 'new'), 'n\n');
  await check('AgentCaptureOutput', ['capture', '--session', session_id, '--message', 'work']);
  await check('AgentReadyOutput', ['ready', '--session', session_id]);
}, 120_000);
