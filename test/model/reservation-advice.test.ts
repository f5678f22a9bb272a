import { expect, test } from 'bun:test';
import { errorJson } from '../../src/model/error.ts';
import {
  illegalStatus,
  ownerConflict,
  refDrift,
  reservationInactive,
  reservationNotFound,
  threadMismatch,
  threadNameInvalid,
  threadTaken,
  tokenRefused,
} from '../../src/model/reservation-advice.ts';
import { reservationOutput } from '../../src/model/reservation-output.ts';
import { agentApiSchema, parseMetadata } from '../../src/model/reservation-schema.ts';
import { reservationRow } from '../support/reservation.ts';

const A = 'a'.repeat(40);
const B = 'b'.repeat(40);
const owner = { session_id: 'agent-x', anchor_commit: A };
const UNCHANGED = 'no thread refs or reservation records were changed';
const LOOK = 'drover reservations --thread feature/x';
const conflict = { thread: 'feature/x', anchor: A, reaped: 0 };

test('live_owner: the owner is on the anchor that was asked for (HC-09)', () => {
  expect(errorJson(ownerConflict(owner, conflict))).toEqual({
    kind: 'refused',
    code: 'live_owner',
    message: "thread 'feature/x' already has a live reservation on session 'agent-x'",
    hint: `Inspect it with \`${LOOK}\`, or release that session before starting another writer.`,
    unsafe_condition: `thread 'feature/x' is reserved by live session 'agent-x' at anchor ${A}`,
    would_change: 'starting another writer could create competing histories for the same thread',
    preserved: UNCHANGED,
    primary_command: LOOK,
    recovery_commands: [LOOK],
  });
});

test('anchor_drift: the owner is on another anchor, or on one that nobody knows (HC-10)', () => {
  for (const [anchor_commit, shown] of [
    [A, A],
    [null, '<unknown>'],
  ] as const) {
    expect(errorJson(ownerConflict({ ...owner, anchor_commit }, { ...conflict, anchor: B }))).toEqual({
      kind: 'refused',
      code: 'anchor_drift',
      message: `thread 'feature/x' is reserved by session 'agent-x' on anchor ${shown}, but reservation requested ${B}`,
      hint: 'Refresh the thread or rebase before retrying.',
      unsafe_condition: "thread 'feature/x' has an active reservation at a different anchor",
      would_change: 'starting from the requested anchor could fork the same thread name into competing histories',
      preserved: UNCHANGED,
      primary_command: LOOK,
      recovery_commands: [LOOK],
    });
  }
});

test('anchor_drift without an owner (HC-11)', () => {
  expect(refDrift(B, conflict)).toMatchObject({
    code: 'anchor_drift',
    exitCode: 3,
    message: `thread 'feature/x' is anchored at ${B}, but reservation requested ${A}`,
    details: {
      hint: 'Refresh the thread or rebase before retrying.',
      unsafe_condition: "thread 'feature/x' already points at a different anchor",
      preserved: UNCHANGED,
      recovery_commands: [LOOK, 'drover reserve --thread feature/x --anchor feature/x'],
    },
  });
});

test('what was changed all the same is not said to be preserved (HC-31)', () => {
  expect(ownerConflict(owner, { ...conflict, reaped: 1 }).details.preserved).toBe(
    'no thread refs or live reservation records were changed (1 of dead owners marked abandoned)',
  );
  expect(refDrift(B, { ...conflict, is_late: true }).details.preserved).toContain('recorded as abandoned');
});

test('agent_session_not_found (HC-20)', () => {
  expect(errorJson(reservationNotFound('agent-y'))).toEqual({
    kind: 'not_found',
    code: 'agent_session_not_found',
    message: "agent session 'agent-y' not found",
    hint: 'Reserve the thread again before retrying the guarded agent command.',
    unsafe_condition: 'no reservation entry exists for session agent-y',
    would_change: 'continuing would let an unknown session mutate repository state',
    preserved: 'no session heartbeat, capture, readiness, refs, or worktree changes were applied',
    primary_command: 'drover reserve --thread <thread>',
    recovery_commands: ['drover reserve --thread <thread>'],
  });
});

test('agent_session_inactive, with and without the heartbeat that came before (HC-27, CX-06)', () => {
  const row = { session_id: 'agent-x', status: 'merged', thread: 'it' } as const;
  expect(reservationInactive(row, true)).toMatchObject({
    code: 'agent_session_inactive',
    exitCode: 3,
    message: "agent session 'agent-x' is no longer active (status: merged)",
    details: {
      unsafe_condition: 'session agent-x has terminal status merged',
      would_change: 'continuing would let a stale reservation write or mark readiness after ownership ended',
      preserved: 'the session heartbeat was refreshed, but no capture, ready, refs, or worktree changes were applied',
    },
  });
  expect(reservationInactive(row, false).details.preserved).toStartWith('no session heartbeat');
});

test('agent_session_thread_mismatch (HC-28)', () => {
  expect(threadMismatch({ session_id: 'agent-x', thread: 'mine' }, 'main')).toMatchObject({
    code: 'agent_session_thread_mismatch',
    message: "agent session 'agent-x' reserved thread 'mine', but the current thread is 'main'",
    details: {
      hint: 'Switch to the reserved thread with `git switch mine` before capturing.',
      unsafe_condition: 'session agent-x owns thread mine, current checkout is attached to main',
      would_change:
        'capturing from the wrong thread would attribute work to a reservation that does not own this checkout',
      recovery_commands: ['git switch mine'],
    },
  });
});

test('every advice has all of its parts, and its first command is the primary one (HC-31, HC-32)', () => {
  const row = reservationRow({ status: 'complete' });
  const all = [
    ...[ownerConflict(owner, conflict), ownerConflict(owner, { ...conflict, anchor: B }), refDrift(B, conflict)],
    ...[reservationNotFound('x'), reservationInactive(row, true), threadMismatch(row, 'main'), threadNameInvalid('..')],
    ...[threadTaken('it', owner), illegalStatus(row, 'abandoned'), tokenRefused('x', true), tokenRefused('x', false)],
  ];
  expect([...new Set(all.map((error) => error.code))].sort()).toEqual([
    ...['agent_session_inactive', 'agent_session_not_found', 'agent_session_thread_mismatch', 'anchor_drift'],
    ...['illegal_transition', 'live_owner', 'reservation_token_invalid', 'reservation_token_required'],
    'thread_name_invalid',
  ]);
  for (const error of all) {
    const json = errorJson(error);
    for (const key of ['kind', 'code', 'message', 'hint', 'unsafe_condition', 'would_change', 'preserved'])
      expect([error.code, key, typeof json[key]]).toEqual([error.code, key, 'string']);
    expect(json.primary_command).toBe((json.recovery_commands as string[])[0]);
    expect(error.exitCode).toBeGreaterThan(0);
  }
});

test('the conflict of a session that is put back to work names the thread and the owner (H-44)', () => {
  expect(threadTaken('feature/x', owner).message).toBe(
    `thread 'feature/x' already has active reservation agent-x. Use \`${LOOK}\` to inspect it, or release the session before starting another writer.`,
  );
});

test('the keys of a reservation, all of them always (HC-03)', () => {
  const empty = reservationOutput(reservationRow(), null);
  expect(Object.keys(empty)).toEqual([
    ...['session_id', 'reservation_token', 'thread', 'anchor_state', 'anchor_root', 'status', 'path', 'task'],
    ...['provider', 'model', 'harness', 'thinking_level', 'probe_source', 'probe_confidence'],
  ]);
  const full = reservationRow({ anchor_commit: A, anchor_tree: 'f00', path: '/p', attach_reason: 'why' });
  expect(reservationOutput(full, 'secret')).toMatchObject({
    ...{ reservation_token: 'secret', anchor_state: A, anchor_root: 'f00', path: '/p', task: 'why', status: 'active' },
  });
});

test('the schema has the three names, and what we print fits it (HC-30)', () => {
  const schemas = agentApiSchema() as Record<string, { properties: Record<string, unknown>; required: string[] }>;
  for (const name of ['AgentReservationEnvelope', 'AgentReservationListOutput', 'AgentReservationOutput'])
    expect(schemas[name]).toMatchObject({ type: 'object' });
  const keys = Object.keys(reservationOutput(reservationRow(), null)).sort();
  expect(Object.keys(schemas.AgentReservationOutput?.properties ?? {}).sort()).toEqual(keys);
  expect([...(schemas.AgentReservationOutput?.required ?? [])].sort()).toEqual(keys);
  expect(Object.keys(schemas.AgentReservationListOutput?.properties ?? {})).toEqual([
    ...['reservations', 'alive_only', 'thread', 'verification'],
  ]);
  expect(Object.keys(schemas.AgentReservationEnvelope?.properties ?? {})).toEqual(['reservation']);
});

test('metadata are checked (H-16, H-17)', () => {
  expect(parseMetadata('{"input_tokens":42,"attach_precedence":["a"]}')).toEqual({
    ...{ input_tokens: 42, attach_precedence: ['a'] },
  });
  for (const bad of ['{', '[]', '{"pid":1}', '{"status":"merged"}', '{"input_tokens":-1}', '{"probe_confidence":2}'])
    expect(parseMetadata(bad)).toEqual({ problem: expect.any(String) });
});
