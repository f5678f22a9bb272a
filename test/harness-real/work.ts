import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../support/until.ts';
import { type LoggedEvent, mcp, type RealHarness, say, shell } from './support.ts';

/** What differs between the CLIs when everything goes well. */
export interface WorkQuirks {
  /** As the model is offered drover's own tools. */
  mcp_name: (tool: string) => string;
  cost: boolean;
  denied: {
    profile: string;
    /** What the model was told instead of the tool's output. */
    heard: RegExp;
    /** The event that keeps the denial. */
    recorded: (event: LoggedEvent) => boolean;
  };
}

export function workTests(real: RealHarness, quirks: WorkQuirks): void {
  commitTest(real, quirks);
  deniedTest(real, quirks.denied);
  mailTest(real);
  reportTest(real);
}

function commitTest(real: RealHarness, quirks: WorkQuirks): void {
  test(`${real.id}: a task is written, committed and accounted for (C-02, C-03, E-027…E-030)`, async () => {
    const path = join(real.bench.repo, 'hello.txt');
    real.play([
      { kind: 'tools', text: 'I write it.', calls: [{ verb: 'write_file', path, content: 'hello\n' }] },
      shell('git add -A && git commit -qm "say hello"'),
      say('All done.'),
    ]);
    const name = await real.sling('Please write hello.txt and commit it.');
    const shown = await real.over(name);
    await real.expectEnd(shown, 'completed', 'completed');
    expect(readFileSync(path, 'utf8')).toBe('hello\n');
    expect(real.bench.git('log', '-1', '--format=%s', '--', 'hello.txt')).toBe('say hello');

    const [turn] = shown.turns;
    expect(real.asked).toHaveLength(3);
    expect(turn).toMatchObject({
      input_tokens: 300,
      output_tokens: 30,
      cache_read_tokens: 15,
      unknown: 0,
      malformed: 0,
    });
    expect(shown.session).toMatchObject({ input_tokens: 300, output_tokens: 30, result_text: turn?.result_text });
    if (quirks.cost) expect(turn?.cost_micros).toBeGreaterThan(0);
    else expect(turn?.cost_micros).toBeNull();
    expect(shown.session.native_session_id).toMatch(/.{16}/);
    expect(turn?.native_session_after).toBe(shown.session.native_session_id);

    const prompt = real.prompt(real.asked[0]);
    expect(prompt).toContain('Please write hello.txt and commit it.');
    expect(prompt.split('\n')[0]).toContain(`session ${name} (${shown.session.id}), turn 1, role solo`);
    for (const tool of ['mail_send', 'done', 'ask', 'status']) {
      expect(real.asked[0]?.model.tool_names).toContain(quirks.mcp_name(tool));
    }
    expect(existsSync(join(real.bench.repo, '.claude'))).toBe(false);
    expect(real.bench.git('status', '--porcelain')).toBe('');
  });
}

function deniedTest(real: RealHarness, denied: WorkQuirks['denied']): void {
  test(`${real.id}: a denied tool is told, recorded and not done (E-021, C-03)`, async () => {
    const path = join(real.bench.repo, 'denied.txt');
    real.play([
      { kind: 'tools', text: 'I write it.', calls: [{ verb: 'write_file', path, content: 'x\n' }] },
      say('I was not allowed to.'),
    ]);
    const name = await real.sling('Please write denied.txt.', '--profile', denied.profile);
    const shown = await real.over(name);
    await real.expectEnd(shown, 'completed', 'completed');
    expect(existsSync(path)).toBe(false);
    expect(real.said(real.asked.at(-1))).toMatch(denied.heard);
    const events = await real.events(name);
    expect(events.some((event) => denied.recorded(event))).toBe(true);
  });
}

function mailTest(real: RealHarness): void {
  test(`${real.id}: two mails are one further turn of the same conversation (C-08, O-60, O-61)`, async () => {
    const gate = real.fresh('gate');
    real.play([
      shell(`until [ -e "${real.home}/${gate}" ]; do sleep 0.05; done`),
      say('First answer.'),
      say('Second answer.'),
    ]);
    const name = await real.sling('Keep house.', '--role', 'coordinator');
    await until('the first turn asks the model', () => real.asked.length > 0, 60_000);
    for (const word of ['one', 'two']) {
      const args = ['mail', 'send', '--to', name, '--subject', `subject ${word}`, '--body', `body ${word}`];
      expect((await real.bench.run(args)).code).toBe(0);
    }
    real.writeHome(gate, '');
    const shown = await real.when(name, ({ session }) => session.state === 'idle' && session.turn > 1);
    const [first, second, ...more] = shown.turns;
    expect(more).toEqual([]);
    expect([first?.outcome, second?.outcome]).toEqual(['completed', 'completed']);

    expect(real.asked).toHaveLength(3);
    const prompt = real.prompt(real.asked[2]);
    expect(prompt.split('\n')[0]).toContain(`session ${name} (${shown.session.id}), turn 2, role coordinator`);
    const sent = shown.mail.filter((mail) => mail.type !== 'task');
    expect(sent.map((mail) => mail.subject)).toEqual(['subject one', 'subject two']);
    for (const mail of sent) {
      expect(prompt).toContain(`| Subject: ${mail.subject} |`);
      expect(prompt).toContain(`Id: ${mail.id}`);
      expect(prompt).toContain(mail.body);
      expect(mail).toMatchObject({ delivered_turn: 2, deliveries: 1, read_at: expect.any(String) });
    }
    expect(real.said(real.asked[2])).toContain('First answer.');
    expect(second?.native_session_before).toBe(first?.native_session_after ?? 'none');
    expect(second?.native_session_after).toBe(first?.native_session_after ?? 'none');
    expect(first).toMatchObject({ input_tokens: 200, output_tokens: 20, cache_read_tokens: 10 });
    expect(second).toMatchObject({ input_tokens: 100, output_tokens: 10, cache_read_tokens: 5 });
    expect(shown.session).toMatchObject({ input_tokens: 300, output_tokens: 30, cache_read_tokens: 15 });
    expect((await real.bench.run(['stop', name])).code).toBe(0);
  });
}

function reportTest(real: RealHarness): void {
  test(`${real.id}: the agent writes mail and reports done through MCP (C-09, O-29)`, async () => {
    real.play([
      mcp('mail_send', { to: 'operator', subject: 'half way', body: 'The tests run.' }),
      mcp('done', { summary: 'Built and checked.' }),
      say('Reported.'),
    ]);
    const name = await real.sling('Build it.', '--role', 'builder');
    const shown = await real.over(name);
    await real.expectEnd(shown, 'completed', 'completed');
    expect(real.asked).toHaveLength(3);
    const sent = shown.mail.filter((mail) => mail.direction === 'out');
    expect(sent.map(({ type, subject, to_name }) => ({ type, subject, to_name }))).toEqual([
      { type: 'status', subject: 'half way', to_name: 'operator' },
      { type: 'worker_done', subject: expect.any(String), to_name: 'operator' },
    ]);
    expect(sent[1]?.body).toContain('Built and checked.');
    expect(shown.session.contract_met_at).not.toBeNull();
    expect(shown.turns).toHaveLength(1);
  });
}

/** The contract of a role is drover's own, so one CLI stands for all. */
export function reminderTest(real: RealHarness): void {
  test(`${real.id}: work that is never reported as done gets one reminder and then fails (MODEL §2.6)`, async () => {
    real.play([say('I think I am done.'), say('I still think so.')]);
    const name = await real.sling('Build it.', '--role', 'builder');
    const shown = await real.over(name);
    await real.expectEnd(shown, 'failed', 'completed');
    expect(shown.session.end_reason).toBe('no_terminal_mail');
    expect(shown.turns).toHaveLength(2);
    const prompt = real.prompt(real.asked[1]);
    expect(prompt).toContain('Type: reminder');
    expect(prompt).toContain('Terminal mail: worker_done or result');
    expect(real.said(real.asked[1])).toContain('I think I am done.');
  });
}

/** Comes last: looks back at everything that the tests before it made the CLI say. */
export function driftTest(real: RealHarness): void {
  test(`${real.id}: no line of these runs was unknown, malformed or against its help (C-03)`, async () => {
    // The exit code also tells of a CLI that is slow to say its version, which is no matter here.
    const ran = await real.bench.run(['harness', 'check', real.id, '--json']);
    const [checked] = JSON.parse(ran.stdout).checked;
    expect(checked.drift).toEqual({ turns: expect.any(Number), malformed: [], unknown: [] });
    expect(checked.drift.turns).toBeGreaterThan(5);
    expect(checked.missing_flags ?? []).toEqual([]);
  });
}

/** For CLIs that can take tools away from the model. */
export function readOnlyRoleTest(real: RealHarness): void {
  test(`${real.id}: a role that only reads is not offered a tool that edits (O-49)`, async () => {
    real.play([say('Looks fine.')]);
    const name = await real.sling('Review the last commit.', '--role', 'scout');
    await real.over(name);
    const offered = real.asked[0]?.model.tool_names ?? [];
    expect(offered).toContain('Read');
    expect(offered.filter((tool) => /^(Write|Edit|MultiEdit|NotebookEdit)$/.test(tool))).toEqual([]);
  });
}
