import { describe, expect, test } from 'bun:test';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ReservationRow } from '../../src/model/reservation.ts';
import { type Bench, DROVER, droverBench, type Ran } from '../support/drover.ts';
import { peek } from '../support/peek.ts';
import { DEAD_PID } from '../support/reservation.ts';
import { until } from '../support/until.ts';

interface Reserved {
  session_id: string;
  reservation_token: string | null;
  status: string;
  [key: string]: unknown;
}

/** The whole of standard output, which has to be one line of JSON. */
function lineOf(ran: Ran): { reservation: Reserved } & Record<string, unknown> {
  expect([ran.code, ran.stdout.endsWith('\n'), ran.stdout.trimEnd().split('\n').length]).toEqual([0, true, 1]);
  return JSON.parse(ran.stdout);
}

const take = async (bench: Bench, ...args: string[]) =>
  lineOf(await bench.run(['reserve', '--thread', 'feature/x', '--hold-for-pid', String(process.pid), ...args]))
    .reservation;
const rows = (bench: Bench) =>
  peek<ReservationRow>(bench, 'SELECT * FROM reservations ORDER BY started_at, session_id');

/** The error that `--json` prints. */
async function advice(bench: Bench, args: string[], code: number): Promise<Record<string, unknown>> {
  return (await bench.json<{ error: Record<string, unknown> }>(args, code)).error;
}

const KEYS = [
  ...['session_id', 'reservation_token', 'thread', 'anchor_state', 'anchor_root', 'status', 'path', 'task'],
  ...['provider', 'model', 'harness', 'thinking_level', 'probe_source', 'probe_confidence'],
];

test('read verbs on a fresh home answer with nothing and make nothing (H-09)', async () => {
  const bench = droverBench();
  expect((await bench.run(['reservations'])).stdout).toBe('No agent reservations.\n');
  expect(await bench.json(['reservations', 'paths'])).toMatchObject({ path_reservations: [] });
  expect(await bench.json(['chain', 'agent-x'])).toMatchObject({ chain: [] });
  expect(await bench.json(['reservations', 'notes', 'agent-x'])).toMatchObject({ queries: [] });
  expect(existsSync(bench.drover_home)).toBe(false);
}, 60_000);

test('a life: reserve, look, heartbeat, capture, ready, release (HC-01, HC-03, HC-19, HC-21, HC-22, HC-23, HC-24, HC-25, HC-29)', async () => {
  const bench = droverBench();
  bench.git('config', 'user.name', 't');
  bench.git('config', 'user.email', 't@localhost');
  const ran = await bench.run([
    'reserve',
    '--thread',
    'feature/x',
    '--hold-for-pid',
    String(process.pid),
    '--task',
    'mend it',
  ]);
  const line = lineOf(ran);
  expect(Object.keys(line)).toEqual(['reservation']);
  expect(Object.keys(line.reservation)).toEqual(KEYS);
  const { session_id, reservation_token: token } = line.reservation;
  expect(token).toMatch(/^agent-[a-z2-7]{20}$/);
  // Nothing of it is on disk, and nobody else is shown it (CX-44).
  expect(JSON.stringify(rows(bench))).not.toContain(token as string);
  const listed = await bench.json<Record<string, unknown>>(['reservations']);
  expect(Object.keys(listed)).toEqual(['schema_version', 'ok', 'reservations', 'alive_only', 'thread', 'verification']);
  expect(listed).toMatchObject({
    ...{ reservations: [{ ...line.reservation, reservation_token: null }], alive_only: false, thread: null },
    verification: { repo_root: bench.repo, branch: 'main', is_dirty: false, is_detached: false, worktree_errors: [] },
  });
  expect((await bench.run(['reservations', '--thread', 'feature/x'])).stdout).toBe(
    `Agent reservations (1):\n  ${session_id} [active] thread=feature/x\n    task: mend it\n`,
  );
  const beat = await bench.run([
    'heartbeat',
    '--session',
    session_id,
    '--token',
    token as string,
    '--metadata',
    '{"input_tokens":42}',
  ]);
  expect(lineOf(beat)).toEqual({ reservation: { ...line.reservation, reservation_token: null } });
  expect(rows(bench)[0]).toMatchObject({ input_tokens: 42 });
  expect((await advice(bench, ['capture', '--session', session_id], 3)).code).toBe('agent_session_thread_mismatch');
  bench.git('switch', '-q', 'feature/x');
  writeFileSync(join(bench.repo, 'new'), 'x\n');
  const captured = await bench.json(['capture', '--session', session_id, '--message', 'work', '--confidence', '0.8']);
  const head = bench.git('rev-parse', 'HEAD');
  expect(captured).toMatchObject({ changed: true, commit: head, thread: 'feature/x', session_id });
  expect(await bench.json(['capture', '--session', session_id])).toMatchObject({ changed: false });
  expect(await bench.json(['ready', '--session', session_id])).toMatchObject({
    changed: true,
    ready_commit: head,
    mail_id: null,
  });
  const released = ['release', '--session', session_id, '--status', 'complete'];
  expect(lineOf(await bench.run([...released, '--json']))).toMatchObject({
    ok: true,
    reservation: { status: 'complete' },
  });
  expect(lineOf(await bench.run(released)).reservation.status).toBe('complete');
  expect((await advice(bench, ['release', '--session', session_id, '--status', 'abandoned'], 3)).code).toBe(
    'illegal_transition',
  );
  expect((await bench.run(['release', '--session', session_id, '--status', 'merged'])).code).toBe(2);
  expect((await bench.run(['release', '--session', session_id])).code).toBe(2);
  // The next one has the checkout of the thread, and no task.
  const next = await take(bench);
  expect((await bench.run(['reservations', '--alive-only'])).stdout).toBe(
    `Agent reservations (1):\n  ${next.session_id} [active] thread=feature/x\n    path: ${bench.repo}\n`,
  );
}, 60_000);

test('refusals: exit code 3, the advice on one side, nothing on the other (HC-08, HC-18, HC-31)', async () => {
  const bench = droverBench();
  const { session_id } = await take(bench);
  const again = await bench.run(['reserve', '--thread', 'feature/x']);
  expect([again.code, again.stdout]).toEqual([3, '']);
  for (const said of [
    `session '${session_id}' [live_owner]`,
    'Unsafe: thread',
    'Risk: starting',
    'Safe: no thread refs',
    'Try: drover reservations --thread feature/x',
  ])
    expect(again.stderr).toContain(said);
  const error = await advice(bench, ['reserve', '--thread', 'feature/x'], 3);
  for (const key of [
    'kind',
    'code',
    'message',
    'hint',
    'unsafe_condition',
    'would_change',
    'preserved',
    'primary_command',
  ])
    expect([key, typeof error[key]]).toEqual([key, 'string']);
  expect(error.recovery_commands).toEqual([error.primary_command]);
  expect((await advice(bench, ['reserve', '--thread', 'a..b'], 2)).code).toBe('thread_name_invalid');
  expect((await advice(bench, ['reserve', '--thread', 'y', '--anchor', 'nope'], 4)).code).toBe('anchor_not_found');
  expect((await advice(bench, ['heartbeat', '--session', 'agent-no'], 4)).code).toBe('agent_session_not_found');
  expect((await advice(bench, ['heartbeat', '--session', '../x'], 2)).code).toBe('session_id_invalid');
  expect((await advice(bench, ['reservations', 'delete', session_id], 3)).code).toBe('reservation_active');
  for (const metadata of ['{', '[]', '{"model":7}', '{"input_tokens":-1}', '{"probe_confidence":2}'])
    expect(await advice(bench, ['heartbeat', '--session', session_id, '--metadata', metadata], 2)).toMatchObject({
      ...{ code: 'metadata_invalid', preserved: 'nothing was changed' },
    });
  expect(rows(bench)[0]).toMatchObject({ model: null, input_tokens: null });
  for (const bad of [
    ['reserve'],
    ['reserve', '--thread', 'x', '--path', 'y'],
    ['reserve', '--thread', 'x', '--hold-for-pid', '12x'],
    ['reserve', '--thread', 'x', '--lease', '999d'],
    ['heartbeat', '--session', session_id, '--metadata', '{'],
    ['capture', '--session', session_id, '--confidence', '2'],
    ['release'],
  ])
    expect([bad, (await bench.run(bad)).code]).toEqual([bad, 2]);
  expect(rows(bench)).toHaveLength(1);
}, 60_000);

test('two calls at the same instant: one has it, the other is told who (HC-18)', async () => {
  const bench = droverBench();
  await bench.run(['reserve', '--path', 'warm']);
  const args = ['reserve', '--thread', 'feature/x', '--hold-for-pid', String(process.pid), '--json'];
  const both = await Promise.all([bench.run(args), bench.run(args)]);
  expect(both.map((ran) => ran.code).sort()).toEqual([0, 3]);
  const [won, lost] = both.sort((a, b) => a.code - b.code).map((ran) => JSON.parse(ran.stdout));
  expect(['live_owner', 'anchor_drift']).toContain(lost.error.code);
  expect(lost.error.message).toContain(won.reservation.session_id);
  expect(rows(bench).map((row) => row.status)).toEqual(['active']);
}, 60_000);

describe('who the owner is (HC-12, HC-13, CX-03)', () => {
  test('our parent, unless it is said otherwise', async () => {
    const bench = droverBench();
    await bench.run(['reserve', '--thread', 'a']);
    await bench.run(['reserve', '--thread', 'b', '--hold-for-pid', '1']);
    await bench.run(['reserve', '--thread', 'c', '--lease', '10m']);
    await bench.run(['reserve', '--thread', 'd', '--lease', '10m', '--hold-for-pid', '1']);
    expect(rows(bench).map(({ thread, pid, lease_ms }) => [thread, pid, lease_ms])).toEqual([
      ['a', process.pid, null],
      ['b', 1, null],
      ['c', null, 600_000],
      ['d', 1, 600_000],
    ]);
  }, 60_000);

  test('a shell that is gone is dead: the next one has the thread; with a lease it is not', async () => {
    const bench = droverBench();
    const inShell = async (...args: string[]) => {
      // Two commands, so that the shell does not become the first of them.
      const child = Bun.spawn(['/bin/sh', '-c', `"${DROVER}" reserve ${args.join(' ')}; true`], {
        ...{ cwd: bench.repo, env: bench.env, stdin: 'ignore', stdout: 'pipe', stderr: 'inherit' },
      });
      return (JSON.parse(await child.stdout.text()) as { reservation: Reserved }).reservation;
    };
    const gone = await inShell('--thread', 'feature/x');
    const leased = await inShell('--thread', 'feature/y', '--lease', '10m');
    expect((await take(bench)).session_id).not.toBe(gone.session_id);
    const error = await advice(bench, ['reserve', '--thread', 'feature/y'], 3);
    expect(error.message).toContain(leased.session_id);
  }, 60_000);

  test('a process that is not there is said so', async () => {
    const bench = droverBench();
    const ran = await bench.run(['reserve', '--thread', 'a', '--hold-for-pid', String(DEAD_PID)]);
    expect([ran.code, ran.stderr]).toEqual([0, expect.stringContaining(`there is no process ${DEAD_PID}`)]);
  }, 60_000);
});

test('nobody reads the answer: the reservation is taken back (HC-15)', async () => {
  const bench = droverBench();
  // The reader has gone before anything is written.
  const script = `{ "${DROVER}" reserve --thread feature/x --hold-for-pid ${process.pid}; echo "code $?" >&2; } | true`;
  const child = Bun.spawn(['/bin/bash', '-c', script], {
    ...{ cwd: bench.repo, env: bench.env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  });
  const said = await child.stderr.text();
  expect(said).toContain('code 1');
  expect(said).toContain('output_closed');
  expect(rows(bench).map((row) => row.status)).toEqual(['abandoned']);
  expect((await take(bench)).status).toBe('active');
}, 60_000);

test('the list tells a dead owner, and one whose lease has lapsed, from a living one; it writes nothing', async () => {
  const bench = droverBench();
  await bench.run(['reserve', '--thread', 'dead', '--hold-for-pid', String(DEAD_PID)]);
  await bench.run(['reserve', '--thread', 'lapsed', '--lease', '1s']);
  const living = await take(bench);
  const list = async () => (await bench.run(['reservations'])).stdout;
  await until('the lease lapses', async () => (await list()).includes('no sign of life'));
  const lines = (await list()).split('\n');
  const after = (thread: string) => lines[lines.findIndex((line) => line.endsWith(`[active] thread=${thread}`)) + 1];
  expect(after('dead')).toBe('    owner: dead, its process is gone; who reserves next has it');
  expect(after('lapsed')).toBe('    owner: dead, no sign of life for 1s; who reserves next has it');
  expect(after('feature/x')).not.toContain('owner');
  const { verification } = await bench.json<{ verification: { dead_owners: string[] } }>(['reservations']);
  expect(verification.dead_owners).toHaveLength(2);
  expect(verification.dead_owners).not.toContain(living.session_id);
  expect(new Set(rows(bench).map(({ status }) => status))).toEqual(new Set(['active']));
}, 60_000);

test('--alive-only clears the dead away first; without it nothing is written (HC-22, H-33)', async () => {
  const bench = droverBench();
  await bench.run(['reserve', '--thread', 'dead', '--hold-for-pid', String(DEAD_PID)]);
  await take(bench);
  const names = async (...args: string[]) =>
    (await bench.json<{ reservations: { thread: string }[] }>(['reservations', ...args])).reservations.map(
      (row) => row.thread,
    );
  expect(await names()).toEqual(['feature/x', 'dead']);
  expect(rows(bench).map((row) => row.status)).toEqual(['active', 'active']);
  expect(await names('--alive-only', '--thread', 'feature/x')).toEqual(['feature/x']);
  expect(rows(bench).map((row) => row.status)).toEqual(['active', 'active']);
  expect(await names('--alive-only')).toEqual(['feature/x']);
  expect(rows(bench).map((row) => row.status)).toEqual(['abandoned', 'active']);
  expect(await names('--thread', 'dead')).toEqual(['dead']);
  expect(await names('--thread', 'dea')).toEqual([]);
}, 60_000);

test('lookups by checkout, actor, client and instance; the chain; what was looked up (H-46…H-59)', async () => {
  const bench = droverBench();
  const keys = [
    '--client',
    'client-a',
    '--actor',
    'codex:thread:child',
    '--parent-actor',
    'human:foo',
    '--instance',
    'i',
  ];
  const { session_id } = await take(bench, ...keys);
  await bench.run(['reserve', '--thread', 'root', '--actor', 'human:foo']);
  const found = async (...args: string[]) =>
    (await bench.json<{ reservations: { session_id: string }[] }>(['reservations', ...args])).reservations.map(
      (row) => row.session_id,
    );
  expect(await found('--client', 'client-a')).toEqual([session_id]);
  expect(await found('--client', 'client-b')).toEqual([]);
  expect(await found('--actor', 'codex:thread:child', '--instance', 'i')).toEqual([session_id]);
  expect(await found('--path', '.')).toEqual([]);
  // The same instance again is the same reservation, which now knows its checkout.
  expect((await take(bench, '--client', 'client-a')).session_id).toBe(session_id);
  const { chain } = await bench.json<{ chain: Record<string, unknown>[] }>(['chain', session_id]);
  expect(chain.map(({ native_actor_key }) => native_actor_key)).toEqual(['human:foo', 'codex:thread:child']);
  expect(Object.keys(chain[0] ?? {})).toHaveLength(8);
  expect((await bench.run(['chain', session_id])).stdout).toContain(`  ${session_id} [active] thread=feature/x`);
  await bench.run([
    'reservations',
    'note',
    'src/auth/session.rs',
    '--scope',
    'symbol:validate_token',
    '--session',
    session_id,
  ]);
  const { queries } = await bench.json<{ queries: unknown[] }>(['reservations', 'notes', session_id]);
  expect(queries).toEqual([
    { path: 'src/auth/session.rs', scope: 'symbol:validate_token', queried_at: expect.stringMatching(/^\d{4}-.*Z$/) },
  ]);
  await bench.run(['release', '--session', session_id, '--status', 'abandoned']);
  const quiet = await bench.run(['reservations', 'note', 'x', '--session', session_id]);
  expect([quiet.code, quiet.stdout, quiet.stderr]).toEqual([0, '', '']);
}, 60_000);

test('the schema of what is printed (HC-30)', async () => {
  const bench = droverBench();
  const schemas = JSON.parse((await bench.run(['schema'])).stdout);
  for (const name of ['AgentReservationEnvelope', 'AgentReservationListOutput', 'AgentReservationOutput'])
    expect(schemas[name]).toMatchObject({ type: 'object', properties: expect.any(Object) });
  expect(await bench.json(['schema'])).toMatchObject({ schema_version: 1, AgentReservationOutput: expect.any(Object) });
  const said = await take(bench);
  expect(Object.keys(said).sort()).toEqual([...schemas.AgentReservationOutput.required].sort());
  expect(existsSync(join(bench.drover_home, 'agents'))).toBe(false);
}, 60_000);

test('from anywhere with --project, before and after the verb (HC-33)', async () => {
  const bench = droverBench();
  const cwd = bench.home;
  expect((await bench.run(['reserve', '--thread', 'x'], { cwd })).code).toBe(2);
  expect((await bench.run(['reserve', '--thread', 'x', '--project', bench.repo], { cwd })).code).toBe(0);
  const listed = await bench.run(['--project', bench.repo, 'reservations', '--json'], { cwd });
  expect(JSON.parse(listed.stdout).reservations).toHaveLength(1);
  expect((await bench.run(['reservations'], { cwd })).code).toBe(2);
  expect((await bench.run(['reservations', '--all'], { cwd })).stdout).toContain('Agent reservations (1)');
}, 60_000);

test('where the settings demand tokens, people need them as well (CX-44)', async () => {
  const bench = droverBench({ config: { reservations: { require_token: true } } });
  const { session_id, reservation_token } = await take(bench);
  const args = ['release', '--session', session_id, '--status', 'complete'];
  expect((await advice(bench, args, 3)).code).toBe('reservation_token_required');
  expect((await advice(bench, [...args, '--token', 'x'], 3)).code).toBe('reservation_token_invalid');
  expect(lineOf(await bench.run([...args, '--token', reservation_token as string])).reservation.status).toBe(
    'complete',
  );
}, 60_000);

describe('files', () => {
  test('are reserved, shown in status and released', async () => {
    const bench = droverBench();
    const said = await bench.run([
      'reserve',
      '--path',
      'src/auth/**',
      '--path',
      'docs',
      '--reason',
      'moving it',
      '--for',
      '2h',
    ]);
    expect(said.stdout).toMatch(
      /^path-\w+: src\/auth\/\*\* by operator: moving it, for 2h more\npath-\w+: docs by operator/,
    );
    const status = await bench.run(['status']);
    expect(status.stdout).toContain('\nreserved: src/auth/** by operator: moving it, for 2h more\n');
    const { path_reservations: shown } = await bench.json<{ path_reservations: Record<string, unknown>[] }>(['status']);
    expect(shown.map(({ glob }) => glob).sort()).toEqual(['docs', 'src/auth/**']);
    const listed = await bench.json<{ path_reservations: Record<string, unknown>[] }>(['reservations', 'paths']);
    expect(Object.keys(listed.path_reservations[0] ?? {}).sort()).toEqual([
      ...['created_at', 'expires_at', 'glob', 'id', 'owner_name', 'owner_session_id', 'reason'],
    ]);
    expect((await bench.run(['release', '--path', 'src/auth/**'])).stdout).toStartWith(
      'released src/auth/** by operator',
    );
    expect((await bench.run(['release', 'docs'])).code).toBe(0);
    expect((await advice(bench, ['release', 'docs'], 4)).code).toBe('path_reservation_not_found');
    expect((await bench.run(['status'])).stdout).not.toContain('reserved');
  }, 60_000);
});
