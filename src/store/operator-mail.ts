import { type MailType, OPERATOR, type Priority, SYSTEM } from '../model/mail.ts';
import { insertMail } from './mail.ts';
import type { Store, Tx } from './store.ts';

/** What the person in charge has to know: something that no process can put right alone. */
export interface OperatorMail {
  subject: string;
  body: string;
  payload_json?: string;
  /** `escalation` without it. */
  type?: MailType;
  /** `critical` without it. */
  priority?: Priority;
}

/** Mail from drover itself, for use inside another transaction: told if and only if what it tells has happened. */
export function tellOperatorIn(tx: Tx, mail: OperatorMail, now: number): void {
  const { subject, body, payload_json, type = 'escalation', priority = 'critical' } = mail;
  insertMail(
    tx,
    {
      ...{ from_name: SYSTEM, from_id: null, to_name: OPERATOR, to_id: null, type, priority },
      ...{ subject, body, payload_json: payload_json ?? null },
    },
    now,
  );
}

/** The same by itself. */
export async function tellOperator(store: Store, mail: OperatorMail, now: number): Promise<void> {
  await store.write((tx) => tellOperatorIn(tx, mail, now));
}
