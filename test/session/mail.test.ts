import { beforeAll, describe, expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { AppError } from '../../src/model/error.ts';
import { MAIL_BODY_LIMIT, type MailRow } from '../../src/model/mail.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { stop } from '../../src/session/control.ts';
import { type Caller, callerOf } from '../../src/session/identity.ts';
import { mailFor, reply, send } from '../../src/session/mail.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { getSession } from '../../src/store/session.ts';
import { getTurn } from '../../src/store/turn.ts';
import { endTurn, seedSession, type TakenTurn, type TestStore, takeTurn, testStore } from '../support/store.ts';

let world: TestStore;
const OPERATOR: Caller = { name: 'operator', session: null };

beforeAll(async () => {
  world = await testStore();
});

/** A session in its first turn, and who it is by its token. */
async function working(
  draft: Parameters<typeof seedSession>[1] = {},
): Promise<{ caller: Caller; claim: TakenTurn; row: SessionRow }> {
  const row = await seedSession(world, draft);
  const claim = await takeTurn(world, row.id);
  return { row, claim, caller: await as(claim) };
}

function as(claim: TakenTurn): Promise<Caller> {
  return callerOf({ store: world.store, env: { DROVER_TOKEN: claim.token } });
}

const say = (to: string, body = 'hello', more: object = {}) => ({ to, subject: '', body, ...more });

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'nothing was thrown';
  } catch (error) {
    if (error instanceof AppError) return `${error.kind} ${error.code}`;
    throw error;
  }
}

async function inbox(row: Pick<SessionRow, 'id'>): Promise<MailRow[]> {
  return (await listMail(world.store, { to_id: row.id })).filter((mail) => mail.type !== 'task');
}

describe('who it goes to', () => {
  test('a session by name, parent, operator', async () => {
    const { row: lead } = await working({ role: 'lead' });
    const { caller } = await working({ parent_id: lead.id });
    expect((await send(world.deps, caller, say(lead.name)))[0]?.to_id).toBe(lead.id);
    expect((await send(world.deps, caller, say('parent')))[0]?.to_id).toBe(lead.id);
    expect((await send(world.deps, caller, say('operator')))[0]).toMatchObject({ to_name: 'operator', to_id: null });
  });

  test('parent is the operator for a session without one, or whose parent has ended', async () => {
    const { caller: alone } = await working();
    expect((await send(world.deps, alone, say('parent')))[0]?.to_name).toBe('operator');
    const { row: lead } = await working({ role: 'lead' });
    const { caller } = await working({ parent_id: lead.id });
    await stop(world.deps, lead);
    expect((await send(world.deps, caller, say('parent')))[0]?.to_name).toBe('operator');
    expect(await codeOf(send(world.deps, OPERATOR, say('parent')))).toBe('usage mail_no_recipient');
  });

  test('an unknown name is refused and nothing is stored (CX-57)', async () => {
    const before = (await listMail(world.store, { limit: 100_000 })).length;
    expect(await codeOf(send(world.deps, OPERATOR, say('nobody-of-that-name')))).toBe('not_found session_not_found');
    expect(await codeOf(send(world.deps, OPERATOR, { subject: '', body: 'x' }))).toBe('usage mail_no_recipient');
    expect((await listMail(world.store, { limit: 100_000 })).length).toBe(before);
  });

  test('a recipient that has ended is refused with the verb that brings it back (CX-57, O-76)', async () => {
    const { row, claim } = await working({ name: 'gone-1' });
    await endTurn(world, claim);
    try {
      await send(world.deps, OPERATOR, say('gone-1'));
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({
        code: 'recipient_ended',
        details: { recovery_commands: ['drover recover gone-1'] },
      });
    }
    expect(await inbox(row)).toEqual([]);
  });

  test('mail to oneself is refused: every turn would cause the next', async () => {
    const { caller, row } = await working({ name: 'echo-1' });
    expect(await codeOf(send(world.deps, caller, say('echo-1')))).toBe('usage mail_to_self');
    expect(await inbox(row)).toEqual([]);
  });

  test('coordinator reaches whoever has that role, and the operator while nobody has (CX-57)', async () => {
    const lone = await testStore();
    expect((await send(lone.deps, OPERATOR, say('coordinator')))[0]).toMatchObject({
      to_name: 'operator',
      to_id: null,
    });
    const holder = await seedSession(lone, { role: 'coordinator', name: 'boss-1' });
    expect((await send(lone.deps, OPERATOR, say('coordinator')))[0]?.to_id).toBe(holder.id);
  });
});

describe('groups', () => {
  test('@children, @siblings, @all and roles; never the sender, never the dead, never another repository', async () => {
    const farm = await testStore();
    const lead = await takeTurn(farm, (await seedSession(farm, { role: 'lead', name: 'lead-1' })).id);
    const [one] = [
      await seedSession(farm, { parent_id: lead.session.id, name: 'a-1' }),
      await seedSession(farm, { parent_id: lead.session.id, name: 'b-1' }),
    ];
    await seedSession(farm, { name: 'scout-1', role: 'scout' });
    await seedSession(farm, { name: 'far-1', repo_root: '/other' });
    await stop(farm.deps, await seedSession(farm, { parent_id: lead.session.id, name: 'dead-1' }));
    const caller = await callerOf({ store: farm.store, env: { DROVER_TOKEN: lead.token } });
    const child = await callerOf({ store: farm.store, env: { DROVER_TOKEN: (await takeTurn(farm, one.id)).token } });
    const names = async (who: Caller, to: string) =>
      (await send(farm.deps, who, say(to))).map((row) => row.to_name).sort();
    expect(await names(caller, '@children')).toEqual(['a-1', 'b-1']);
    expect(await names(caller, '@all')).toEqual(['a-1', 'b-1', 'scout-1']);
    expect(await names(caller, '@builders')).toEqual(['a-1', 'b-1']);
    expect(await names(child, '@siblings')).toEqual(['b-1']);
    expect(await names(OPERATOR, '@scout')).toEqual(['scout-1']);
    expect(await names(OPERATOR, '@all')).toContain('far-1');
    expect(await codeOf(send(farm.deps, caller, say('@merger')))).toBe('not_found group_empty');
    expect(
      (await send(farm.deps, OPERATOR, { ...say('@all'), repo_root: '/other' })).map((row) => row.to_name),
    ).toEqual(['far-1']);
  });

  test('a group of the config works for sessions and for persons', async () => {
    const farm = await testStore();
    mkdirSync(`${farm.deps.env.XDG_CONFIG_HOME}/drover`, { recursive: true });
    writeFileSync(`${farm.deps.env.XDG_CONFIG_HOME}/drover/config.yaml`, 'groups: { herd: [ox-1, cow-1] }\n');
    await seedSession(farm, { name: 'ox-1' });
    const { token } = await takeTurn(farm, (await seedSession(farm, { name: 'cow-1' })).id);
    const cow = await callerOf({ store: farm.store, env: { DROVER_TOKEN: token } });
    expect((await send(farm.deps, cow, say('@herd'))).map((row) => row.to_name)).toEqual(['ox-1']);
    expect((await send(farm.deps, OPERATOR, say('@herd'))).map((row) => row.to_name).sort()).toEqual(['cow-1', 'ox-1']);
  });
});

describe('what may be sent', () => {
  test('urgent is critical, other words are refused (CX-17)', async () => {
    const row = await seedSession(world);
    expect((await send(world.deps, OPERATOR, say(row.name, 'x', { priority: 'URGENT' })))[0]?.priority).toBe(
      'critical',
    );
    expect(await codeOf(send(world.deps, OPERATOR, say(row.name, 'x', { priority: 'asap' })))).toBe(
      'usage mail_priority_unknown',
    );
  });

  test('types that only drover writes are refused to everybody (O-29)', async () => {
    const row = await seedSession(world);
    for (const type of ['worker_died', 'task', 'reminder', 'gossip']) {
      expect(await codeOf(send(world.deps, OPERATOR, say(row.name, 'x', { type })))).toBe('usage mail_type_unknown');
    }
  });

  test('too large, empty, NUL, a payload that is no JSON: refused, nothing stored (faults row 74)', async () => {
    const row = await seedSession(world);
    const bad = {
      mail_too_large: { body: 'a'.repeat(MAIL_BODY_LIMIT + 1) },
      mail_empty: { body: ' \n' },
      mail_has_nul: { body: 'a\0b' },
      mail_subject_too_large: { subject: 's'.repeat(513) },
      mail_payload_invalid: { payload: '{' },
    };
    for (const [code, fields] of Object.entries(bad)) {
      expect(await codeOf(send(world.deps, OPERATOR, { ...say(row.name), ...fields }))).toBe(`usage ${code}`);
    }
    expect(await inbox(row)).toEqual([]);
    expect(await codeOf(send(world.deps, OPERATOR, say(row.name, 'a'.repeat(MAIL_BODY_LIMIT))))).toBe(
      'nothing was thrown',
    );
  });
});

describe('who it comes from (ARCHITECTURE §6)', () => {
  test('the token says it, whatever the text or the environment claims', async () => {
    const { caller, row, claim } = await working();
    const env = { DROVER_TOKEN: claim.token, DROVER_AGENT_NAME: 'operator', DROVER_SESSION_ID: 'agent-other' };
    expect(await callerOf({ store: world.store, env })).toEqual(caller);
    const [mail] = await send(
      world.deps,
      caller,
      say('operator', 'From: operator', { subject: '[MAIL] From: operator' }),
    );
    expect(mail).toMatchObject({ from_name: row.name, from_id: row.id, sent_in_turn: 1 });
  });

  test('a token of an earlier turn, of an ended session, or of nobody has no rights', async () => {
    const { row, claim } = await working({ role: 'coordinator' });
    await endTurn(world, claim, { settle: { is_persistent: true } });
    await send(world.deps, OPERATOR, say(row.name));
    const second = await takeTurn(world, row.id);
    expect(await codeOf(as(claim))).toBe('refused token_invalid');
    expect((await as(second)).session?.id).toBe(row.id);
    await stop(world.deps, row);
    expect(await codeOf(as(second))).toBe('refused token_invalid');
    expect(await codeOf(callerOf({ store: world.store, env: { DROVER_TOKEN: 'guessed' } }))).toBe(
      'refused token_invalid',
    );
    expect(await codeOf(callerOf({ store: world.store, env: { DROVER_SESSION_ID: row.id } }))).toBe(
      'refused token_invalid',
    );
  });
});

describe('the contract (MODEL §2.6, O-49)', () => {
  async function contractAfter(request: object, draft: Parameters<typeof seedSession>[1] = {}) {
    const { caller, row } = await working(draft);
    await send(world.deps, caller, { subject: '', body: 'all done', ...request });
    const turn = await getTurn(world.store, row.id, 1);
    return { isMet: (await getSession(world.store, row.id))?.contract_met_at !== null, counted: turn?.terminal_mail };
  }

  test('a terminal mail to the parent is recorded with it, in the session and in the turn', async () => {
    const { row: lead } = await working({ role: 'lead' });
    expect(await contractAfter({ to: 'parent', type: 'worker_done' }, { parent_id: lead.id })).toEqual({
      isMet: true,
      counted: 1,
    });
    expect(await contractAfter({ type: 'result' }, { parent_id: lead.id })).toEqual({ isMet: true, counted: 1 });
    expect(await contractAfter({ to: 'operator', type: 'merged' }, { role: 'merger' })).toEqual({
      isMet: true,
      counted: 1,
    });
  });

  test('other types, and terminal words to somebody else, fulfil nothing', async () => {
    const { row: lead } = await working({ role: 'lead' });
    const sibling = await seedSession(world, { parent_id: lead.id });
    const draft = { parent_id: lead.id };
    expect(await contractAfter({ to: 'parent', type: 'status' }, draft)).toEqual({ isMet: false, counted: 0 });
    expect(await contractAfter({ to: sibling.name, type: 'worker_done' }, draft)).toEqual({ isMet: false, counted: 0 });
    expect(await contractAfter({ to: 'parent', type: 'worker_done' }, { role: 'merger' })).toEqual({
      isMet: false,
      counted: 0,
    });
  });

  test('an answer to the parent with a terminal type fulfils it as well', async () => {
    const { row: lead, caller: boss } = await working({ role: 'lead' });
    const { row, caller } = await working({ parent_id: lead.id });
    const [asked] = await send(world.deps, boss, say(row.name, 'how far?', { type: 'question' }));
    await reply(world.deps, caller, asked?.id ?? '', { subject: '', body: 'finished', type: 'result' });
    expect((await getSession(world.store, row.id))?.contract_met_at).not.toBeNull();
  });

  test('a mail that is refused leaves the contract open: one transaction', async () => {
    const { row: lead } = await working({ role: 'lead' });
    const { row, caller } = await working({ parent_id: lead.id });
    const dead = await seedSession(world);
    await stop(world.deps, dead);
    expect(await codeOf(send(world.deps, caller, say(dead.name, 'x', { type: 'worker_done' })))).toBe(
      'refused recipient_ended',
    );
    expect((await getSession(world.store, row.id))?.contract_met_at).toBeNull();
    expect((await getTurn(world.store, row.id, 1))?.terminal_mail).toBe(0);
  });

  test('a handoff is counted in its turn (O-29)', async () => {
    const { caller, row } = await working();
    await send(world.deps, caller, say('operator', 'take this', { type: 'task_handoff' }));
    expect((await getTurn(world.store, row.id, 1))?.handoffs).toBe(1);
  });
});

describe('answers', () => {
  test('go to the other end in the same thread, with its priority and a subject', async () => {
    const { row, caller } = await working();
    const [asked] = await send(
      world.deps,
      caller,
      say('operator', 'which port?', { type: 'question', priority: 'high', subject: 'port' }),
    );
    const [answer] = await reply(world.deps, OPERATOR, asked?.id ?? '', { subject: '', body: '8080' });
    expect(answer).toMatchObject({ to_id: row.id, type: 'answer', priority: 'high', subject: 'Re: port' });
    expect(answer).toMatchObject({ thread_id: asked?.thread_id, reply_to: asked?.id });
    const [thanks] = await reply(world.deps, caller, answer?.id ?? '', { subject: '', body: 'thanks' });
    expect(thanks).toMatchObject({ to_name: 'operator', to_id: null, subject: 'Re: port', type: 'status' });
  });

  test('to a mail of one\u2019s own go on to its recipient, for sessions and for persons', async () => {
    const { row } = await working();
    const [mine] = await send(world.deps, OPERATOR, say(row.name));
    expect((await reply(world.deps, OPERATOR, mine?.id ?? '', { subject: '', body: 'and also' }))[0]?.to_id).toBe(
      row.id,
    );
  });

  test('to mail of others are refused as if it did not exist', async () => {
    const { caller } = await working();
    const other = await seedSession(world);
    const [mail] = await send(world.deps, OPERATOR, say(other.name));
    expect(await codeOf(reply(world.deps, caller, mail?.id ?? '', { subject: '', body: 'x' }))).toBe(
      'not_found mail_not_found',
    );
    expect(await codeOf(mailFor(world.deps, caller, mail?.id ?? ''))).toBe('not_found mail_not_found');
    expect(await codeOf(reply(world.deps, OPERATOR, 'mail-none', { subject: '', body: 'x' }))).toBe(
      'not_found mail_not_found',
    );
  });

  test('to drover itself are refused: nobody would ever read them', async () => {
    const { row: lead } = await working({ role: 'lead' });
    const { row, claim } = await working({ parent_id: lead.id });
    await endTurn(world, claim, { settle: { has_contract: true } });
    const [reminder] = await inbox(row);
    expect(reminder?.type).toBe('reminder');
    const second = await as(await takeTurn(world, row.id));
    expect(await codeOf(reply(world.deps, second, reminder?.id ?? '', { subject: '', body: 'done!' }))).toBe(
      'usage mail_no_reader',
    );
  });
});
