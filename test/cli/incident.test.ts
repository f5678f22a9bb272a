import { beforeAll, describe, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConflictGuard } from '../../src/guard/conflicts.ts';
import type { IncidentRow } from '../../src/model/incident.ts';
import { loadConfig } from '../../src/session/config.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { peek } from '../support/peek.ts';
import { feedTurn, PACKAGE_DIR, seedSession, type TestStore, takeTurn } from '../support/store.ts';
import { withStore } from '../support/stored.ts';

let bench: Bench;
const ids: Record<string, string> = {};

/** Two sessions of the bench's repository that no supervisor knows of, and a log of what they did. */
beforeAll(async () => {
  bench = droverBench();
  await withStore(bench, async (store) => {
    const env = bench.env;
    const config_for = (root: string) => loadConfig(env, root);
    const deps = { clock: systemClock, store, home: bench.drover_home, env, package_dir: PACKAGE_DIR, config_for };
    // Every look at it is later than the one before: nothing happens at the same instant.
    let ticks = 0;
    const clock = { ...systemClock, now: () => systemClock.now() + ticks++, advance: () => undefined };
    const world: TestStore = {
      store,
      deps,
      home: bench.drover_home,
      clock,
      repo_root: bench.repo,
      second: async () => store,
    };
    for (const name of ['ann', 'bob']) {
      const place = { repo_root: bench.repo, working_dir: bench.repo };
      const { id } = await seedSession(world, { name, ...place });
      ids[name] = id;
      const files = [{ path: 'src/lib.rs', action: 'modify' as const }];
      await feedTurn(world, await takeTurn(world, id), [
        { type: 'tool_use', tool: 'Edit', tool_id: 't', input: 'src/lib.rs', files },
        { type: 'tool_result', tool_id: 't', is_error: false, output: 'ok' },
      ]);
    }
    // One that has nothing to do with it.
    await seedSession(world, { name: 'eve', repo_root: bench.repo, working_dir: bench.repo });
    await new ConflictGuard(deps, (work) => void work()).look(systemClock.now());
    // Nobody is there to end the turns that were begun.
    await store.write((tx) => tx.run("UPDATE turns SET ended_at = 1, outcome = 'cancelled', tree_empty = 1"));
    await store.write((tx) =>
      tx.run("UPDATE sessions SET state = 'parked', parked_reason = 'operator' WHERE name = 'ann'"),
    );
    await store.write((tx) => tx.run('UPDATE mail SET delivered_turn = NULL WHERE read_at IS NULL'));
  });
}, 60_000);

const list = async (...more: string[]) =>
  (await bench.json<{ incidents: IncidentRow[] }>(['incident', 'list', ...more])).incidents;

describe('drover incident', () => {
  test('list shows what is open, of a session, and nothing of another repository (E-137)', async () => {
    expect(await list()).toMatchObject([{ path: 'src/lib.rs', paused_session_id: ids.bob }]);
    expect(await list('--of', 'ann')).toHaveLength(1);
    const text = (await bench.run(['incident'])).stdout;
    expect(text).toMatch(/ann, bob|bob, ann/);
    expect((await bench.run(['incident'], { cwd: bench.home })).stdout).toContain('src/lib.rs');
    bench.git('init', '-q', join(bench.home, 'other'));
    expect((await bench.run(['incident'], { cwd: join(bench.home, 'other') })).stdout).toBe('no incidents\n');
  });

  test('show tells of two sessions without branches that there is nothing to merge', async () => {
    const [{ id, key } = { id: '', key: '' }] = await list();
    const shown = await bench.json(['incident', 'show', key]);
    expect(shown).toMatchObject({ incident: { id }, prediction: null, writes: [{ path: 'src/lib.rs' }, {}] });
    const text = (await bench.run(['incident', 'show', id])).stdout;
    for (const part of ['no two branches to merge', 'WRITES', 'DECISIONS']) expect(text).toContain(part);
    expect((await bench.json<{ error: object }>(['incident', 'show', 'incident-zz'], 4)).error).toMatchObject({
      code: 'incident_not_found',
    });
  }, 60_000);

  test('show of a session has its incidents, decisions and files (E-142, E-143)', async () => {
    const shown = await bench.json(['show', 'bob']);
    expect(shown).toMatchObject({
      incidents: [{ path: 'src/lib.rs' }],
      decisions: [{ decision: 'Pause work due to conflict on src/lib.rs' }],
      activity: [{ path: 'src/lib.rs', action: 'modify', source: 'tool' }],
    });
    expect((await bench.run(['show', 'bob'])).stdout).toContain('open, holds it');
  }, 60_000);

  test('resolve wants words or one of the two, and resolves once (CX-27)', async () => {
    const [{ id } = { id: '' }] = await list();
    expect(await bench.json(['incident', 'resolve', id], 2)).toMatchObject({ ok: false });
    for (const wrong of [
      ['--keep', 'nobody'],
      ['incident-zz', 'x'],
    ].entries()) {
      const args = wrong[0] === 0 ? [id, ...wrong[1]] : wrong[1];
      await bench.json(['incident', 'resolve', ...args], 4);
    }
    const stranger = await bench.json<{ error: object }>(['incident', 'resolve', id, '--keep', 'eve'], 2);
    expect(stranger.error).toMatchObject({ code: 'not_a_party', preserved: 'nothing was changed' });
    expect(await list()).toHaveLength(1);
    const done = await bench.json(['incident', 'resolve', id, '--keep', 'bob']);
    expect(done).toMatchObject({ changed: true, resumed: null, incident: { resolution: 'operator: kept bob' } });
    expect(await bench.json(['incident', 'resolve', id, 'again'])).toMatchObject({
      ...{ changed: false, incident: { resolution: 'operator: kept bob' } },
    });
    expect(await list()).toEqual([]);
    expect(await list('--closed')).toHaveLength(1);
    const told = peek(bench, "SELECT to_name FROM mail WHERE subject = 'Settled: src/lib.rs' ORDER BY to_name");
    expect(told).toEqual([{ to_name: 'ann' }, { to_name: 'bob' }]);
  }, 60_000);

  test('--resume alone is a word, as the refusal of a resume says it (E-135)', async () => {
    const insert = `INSERT INTO incidents (id, key, repo_root, kind, path, first_session_id, second_session_id, paused_session_id, strategy, summary, created_at, updated_at)
      VALUES ('incident-two', 'k', :repo, 'overlap', 'p', :ann, :bob, :bob, 'escalate', '', 1, 1)`;
    await withStore(bench, (store) =>
      store.write((tx) => tx.run(insert, { ann: ids.ann ?? '', bob: ids.bob ?? '', repo: bench.repo })),
    );
    const refused = await bench.json<{ error: { recovery_commands: string[] } }>(['resume', 'bob'], 3);
    const command = refused.error.recovery_commands.find((text) => text.includes('resolve')) ?? '';
    const done = await bench.json(command.split(' ').slice(1));
    expect(done).toMatchObject({ resumed: 'bob', incident: { resolution: 'operator: continue concurrently' } });
  }, 60_000);

  test('import counts what it took and what it skipped (E-142)', async () => {
    const line = (id: string, path: string) =>
      JSON.stringify({
        ...{ id, session_id: ids.ann, tool_name: 'Edit', input_summary: '', output_summary: '', timestamp: 5 },
        file_events: [{ path, action: 'touch' }],
      });
    writeFileSync(join(bench.repo, 'log.jsonl'), [line('1', 'a.txt'), 'x', '', line('1', 'a.txt')].join('\n'));
    const counts = { imported: 1, files: 1, duplicates: 1, malformed: 1, blank: 1 };
    expect(await bench.json(['incident', 'import', 'log.jsonl'])).toMatchObject(counts);
    const again = await bench.run(['incident', 'import', '-'], { stdin: line('2', '/etc/passwd') });
    expect(again.stdout).toContain('imported 0 events (0 files)');
    expect(await bench.json(['incident', 'import', 'missing.jsonl'], 2)).toMatchObject({
      error: { code: 'input_unreadable' },
    });
  }, 60_000);
});

test('logs --tools is a page of the tool calls, newest first; unknown sessions are told so (E-140, E-141)', async () => {
  const page = await bench.json(['logs', 'ann', '--tools']);
  expect(page).toMatchObject({ page: 1, page_size: 50, total: 1, calls: [{ tool: 'Edit', output: 'ok' }] });
  expect((await bench.run(['logs', 'ann', '--tools'])).stdout).toContain('page 1 of 1, 1 calls');
  expect((await bench.run(['logs', 'ann', '--tools', '--page', '2'])).stdout).toBe('no tool calls on this page\n');
  for (const wrong of [
    ['--page', '0'],
    ['--page-size', '0'],
  ])
    expect((await bench.run(['logs', 'ann', '--tools', ...wrong])).code).toBe(2);
  const unknown = await bench.json<{ error: { message: string } }>(['logs', 'nobody', '--tools'], 4);
  expect(unknown.error.message).toBe('Session not found: nobody');
}, 60_000);
