import type { Command } from 'commander';
import { AppError } from '../../model/error.ts';
import { type MailRow, OPERATOR } from '../../model/mail.ts';
import { type Caller, callerOf } from '../../session/identity.ts';
import { listMail, type MailQuery } from '../../store/mail-list.ts';
import { findSession } from '../../store/session.ts';
import type { Store } from '../../store/store.ts';
import { systemClock } from '../../sys/clock.ts';
import { wholeNumber } from '../amount.ts';
import type { Context } from '../context.ts';
import { printJson } from '../output.ts';
import { renderList, renderMail, sentLine } from '../render-mail.ts';
import { examples, exitCodes, type Verb } from '../verb.ts';

interface Written {
  subject?: string;
  body?: string;
  type?: string;
  priority?: string;
  payload?: string;
}

interface Listed {
  of?: string;
  unread?: boolean;
  sent?: boolean;
  limit?: number;
}

/** Without `--limit`. */
const LISTED = 200;

export const verb: Verb = {
  configure(command: Command, context: Context) {
    written(command.command('send').description('write to a session, the operator or a group'))
      .option(
        '--to <name>',
        'a session, operator, parent, @all, @children, @siblings, @<role>, or a group of the config',
      )
      .action((options: Written & { to?: string }) => sendMail(context, options));
    command
      .command('list', { isDefault: true })
      .description("your inbox: the operator's, or a session's own")
      .option('--of <session>', "another session's inbox")
      .option('--unread', 'only what nobody has read yet')
      .option('--sent', 'what was sent instead of what came in')
      .option('--limit <n>', 'at most this many, the newest', wholeNumber('--limit'), LISTED)
      .action((options: Listed) => list(context, options));
    command
      .command('approvals')
      .description('what waits unread for somebody to decide: questions, conflicts, gates, escalations')
      .action(async () => (await import('../mail-approvals.ts')).listApprovals(context));
    command
      .command('read <id>')
      .description('one mail whole; marks mail to the operator as read')
      .action((id: string) => read(context, id));
    written(command.command('reply <id>').description('answer a mail, to its sender')).action(
      (id: string, options: Written) => answer(context, id, options),
    );
    command
      .command('check')
      .description('for sessions: take what came in since the turn began')
      .action(() => take(context));
    examples(command, [
      'drover mail',
      'drover mail send --to build-1 --subject "tests" --body "they live in spec/"',
      'git diff | drover mail send --to @reviewers --subject "please look" --body -',
      'drover mail reply mail-x7k2 --body "yes, go on"',
      'drover mail approvals',
    ]);
    exitCodes(
      command,
      '0 ok, 2 usage, 3 refused (an ended recipient, mail of others), 4 no such session, group or mail.',
    );
  },
  plain: ([command = 'list', ...more], context) => {
    if (more.length > 0) return null;
    if (command === 'list') return list(context, { limit: LISTED });
    return command === 'check' ? take(context) : null;
  },
};

function written(command: Command): Command {
  return command
    .option('--subject <text>', 'one line')
    .option('--body <text>', 'the text; - reads standard input')
    .option('--type <type>', 'status, question, result, … (default: status, or answer to a question)')
    .option('--priority <word>', 'low, normal, high, critical')
    .option('--payload <json>', 'one JSON value for programs');
}

async function requestOf(options: Written) {
  const { subject = '', body = '', ...rest } = options;
  const { mailText } = await import('../mail-text.ts');
  return { subject, body: await mailText(body), ...rest };
}

async function sendMail(context: Context, options: Written & { to?: string }): Promise<void> {
  const request = await requestOf(options);
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const repo_root = options.to?.startsWith('@') && caller.session === null ? await context.repoRoot() : null;
  const { send } = await writing();
  const rows = await send(deps, caller, { ...request, to: options.to, repo_root });
  print(context, rows);
  await announce(deps, caller);
}

/** What only writing needs; `list`, the verb that is called most, does without it. */
const writing = () => import('../../session/mail.ts');

async function announce(...args: Parameters<typeof import('../announce.ts')['announce']>): Promise<void> {
  await (await import('../announce.ts')).announce(...args);
}

async function answer(context: Context, id: string, options: Written): Promise<void> {
  const request = await requestOf(options);
  const deps = await context.deps();
  const caller = await callerOf(deps);
  const { reply } = await writing();
  print(context, await reply(deps, caller, id, request));
  await announce(deps, caller);
}

function print(context: Context, rows: MailRow[]): void {
  if (context.globals.json) printJson({ mails: rows });
  else for (const row of rows) console.log(context.globals.quiet ? row.id : sentLine(row));
}

async function list(context: Context, options: Listed): Promise<void> {
  const { limit = LISTED } = options;
  const store = await context.reader();
  const caller = await readerOf(context, store);
  const whose = options.of === undefined || store === null ? caller : await ownerOf(store, caller, options.of);
  const rows = store === null ? [] : (await boxOf(store, whose, { limit }, options)).map((row) => sealed(row, caller));
  if (context.globals.json) {
    printJson({
      of: whose.name,
      box: options.sent ? 'sent' : 'inbox',
      unread_only: options.unread === true,
      mails: rows,
    });
    return;
  }
  const box = options.sent ? 'sent by' : 'inbox of';
  console.log(renderList(`${options.unread ? 'unread, ' : ''}${box} ${whose.name}`, rows, systemClock.now()));
}

/** On a machine where nothing was ever stored there is only the operator. */
async function readerOf(context: Context, store: Store | null): Promise<Caller> {
  return store === null ? { name: OPERATOR, session: null } : callerOf({ store, env: context.env });
}

/** A person looks into any inbox, a session only into its own. */
async function ownerOf(store: Store, caller: Caller, wanted: string): Promise<Caller> {
  if (caller.session === null && wanted === OPERATOR) return caller;
  const session = await findSession(store, wanted, null);
  if (caller.session === null || caller.session.id === session.id) return { name: session.name, session };
  throw new AppError('refused', 'not_allowed', `The mail of ${session.name} is not yours to read.`, {
    hint: 'Ask it by mail.',
    preserved: 'nothing was changed',
  });
}

/** More than any operator has written by hand. */
const ALL_MAIL = 100_000;

async function boxOf(
  store: Store,
  whose: Caller,
  query: Required<Pick<MailQuery, 'limit'>>,
  options: Listed,
): Promise<MailRow[]> {
  const id = whose.session?.id ?? null;
  const unread = options.unread === true;
  if (!options.sent) return listMail(store, { ...query, to_id: id, unread });
  if (id !== null) return listMail(store, { ...query, from_id: id, unread });
  const all = await listMail(store, { limit: ALL_MAIL, unread });
  return all.filter((row) => row.from_id === null && row.from_name === OPERATOR).slice(-query.limit);
}

/** Mail that still waits for a session is shown to it by its turn alone, so that it is delivered once. */
function sealed(row: MailRow, caller: Caller): MailRow {
  const isWaiting = caller.session !== null && row.to_id === caller.session.id && row.delivered_turn === null;
  return isWaiting ? { ...row, body: '(waiting; `drover mail check` delivers it)', payload_json: null } : row;
}

async function read(context: Context, id: string): Promise<void> {
  const store = await context.reader();
  if (store === null)
    throw new AppError('not_found', 'mail_not_found', `No mail ${id}.`, { hint: 'Nothing was ever stored here.' });
  const caller = await callerOf({ store, env: context.env });
  const { mailFor } = await writing();
  const mail = await mailFor({ store }, caller, id);
  const { session } = caller;
  if (session !== null && mail.to_id === session.id && mail.delivered_turn === null) return take(context);
  if (session !== null) {
    const [{ neutralFor }, { loadConfig }, { mailBlock }] = await Promise.all([
      import('../../session/inbox.ts'),
      import('../../session/config.ts'),
      import('../../session/format.ts'),
    ]);
    const neutral = await neutralFor({ config_for: (root) => loadConfig(context.env, root) }, session);
    if (context.globals.json) printJson({ mail });
    else console.log(mailBlock(mail, neutral));
    return;
  }
  const isFresh = mail.to_id === null && mail.read_at === null;
  const seen: MailRow = isFresh ? { ...mail, read_at: await markRead(context, mail.id) } : mail;
  if (context.globals.json) printJson({ mail: seen });
  else console.log(renderMail(seen));
}

async function markRead(context: Context, id: string): Promise<number> {
  const deps = await context.deps();
  const { markOperatorRead } = await import('../../store/mail.ts');
  const now = deps.clock.now();
  await markOperatorRead(deps.store, [id], now);
  return now;
}

async function take(context: Context): Promise<void> {
  const deps = await context.deps();
  const { check } = await import('../../session/inbox.ts');
  const checked = await check(deps, await callerOf(deps));
  if (context.globals.json) printJson({ ...checked });
  else console.log(checked.text ?? 'no new mail');
}
