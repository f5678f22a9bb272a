import type { MailRow, NotificationRow } from '../model/mail.ts';
import type { Role } from '../model/role.ts';
import type { SessionRow } from '../model/session.ts';
import { escapeFrames, finishedFollowUp, joinParts, mailBlock, prependFinished, SENDER_NOTICE } from './format.ts';

export interface BriefInput {
  session: Pick<SessionRow, 'id' | 'name' | 'task' | 'turn' | 'native_session_id' | 'branch'>;
  role: Pick<Role, 'name' | 'prompt'>;
  mails: MailRow[];
  notifications: NotificationRow[];
  /** Filled `templates/brief.md`: how to report and to reach others. */
  rules: string;
  /** Filled `templates/interruption.md`, or null. */
  interruption: string | null;
  /** Files that others have reserved, in words; absent or null: none. */
  reserved?: string | null;
  /** The task with what the harness has no flag for projected into it. */
  task_text: (task: string) => string;
  /** Makes foreign text harmless for the CLI that reads it. */
  neutralise: (text: string) => string;
}

/**
 * The whole prompt of one turn. The first line is always ours, so that no text can start with `/`, `-` or `@`
 * (ARCHITECTURE §6). A conversation that has no native session to resume gets the role and the rules again.
 */
export function composePrompt(input: BriefInput): string {
  const { session, mails } = input;
  const isNew = session.native_session_id === null;
  const tasks = mails.filter((mail) => mail.type === 'task');
  const others = mails.filter((mail) => mail.type !== 'task');
  const header = `[drover] session ${session.name} (${session.id}), turn ${session.turn}, role ${input.role.name}`;
  const foreign = (text: string) => escapeFrames(input.neutralise(text));
  const wanted = tasks.length > 0 ? tasks.map((mail) => mail.body).join('\n\n') : session.task;
  const task = tasks.length > 0 || isNew ? foreign(input.task_text(wanted)) : null;
  const blocks = others.map((mail) => mailBlock(mail, input.neutralise));
  const notice = others.some((mail) => mail.from_id !== null) ? SENDER_NOTICE : null;
  const finished = input.notifications.map((note) => ({ ...note, body: input.neutralise(note.body) }));
  // With something of a person's to read, the reminder goes in front of it; alone, it is the turn (CX-38).
  const followUp = task === null && blocks.length === 0 ? finishedFollowUp(finished) : null;
  const work = joinParts([task, ...blocks, notice]);
  return `${joinParts([
    header,
    isNew ? input.role.prompt : null,
    isNew ? input.rules : null,
    // Names of files and subjects of commits are as foreign as mail.
    input.interruption === null ? null : foreign(input.interruption),
    input.reserved == null ? null : foreign(input.reserved),
    followUp ?? (work === '' ? null : prependFinished(work, finished)),
  ])}\n`;
}
