import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Report } from '../../src/model/report.ts';
import { buildReport } from '../../src/model/report-build.ts';
import type { ReportRows } from '../../src/model/report-rows.ts';
import type { SessionState } from '../../src/model/session.ts';
import { type ReportFormat, renderReport } from '../../src/plan/report.ts';
import { commitText, costText, durationText, oneLine, timeText, tokensText } from '../../src/plan/report-text.ts';
import { timelineSvg } from '../../src/plan/timeline-svg.ts';
import {
  badNight,
  EVENING,
  mergeRow,
  min,
  planRow,
  rowsOf,
  sessionRow,
  stateRows,
  stepRow,
  tryRow,
  turnRow,
} from '../support/report.ts';

const NOW = min(500);

/** Everything a stranger can write, in every place where a stranger's words may stand. */
const EVIL =
  '<script>alert(1)</script>"\'`&amp;|\\\n# x\r\n\u001b[31mred\u001b[0m\u0007\u202egnp.exe\u2028](http://evil/) ![i](x)';

function evilNight(): Report {
  const rows = badNight();
  const poison = (key: string, value: unknown): unknown =>
    typeof value === 'string' && POISONED.has(key) ? `${EVIL} ${value}` : value;
  const all = JSON.parse(JSON.stringify(rows, poison)) as ReportRows;
  // Two that one budget holds: the second is said to go on with the first.
  const told = JSON.stringify({ scope: 'run', key: 'run-a', spent: { cost_micros: 9_000_000, tokens: 0 } });
  const spent = ['first', 'second'].map((id) =>
    sessionRow(`${id}${EVIL}`, { state: 'parked', parked_reason: 'budget', parked_evidence: told }),
  );
  const parked = sessionRow(`held${EVIL}`, { state: 'parked', parked_reason: 'gate', parked_evidence: EVIL });
  const incident = {
    ...{ id: 'incident-a', key: EVIL, repo_root: EVIL, kind: 'overlap' as const, path: EVIL, summary: EVIL },
    ...{ first_session_id: 'parse-1', second_session_id: EVIL, first_action: null, second_action: null },
    ...{ active_session_id: null, paused_session_id: null, strategy: 'escalate' as const, prediction_json: null },
    ...{ created_at: EVENING, updated_at: EVENING, resolved_at: min(1), resolution: EVIL },
  };
  return buildReport(
    {
      ...all,
      // Rules read these.
      states: rows.states,
      plan: planRow({ name: EVIL, state: 'failed', reason: EVIL }),
      sessions: [...all.sessions, parked, ...spent],
      merges: [...all.merges, mergeRow(parked.id, { outcome: 'conflict', reason: EVIL, branch: EVIL, target: EVIL })],
      incidents: [incident],
    },
    NOW,
  );
}

const POISONED = new Set([
  'name',
  'reason',
  'output',
  'command',
  'evidence',
  'model',
  'pool',
  'branch',
  'schedule_name',
  'end_reason',
]);

/** Elements that are open, in order; throws at the first tag that closes another one, or at a bare sign. */
function checkMarkup(text: string, isHtml: boolean): void {
  const open: string[] = [];
  const rest = text.replace(/<style>[\s\S]*?<\/style>/g, '').replace('<!DOCTYPE html>', '');
  const outside = rest.replace(
    /<(\/?)([a-z1-6]+)((?:\s+[\w:-]+="[^"<>]*")*)\s*(\/?)>/g,
    (_all, close, name, _attributes, self) => {
      if (close === '/') {
        if (open.pop() !== name) throw new Error(`</${name}> closes nothing of its own: ${open.join(' ')}`);
      } else if (self !== '/' && !(isHtml && name === 'meta')) open.push(name);
      return '';
    },
  );
  if (open.length > 0) throw new Error(`left open: ${open.join(' ')}`);
  const bare = /[<>]|&(?!(?:amp|lt|gt|quot|#39);)/.exec(outside);
  if (bare !== null) throw new Error(`bare sign at: ${outside.slice(bare.index, bare.index + 60)}`);
}

describe('the check of the markup bites', () => {
  test.each(['<p>', '<p></b>', '<p>a < b</p>', '<p>a & b</p>', '<p a="<">x</p>'])('%s', (text) => {
    expect(() => checkMarkup(text, true)).toThrow();
  });
});

test.each<[string, () => Report]>([
  ['a bad night', () => buildReport(badNight(), NOW)],
  ['an evil one', evilNight],
  ['an empty one', () => buildReport(rowsOf(), NOW)],
])('HTML of %s is well formed, loads nothing and runs nothing', (_name, made) => {
  const html = renderReport(made(), 'html');
  checkMarkup(html, true);
  expect(html).not.toMatch(/<(?:script|img|link|iframe|object|embed|form|a)\b/i);
  expect(html).not.toMatch(/\s(?:on\w+|src|href)=|url\(|@import/i);
  expect(html).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`);
  expect(html).toContain('width=device-width');
  expect(html).toContain('prefers-color-scheme:dark');
});

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const HIDDEN = /[\u0000-\u0009\u000b-\u001f\u007f\u202e\u2028]/;

test('what others wrote is text in HTML, and control characters are gone from every page for people', () => {
  const report = evilNight();
  const html = renderReport(report, 'html');
  expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
  for (const text of [html, renderReport(report, 'md'), timelineSvg(report)]) expect(text).not.toMatch(HIDDEN);
});

test('what others wrote opens nothing in Markdown: no heading, cell, code, link, HTML', () => {
  const clean = renderReport(buildReport(badNight(), NOW), 'md').split('\n');
  const text = renderReport(evilNight(), 'md');
  const lines = text.split('\n');
  const headings = lines.filter((line) => line.startsWith('#')).length;
  const own = clean.filter((line) => line.startsWith('#')).length;
  // What waits, what was not merged, another session, incidents.
  expect(headings).toBe(own + 4);
  const bare = text.replace(/\\./g, '').replace(/`+[^\n]*`+/g, '');
  expect(bare).not.toMatch(/[<>`]|\]\(|:\/\//);
  const columns = (line: string) => line.replace(/\\./g, '').split('|').length;
  lines.forEach((line, i) => {
    if (line.startsWith('| ') && lines[i - 1]?.startsWith('| '))
      expect(columns(line)).toBe(columns(lines[i - 1] ?? ''));
  });
});

test('who goes on by the command of another one is told so', () => {
  expect(evilNight().waiting.map(({ goes_on_with }) => goes_on_with?.slice(0, 5) ?? null)).toEqual([
    null,
    null,
    'first',
  ]);
  for (const format of ['md', 'html'] as const)
    expect(renderReport(evilNight(), format)).toMatch(/: budget, goes on with first.*, by the command above/);
});

test('pull requests that were asked for are told, and what became of them', () => {
  const spec_json = JSON.stringify({ merge: 'pr' });
  const steps = [
    stepRow('asked', { session_id: 'a', spec_json }),
    stepRow('taken', { session_id: 'b', spec_json }),
    stepRow('red', { session_id: 'c', spec_json, state: 'failed' }),
    stepRow('own', { session_id: 'd' }),
  ];
  const sessions = ['a', 'b', 'c', 'd'].map((id) => sessionRow(id, { merged_commit: id === 'b' ? 'c0ffee' : null }));
  const text = renderReport(buildReport(rowsOf({ steps, sessions }), NOW), 'md');
  expect(text).toContain(
    '## Pull requests\n\n| Step | Branch | State |\n| --- | --- | --- |\n| asked | drover/a | asked for |\n| taken | drover/b | merged |\n',
  );
  expect(renderReport(buildReport(badNight(), NOW), 'md')).not.toContain('Pull requests');
});

test('a bound in dollars that could not hold is told where it stands', () => {
  const settings = JSON.parse(planRow().settings_json) as { stop_when: object };
  const bound = { ...settings, stop_when: { ...settings.stop_when, cost_micros: 5 } };
  const text = (cost_micros: number | null, settings_json: string) =>
    renderReport(
      buildReport(
        rowsOf({
          plan: planRow({ settings_json }),
          sessions: [sessionRow('a')],
          turns: [turnRow('a', { cost_micros })],
          budgets: badNight().budgets,
        }),
        NOW,
      ),
      'md',
    );
  const bounded = JSON.stringify(bound);
  expect(text(null, bounded)).toContain('stop_when.usd counted them as nothing: it could not hold.');
  expect(text(null, bounded)).toContain(
    'The budget of the run night could not hold in dollars: 1 turn of which nobody knows',
  );
  for (const each of [text(7, bounded), text(null, planRow().settings_json)]) expect(each).not.toContain('when.usd');
  expect(text(7, bounded)).not.toContain('could not hold');
});

test('a command with backticks stays one piece of code, and is what a shell must be given', () => {
  const sessions = [sessionRow('a', { name: 'a`b``c', state: 'parked', parked_reason: 'operator' })];
  const report = buildReport(rowsOf({ sessions }), NOW);
  expect(renderReport(report, 'md')).toContain("  - ``` drover resume 'a`b``c' ```");
  expect(renderReport(report, 'html')).toContain('<code>drover resume &#39;a`b``c&#39;</code>');
});

test('JSON has every field, instants in ISO-8601, the verdict first', () => {
  const report = evilNight();
  const json = renderReport(report, 'json');
  const parsed = JSON.parse(json) as Record<string, unknown>;
  expect(Object.keys(parsed)).toEqual(Object.keys(report));
  expect(json.trimStart().slice(0, 30)).toContain('"verdict": "failed"');
  expect(parsed).toMatchObject({ schema_version: 1, started_at: '2026-01-30T22:00:00.000Z', took_ms: 28_800_000 });
  expect((parsed.timeline as { spans: { from_at: string }[] }[])[0]?.spans[0]?.from_at).toBe(
    '2026-01-30T22:00:00.000Z',
  );
});

const GOLDEN = join(import.meta.dir, 'fixtures/night.md');

test('the page of a bad night, word for word', () => {
  const text = renderReport(buildReport(badNight(), NOW), 'md');
  expect(text).toBe(readFileSync(GOLDEN, 'utf8'));
});

test('a model without a price: tokens only, and the page says so', () => {
  const turns = [turnRow('a', { cost_micros: null }), turnRow('a', { turn: 2, cost_micros: 5 })];
  const rows = rowsOf({ sessions: [sessionRow('a')], turns });
  const text = renderReport(buildReport(rows, NOW), 'md');
  expect(text).toContain('| model | big | $0.000005 + ? | 2000 | 200 | 0 | 2 |');
  expect(text).toContain('The cost of 1 turn (1100 tokens) is not known');
  const none = renderReport(buildReport({ ...rows, turns: turns.slice(0, 1) }, NOW), 'md');
  expect(none).toContain('| all |  | ? | 1000 | 100 | 0 | 1 |');
  const known = renderReport(buildReport({ ...rows, turns: turns.slice(1) }, NOW), 'md');
  expect(known).not.toContain('not known');
  expect(known).not.toContain('estimate');
});

test('what waits comes before everything else, with its command or its time', () => {
  const rows = rowsOf({
    plan: planRow({ state: 'parked', ended_at: null, reason: '1 parked' }),
    steps: [stepRow('lint', { state: 'parked', ended_at: null })],
    step_sessions: [tryRow('lint', 'ewe')],
    sessions: [
      sessionRow('ewe', { state: 'parked', parked_reason: 'gate' }),
      sessionRow('ram', { state: 'parked', parked_reason: 'usage_limit', resume_at: min(600) }),
    ],
    states: stateRows('ewe', [[60, 'parked']]),
  });
  const [first = '', ...sections] = renderReport(buildReport(rows, NOW), 'md').split('\n## ');
  expect(first.split('\n')[0]).toBe('# PARKED: 1 of 1 step parked.');
  expect(sections[0]).toBe(
    [
      'What waits\n',
      '- **lint, session ewe**: gate since 2026-01-30 23:00',
      "  - `drover resume ewe --text 'what to change'`",
      '- **ram**: usage_limit, goes on by itself at 2026-01-31 08:00\n',
    ].join('\n'),
  );
});

describe('a night of many', () => {
  const ids = (n: number) => Array.from({ length: n }, (_, i) => `s-${i}`);
  const many = (n: number, spans: number): Report => {
    const states = ids(n).flatMap((id, i) =>
      stateRows(
        id,
        Array.from({ length: spans }, (_, k) => [i * 0.3 + k * 0.01, k % 2 === 0 ? 'working' : 'parked'] as const).map(
          ([at, state]): [number, 'working' | 'parked'] => [Math.round(at * 60_000) / 60_000, state],
        ),
      ),
    );
    return buildReport(
      rowsOf({
        steps: ids(n).map((id) => stepRow(id, { state: id === 's-999' ? 'failed' : 'done' })),
        step_sessions: ids(n).map((id) => tryRow(id, id)),
        sessions: ids(n).map((id) => sessionRow(id)),
        turns: ids(n).map((id) => turnRow(id)),
        states,
      }),
      NOW,
    );
  };

  test('1,000 sessions: a picture of bounded size, every one of them in it', () => {
    const svg = timelineSvg(many(1_000, 8));
    checkMarkup(svg, false);
    expect(svg.length).toBeLessThan(300_000);
    expect(Number(/viewBox="0 0 960 (\d+)"/.exec(svg)?.[1])).toBeLessThan(2_100);
    expect(svg).toContain('<title id="tl-title">1000 sessions from 2026-01-30 22:00 to');
    expect(svg).not.toContain('not drawn');
    expect((svg.match(/class="(?:working|parked)" stroke-width/g) ?? []).length).toBe(4);
  });

  test('5,000 sessions that change their state 40 times: not larger, and it says what is left out', () => {
    const svg = timelineSvg(many(5_000, 40));
    expect(svg.length).toBeLessThan(120_000);
    expect(svg).toContain('4000 more are not drawn');
  });

  test('tables are cut, failures first; the report for programs has all of it', () => {
    const report = many(1_000, 2);
    for (const format of ['md', 'html'] as ReportFormat[]) {
      const text = renderReport(report, format);
      expect(text).toContain('500 more: --format json has all of them.');
      expect(text).toContain('s-999');
      expect(text.length).toBeLessThan(600_000);
    }
    expect((JSON.parse(renderReport(report, 'json')) as Report).steps.length).toBe(1_000);
  });

  test('names stand beside few sessions, in text of their own, and those that failed stand out', () => {
    const rows = badNight();
    const svg = timelineSvg(buildReport(rows, NOW));
    checkMarkup(svg, false);
    expect(svg).toMatch(/<text x="8" y="36">parse-1<\/text>/);
    expect(svg).toMatch(/class="fail">types-1</);
    expect(svg).toMatch(/<svg [^>]*role="img" aria-labelledby="tl-title tl-desc"/);
    expect(timelineSvg(buildReport(rowsOf(), NOW))).toBe('');
  });

  test('a night without length, and sessions without one, are drawn', () => {
    const plan = planRow({ created_at: EVENING, ended_at: EVENING });
    const states = [{ session_id: 'a', to_state: 'working' as const, event: 'x', reason: null, at: EVENING }];
    const svg = timelineSvg(buildReport(rowsOf({ plan, sessions: [sessionRow('a')], states }), EVENING + 1));
    checkMarkup(svg, false);
    expect(svg).not.toContain('NaN');
  });
});

test('times are told in the zone of the plan’s window, over the change of the clock', () => {
  expect(timeText(Date.UTC(2026, 2, 29, 0, 30), 'Europe/Berlin')).toBe('2026-03-29 01:30');
  expect(timeText(Date.UTC(2026, 2, 29, 1, 30), 'Europe/Berlin')).toBe('2026-03-29 03:30');
  expect(timeText(Number.MAX_SAFE_INTEGER, 'UTC')).toBe(String(Number.MAX_SAFE_INTEGER));
});

test.each<[number, string]>([
  [-5, '0 ms'],
  [850, '850 ms'],
  [99_400, '99 s'],
  [100_000, '2 min'],
  [3_600_000, '1 h 00 min'],
  [7_500_000, '2 h 05 min'],
])('%d ms is %s', (ms, text) => {
  expect(durationText(ms)).toBe(text);
});

test('short words for long things', () => {
  expect([9_999, 10_000, 1_234_567].map(tokensText)).toEqual(['9999', '10.0k', '1.2M']);
  expect(commitText('c0ffee1234567890')).toBe('c0ffee123456');
  expect(oneLine('a\n\tb\u0000 \u001b[1mc\u001b[0m')).toBe('a b c');
  expect([...oneLine('é'.repeat(400), 10)].length).toBe(10);
  expect(oneLine('\ud800x')).toBe('\ufffdx');
  const spent = { unpriced_turns: 0, unpriced_tokens: 0, turns: 1, input_tokens: 0, output_tokens: 0 };
  const all = { ...spent, cache_read_tokens: 0, cache_write_tokens: 0 };
  expect(costText({ ...all, cost_micros: 10_000_001, is_estimated: true })).toBe('≈$10.000001');
});

test('a failed step is told with what takes it up again; not when nothing does, or when that is told above (C-12)', () => {
  const report = buildReport(badNight(), NOW);
  const told = (state: SessionState, plan: Partial<NonNullable<Report['plan']>> = {}) => {
    const steps = report.steps.map((step) => ({
      ...step,
      sessions: step.sessions.map((each) => ({ ...each, state })),
    }));
    const own = { ...report, steps, plan: report.plan && { ...report.plan, ...plan } };
    return /comes back: (.*)$/m.exec(renderReport(own, 'md'))?.[1] ?? null;
  };
  expect(told('failed')).toBe('drover resume types-2');
  expect(told('stopped')).toBe('drover resume types-2');
  expect(told('zombie')).toBe('drover recover types-2');
  expect(told('parked')).toBeNull();
  expect(told('failed', { state: 'cancelled' })).toBeNull();
  expect(told('failed', { reason: 'internal: bug' })).toBeNull();
  const many = { ...report, steps: Array.from({ length: 7 }, () => report.steps[1] ?? []).flat() };
  expect(renderReport(many, 'md')).toContain('types-2; and 2 more');
});
