import { workFacts } from '../git/facts.ts';
import { COMMIT_ID } from '../git/repository.ts';
import { git } from '../git/run.ts';
import { AppError } from '../model/error.ts';
import { type MailRow, OPERATOR } from '../model/mail.ts';
import { terminalMailOf } from '../model/role.ts';
import type { SessionRow } from '../model/session.ts';
import type { Deps } from './deps.ts';
import type { Caller } from './identity.ts';
import { sessionOf } from './inbox.ts';
import { send } from './mail.ts';
import { loadRole } from './roles.ts';

export interface Report {
  mail: MailRow;
  /** Paths that the report cannot keep: they are not committed. */
  uncommitted: string[];
}

/**
 * The caller's terminal mail to its parent, else the operator, with the facts git knows (O-30). Roles without a
 * contract send `worker_done`, which ends nothing.
 * Throws `not_a_session` (2), `mail_*` (2).
 */
export async function done(deps: Deps, caller: Caller, request: { summary: string }): Promise<Report> {
  const session = sessionOf(caller, 'done');
  if (request.summary.trim() === '')
    throw missing('summary_empty', 'The summary is empty.', 'Say in a sentence or two what was done.');
  const type = terminalMailOf(loadRole(deps, session.role), session.parent_id !== null)[0] ?? 'worker_done';
  const { uncommitted, ...facts } = await factsOf(session);
  const payload = { taskId: session.id, exitCode: 0, ...facts };
  const mails = await send(deps, caller, {
    to: 'parent',
    type,
    subject: firstLine(request.summary),
    body: request.summary,
    payload: JSON.stringify(payload),
  });
  return { mail: only(mails), uncommitted };
}

/**
 * A question to a person (or the parent). It parks nothing: the session rests until the answer starts its next turn.
 * Throws `not_a_session` (2), `mail_*` (2).
 */
export async function ask(
  deps: Deps,
  caller: Caller,
  request: { question: string; options?: readonly string[]; to?: 'operator' | 'parent' },
): Promise<MailRow> {
  sessionOf(caller, 'ask');
  const { question, options = [] } = request;
  if (question.trim() === '') throw missing('question_empty', 'The question is empty.', 'Ask one precise question.');
  const choices = options.map((option, i) => `${i + 1}. ${option}`).join('\n');
  const mails = await send(deps, caller, {
    to: request.to ?? OPERATOR,
    type: 'question',
    priority: 'high',
    subject: firstLine(question),
    body: choices === '' ? question : `${question}\n\n${choices}`,
    ...(choices === '' ? {} : { payload: JSON.stringify({ options }) }),
  });
  return only(mails);
}

function missing(code: string, message: string, hint: string): AppError {
  return new AppError('usage', code, message, { hint, preserved: 'no mail was stored' });
}

function only(mails: MailRow[]): MailRow {
  const [mail] = mails;
  if (mail === undefined) throw new Error('a mail to one recipient stored no row');
  return mail;
}

const SUBJECT_CHARACTERS = 100;

function firstLine(text: string): string {
  const line = [...(text.trim().split(/[\r\n]/, 1)[0] ?? '')];
  return line.length <= SUBJECT_CHARACTERS ? line.join('') : `${line.slice(0, SUBJECT_CHARACTERS - 1).join('')}…`;
}

interface WorkReport {
  branch: string | null;
  filesModified: string[];
  uncommitted: string[];
}

const MAX_FILES = 200;
const MAX_FILE_BYTES = 64 * 1024;

/** What git knows of the work. A report is sent also where git cannot say anything. */
async function factsOf(session: SessionRow): Promise<WorkReport> {
  try {
    const facts = await workFacts(session.working_dir, session.base_commit);
    if (facts === null) return { branch: session.branch, filesModified: [], uncommitted: [] };
    const committed = facts.head === null ? [] : await changedSince(session);
    const files = [...new Set([...committed, ...facts.dirty])].sort();
    return { branch: facts.branch ?? session.branch, filesModified: bounded(files), uncommitted: facts.dirty };
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return { branch: session.branch, filesModified: [], uncommitted: [] };
  }
}

async function changedSince({ base_commit, working_dir }: SessionRow): Promise<string[]> {
  if (base_commit === null || !COMMIT_ID.test(base_commit)) return [];
  const args = ['diff', '--name-only', '-z', '--no-renames', '--end-of-options', `${base_commit}..HEAD`];
  const { code, stdout } = await git(args, { cwd: working_dir });
  return code === 0 ? stdout.split('\0').filter((path) => path !== '') : [];
}

/** At most 200 paths in 64 KiB: a payload is a mail and not a manifest. */
function bounded(files: readonly string[]): string[] {
  const kept: string[] = [];
  let bytes = 0;
  for (const file of files.slice(0, MAX_FILES)) {
    bytes += Buffer.byteLength(file);
    if (bytes > MAX_FILE_BYTES) break;
    kept.push(file);
  }
  return kept;
}
