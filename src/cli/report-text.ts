import type { MailRow } from '../model/mail.ts';
import type { Report } from '../session/report.ts';
import { safe } from './output.ts';

const SHOWN = 10;

/** What an agent is told after `done`, on every surface. */
export function doneText({ mail, uncommitted }: Report): string {
  const told = `Reported to ${mail.to_name} (${mail.type}, ${mail.id}).`;
  if (uncommitted.length === 0) return `${told} End your turn now.`;
  const names = uncommitted.slice(0, SHOWN).map(safe).join(', ');
  const more = uncommitted.length > SHOWN ? ` and ${uncommitted.length - SHOWN} more` : '';
  return `${told} Not committed, and kept only if you commit it: ${names}${more}. Then end your turn.`;
}

/** What an agent is told after `ask`. */
export function askText(mail: MailRow): string {
  return `Asked ${mail.to_name} (${mail.id}). End your turn now; the answer starts your next one.`;
}
