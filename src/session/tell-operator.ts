import { OPERATOR, SYSTEM } from '../model/mail.ts';
import { sendMail } from '../store/mail.ts';
import type { Deps } from './deps.ts';

/** Mail from drover itself for the person in charge: something that no process can put right alone. */
export async function tellOperator(
  deps: Pick<Deps, 'store' | 'clock'>,
  mail: { subject: string; body: string },
): Promise<void> {
  await sendMail(deps.store, {
    draft: { from_name: SYSTEM, from_id: null, type: 'escalation', priority: 'critical', ...mail, payload_json: null },
    to: [{ name: OPERATOR, id: null }],
    sender: null,
    is_terminal: false,
    now: deps.clock.now(),
  });
}
