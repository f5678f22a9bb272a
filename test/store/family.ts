import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import type { HarnessEvent } from '../../src/model/harness.ts';
import type { MailRow, NotificationRow } from '../../src/model/mail.ts';
import type { SessionRow } from '../../src/model/session.ts';
import type { MailDraft } from '../../src/store/mail.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { getSession } from '../../src/store/session.ts';
import type { SettleInput } from '../../src/store/settle.ts';
import { seedSession, type TakenTurn, type TestStore, takeTurn, testStore } from '../support/store.ts';

export const NUDGE: Omit<MailDraft, 'to_id' | 'to_name'> = {
  from_name: 'operator',
  from_id: null,
  type: 'nudge',
  priority: 'high',
  subject: 's',
  body: 'b',
  payload_json: null,
};
export const TEXT: HarnessEvent = { type: 'text', text: 'hello' };

export const row = async (world: TestStore, id: string): Promise<SessionRow> => {
  const found = await getSession(world.store, id);
  if (found === null) throw new Error(`no session ${id}`);
  return found;
};
export const notes = (world: TestStore, parent_id: string) =>
  world.store.read((tx) =>
    tx.all<NotificationRow>('SELECT * FROM notifications WHERE parent_id = :parent_id ORDER BY seq', { parent_id }),
  );
export const mailTo = async (world: TestStore, to_id: string, type: string): Promise<MailRow[]> =>
  (await listMail(world.store, { to_id })).filter((mail) => mail.type === type);

/** A parent with one child whose first turn is taken. */
export async function family(): Promise<{ world: TestStore; parent: SessionRow; child: SessionRow; taken: TakenTurn }> {
  const world = await testStore();
  const parent = await seedSession(world, { role: 'lead', name: 'chief' });
  const child = await seedSession(world, { parent_id: parent.id, name: 'kid' });
  return { world, parent, child, taken: await takeTurn(world, child.id) };
}

/** How a turn is settled in these tests, unless said otherwise. */
export function inputOf(world: TestStore, taken: TakenTurn, more: Partial<SettleInput> = {}): SettleInput {
  return {
    session_id: taken.session.id,
    turn: taken.turn.turn,
    exit: { code: 1, signal: null },
    tree_empty: true,
    survivors: 0,
    leftovers: 0,
    exit_events: [],
    has_contract: false,
    is_persistent: false,
    contract_hint: 'Report it.',
    max_attempts: 2,
    backoff_ms: 0,
    backoff_cap_ms: 0,
    limits: DEFAULT_CONFIG.limits,
    random: 0.5,
    now: world.clock.now(),
    ...more,
  };
}
