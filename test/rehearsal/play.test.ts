import { describe, expect, test } from 'bun:test';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseEvent } from '../../src/harness/event-guard.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';
import { only, rehearse, start } from './rehearse.ts';

describe('what a rehearsed model says and does (C-04)', () => {
  test('say and think become text and reasoning, between session and result', async () => {
    const { events, code } = await rehearse({ steps: [{ think: 'hm' }, { say: 'hello' }] });
    expect(events().map((event) => event.type)).toEqual(['session', 'reasoning', 'text', 'usage', 'result']);
    expect(only(events(), 'result')[0]).toEqual({
      ...{ type: 'result', ok: true, reason: 'completed', text: 'hello' },
      ...{ model_turns: 1, denials: [] },
    });
    expect(code).toBe(0);
  });

  test('every line is an event exactly as the adapter reads it', async () => {
    const { bytes, events } = await rehearse({
      steps: [
        { say: 'a' },
        { think: 'b' },
        { tool: { tool: 'Read', input: { x: 1 }, output: 'c', files: ['f', { path: 'g', action: 'read' }] } },
        { usage: { mode: 'turn', input_tokens: 5 } },
        { cost: 7 },
        { limit: { kind: 'overloaded', final: false, retry_after_ms: 5 } },
      ],
    });
    const read = bytes()
      .toString()
      .trimEnd()
      .split('\n')
      .flatMap((line) => parseEvent(line) ?? []);
    expect(read).toEqual(events());
  });

  test('a tool call shows input and files, takes its time, and answers', async () => {
    const steps = [
      { tool: { tool: 'Read', input: { path: 'a' }, output: 'text', files: ['a'], ms: 30, is_error: true } },
    ];
    const began = performance.now();
    const { events } = await rehearse({ steps });
    expect(performance.now() - began).toBeGreaterThan(30);
    expect(only(events(), 'tool_use')).toEqual([
      {
        type: 'tool_use',
        tool: 'Read',
        tool_id: 'call-1',
        input: '{"path":"a"}',
        files: [{ path: 'a', action: 'modify' }],
      },
    ]);
    expect(only(events(), 'tool_result')).toEqual([
      { type: 'tool_result', tool_id: 'call-1', is_error: true, output: 'text' },
    ]);
  });

  test('write, append and touch change files; a write that fails is a failed call and not the end', async () => {
    const { cwd, events, code } = await rehearse({
      steps: [
        { write: { path: 'sub/a.txt', content: 'one\n' } },
        { append: { path: 'sub/a.txt', content: 'two\n' } },
        { touch: 'flag' },
        { write: { path: 'sub/a.txt/no', content: '' } },
      ],
    });
    expect(readFileSync(`${cwd}/sub/a.txt`, 'utf8')).toBe('one\ntwo\n');
    expect(existsSync(`${cwd}/flag`)).toBe(true);
    expect(
      only(events(), 'tool_use')
        .slice(0, 2)
        .map((event) => event.files[0]?.action),
    ).toEqual(['create', 'modify']);
    expect(only(events(), 'tool_result').map((event) => event.is_error)).toEqual([false, false, true]);
    expect(code).toBe(0);
  });

  test('run is a real shell command; its code and both its streams are the answer', async () => {
    const { events } = await rehearse({ steps: [{ run: 'echo out; echo err >&2; exit 3' }, { run: 'echo fine' }] });
    expect(only(events(), 'tool_result').map(({ output, is_error }) => [output, is_error])).toEqual([
      ['exit 3\nout\nerr', true],
      ['fine', false],
    ]);
  });

  test('run does not wait for what its command leaves behind', async () => {
    const { events } = await rehearse({ steps: [{ run: 'sleep 300 & echo $!' }] });
    const pid = Number(only(events(), 'tool_result')[0]?.output);
    process.kill(pid, 'SIGKILL');
    expect(pid).toBeGreaterThan(1);
  });

  test('a model turn is counted for every call, and --max-turns ends it', async () => {
    const steps = [{ run: 'true' }, { say: 'between' }, { run: 'true' }, { run: 'true' }];
    const free = await rehearse({ steps });
    expect(only(free.events(), 'result')[0]?.model_turns).toBe(4);
    const bound = await rehearse({ steps, args: ['--max-turns', '2'] });
    expect(only(bound.events(), 'tool_use').length).toBe(1);
    expect(only(bound.events(), 'result')).toMatchObject([{ ok: false, reason: 'max_turns', model_turns: 2 }]);
    expect(bound.code).toBe(1);
  });
});

describe('mail by the drover command line', () => {
  /** A stand-in for the command line that writes down how it was called. */
  function fakeDrover(): { bin: string; calls: () => string[][] } {
    const dir = tempDir('fake-drover');
    const body = `{ printf '%s\\0' "$DROVER_TOKEN" "$@"; printf '\\n\\0'; } >>'${dir}/calls'; echo answered; [ "$1" != ask ]`;
    writeFileSync(`${dir}/drover`, `#!/bin/sh\n${body}\n`);
    chmodSync(`${dir}/drover`, 0o755);
    const calls = () =>
      readFileSync(`${dir}/calls`, 'utf8')
        .split('\n\0')
        .filter(Boolean)
        .map((call) => call.split('\0').slice(0, -1));
    return { bin: `${dir}/drover`, calls };
  }

  test('mail, done, ask and check_mail call it with the inherited token', async () => {
    const { bin, calls } = fakeDrover();
    const { events } = await rehearse({
      steps: [
        { mail: { to: 'lead', type: 'question', subject: '--s', body: 'two\nlines', priority: 'high' } },
        { done: 'all done' },
        { ask: '-really?' },
        'check_mail',
      ],
      env: { DROVER_BIN: bin, DROVER_TOKEN: 'secret' },
    });
    expect(calls()).toEqual([
      [
        'secret',
        'mail',
        'send',
        '--to=lead',
        '--type=question',
        '--priority=high',
        '--subject=--s',
        '--body=two\nlines',
      ],
      ['secret', 'done', '--summary=all done'],
      ['secret', 'ask', '--', '-really?'],
      ['secret', 'mail', 'check'],
    ]);
    expect(only(events(), 'tool_use').map((event) => event.tool)).toEqual(['mail_send', 'done', 'ask', 'mail_check']);
    expect(only(events(), 'tool_result').map((event) => event.is_error)).toEqual([false, false, true, false]);
  });

  test('outside of a session the answer says so', async () => {
    const { events, code } = await rehearse({ steps: [{ done: 'x' }] });
    expect(only(events(), 'tool_result')[0]).toMatchObject({
      is_error: true,
      output: expect.stringContaining('DROVER_BIN'),
    });
    expect(code).toBe(0);
  });
});

describe('what a rehearsed harness reports', () => {
  test('usage and cost as scripted; without a script tokens are estimated', async () => {
    const told = await rehearse({
      steps: [{ usage: { mode: 'thread', output_tokens: 9 } }, { cost: { cost_micros: 12, mode: 'add' } }],
    });
    expect(only(told.events(), 'usage')).toEqual([
      {
        ...{ type: 'usage', mode: 'thread' },
        tokens: { input_tokens: 0, output_tokens: 9, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0 },
      },
    ]);
    expect(only(told.events(), 'cost')).toEqual([{ type: 'cost', mode: 'add', cost_micros: 12 }]);
    const estimated = await rehearse({ steps: [], prompt: 'x'.repeat(400) });
    expect(only(estimated.events(), 'usage')[0]?.tokens.input_tokens).toBe(100);
  });

  test('a final limit makes the result a failure; one that is not final does not', async () => {
    const before = Date.now();
    const final = await rehearse({ steps: [{ limit: { kind: 'usage_limit', resets_in_ms: 60_000 } }] });
    const [event] = only(final.events(), 'limit');
    expect(event?.limit).toMatchObject({ kind: 'usage_limit', status: 429, final: true, retry_after_ms: null });
    expect((event?.limit.resets_at ?? 0) - before).toBeGreaterThanOrEqual(60_000);
    expect(only(final.events(), 'result')).toMatchObject([{ ok: false, reason: 'usage_limit' }]);
    expect(final.code).toBe(1);
    const passing = await rehearse({ steps: [{ limit: { kind: 'rate_limit', final: false, retry_after_ms: 10 } }] });
    expect(only(passing.events(), 'result')).toMatchObject([{ ok: true }]);
  });

  test('the session id is new, or the resumed one, or another one from a session step', async () => {
    const fresh = await rehearse({ steps: [] });
    expect(only(fresh.events(), 'session')[0]?.native_session_id).toMatch(/^[0-9a-f-]{36}$/);
    const resumed = await rehearse({ steps: [{ session: 'other' }], args: ['--resume', 'mine'] });
    expect(only(resumed.events(), 'session').map((event) => event.native_session_id)).toEqual(['mine', 'other']);
  });

  test('result as scripted, once; the exit code follows it', async () => {
    const { events, code } = await rehearse({
      steps: [{ result: { ok: false, reason: 'why', text: 't', model_turns: 0, denials: ['d'] } }, { say: 'after' }],
    });
    expect(events().map((event) => event.type)).toEqual(['session', 'usage', 'result', 'text']);
    expect(only(events(), 'result')).toEqual([
      { type: 'result', ok: false, reason: 'why', text: 't', model_turns: 0, denials: ['d'] },
    ]);
    expect(code).toBe(1);
  });

  test('no_result: exit 0 and no word about success (faults: truncated stream)', async () => {
    const { events, code } = await rehearse({ steps: ['no_result', { say: 'x' }] });
    expect(events().map((event) => event.type)).toEqual(['session', 'text']);
    expect(code).toBe(0);
  });

  test('exit ends it at once, without a result unless one was given', async () => {
    const bare = await rehearse({ steps: [{ say: 'x' }, { exit: 41 }, { say: 'never' }] });
    expect([bare.code, bare.events().map((event) => event.type)]).toEqual([41, ['session', 'text']]);
    const told = await rehearse({ steps: [{ result: {} }, { exit: 3 }] });
    expect([told.code, only(told.events(), 'result').length]).toEqual([3, 1]);
  });
});

describe('time', () => {
  test('sleep sleeps', async () => {
    const began = performance.now();
    await rehearse({ steps: [{ sleep: 120 }] });
    expect(performance.now() - began).toBeGreaterThan(120);
  });

  test('wait_for_file goes on when the file is there', async () => {
    const rehearsal = start({ steps: [{ touch: 'waiting' }, { wait_for_file: 'go' }, { say: 'gone on' }] });
    await until('it waits', () => existsSync(`${rehearsal.cwd}/waiting`));
    expect(only(rehearsal.events(), 'text')).toEqual([]);
    writeFileSync(`${rehearsal.cwd}/go`, '');
    expect(await rehearsal.process.exited).toBe(0);
    expect(only(rehearsal.events(), 'text')).toEqual([{ type: 'text', text: 'gone on' }]);
  });
});
