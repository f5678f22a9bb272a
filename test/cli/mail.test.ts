import { beforeAll, describe, expect, test } from 'bun:test';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type MailRow, OPERATOR } from '../../src/model/mail.ts';
import { stop } from '../../src/session/control.ts';
import { send } from '../../src/session/mail.ts';
import { listMail } from '../../src/store/mail-list.ts';
import { getSession } from '../../src/store/session.ts';
import { doorbell, jsonAs, runAs } from '../support/agent.ts';
import { droverBench } from '../support/drover.ts';
import { seedSession, type TestStore, takeTurn, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

interface Answer {
  ok: boolean;
  error?: { code: string; hint?: string };
  mails: MailRow[];
  mail: MailRow;
  box?: string;
  of?: string;
}

let world: TestStore;
let bell: { lines: string[] };
const human = { name: OPERATOR, session: null };

beforeAll(async () => {
  world = await testStore();
  bell = await doorbell(world);
});

const all = () => listMail(world.store, { limit: 10_000 });

describe('a person', () => {
  test('sends, and the supervisor is told at once', async () => {
    const row = await seedSession(world, { name: 'ox-1' });
    const rings = bell.lines.length;
    const ran = await runAs(world, null, [
      'mail',
      'send',
      '--to',
      'ox-1',
      '--subject',
      'tests',
      '--body',
      '@spec has them',
      '--priority',
      'urgent',
    ]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(ran.stdout).toMatch(/^mail-\S+ {2}to ox-1 \(status, critical\)\n$/);
    const stored = (await listMail(world.store, { to_id: row.id })).at(-1);
    expect(stored).toMatchObject({ subject: 'tests', body: '@spec has them', from_name: 'operator', from_id: null });
    expect(bell.lines.length).toBe(rings + 1);
  });

  test('sends a body from standard input', async () => {
    await seedSession(world, { name: 'ox-2' });
    const body = 'line one\nline two | \u{1f411}\n';
    const { mails } = await jsonAs<Answer>(world, null, ['mail', 'send', '--to', 'ox-2', '--body', '-'], body);
    expect(mails[0]?.body).toBe(body);
  });

  test('cannot send a body of a megabyte: exit 2, nothing stored', async () => {
    await seedSession(world, { name: 'ox-3' });
    const before = (await all()).length;
    const ran = await runAs(
      world,
      null,
      ['mail', 'send', '--to', 'ox-3', '--body', '-', '--json'],
      'x'.repeat(1024 * 1024),
    );
    expect(ran.code).toBe(2);
    expect((JSON.parse(ran.stdout) as Answer).error).toMatchObject({ code: 'mail_too_large' });
    expect((await all()).length).toBe(before);
  });

  test('gets the documented exit codes: 2 wrong words, 4 nobody, 3 ended', async () => {
    await stop(world.deps, await seedSession(world, { name: 'ended-1' }));
    const code = async (...args: string[]) => (await runAs(world, null, ['mail', ...args])).code;
    expect(await code('send', '--to', 'ox-1', '--body', 'x', '--type', 'gossip')).toBe(2);
    expect(await code('send', '--to', 'nobody-at-all', '--body', 'x')).toBe(4);
    expect(await code('send', '--to', 'ended-1', '--body', 'x')).toBe(3);
    expect(await code('list', '--limit', 'many')).toBe(2);
    expect(await code('gossip')).toBe(2);
    expect(await code('read', 'mail-none')).toBe(4);
    expect(await code('check')).toBe(2);
  });

  test('lists the inbox, labelled, reads one mail whole, and it is unread no more (O-76)', async () => {
    const farm = await testStore();
    const { token } = await takeTurn(farm, (await seedSession(farm, { name: 'cow-1' })).id);
    expect((await runAs(farm, token, ['ask', 'Which port?', '--options', '80', '90'])).code).toBe(0);
    const list = await runAs(farm, null, ['mail', '--unread']);
    expect(list.stdout).toMatch(
      /^unread, inbox of operator: 1\nID .*\nmail-\S+ +cow-1 +operator +question +high .* unread +Which port\?\n$/,
    );
    const id = /mail-\S+/.exec(list.stdout)?.[0] ?? '';
    const read = await runAs(farm, null, ['mail', 'read', id]);
    expect(read.stdout).toContain('Which port?\n\n1. 80\n2. 90\n');
    expect(read.stdout).toContain(`drover mail reply ${id}`);
    expect((await jsonAs<Answer>(farm, null, ['mail', 'list', '--unread'])).mails).toEqual([]);
    expect((await jsonAs<Answer>(farm, null, ['mail', 'list'])).mails[0]?.read_at).toBeString();
  });

  test("reading a session's mail changes nothing: only its turns read it", async () => {
    const row = await seedSession(world, { name: 'calf-1' });
    const [mail] = await send(world.deps, human, { to: 'calf-1', subject: 's', body: 'secret' });
    const before = await listMail(world.store, { to_id: row.id });
    const { mails } = await jsonAs<Answer>(world, null, ['mail', 'list', '--of', 'calf-1']);
    expect(mails.map(({ body }) => body)).toEqual([row.task, 'secret']);
    expect((await runAs(world, null, ['mail', 'read', mail?.id ?? ''])).stdout).toContain('secret');
    expect(await listMail(world.store, { to_id: row.id })).toEqual(before);
  });

  test('sees what was sent, by himself and by a session', async () => {
    const farm = await testStore();
    await doorbell(farm);
    const { token } = await takeTurn(farm, (await seedSession(farm, { name: 'hen-1' })).id);
    await runAs(farm, token, ['mail', 'send', '--to', 'operator', '--body', 'an egg']);
    await runAs(farm, null, ['mail', 'send', '--to', 'hen-1', '--body', 'thanks']);
    const bodies = async (...args: string[]) =>
      (await jsonAs<Answer>(farm, null, ['mail', 'list', '--sent', ...args])).mails.map(({ body }) => body);
    expect(await bodies()).toEqual(['mend the fence', 'thanks']);
    expect(await bodies('--limit', '1')).toEqual(['thanks']);
    expect(await bodies('--of', 'hen-1')).toEqual(['an egg']);
  });

  test('on a machine where nothing was stored, reads without creating anything (H-09)', async () => {
    const home = tempDir('fresh');
    const fresh = {
      ...world,
      home: join(home, 'state'),
      deps: { ...world.deps, env: { ...world.deps.env, HOME: home } },
    };
    const ran = await runAs(fresh, null, ['mail']);
    expect(ran).toMatchObject({ code: 0, stdout: 'inbox of operator: nothing\n' });
    expect(await Bun.file(join(home, 'state/drover.db')).exists()).toBe(false);
  });

  test('sees no control characters of somebody else (faults row 84)', async () => {
    const [mail] = await send(world.deps, human, {
      to: 'operator',
      subject: 'a\u001b[2Jb\u202e',
      body: '\u001b]0;title\u0007text',
    });
    for (const args of [['mail'], ['mail', 'read', mail?.id ?? '']]) {
      const { stdout } = await runAs(world, null, args);
      for (const character of ['\u0007', '\u001b', '\u202e']) expect(stdout).not.toContain(character);
      expect(stdout).toContain('ab');
    }
  });
});

describe('a session', () => {
  test('is known by its token and rings without starting anything', async () => {
    const quiet = await testStore();
    const { token, session } = await takeTurn(quiet, (await seedSession(quiet, { name: 'pig-1' })).id);
    const ran = await runAs(quiet, token, ['mail', 'send', '--to', 'parent', '--body', 'hello']);
    expect(ran.code).toBe(0);
    expect((await listMail(quiet.store, { to_id: null }))[0]).toMatchObject({ from_id: session.id, sent_in_turn: 1 });
    expect(await Bun.file(join(quiet.home, 'run/supervisor.lock')).exists()).toBe(false);
  });

  test('with a token that is not valid any more is refused: exit 3', async () => {
    const row = await seedSession(world, { name: 'old-1' });
    const { token } = await takeTurn(world, row.id);
    await stop(world.deps, row);
    for (const args of [
      ['mail', 'send', '--to', 'operator', '--body', 'x'],
      ['mail'],
      ['mail', 'check'],
      ['done', '--summary', 'x'],
      ['ask', 'x?'],
    ]) {
      const ran = await runAs(world, token, args);
      expect([args[0], ran.code, ran.stderr]).toEqual([args[0], 3, expect.stringContaining('[token_invalid]')]);
    }
  });

  test('checks its mail once: framed like a prompt, and not delivered again', async () => {
    const row = await seedSession(world, { name: 'dog-1' });
    const { token } = await takeTurn(world, row.id);
    await send(world.deps, human, { to: 'dog-1', subject: 'fetch', body: 'the stick' });
    const listed = await jsonAs<Answer>(world, token, ['mail']);
    expect([listed.of, listed.mails.at(-1)?.subject, listed.mails.at(-1)?.body]).toEqual([
      'dog-1',
      'fetch',
      expect.stringContaining('mail check'),
    ]);
    const first = await runAs(world, token, ['mail', 'check']);
    expect(first.stdout).toMatch(
      /^\[MAIL\] From: operator \| Subject: fetch \|.*\n\n\[body of \S+ begins\]\nthe stick\n\[body of \S+ ends\]\n$/,
    );
    expect((await runAs(world, token, ['mail', 'check'])).stdout).toBe('no new mail\n');
    expect((await listMail(world.store, { to_id: row.id })).at(-1)).toMatchObject({ delivered_turn: 1, deliveries: 1 });
  });

  test('that reads one waiting mail takes all that wait: none is claimed unseen, none comes twice', async () => {
    const row = await seedSession(world, { name: 'cat-1' });
    const { token } = await takeTurn(world, row.id);
    await send(world.deps, human, { to: 'cat-1', subject: '', body: 'one' });
    const [two] = await send(world.deps, human, { to: 'cat-1', subject: '', body: 'two' });
    const ran = await runAs(world, token, ['mail', 'read', two?.id ?? '']);
    expect(ran.stdout).toMatch(/one[\s\S]*two/);
    expect(
      (await listMail(world.store, { to_id: row.id, unread: true })).every((mail) => mail.delivered_turn === 1),
    ).toBe(true);
    expect((await runAs(world, token, ['mail', 'read', two?.id ?? ''])).stdout).toMatch(
      /^\[MAIL\] From: operator [\s\S]*two/,
    );
  });

  test('does not see mail of others', async () => {
    const { token } = await takeTurn(world, (await seedSession(world, { name: 'fox-1' })).id);
    const other = await seedSession(world, { name: 'goose-1' });
    const [mail] = await send(world.deps, human, { to: 'goose-1', subject: '', body: 'private' });
    expect((await runAs(world, token, ['mail', 'list', '--of', 'goose-1'])).code).toBe(3);
    expect((await runAs(world, token, ['mail', 'read', mail?.id ?? ''])).code).toBe(4);
    expect((await runAs(world, token, ['mail', 'reply', mail?.id ?? '', '--body', 'x'])).code).toBe(4);
    expect((await listMail(world.store, { to_id: other.id })).every((row) => row.read_at === null)).toBe(true);
  });

  test('that asks is answered in its next mail', async () => {
    const row = await seedSession(world, { name: 'ram-1' });
    const { token } = await takeTurn(world, row.id);
    const ran = await runAs(world, token, ['ask', '--', '--which one?']);
    expect(ran.stdout).toMatch(
      /^Asked operator \(mail-\S+\)\. End your turn now; the answer starts your next one\.\n$/,
    );
    const id = /mail-[a-z2-7]+/.exec(ran.stdout)?.[0] ?? '';
    await runAs(world, null, ['mail', 'reply', id, '--body', 'the left']);
    expect((await listMail(world.store, { to_id: row.id })).at(-1)).toMatchObject({
      type: 'answer',
      body: 'the left',
      subject: 'Re: --which one?',
    });
    expect((await runAs(world, token, ['ask', 'x?', '--to', 'ox-1'])).code).toBe(2);
  });
});

describe('done', () => {
  function repository(): { dir: string; base: string; git: (...args: string[]) => string } {
    const dir = tempDir('work');
    const git = (...args: string[]) =>
      Bun.spawnSync(['git', '-C', dir, ...args])
        .stdout.toString()
        .trim();
    git('init', '-q', '-b', 'mend');
    git('commit', '-q', '--allow-empty', '-m', 'start');
    return { dir, git, base: git('rev-parse', 'HEAD') };
  }

  test('sends the terminal mail of the role with what git knows (O-30)', async () => {
    const { dir, git, base } = repository();
    const lead = await seedSession(world, { role: 'lead', name: 'lead-7' });
    const row = await seedSession(world, { name: 'mend-1', parent_id: lead.id, working_dir: dir, worktree_path: dir });
    const { token } = await takeTurn(world, row.id);
    await world.store.write((tx) =>
      tx.run('UPDATE sessions SET base_commit = :base WHERE id = :id', { base, id: row.id }),
    );
    mkdirSync(join(dir, 'src'));
    writeFileSync(join(dir, 'src/fence.ts'), 'x');
    git('add', '.');
    git('commit', '-q', '-m', 'fence');
    writeFileSync(join(dir, 'left over.txt'), 'x');
    const ran = await runAs(world, token, ['done', '--summary', '-'], 'The fence stands.\nTwo posts are new.');
    expect(ran.stdout).toMatch(
      /^Reported to lead-7 \(worker_done, mail-\S+\)\. Not committed, and kept only if you commit it: left over\.txt\. Then end your turn\.\n$/,
    );
    const mail = (await listMail(world.store, { to_id: lead.id })).at(-1);
    expect(mail).toMatchObject({
      type: 'worker_done',
      subject: 'The fence stands.',
      body: 'The fence stands.\nTwo posts are new.',
    });
    expect(JSON.parse(mail?.payload_json ?? '')).toEqual({
      taskId: row.id,
      branch: 'mend',
      exitCode: 0,
      filesModified: ['left over.txt', 'src/fence.ts'],
    });
    expect((await getSession(world.store, row.id))?.contract_met_at).not.toBeNull();
  });

  test('goes to the operator without a parent, with the word of the role, also outside of git', async () => {
    const { token, session } = await takeTurn(
      world,
      (await seedSession(world, { role: 'merger', name: 'merge-1', working_dir: tempDir('bare') })).id,
    );
    expect((await runAs(world, token, ['done', '--summary', 'merged it'])).stdout).toMatch(
      /^Reported to operator \(merged, mail-\S+\)\. End your turn now\.\n$/,
    );
    const mail = (await listMail(world.store, { from_id: session.id })).at(-1);
    expect(JSON.parse(mail?.payload_json ?? '')).toMatchObject({ branch: null, filesModified: [] });
  });

  test('is nothing for a person, and wants a summary', async () => {
    const { token } = await takeTurn(world, (await seedSession(world, { name: 'mute-1' })).id);
    expect((await runAs(world, null, ['done', '--summary', 'x'])).stderr).toContain('[not_a_session]');
    expect((await runAs(world, token, ['done', '--summary', ' '])).stderr).toContain('[summary_empty]');
    expect((await runAs(world, token, ['done'])).code).toBe(2);
  });
});

test('mail that is stored while nobody can be rung: one answer on standard output, the failure on standard error, 69', async () => {
  const bench = droverBench();
  mkdirSync(join(bench.drover_home, 'run/supervisor.log'), { recursive: true, mode: 0o700 });
  const ran = await bench.run(['mail', 'send', '--to', 'operator', '--subject', 'note', '--json']);
  const [answer, ...more] = ran.stdout.trim().split('\n');
  expect(JSON.parse(answer ?? '')).toMatchObject({ ok: true, mails: [{ subject: 'note' }] });
  expect(more).toEqual([]);
  expect([ran.code, JSON.parse(ran.stderr)]).toMatchObject([69, { ok: false }]);
  expect(await bench.json<{ mails: unknown[] }>(['mail', 'list'])).toMatchObject({ mails: [{ subject: 'note' }] });
}, 60_000);
