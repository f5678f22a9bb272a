import { type AssignmentPreview, previewOf } from '../model/assign.ts';
import { computerUseTask, type DispatchRow } from '../model/dispatch.ts';
import { AppError } from '../model/error.ts';
import { newId } from '../model/id.ts';
import { OPERATOR, type Priority } from '../model/mail.ts';
import type { Actor, SessionRow } from '../model/session.ts';
import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';
import { refuseComputerUse } from '../session/repository-choice.ts';
import { isSameHarness } from '../session/same-harness.ts';
import { placeOf, prepareSling, type SlingRequest } from '../session/sling.ts';
import { type AssignInput, assignDispatch, previewAssignment } from '../store/assign.ts';
import {
  claimDispatch,
  insertDispatch,
  listDispatch,
  nextDispatches,
  settleDispatch,
  spawnDispatch,
} from '../store/dispatch.ts';
import type { Sling } from '../store/new-session.ts';
import { getSession } from '../store/session.ts';

/** Whoever asks from outside speaks with the voice of a person. */
const PERSON: Caller = { name: OPERATOR, session: null };

/** How a request wants to be done; what it leaves out is decided when it is processed. */
export interface DispatchWishes {
  cwd: string;
  /** Who is to lead it, resolved (CX-37); null: nobody, it becomes a session of its own. */
  target: SessionRow | null;
  priority: Priority;
  harness?: string | undefined;
  profile?: string | undefined;
  worktree?: boolean | undefined;
  project?: string | undefined;
  group?: string | undefined;
  source: string;
  requester: string | null;
}

/**
 * Stores a request as `pending`, after everything that would refuse it now was asked (E-061). Throws what `prepareSling`
 * throws.
 */
export async function addDispatch(
  deps: Deps,
  request: DispatchWishes & { task: string; kind?: DispatchRow['kind']; target_url?: string | null },
): Promise<DispatchRow> {
  const { target, task, harness } = request;
  const cwd = target?.working_dir ?? request.cwd;
  const { draft } = await prepareSling(deps, PERSON, { ...request, cwd, parent: target?.id });
  return insertDispatch(
    deps.store,
    {
      ...{ id: newId('request'), kind: request.kind ?? 'standard', target_session_id: target?.id ?? null, task },
      ...{ target_url: request.target_url ?? null, priority: request.priority },
      harness: harness === undefined || harness.trim().toLowerCase() === 'auto' ? (harness ?? null) : draft.harness,
      profile_name: request.profile ?? null,
      worktree: request.worktree === undefined ? null : Number(request.worktree),
      ...{ project: draft.project, task_group: draft.task_group, repo_root: draft.repo_root, working_dir: cwd },
      ...{ source: request.source, requester: request.requester },
    },
    deps.clock.now(),
  );
}

/**
 * The same for work at a screen: what is not said comes from `computer_use` of the config, the group from the goal
 * (E-062, E-063). Throws `goal_empty`, `url_invalid` (2) and what `addDispatch` throws.
 */
export async function addComputerUse(
  deps: Deps,
  request: DispatchWishes & { goal: string; url?: string | undefined; context?: string | undefined },
): Promise<DispatchRow> {
  const { goal, url, context, ...wishes } = request;
  const preserved = 'nothing was stored';
  if (goal.trim() === '') throw new AppError('usage', 'goal_empty', 'The goal is empty.', { preserved });
  // The parser takes a line break out, the text of the task would not.
  if (url?.trim() && (/\s/.test(url.trim()) || !URL.canParse(url.trim())))
    throw new AppError('usage', 'url_invalid', `Not a URL: ${JSON.stringify(url)}`, { preserved });
  const place = await placeOf(request.target?.working_dir ?? request.cwd);
  const config = await deps.config_for(place.main_root);
  refuseComputerUse(config, request);
  const { computer_use } = config;
  return addDispatch(deps, {
    ...wishes,
    task: computerUseTask({ goal, url, context }),
    kind: 'computer_use',
    target_url: url?.trim() || null,
    harness: request.harness ?? computer_use.harness ?? undefined,
    profile: request.profile ?? computer_use.profile ?? undefined,
    worktree: request.worktree ?? computer_use.worktree,
    project: request.project ?? computer_use.project ?? undefined,
    group: request.group ?? computer_use.group ?? goal.trim(),
  });
}

/** What became of a request in one pass (E-069). */
export interface DispatchOutcome {
  request_id: string;
  task: string;
  priority: Priority;
  target_session_id: string | null;
  /** Null: nobody has it. */
  session_id: string | null;
  action:
    | { type: 'spawned_top_level' | 'deferred_saturated' }
    | { type: 'assigned'; details: string }
    | { type: 'failed'; details: string };
}

/** Who processes. */
export interface Dispatcher {
  claimed_by: string;
  actor: Actor;
}

/** Kinds of failures that the machine is the cause of, not the request: they pass. */
const PASSING: readonly string[] = ['unavailable', 'parked'];

/**
 * Processes pending requests, highest priority first, at most `limit`, none of `later`, and nothing that would
 * overtake one that its lead has no room for (E-065…E-068). A request that
 * fails is written down with its reason and the pass goes on. Throws what will pass: `store_busy`, `disk_full`.
 */
export async function runDispatches(
  deps: Deps,
  { limit, later = new Set(), ...who }: Dispatcher & { limit: number; later?: ReadonlySet<string> },
): Promise<DispatchOutcome[]> {
  const outcomes: DispatchOutcome[] = [];
  const full = new Set<string>();
  for (const request of await nextDispatches(deps.store, { later, limit })) {
    const { id: request_id, task, priority, target_session_id } = request;
    if (target_session_id !== null && full.has(target_session_id)) continue;
    const done = await processOne(deps, request, who);
    if (done === null) continue;
    if (done === DEFERRED && target_session_id !== null) full.add(target_session_id);
    outcomes.push({ request_id, task, priority, target_session_id, ...done });
  }
  return outcomes;
}

type Done = Pick<DispatchOutcome, 'session_id' | 'action'>;

/** Null: somebody was first. */
async function processOne(deps: Deps, request: DispatchRow, who: Dispatcher): Promise<Done | null> {
  try {
    return await (request.target_session_id === null ? spawn(deps, request, who) : handOver(deps, request, who));
  } catch (error) {
    if (error instanceof AppError && PASSING.includes(error.kind)) throw error;
    const isKnown = error instanceof AppError && error.kind !== 'bug';
    const text = isKnown ? error.message : `internal: ${String(error)}`;
    const failed = await fail(deps, request, who, text);
    if (!isKnown) throw error;
    return failed;
  }
}

/** Without a target: a session of its own (E-066). */
async function spawn(deps: Deps, request: DispatchRow, { actor }: Dispatcher): Promise<Done | null> {
  const sling = await prepareSling(deps, PERSON, slingOf(request));
  sling.brief.priority = request.priority;
  const session = await spawnDispatch(deps.store, { id: request.id, sling, actor, now: deps.clock.now() });
  return session === null ? null : { session_id: session.id, action: { type: 'spawned_top_level' } };
}

function slingOf(request: DispatchRow): SlingRequest {
  return {
    task: request.task,
    cwd: request.working_dir,
    harness: request.harness ?? undefined,
    profile: request.profile_name ?? undefined,
    worktree: request.worktree === null ? undefined : request.worktree === 1,
    project: request.project,
    group: request.task_group,
  };
}

/** For a lead: one of its delegates, or a new one (E-087…E-097). */
async function handOver(deps: Deps, request: DispatchRow, { actor }: Dispatcher): Promise<Done | null> {
  const { sling, ...input } = await assignmentOf(deps, request);
  try {
    const now = deps.clock.now();
    const assigned = await assignDispatch(deps.store, { ...input, id: request.id, sling, actor, now });
    if (assigned === null) return null;
    const { assignment, session_id } = assigned;
    if (session_id === null) return DEFERRED;
    return { session_id, action: { type: 'assigned', details: assignment.action } };
  } catch (error) {
    // Children that it started itself count too: it has no room now, and will have some.
    if (error instanceof AppError && error.code === 'too_many_children') return DEFERRED;
    throw error;
  }
}

const DEFERRED: Done = { session_id: null, action: { type: 'deferred_saturated' } };

/** Everything that is prepared before the choice; the lead is looked at where it works now, for `auto` too (E-086). */
async function assignmentOf(deps: Deps, request: DispatchRow): Promise<AssignInput & { sling: Sling }> {
  const lead = await getSession(deps.store, request.target_session_id ?? '');
  if (lead === null) throw new AppError('not_found', 'session_not_found', `No session ${request.target_session_id}.`);
  const prepared = await prepareSling(deps, PERSON, { ...slingOf(request), cwd: lead.working_dir, parent: lead.id });
  const { priority } = request;
  const sling = { ...prepared, brief: { ...prepared.brief, from_name: lead.name, from_id: lead.id, priority } };
  return {
    ...{ lead_id: lead.id, task: request.task, max_delegates: sling.limits.max_children, sling },
    is_harness: (label) => isSameHarness(label, sling.draft.harness),
  };
}

/** The claim is what makes one of several the one that writes the failure down (I10). */
async function fail(deps: Deps, { id }: DispatchRow, { claimed_by }: Dispatcher, text: string): Promise<Done | null> {
  const now = deps.clock.now();
  if ((await claimDispatch(deps.store, { id, claimed_by, now })) === null) return null;
  const end = { state: 'failed' as const, error: text };
  if ((await settleDispatch(deps.store, { id, claimed_by, end, now })) === null) return null;
  return { session_id: null, action: { type: 'failed', details: text } };
}

/** What would be done for each pending request if it were the only one; nothing is changed (E-099). */
export async function previewDispatches(
  deps: Deps,
  limit: number,
): Promise<({ request_id: string; error: string | null } & Partial<AssignmentPreview>)[]> {
  const previews = [];
  for (const request of await listDispatch(deps.store, { limit })) {
    try {
      previews.push({ request_id: request.id, error: null, ...(await previewOne(deps, request)) });
    } catch (error) {
      if (!(error instanceof AppError) || error.kind === 'bug') throw error;
      previews.push({ request_id: request.id, error: error.message });
    }
  }
  return previews;
}

async function previewOne(deps: Deps, request: DispatchRow): Promise<AssignmentPreview> {
  if (request.target_session_id !== null)
    return previewOf(await previewAssignment(deps.store, await assignmentOf(deps, request)));
  await prepareSling(deps, PERSON, slingOf(request));
  return { session_id: null, action: 'spawned', delegate_state: null, handoff_backlog: 0, graph_match_terms: [] };
}
