import { z } from 'zod';
import { RESERVATION_STATUSES } from './reservation.ts';
import { RESERVATION_ID } from './reservation-machine.ts';

const id = z.string().regex(RESERVATION_ID);
const text = z.string().nullable();

/** HC-03: every key is always there, null when nothing is known. */
const AgentReservationOutput = z.strictObject({
  session_id: id,
  reservation_token: text.describe('shown once, by the reserve that made it'),
  thread: z.string(),
  anchor_state: text.describe('full id of the commit'),
  anchor_root: text.describe('short id of its tree'),
  status: z.enum(RESERVATION_STATUSES),
  path: text.describe('the checkout of the thread'),
  task: text,
  provider: text,
  model: text,
  harness: text,
  thinking_level: text,
  probe_source: text,
  probe_confidence: z.number().min(0).max(1).nullable(),
});
export type AgentReservationOutput = z.infer<typeof AgentReservationOutput>;

/** HC-01, HC-02. */
const AgentReservationEnvelope = z.strictObject({ reservation: AgentReservationOutput });

const Verification = z.strictObject({
  repo_root: z.string(),
  head: text.describe('full id; null before the first commit'),
  branch: text,
  is_detached: z.boolean(),
  is_dirty: z.boolean(),
  worktree_errors: z.array(z.string()),
  dead_owners: z.array(id).describe('active ones in the list whose owner is dead'),
});
export type Verification = z.infer<typeof Verification>;

/** HC-23. */
const AgentReservationListOutput = z.strictObject({
  reservations: z.array(AgentReservationOutput),
  alive_only: z.boolean(),
  thread: text,
  verification: Verification.nullable(),
});

/** HC-31: what every refusal says; `code` is stable. */
const AgentAdvice = z.object({
  kind: z.string(),
  code: z.string(),
  message: z.string(),
  hint: z.string().optional(),
  unsafe_condition: z.string().optional(),
  would_change: z.string().optional(),
  preserved: z.string().optional(),
  primary_command: z.string().optional(),
  recovery_commands: z.array(z.string()).optional(),
});

const AgentCaptureOutput = z.strictObject({
  session_id: id,
  thread: z.string(),
  changed: z.boolean().describe('false: there was nothing to commit'),
  commit: text,
  path: z.string(),
});

const AgentReadyOutput = z.strictObject({
  session_id: id,
  thread: z.string(),
  changed: z.boolean().describe('false: this commit was ready before'),
  ready_commit: z.string(),
  mail_id: text,
  uncommitted: z.array(z.string()),
});

/** H-53. */
const ActorChainOutput = z.strictObject({
  chain: z.array(
    z.strictObject({
      session_id: id,
      native_actor_key: text,
      native_parent_actor_key: text,
      thread: z.string(),
      status: z.enum(RESERVATION_STATUSES),
      provider: text,
      model: text,
      harness: text,
    }),
  ),
});
export type ActorChainNode = z.infer<typeof ActorChainOutput>['chain'][number];

const PathReservation = z.strictObject({
  id,
  glob: z.string(),
  owner_name: z.string(),
  owner_session_id: text,
  reason: text,
  created_at: z.iso.datetime(),
  expires_at: z.iso.datetime().nullable(),
});
const PathReservationOutput = z.strictObject({
  path_reservations: z.array(PathReservation),
  overlaps: z.array(PathReservation).describe('of others, on files of the same patterns'),
});

const ContextQueryOutput = z.strictObject({
  queries: z.array(z.strictObject({ path: z.string(), scope: text, queried_at: z.iso.datetime() })),
});

const SCHEMAS = {
  AgentReservationEnvelope,
  AgentReservationListOutput,
  AgentReservationOutput,
  AgentAdvice,
  AgentCaptureOutput,
  AgentReadyOutput,
  ActorChainOutput,
  PathReservationOutput,
  ContextQueryOutput,
};

/** JSON Schema of every shape by its name (HC-30). */
export function agentApiSchema(): Record<string, unknown> {
  return Object.fromEntries(Object.entries(SCHEMAS).map(([name, schema]) => [name, z.toJSONSchema(schema)]));
}

const count = z.number().int().nonnegative().nullable();

/** What an agent may say about itself with a sign of life (H-16, H-17, H-20). */
const Metadata = z
  .strictObject({
    provider: text,
    model: text,
    harness: text,
    thinking_level: text,
    client_instance_id: text,
    native_actor_key: text,
    native_parent_actor_key: text,
    native_instance_key: text,
    report_flush_state: text,
    attach_reason: text,
    attach_precedence: z.array(z.string()),
    winning_attach_rule: text,
    probe_source: text,
    probe_confidence: z.number().min(0).max(1).nullable(),
    input_tokens: count,
    output_tokens: count,
    reasoning_tokens: count,
    tool_calls: count,
    cost_micros: count,
  })
  .partial();
export type ReservationMetadata = z.infer<typeof Metadata>;

/** The metadata in a JSON text, or in words what is wrong with it. */
export function parseMetadata(json: string): ReservationMetadata | { problem: string } {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    if (error instanceof SyntaxError) return { problem: `no JSON: ${error.message}` };
    throw error;
  }
  const parsed = Metadata.safeParse(value);
  if (parsed.success) return parsed.data;
  return {
    problem: parsed.error.issues.map((issue) => `${issue.path.join('.') || 'value'}: ${issue.message}`).join('; '),
  };
}
