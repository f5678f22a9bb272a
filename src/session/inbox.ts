import { findHarness } from '../harness/registry.ts';
import { neutralise } from '../harness/untrusted.ts';
import { AppError } from '../model/error.ts';
import type { MailRow, NotificationRow } from '../model/mail.ts';
import type { SessionRow } from '../model/session.ts';
import { claimNow } from '../store/mail.ts';
import type { Deps } from './deps.ts';
import { finishedFollowUp, joinParts, mailBlock, SENDER_NOTICE } from './format.ts';
import type { Caller } from './identity.ts';

/** What waited for a session, now part of its turn. */
export interface Checked {
  turn: number;
  mails: MailRow[];
  notifications: NotificationRow[];
  /** Framed like a prompt; null when nothing waited. */
  text: string | null;
}

/** The session that calls. Throws `not_a_session` (2) for a person. */
export function sessionOf(caller: Caller, verb: string): SessionRow {
  if (caller.session !== null) return caller.session;
  throw new AppError('usage', 'not_a_session', `\`${verb}\` is for sessions, and this shell belongs to none.`, {
    hint: 'A person reads with `drover mail list` and writes with `drover mail send`.',
    preserved: 'nothing was changed',
  });
}

/**
 * The agent asks for its mail in the middle of its turn. What waits is claimed for this turn, once (I4): it is settled
 * with the turn and not delivered again unless the turn fails (I5).
 * Throws `not_a_session` (2), `no_turn` (3).
 */
export async function check(deps: Deps, caller: Caller): Promise<Checked> {
  const session = sessionOf(caller, 'mail check');
  // Everything that can fail comes before the claim: what is claimed must be shown.
  const neutral = await neutralFor(deps, session);
  const { turn, mails, notifications } = await claimNow(deps.store, session.id);
  if (turn === null) {
    throw new AppError('refused', 'no_turn', `${session.name} is in no turn.`, {
      hint: 'Mail is delivered with the next turn by itself.',
      preserved: 'nothing was changed',
    });
  }
  const finished = finishedFollowUp(notifications.map((note) => ({ ...note, body: neutral(note.body) })));
  const blocks = mails.map((mail) => mailBlock(mail, neutral));
  const notice = mails.some((mail) => mail.from_id !== null) ? SENDER_NOTICE : null;
  return { turn, mails, notifications, text: joinParts([finished, ...blocks, notice]) || null };
}

/** Makes foreign text harmless for the CLI this session runs in; for one that left the config, as for the strictest. */
export async function neutralFor(
  deps: Pick<Deps, 'config_for'>,
  session: SessionRow,
): Promise<(text: string) => string> {
  const { harness_runners } = await deps.config_for(session.repo_root);
  try {
    const { bits } = findHarness(session.harness, harness_runners);
    return (text) => neutralise(text, bits.at_mentions);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return (text) => neutralise(text, 'any');
  }
}
