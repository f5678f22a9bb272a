import { beforeAll, describe, expect, test } from 'bun:test';
import { homePaths } from '../../src/model/home.ts';
import { OPERATOR } from '../../src/model/mail.ts';
import { send } from '../../src/session/mail.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { getSession } from '../../src/store/session.ts';
import { openWriteGate } from '../../src/sys/gate.ts';
import { doorbell, mcpClient, runAs } from '../support/agent.ts';
import { endTurn, seedSession, type TakenTurn, type TestStore, takeTurn, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

let world: TestStore;
const human = { name: OPERATOR, session: null };

beforeAll(async () => {
  world = await testStore();
  await doorbell(world);
});

async function inTurn(name: string, draft: Parameters<typeof seedSession>[1] = {}): Promise<TakenTurn> {
  return takeTurn(world, (await seedSession(world, { name, working_dir: tempDir('work'), ...draft })).id);
}

test('every tool is listed, with a plain closed schema that any provider takes', async () => {
  const { token } = await inTurn('list-1');
  const client = await mcpClient(world, token);
  const { result } = await client.request('tools/list');
  expect(result?.tools?.map(({ name }) => name)).toEqual([
    'mail_send',
    'mail_reply',
    'mail_check',
    'done',
    'ask',
    'status',
    'reserve',
    'release',
    'reservations',
  ]);
  for (const { inputSchema } of result?.tools ?? []) {
    expect(inputSchema).toMatchObject({ type: 'object', additionalProperties: false });
    expect(JSON.stringify(inputSchema)).not.toMatch(/\$ref|\$defs|\$schema/);
  }
});

describe('the tools do what the verbs do', () => {
  test('mail goes out, is answered and is checked', async () => {
    const lead = await inTurn('lead-1', { role: 'lead' });
    const child = await inTurn('build-1', { parent_id: lead.session.id });
    const [boss, hand] = [await mcpClient(world, lead.token), await mcpClient(world, child.token)];
    const sent = await boss.call('mail_send', {
      to: '@children',
      subject: 'port',
      body: 'which one?',
      type: 'question',
      priority: 'urgent',
      payload: '{"n":1}',
    });
    expect(sent).toEqual({ isError: false, text: expect.stringMatching(/^Sent mail-\S+ to build-1\.$/) });
    const got = await hand.call('mail_check');
    expect(got.text).toMatch(
      /^\[MAIL\] From: lead-1 \| Subject: port \| Priority: critical \| Type: question \| Id: (mail-\S+)\n/,
    );
    expect((await hand.call('mail_check')).text).toStartWith('No new mail.');
    const id = /Id: (mail-\S+)/.exec(got.text)?.[1] ?? '';
    expect((await hand.call('mail_reply', { id, body: '8080' })).text).toMatch(/ to lead-1 \(answer\)\.$/);
    expect((await listMail(world.store, { to_id: lead.session.id })).at(-1)).toMatchObject({
      body: '8080',
      priority: 'critical',
      subject: 'Re: port',
    });
  });

  test('done fulfils the contract of the session', async () => {
    const lead = await inTurn('lead-2', { role: 'lead' });
    const child = await inTurn('build-2', { parent_id: lead.session.id });
    const client = await mcpClient(world, child.token);
    expect((await client.call('done', { summary: 'the fence stands' })).text).toMatch(
      /^Reported to lead-2 \(worker_done, mail-\S+\)\. End your turn now\.$/,
    );
    expect((await getSession(world.store, child.session.id))?.contract_met_at).not.toBeNull();
  });

  test('ask reaches the operator with its options; status names who is at work', async () => {
    const { token, session } = await inTurn('ask-1');
    const client = await mcpClient(world, token);
    expect((await client.call('ask', { question: 'Which?', options: ['a', 'b'] })).text).toMatch(/^Asked operator/);
    const mail = (await listMail(world.store, { from_id: session.id })).at(-1);
    expect(mail).toMatchObject({
      type: 'question',
      body: 'Which?\n\n1. a\n2. b',
      payload_json: '{"options":["a","b"]}',
    });
    expect((await client.call('status')).text).toMatch(/^ask-1 \(you\): booting, builder, turn 1: mend the fence$/m);
  });

  test('without a token the caller is the operator', async () => {
    await seedSession(world, { name: 'hand-1' });
    const client = await mcpClient(world, null);
    expect((await client.call('mail_send', { to: 'hand-1', body: 'hello' })).isError).toBe(false);
    expect((await client.call('done', { summary: 'x' })).text).toStartWith('error [not_a_session]:');
  });
});

describe('what goes wrong is a typed answer of the tool', () => {
  test('a wrong input names every field, and nothing is stored', async () => {
    const { token, session } = await inTurn('typo-1');
    const client = await mcpClient(world, token);
    const wrong = await client.call('mail_send', { to: 7, bdy: 'x' });
    expect(wrong.isError).toBe(true);
    expect(wrong.text).toStartWith('error [input_invalid]: mail_send: ');
    for (const field of ['to:', 'body:', '"bdy"']) expect(wrong.text).toContain(field);
    expect(wrong.text).toContain('\nhint: ');
    expect((await client.call('nonsense')).text).toStartWith('error [unknown_tool]:');
    expect(await listMail(world.store, { from_id: session.id })).toEqual([]);
  });

  test('refusals carry code, message and a way out', async () => {
    const { token } = await inTurn('lost-1');
    const client = await mcpClient(world, token);
    expect(await client.call('mail_send', { to: 'nobody-here', body: 'x' })).toEqual({
      isError: true,
      text: expect.stringMatching(/^error \[session_not_found\]: .*\nhint: /),
    });
    expect((await client.call('mail_send', { to: 'operator', body: 'x'.repeat(1024 * 1024) })).text).toStartWith(
      'error [mail_too_large]:',
    );
  });

  test('a token that expires while the server runs has no rights any more', async () => {
    const claim = await inTurn('late-1', { role: 'coordinator' });
    const client = await mcpClient(world, claim.token);
    expect((await client.call('status')).isError).toBe(false);
    await endTurn(world, claim, { settle: { is_persistent: true } });
    await send(world.deps, human, { to: 'late-1', subject: '', body: 'next' });
    await takeTurn(world, claim.session.id);
    for (const [name, input] of Object.entries({
      status: {},
      mail_check: {},
      mail_send: { to: 'operator', body: 'x' },
    })) {
      expect((await client.call(name, input)).text).toStartWith('error [token_invalid]:');
    }
  });

  test('a store that is held by somebody else is busy, not waited for without end', async () => {
    const { token } = await inTurn('busy-1');
    const client = await mcpClient(world, token);
    expect((await client.call('mail_check')).isError).toBe(false);
    const gate = openWriteGate(homePaths.gate(world.home));
    const leave = gate.tryEnter();
    try {
      const stuck = client.call('mail_send', { to: 'operator', body: 'x' });
      // Reading goes on beside it.
      expect((await client.call('status')).text).toContain('busy-1 (you)');
      expect((await stuck).text).toStartWith('error [store_busy]:');
    } finally {
      leave?.();
      gate.close();
    }
    expect((await client.call('mail_send', { to: 'operator', body: 'x' })).isError).toBe(false);
  }, 60_000);
});

describe('the stream', () => {
  test('two clients of one session at once: every mail stored once, every mail delivered once', async () => {
    const { token, session } = await inTurn('pair-1');
    const clients = [await mcpClient(world, token), await mcpClient(world, token)];
    for (let i = 0; i < 10; i += 1) await send(world.deps, human, { to: 'pair-1', subject: '', body: `in-${i}` });
    const sent = clients.flatMap((client, who) =>
      Array.from({ length: 10 }, (_, i) => client.call('mail_send', { to: 'operator', body: `out-${who}-${i}` })),
    );
    const checked = await Promise.all(clients.map((client) => client.call('mail_check')));
    expect((await Promise.all(sent)).filter(({ isError }) => isError)).toEqual([]);
    const texts = checked.map(({ text }) => text).join('\n');
    for (let i = 0; i < 10; i += 1) expect(texts.split(`\nin-${i}\n`)).toHaveLength(2);
    const bodies = (await listMail(world.store, { from_id: session.id })).map(({ body }) => body);
    expect(new Set(bodies).size).toBe(20);
    expect(bodies).toHaveLength(20);
  });

  test('a client that closes its end gets its last answers, and the server ends', async () => {
    const { token, session } = await inTurn('bye-1');
    const client = await mcpClient(world, token);
    const last = [1, 2, 3].map((i) => client.call('mail_send', { to: 'operator', body: `last-${i}` }));
    await client.hangUp();
    expect((await Promise.all(last)).every(({ isError }) => !isError)).toBe(true);
    expect((await client.ended()).code).toBe(0);
    expect(await listMail(world.store, { from_id: session.id })).toHaveLength(3);
  });

  test('standard output holds nothing but messages, whatever comes in', async () => {
    const { token } = await inTurn('noise-1');
    const client = await mcpClient(world, token);
    for (const line of [
      '',
      'not json',
      '{"jsonrpc":"1.0"}',
      '[]',
      '{"jsonrpc":"2.0","method":"notifications/unknown"}',
    ])
      client.raw(line);
    expect((await client.request('no/such/method')).error?.code).toBe(-32601);
    expect((await client.request('ping')).result).toEqual({});
    await client.hangUp();
    const { code, lines } = await client.ended();
    expect(code).toBe(0);
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ jsonrpc: '2.0' });
  });

  test('a start opens no store: what is never used costs nothing and creates nothing', async () => {
    const home = tempDir('fresh');
    const fresh = { ...world, home: `${home}/state`, deps: { ...world.deps, env: { ...world.deps.env, HOME: home } } };
    const client = await mcpClient(fresh, null);
    await client.request('tools/list');
    await client.hangUp();
    expect((await client.ended()).code).toBe(0);
    expect(await Bun.file(`${home}/state/drover.db`).exists()).toBe(false);
    expect((await runAs(fresh, null, ['mcp'], '')).code).toBe(0);
  });
});
