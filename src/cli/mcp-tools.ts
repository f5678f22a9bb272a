import { z } from 'zod';
import { AppError } from '../model/error.ts';
import { LIVE_STATES, type SessionRow } from '../model/session.ts';
import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';
import { RESERVATION_TOOLS } from './mcp-reservations.ts';
import { type Tool, tool } from './mcp-tool.ts';
import { clip } from './output.ts';
import { askText, doneText } from './report-text.ts';

const written = {
  subject: z.string().optional().describe('one line'),
  body: z.string().describe('the text'),
  type: z.string().optional().describe('status, question, result, error, task_handoff, …'),
  priority: z.string().optional().describe('low, normal, high or critical'),
  payload: z.string().optional().describe('one JSON value as text, for programs'),
};

/** Use cases are imported by the first call that needs them: a start must not cost a turn anything. */
const lazy = {
  mail: () => import('../session/mail.ts'),
  inbox: () => import('../session/inbox.ts'),
  report: () => import('../session/report.ts'),
};

async function announce(deps: Deps, caller: Caller): Promise<void> {
  const door = await import('./announce.ts');
  await door.announce(deps, caller);
}

const mailSend = tool(
  'mail_send',
  'Send mail to a session, to `parent`, `operator`, or a group (@all, @children, @siblings, @<role>). It is read at the start of the next turn of whoever gets it.',
  { to: z.string().describe('a session name, parent, operator, or @group'), ...written },
  async (deps, caller, { to, subject = '', ...input }) => {
    const { send } = await lazy.mail();
    const rows = await send(deps, caller, { to, subject, ...input });
    await announce(deps, caller);
    return `Sent ${rows.map((row) => `${row.id} to ${row.to_name}`).join(', ')}.`;
  },
);

const mailReply = tool(
  'mail_reply',
  'Answer a mail you got, in its thread.',
  { id: z.string().describe('the Id in the header of that mail'), ...written },
  async (deps, caller, { id, subject = '', ...input }) => {
    const { reply } = await lazy.mail();
    const rows = await reply(deps, caller, id, { subject, ...input });
    await announce(deps, caller);
    return `Sent ${rows.map((row) => `${row.id} to ${row.to_name} (${row.type})`).join(', ')}.`;
  },
);

const mailCheck = tool(
  'mail_check',
  'Take the mail that came in since this turn began. Do not poll: what comes later starts your next turn by itself.',
  {},
  async (deps, caller) => {
    const { check } = await lazy.inbox();
    const { text } = await check(deps, caller);
    return text ?? 'No new mail. Do not wait for it: end your turn, and mail starts the next one.';
  },
);

const report = tool(
  'done',
  'Report your work as done to whoever gave it to you. Commit first, call it last, then end your turn.',
  { summary: z.string().describe('what was done, and what was not') },
  async (deps, caller, input) => {
    const { done } = await lazy.report();
    const result = await done(deps, caller, input);
    await announce(deps, caller);
    return doneText(result);
  },
);

const question = tool(
  'ask',
  'Put one precise question to a person (or to the parent), then end your turn; the answer starts your next one.',
  {
    question: z.string(),
    options: z.array(z.string()).max(20).optional().describe('the answers to choose from'),
    to: z.enum(['operator', 'parent']).optional(),
  },
  async (deps, caller, { question: text, options = [], to = 'operator' }) => {
    const { ask } = await lazy.report();
    const mail = await ask(deps, caller, { question: text, options, to });
    await announce(deps, caller);
    return askText(mail);
  },
);

const STATUS_ROWS = 50;

const status = tool(
  'status',
  'Who is at work: the live sessions of this repository, and how your own ended children ended.',
  {},
  async (deps, { session }) => {
    const { listSessions } = await import('../store/session.ts');
    const live = await listSessions(deps.store, { repo_root: session?.repo_root ?? null, states: LIVE_STATES });
    const children = session === null ? [] : await listSessions(deps.store, { parent_id: session.id });
    const rows = [...live, ...children.filter((row) => row.ended_at !== null)];
    const lines = rows.slice(0, STATUS_ROWS).map((row) => statusLine(row, session));
    if (rows.length > STATUS_ROWS) lines.push(`… and ${rows.length - STATUS_ROWS} more`);
    lines.push(...(await incidentLines(deps, session, rows)));
    return lines.join('\n') || 'No live sessions.';
  },
);

/** Open incidents that are the caller's own, or its children's. */
async function incidentLines(deps: Deps, self: SessionRow | null, rows: readonly SessionRow[]): Promise<string[]> {
  if (self === null) return [];
  const { listIncidents } = await import('../store/incident-list.ts');
  const open = await listIncidents(deps.store, { repo_root: self.repo_root, is_open: true });
  const family = new Set([self.id, ...rows.filter((row) => row.parent_id === self.id).map((row) => row.id)]);
  const ours = open.filter((row) => family.has(row.first_session_id) || family.has(row.second_session_id));
  return ours.slice(0, STATUS_ROWS).map((row) => `open incident ${row.id}: ${clip(row.summary, 240)}`);
}

function statusLine(row: SessionRow, self: SessionRow | null): string {
  const relation =
    row.id === self?.id
      ? ' (you)'
      : row.id === self?.parent_id
        ? ' (your parent)'
        : self !== null && row.parent_id === self.id
          ? ' (your child)'
          : '';
  const why = row.parked_reason ?? row.end_reason;
  return `${row.name}${relation}: ${row.state}${why === null ? '' : ` (${clip(why, 60)})`}, ${row.role}, turn ${row.turn}: ${clip(row.task, 80)}`;
}

export const TOOLS: readonly Tool[] = [
  ...[mailSend, mailReply, mailCheck, report, question, status],
  ...RESERVATION_TOOLS,
];

/** Who calls is looked up every time: a token that has expired since the start has no rights. */
export async function callTool(deps: Deps, name: string, input: unknown): Promise<string> {
  const found = TOOLS.find((entry) => entry.name === name);
  if (found === undefined) {
    throw new AppError('usage', 'unknown_tool', `There is no tool ${name}.`, {
      hint: `Tools: ${TOOLS.map((entry) => entry.name).join(', ')}.`,
    });
  }
  const { callerOf } = await import('../session/identity.ts');
  return found.run(deps, await callerOf(deps), input);
}
