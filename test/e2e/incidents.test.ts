import { beforeAll, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { IncidentRow } from '../../src/model/incident.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { peek, promptOf, sessionOf, turnsOf, untilSession, untilState } from '../support/peek.ts';
import { until } from '../support/until.ts';

let bench: Bench;

beforeAll(() => {
  bench = droverBench({ config: { turn: { max_attempts: 1, sigkill_delay_ms: 300 } } });
});

type Shown = IncidentRow & { prediction: unknown };
const hold = (name: string) => join(bench.home, `go-${name}`);
const go = (name: string) => writeFileSync(hold(name), '');

async function sling(name: string, turns: unknown[][], ...more: string[]): Promise<SessionRow> {
  const task = `rehearsal-script: ${bench.script(name, { turns })}`;
  const args = ['sling', '--harness', 'rehearsal', '--worktree', '--name', name, ...more, task];
  return (await bench.json<{ session: SessionRow }>(args)).session;
}
const COMMIT = 'git -c user.name=test -c user.email=test@localhost commit -q -m';
const incidents = async (...more: string[]) =>
  (await bench.json<{ incidents: Shown[] }>(['incident', 'list', ...more])).incidents;
const wrote = (name: string, path: string) =>
  until(`${name} wrote ${path}`, () =>
    peek(bench, "SELECT 1 FROM file_activity WHERE session_id = :id AND path = :path AND action <> 'read'", {
      ...{ id: sessionOf(bench, name).id, path },
    }).at(0),
  );

test('two worktrees, one file: the later session is held, resume is refused, and after the word it goes on and knows why (E-130, CX-27)', async () => {
  // The file is committed before anybody hears of it, so that the predicted merge has both.
  const change = (who: string) => [
    { run: `mkdir -p src && echo ${who} > src/lib.rs && git add src && ${COMMIT} ${who}` },
    { tool: { tool: 'Edit', files: [{ path: 'src/lib.rs', action: 'create' }] } },
  ];
  await sling('ann', [[...change('ann'), { wait_for_file: hold('ann') }, { say: 'done' }]]);
  await wrote('ann', 'src/lib.rs');
  const bob = await sling('bob', [[...change('bob'), { hang: {} }], [{ say: 'went on' }]]);
  const parked = await untilState(bench, 'bob', 'parked');
  expect([parked.parked_reason, sessionOf(bench, 'ann').state]).toEqual(['conflict', 'working']);
  await until('its turn is over', () => turnsOf(bench, 'bob').at(0)?.ended_at ?? null);

  const [incident, ...others] = await incidents();
  expect(others).toEqual([]);
  const ann = sessionOf(bench, 'ann');
  expect(incident).toMatchObject({
    ...{ kind: 'overlap', path: 'src/lib.rs', active_session_id: ann.id, paused_session_id: bob.id },
  });
  const id = incident?.id ?? '';
  const status = await bench.json<{ incidents: IncidentRow[] }>(['status']);
  expect(status.incidents.map((row) => row.id)).toEqual([id]);
  expect((await bench.run(['status'])).stderr).toContain('open incidents: 1');
  const approvals = await bench.json<{ counts: { to_name: string; unread: number }[] }>(['mail', 'approvals']);
  expect(approvals.counts.map(({ to_name, unread }) => [to_name, unread])).toEqual([
    ['bob', 1],
    ['operator', 1],
  ]);

  // What merging the two would give, as they are committed now.
  const shown = await bench.json<{ prediction: Record<string, unknown> }>(['incident', 'show', id]);
  expect(shown.prediction).toMatchObject({
    ...{ is_clean: false, conflicts: [{ path: 'src/lib.rs', kind: 'add/add' }] },
  });
  const text = (await bench.run(['incident', 'show', id])).stdout;
  for (const part of ['src/lib.rs (add/add)', 'not committed', 'Pause work due to conflict', `resolve ${id}`])
    expect(text).toContain(part);
  await until('the prediction is stored', () =>
    peek(bench, 'SELECT 1 FROM incidents WHERE prediction_json IS NOT NULL').at(0),
  );

  const before = sessionOf(bench, 'bob');
  const refused = await bench.json<{ error: { code: string; preserved: string; recovery_commands: string[] } }>(
    ['resume', 'bob'],
    3,
  );
  expect(refused.error).toMatchObject({ code: 'incident_open', preserved: 'nothing was changed' });
  expect(refused.error.recovery_commands).toEqual([
    `drover incident show ${id}`,
    `drover incident resolve ${id} --resume`,
    'drover resume bob --force',
  ]);
  const all = await bench.json<{ resumed: unknown[]; held: { name: string }[] }>(['resume', '--all']);
  expect([all.resumed, all.held.map(({ name }) => name)]).toEqual([[], ['bob']]);
  await bench.json(['mail', 'send', '--to', 'bob', '--body', 'are you there?']);
  expect(sessionOf(bench, 'bob')).toEqual(before);

  await bench.json(['incident', 'resolve', id, 'bob rebases', '--keep', 'ann', '--resume']);
  await untilState(bench, 'bob', 'completed');
  const prompt = promptOf(bench, 'bob', 2);
  for (const part of ['parked: conflict: Escalated overlap on src/lib.rs', 'ann has changed src/lib.rs', 'bob rebases'])
    expect(prompt).toContain(part);
  expect(await incidents()).toEqual([]);
  expect(await incidents('--closed')).toMatchObject([{ id, resolution: 'operator: kept ann: bob rebases' }]);
  go('ann');
  await untilState(bench, 'ann', 'completed');
}, 60_000);

test('what a shell wrote is found by git at the end of the turn, and what lay there before is not (E-142)', async () => {
  const asks = (command: string) => [[{ run: command }, { ask: 'and now?' }], [{ say: 'hm' }]];
  await sling('cat', asks('mkdir -p lib && echo one > lib/shared.txt && git add lib && echo x > own.txt'));
  await untilState(bench, 'cat', 'idle');
  const rows = () =>
    peek<{ path: string; action: string; source: string }>(
      bench,
      'SELECT path, action, source FROM file_activity WHERE session_id = :id ORDER BY path',
      { id: sessionOf(bench, 'cat').id },
    );
  expect(rows()).toEqual([
    { path: 'lib/shared.txt', action: 'create', source: 'git' },
    { path: 'own.txt', action: 'create', source: 'git' },
  ]);
  await sling('dan', asks('mkdir -p lib && echo two > lib/shared.txt'));
  await untilSession(bench, 'dan', (row) => row.state === 'parked' && row.parked_reason === 'conflict');
  expect(await incidents()).toMatchObject([
    { path: 'lib/shared.txt', first_action: 'create', second_action: 'create' },
  ]);

  // A person's word in spite of it: it goes on, and its own file of the first turn is not written again by the second.
  const forced = await bench.json<{ resumed: { state: string }[] }>(['resume', 'dan', '--force']);
  expect(forced.resumed).toMatchObject([{ state: 'queued' }]);
  await until('its next turn is over', () => turnsOf(bench, 'dan').at(1)?.ended_at ?? null);
  const shared = peek(bench, "SELECT 1 FROM file_activity WHERE session_id = :id AND path = 'lib/shared.txt'", {
    id: sessionOf(bench, 'dan').id,
  });
  expect([shared.length, (await incidents()).length]).toEqual([1, 1]);
  await bench.json(['stop', 'cat', 'dan']);
  await until('the incident is over', async () => ((await incidents()).length === 0 ? true : null));
  expect((await incidents('--closed')).at(-1)).toMatchObject({ resolution: 'both have ended' });
}, 60_000);
