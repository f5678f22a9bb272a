import { describe, expect, test } from 'bun:test';
import type { HarnessEvent } from '../../src/model/harness.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { nudgeSession, stopSession } from '../../src/store/control.ts';
import { sendMail } from '../../src/store/mail.ts';
import { settleTurn } from '../../src/store/settle.ts';
import { dispatchable, getTurn } from '../../src/store/turn.ts';
import { endTurn, feedTurn, type TestStore, takeTurn } from '../support/store.ts';
import { family, inputOf, mailTo, NUDGE, notes, row, TEXT } from './family.ts';

describe('the contract', () => {
  const sendDone = async (world: TestStore, from: SessionRow, to: SessionRow) =>
    sendMail(world.store, {
      draft: { ...NUDGE, from_name: from.name, from_id: from.id, type: 'worker_done' },
      to: [{ id: to.id, name: to.name }],
      sender: from,
      is_terminal: true,
      now: 5,
    });

  test('met in the turn: completed, the parent is told', async () => {
    const { world, parent, child, taken } = await family();
    await sendDone(world, child, parent);
    await endTurn(world, taken, { settle: { has_contract: true } });
    expect(await row(world, child.id)).toMatchObject({ state: 'completed', contract_met_at: 5 });
    expect(await getTurn(world.store, child.id, 1)).toMatchObject({ terminal_mail: 1, handoffs: 0 });
    expect(await notes(world, parent.id)).toEqual([expect.objectContaining({ is_failed: 0, body: 'the result' })]);
    expect(await mailTo(world, parent.id, 'worker_died')).toEqual([]);
    expect((await mailTo(world, parent.id, 'worker_done'))[0]).toMatchObject({ sent_in_turn: 1 });
  });

  test('forgotten: one reminder, then no_terminal_mail (CX-10)', async () => {
    const { world, parent, child, taken } = await family();
    await endTurn(world, taken, { settle: { has_contract: true } });
    expect(await row(world, child.id)).toMatchObject({ state: 'idle', is_reminded: 1 });
    expect(await dispatchable(world.store, world.clock.now(), 9)).toContain(child.id);
    const second = await takeTurn(world, child.id);
    expect(second.mails).toEqual([
      expect.objectContaining({ type: 'reminder', from_name: 'drover', body: 'report it' }),
    ]);
    await endTurn(world, second, { settle: { has_contract: true } });
    expect(await row(world, child.id)).toMatchObject({ state: 'failed', end_reason: 'no_terminal_mail' });
    expect(await mailTo(world, parent.id, 'worker_died')).toHaveLength(1);
  });

  test('met, but mail is waiting: one more turn, then completed', async () => {
    const { world, parent, child, taken } = await family();
    await sendDone(world, child, parent);
    await nudgeSession(world.store, { session_id: child.id, draft: NUDGE, interrupt: false, now: 6 });
    await endTurn(world, taken, { settle: { has_contract: true } });
    expect((await row(world, child.id)).state).toBe('idle');
    await endTurn(world, await takeTurn(world, child.id), { settle: { has_contract: true } });
    expect((await row(world, child.id)).state).toBe('completed');
  });

  test('the process vanished after it had reported and ended well: completed (C-10, CX-49)', async () => {
    for (const evidence of ['both', 'mail', 'result']) {
      const { world, parent, child, taken } = await family();
      if (evidence !== 'result') await sendDone(world, child, parent);
      const result: HarnessEvent = { type: 'result', ok: true, reason: 'ok', text: 'r', model_turns: 1, denials: [] };
      await feedTurn(world, taken, evidence === 'mail' ? [TEXT] : [TEXT, result]);
      await settleTurn(world.store, inputOf(world, taken, { exit: null, has_contract: true }));
      expect({ evidence, state: (await row(world, child.id)).state }).toEqual({
        evidence,
        state: evidence === 'both' ? 'completed' : 'zombie',
      });
      expect(await mailTo(world, parent.id, 'worker_died')).toHaveLength(evidence === 'both' ? 0 : 1);
    }
  });

  test('a lead with live children waits for them, and is woken by the last one', async () => {
    const { world, parent, taken } = await family();
    await endTurn(world, await takeTurn(world, parent.id), { settle: { has_contract: true } });
    expect(await row(world, parent.id)).toMatchObject({ state: 'idle', is_reminded: 0 });
    expect(await dispatchable(world.store, world.clock.now(), 9)).toEqual([]);
    await endTurn(world, taken);
    expect(await dispatchable(world.store, world.clock.now(), 9)).toEqual([parent.id]);
    expect((await takeTurn(world, parent.id)).notifications).toHaveLength(1);
  });

  test('a persistent role never completes by itself (O-49, O-89)', async () => {
    const { world, parent } = await family();
    await endTurn(world, await takeTurn(world, parent.id), { settle: { is_persistent: true } });
    expect((await row(world, parent.id)).state).toBe('idle');
  });
});

describe('a question', () => {
  const ask = async (world: TestStore, from: SessionRow, to: SessionRow) =>
    (
      await sendMail(world.store, {
        draft: { ...NUDGE, from_name: from.name, from_id: from.id, type: 'question', subject: 'Which?' },
        to: [{ id: to.id, name: to.name }],
        sender: from,
        is_terminal: false,
        now: 5,
      })
    )[0];

  test('keeps its asker waiting until it is answered in its thread', async () => {
    const { world, parent, child, taken } = await family();
    const question = await ask(world, child, parent);
    await endTurn(world, taken);
    expect((await row(world, child.id)).state).toBe('idle');
    await sendMail(world.store, {
      draft: { ...NUDGE, type: 'answer', reply_to: question ?? null },
      to: [{ id: child.id, name: 'kid' }],
      sender: null,
      is_terminal: false,
      now: 6,
    });
    await endTurn(world, await takeTurn(world, child.id));
    expect((await row(world, child.id)).state).toBe('completed');
  });

  test('to a session that ends without an answer is answered for it, so that nobody waits for ever', async () => {
    const { world, parent, child, taken } = await family();
    const question = await ask(world, child, parent);
    await endTurn(world, taken);
    expect(await dispatchable(world.store, world.clock.now(), 9)).toEqual([parent.id]);
    await stopSession(world.store, { session_id: parent.id, actor: 'cli', reason: 'x', now: 7 });
    expect(await dispatchable(world.store, world.clock.now(), 9)).toEqual([child.id]);
    const second = await takeTurn(world, child.id);
    expect(second.mails).toEqual([
      expect.objectContaining({
        type: 'error',
        from_name: 'drover',
        thread_id: question?.thread_id,
        subject: 'No answer: chief is stopped',
      }),
    ]);
    await endTurn(world, second);
    expect((await row(world, child.id)).state).toBe('completed');
  });
});

test('mail to an ended session is refused with the verb that helps, for all recipients or none (CX-57)', async () => {
  const { world, parent, child } = await family();
  const send = (to: SessionRow[]) =>
    sendMail(world.store, {
      draft: NUDGE,
      to: to.map(({ id, name }) => ({ id, name })),
      sender: null,
      is_terminal: false,
      now: 5,
    });
  await stopSession(world.store, { session_id: child.id, actor: 'cli', reason: 'x', now: 4 });
  const refusal = send([parent, child]);
  await expect(refusal).rejects.toMatchObject({ code: 'recipient_ended', kind: 'refused' });
  await expect(refusal).rejects.toMatchObject({ details: { recovery_commands: ['drover resume kid'] } });
  expect(await mailTo(world, parent.id, 'nudge')).toEqual([]);
  expect(await send([parent])).toHaveLength(1);
});
