import { AppError } from '../model/error.ts';
import {
  MAIL_BODY_LIMIT,
  MAIL_SUBJECT_LIMIT,
  MAIL_TYPES,
  type MailRow,
  type MailType,
  OPERATOR,
  type Priority,
  parsePriority,
  RESERVED_MAIL_TYPES,
  SYSTEM,
} from '../model/mail.ts';
import { terminalMailOf } from '../model/role.ts';
import { LIVE_STATES, type SessionRow } from '../model/session.ts';
import { liveByName, type MailDraft, type Recipient, sendMail } from '../store/mail.ts';
import { findMail } from '../store/mail-list.ts';
import { findSession, getSession, listSessions } from '../store/session.ts';
import { loadConfig } from './config.ts';
import type { Deps } from './deps.ts';
import type { Caller } from './identity.ts';
import { loadRole } from './roles.ts';

export interface MailRequest {
  /** A session, `operator`, `parent`, or `@group`. Absent for a terminal mail: the parent, else the operator. */
  to?: string | undefined;
  type?: string | undefined;
  priority?: string | undefined;
  subject: string;
  body: string;
  payload?: string | undefined;
  /** Where the groups of a person are looked for; null or absent: in all repositories. A session's are in its own. */
  repo_root?: string | null;
}

/**
 * Sends mail as the caller (identity from the token). All recipients or none (O-76, CX-57).
 * Throws `mail_*` (2), `recipient_ended` (3), `recipient_not_found` / `session_not_found` / `group_empty` (4).
 */
export async function send(deps: Deps, caller: Caller, request: MailRequest): Promise<MailRow[]> {
  const type = checkType(request.type ?? 'status');
  const priority = checkPriority(request.priority ?? 'normal');
  checkTexts(request);
  const payload_json = checkPayload(request.payload);
  const isTerminal = terminalTypes(deps, caller).includes(type);
  const to = await recipients(
    deps,
    caller,
    request.to ?? (isTerminal ? 'parent' : undefined),
    request.repo_root ?? null,
  );
  return store(deps, caller, to, { type, priority, subject: request.subject, body: request.body, payload_json });
}

/**
 * Answers a mail in its thread; only its recipient, its sender or a person may.
 * Throws like `send`, and `mail_not_found` (4).
 */
export async function reply(
  deps: Deps,
  caller: Caller,
  mail_id: string,
  request: Omit<MailRequest, 'to'>,
): Promise<MailRow[]> {
  const mail = await mailFor(deps, caller, mail_id);
  const type = checkType(
    request.type ?? (mail.type === 'question' || mail.type === 'decision_gate' ? 'answer' : 'status'),
  );
  const priority = checkPriority(request.priority ?? mail.priority);
  checkTexts(request);
  const payload_json = checkPayload(request.payload);
  const subject = request.subject || (mail.subject.startsWith('Re: ') ? mail.subject : `Re: ${mail.subject}`);
  const to = otherEnd(caller, mail);
  return store(deps, caller, [to], { type, priority, subject, body: request.body, payload_json, reply_to: mail });
}

/** A mail the caller may see, by id or unique prefix. Throws `mail_not_found` (4), also for mail of others. */
export async function mailFor(deps: Pick<Deps, 'store'>, caller: Caller, mail_id: string): Promise<MailRow> {
  const mail = await findMail(deps.store, mail_id);
  const self = caller.session?.id;
  if (mail !== null && (self === undefined || mail.to_id === self || mail.from_id === self)) return mail;
  throw new AppError('not_found', 'mail_not_found', `No mail ${mail_id}.`, { hint: '`drover mail list` shows yours.' });
}

/** Whoever an answer goes to. drover itself writes mail but reads none, so an answer to it would never be seen. */
function otherEnd(caller: Caller, mail: MailRow): Recipient {
  const isOwn = mail.from_id === (caller.session?.id ?? null) && mail.from_name === caller.name;
  const to = isOwn ? { name: mail.to_name, id: mail.to_id } : { name: mail.from_name, id: mail.from_id };
  if (to.id !== null || to.name !== SYSTEM) return to;
  throw mailError(
    'mail_no_reader',
    'drover wrote this mail and reads no answers.',
    'Write to the parent or the operator; to report your work, use `drover done`.',
  );
}

type Checked = Pick<MailDraft, 'type' | 'priority' | 'subject' | 'body' | 'payload_json' | 'reply_to'>;

function store(deps: Deps, caller: Caller, to: Recipient[], checked: Checked): Promise<MailRow[]> {
  const sender = caller.session;
  // The contract is with the parent: the same words to anybody else do not fulfil it. A person stands above a parent.
  const reachesParent = to.some(({ id }) => id === null || id === sender?.parent_id);
  return sendMail(deps.store, {
    draft: { from_name: caller.name, from_id: sender?.id ?? null, ...checked },
    to,
    sender,
    is_terminal: reachesParent && terminalTypes(deps, caller).includes(checked.type),
    now: deps.clock.now(),
  });
}

function terminalTypes(deps: Deps, { session }: Caller): MailType[] {
  return session === null ? [] : terminalMailOf(loadRole(deps, session.role), session.parent_id !== null);
}

/** Roles that are addresses: whoever holds one gets the mail, the operator while nobody does (CX-57). */
const ROLE_ADDRESSES = ['coordinator', 'orchestrator'];

async function recipients(
  deps: Deps,
  caller: Caller,
  to: string | undefined,
  repo_root: string | null,
): Promise<Recipient[]> {
  if (to === undefined)
    throw mailError('mail_no_recipient', 'To whom?', 'Name a session, "operator", "parent" or "@group" with --to.');
  if (to === 'parent') return [await parentOf(deps, caller)];
  if (to === OPERATOR) return [{ name: OPERATOR, id: null }];
  if (to.startsWith('@')) return group(deps, caller, to.slice(1), repo_root);
  const live = await liveByName(deps.store, to);
  if (live === null && ROLE_ADDRESSES.includes(to)) return [await holderOf(deps, caller, to, repo_root)];
  const row = live ?? (await findSession(deps.store, to, null));
  if (row.id !== caller.session?.id) return [{ name: row.name, id: row.id }];
  throw mailError(
    'mail_to_self',
    'This mail would go to its own sender and cause a turn for nothing.',
    'To keep a note, write a file.',
  );
}

async function holderOf(deps: Deps, caller: Caller, role: string, repo_root: string | null): Promise<Recipient> {
  const rows = await listSessions(deps.store, {
    repo_root: caller.session?.repo_root ?? repo_root,
    states: LIVE_STATES,
  });
  const holder = rows.find((row) => row.role === role && row.id !== caller.session?.id);
  return holder === undefined ? { name: OPERATOR, id: null } : { name: holder.name, id: holder.id };
}

async function parentOf(deps: Deps, caller: Caller): Promise<Recipient> {
  if (caller.session === null)
    throw mailError('mail_no_recipient', 'A person has no parent session.', 'Name a session or "@group" with --to.');
  const id = caller.session.parent_id;
  const parent = id === null ? null : await getSession(deps.store, id);
  return parent === null || parent.ended_at !== null
    ? { name: OPERATOR, id: null }
    : { name: parent.name, id: parent.id };
}

/** Groups: `all`, `children`, `siblings`, a role in the plural or singular, a configured list; never the sender itself. */
async function group(deps: Deps, caller: Caller, name: string, of_person: string | null): Promise<Recipient[]> {
  const self = caller.session;
  const repo_root = self?.repo_root ?? of_person;
  const live = await listSessions(deps.store, { repo_root, states: LIVE_STATES });
  const others = live.filter((row) => row.id !== self?.id);
  const config = repo_root === null ? await loadConfig(deps.env, null) : await deps.config_for(repo_root);
  const named = Object.hasOwn(config.groups, name) ? config.groups[name] : undefined;
  const members = others.filter((row) => isMember(row, name, self, named));
  if (members.length > 0) return members.map((row) => ({ name: row.name, id: row.id }));
  throw new AppError('not_found', 'group_empty', `Nobody alive is in @${name}.`, {
    hint: 'Groups: @all, @children, @siblings, @<role>, or one from `groups` in the config.',
    preserved: 'no mail was stored',
  });
}

function isMember(row: SessionRow, name: string, self: SessionRow | null, named: string[] | undefined): boolean {
  if (named !== undefined) return named.includes(row.name);
  if (name === 'all') return true;
  if (name === 'children') return self !== null && row.parent_id === self.id;
  if (name === 'siblings') return self?.parent_id != null && row.parent_id === self.parent_id;
  return row.role === name || `${row.role}s` === name;
}

function mailError(code: string, message: string, hint: string): AppError {
  return new AppError('usage', code, message, { hint, preserved: 'no mail was stored' });
}

function checkType(type: string): MailType {
  const known =
    (MAIL_TYPES as readonly string[]).includes(type) && !(RESERVED_MAIL_TYPES as readonly string[]).includes(type);
  if (known) return type as MailType;
  const allowed = MAIL_TYPES.filter((word) => !RESERVED_MAIL_TYPES.includes(word));
  throw mailError(
    'mail_type_unknown',
    `There is no mail type ${JSON.stringify(type)} that can be sent.`,
    `Types: ${allowed.join(', ')}.`,
  );
}

function checkPriority(word: string): Priority {
  const priority = parsePriority(word);
  if (priority !== null) return priority;
  throw mailError(
    'mail_priority_unknown',
    `There is no priority ${JSON.stringify(word)}.`,
    'low, normal, high or critical.',
  );
}

/** Throws `mail_empty`, `mail_too_large`, `mail_subject_too_large`, `mail_has_nul` (2). */
export function checkTexts(request: { subject: string; body: string }): void {
  const size = Buffer.byteLength(request.body);
  if (request.body.trim() === '' && request.subject.trim() === '')
    throw mailError(
      'mail_empty',
      'The mail has neither subject nor body.',
      'Give --subject, --body, or a body on standard input.',
    );
  if (size > MAIL_BODY_LIMIT) {
    throw mailError(
      'mail_too_large',
      `The body has ${size} bytes, the limit is ${MAIL_BODY_LIMIT}.`,
      'Put the material into a file and name its path in the mail.',
    );
  }
  if (Buffer.byteLength(request.subject) > MAIL_SUBJECT_LIMIT)
    throw mailError(
      'mail_subject_too_large',
      `The subject is longer than ${MAIL_SUBJECT_LIMIT} bytes.`,
      'Put the text into the body.',
    );
  if (request.body.includes('\0') || request.subject.includes('\0'))
    throw mailError('mail_has_nul', 'The mail contains a NUL byte.', 'Is this a text? Remove the NUL bytes.');
}

function checkPayload(payload: string | undefined): string | null {
  if (payload === undefined) return null;
  if (Buffer.byteLength(payload) > MAIL_BODY_LIMIT)
    throw mailError('mail_too_large', 'The payload is too large.', `At most ${MAIL_BODY_LIMIT} bytes.`);
  try {
    return JSON.stringify(JSON.parse(payload));
  } catch (error) {
    throw mailError(
      'mail_payload_invalid',
      `The payload is no JSON: ${error instanceof Error ? error.message : error}`,
      'Give one JSON value.',
    );
  }
}
