import { moneyText } from '../model/budget.ts';
import type { Report, ReportMissed, ReportStep, Spent, Waiting } from '../model/report.ts';
import { quoted } from '../model/shell.ts';
import { wallAt } from '../model/window.ts';

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it removes
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+/g;

/** Text of others as one line without anything that a terminal, or the direction of writing, obeys. */
export function oneLine(text: string, length = 300): string {
  const line = Bun.stripANSI(text).toWellFormed().replace(CONTROL, ' ').replace(/\s+/g, ' ').trim();
  const chars = [...line];
  return chars.length <= length ? line : `${chars.slice(0, length - 1).join('')}…`;
}

/** `850 ms`, `12 s`, `3 min`, `2 h 05 min`. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  const s = Math.round(ms / 1_000);
  if (s < 100) return `${s} s`;
  const min = Math.round(s / 60);
  if (min < 60) return `${min} min`;
  return `${Math.floor(min / 60)} h ${String(min % 60).padStart(2, '0')} min`;
}

/** Whole numbers below 10,000, then thousands and millions with one decimal. */
export function tokensText(count: number): string {
  if (count < 10_000) return String(count);
  return count < 1_000_000 ? `${(count / 1_000).toFixed(1)}k` : `${(count / 1_000_000).toFixed(1)}M`;
}

/** What is known of the cost: `$0.10`, `≈$0.10` (estimated), `$0.10 + ?` (not of all turns), `?`. */
export function costText({ cost_micros, is_estimated, unpriced_turns }: Spent): string {
  if (cost_micros === null) return '?';
  return `${is_estimated ? '≈' : ''}${moneyText(cost_micros)}${unpriced_turns > 0 ? ' + ?' : ''}`;
}

/** In and out. */
function usedText({ input_tokens, output_tokens }: Spent): string {
  return tokensText(input_tokens + output_tokens);
}

/** `2026-01-31 08:00` in the zone. */
export function timeText(at: number, zone: string): string {
  if (!Number.isFinite(new Date(at).getTime())) return String(at);
  return new Date(wallAt(zone, at)).toISOString().slice(0, 16).replace('T', ' ');
}

/** Notes below the money: what the figures are not. */
function spentNotes({ spent, plan }: Report): string[] {
  const { unpriced_turns, unpriced_tokens, is_estimated } = spent;
  return [
    ...(unpriced_turns > 0
      ? [
          `The cost of ${count(unpriced_turns, 'turn')} (${tokensText(unpriced_tokens)} tokens) is not known: the harness does not report it and the model has no price in the config. It is in no sum.`,
        ]
      : []),
    ...(unpriced_turns > 0 && plan?.stop_when.cost_micros != null
      ? ['stop_when.usd counted them as nothing: it could not hold.']
      : []),
    ...(is_estimated ? ['≈ means: a part of it is an estimate by the price table of the config.'] : []),
  ];
}

function count(n: number, word: string): string {
  return `${n} ${word}${n === 1 ? '' : 's'}`;
}

/** Why a step is where it is. */
function whyText({ outcome, reason, dropped }: ReportStep): string {
  const words = [outcome, reason === outcome ? null : reason].filter((each) => each !== null);
  if (dropped > 0) words.push(`${count(dropped, 'item')} beyond the cap left out`);
  return words.join(': ');
}

/** `red → green`; long ones by their number and their last. */
function gatesText(gates: readonly ('red' | 'green')[]): string {
  if (gates.length <= 5) return gates.join(' → ');
  return `${gates.filter((each) => each === 'red').length} red of ${gates.length}, last ${gates.at(-1)}`;
}

/** Commit ids are long. */
export function commitText(commit: string | null): string {
  return commit === null ? '' : commit.slice(0, 12);
}

/** When it goes on without a command of its own, in words; empty when it does not. */
export function resumeText({ by_itself, resumes_at, goes_on_with }: Waiting, zone: string): string {
  if (goes_on_with !== null) return `goes on with ${goes_on_with}, by the command above`;
  if (!by_itself) return '';
  return resumes_at === null ? 'goes on by itself' : `goes on by itself at ${timeText(resumes_at, zone)}`;
}

function missedText({ times, due_at, until_at }: ReportMissed, zone: string): string {
  const first = timeText(due_at, zone);
  if (times === 1 || due_at === until_at) return first;
  return `${times === null ? 'many' : times} times from ${first} to ${timeText(until_at, zone)}`;
}

/** One table of a report. */
export interface Section {
  title: string;
  /** Said below the title. */
  notes: string[];
  header: string[];
  rows: string[][];
  /** Rows there are beyond those shown. */
  left: number;
}

/** More rows help nobody who reads; the report for programs has them all. */
const SHOWN = 500;

/** Every table but what waits, in the order of reading; those without rows are left out. Cells are plain text. */
export function sectionsOf(report: Report): Section[] {
  const zone = report.timezone;
  return [
    stepSection(report),
    sessionSection(report),
    mergeSection('Merged', report.merged),
    mergeSection('Not merged', report.refused),
    requestSection(report),
    moneySection(report),
    budgetSection(report),
    section(
      'Time lost to limits',
      ['Pool', 'Sessions', 'Waits', 'By the clock', 'Of all who waited'],
      report.lost_to_limits.map((each) => [
        ...[each.pool, String(each.sessions), String(each.times)],
        ...[durationText(each.wall_ms), durationText(each.session_ms)],
      ]),
    ),
    section(
      'Kills',
      ['When', 'Session', 'Turn', 'By', 'Why', 'Evidence', 'Turn ended as'],
      report.kills.map((kill) => [
        ...[timeText(kill.at, zone), kill.session_name, String(kill.turn), kill.by],
        ...[`${kill.cause ?? kill.end_cause ?? ''} (${kill.act})`, kill.evidence, kill.outcome ?? 'not ended'],
      ]),
    ),
    section(
      'Red gates',
      ['When', 'Session', 'Turn', 'Command', 'Why', 'End of its output'],
      report.gates
        .filter(({ verdict }) => verdict === 'red')
        .map((gate) => [
          ...[timeText(gate.at, zone), gate.session_name, String(gate.turn), gate.command ?? '', gate.reason ?? ''],
          lastLine(gate.output ?? ''),
        ]),
    ),
    section(
      'Retries',
      ['When', 'Step', 'Try', 'Because of'],
      report.retries.map((each) => [timeText(each.at, zone), each.step_id, String(each.round), each.cause ?? '']),
    ),
    section(
      'Turns that did not end well',
      ['Outcome', 'Turns'],
      report.bad_turns.map(({ outcome, turns }) => [outcome, String(turns)]),
    ),
    section(
      'Incidents',
      ['When', 'Id', 'Path', 'Between', 'State'],
      report.incidents.map((each) => [
        ...[timeText(each.at, zone), each.id, each.path, each.between.join(', ')],
        each.resolved_at === null ? `open${each.held === null ? '' : `, holds ${each.held}`}` : (each.resolution ?? ''),
      ]),
    ),
    section(
      'Missed times',
      ['Schedule', 'Due', 'What', 'Why'],
      report.missed.map((each) => [each.schedule, missedText(each, zone), each.state, each.reason ?? '']),
    ),
    section(
      'Window',
      ['When', 'What'],
      report.windows.map(({ event, at }) => [timeText(at, zone), event.replace('window_', '')]),
    ),
  ].filter(({ rows }) => rows.length > 0);
}

function section(title: string, header: string[], rows: string[][], notes: string[] = []): Section {
  return { title, header, rows: rows.slice(0, SHOWN), left: Math.max(0, rows.length - SHOWN), notes };
}

function lastLine(output: string): string {
  return output.split('\n').findLast((line) => line.trim() !== '') ?? '';
}

/** Commands shown of those that take failed steps up again. */
const WAYS_SHOWN = 5;

/** What takes a failed step up again, whose session does not wait for anybody (that would be told above). */
function wayBack({ kind, state, outcome, sessions }: ReportStep): string[] {
  if (kind !== 'task' || state !== 'failed' || outcome === 'sling') return [];
  const round = Math.max(0, ...sessions.map((each) => each.round));
  const last = sessions.filter((each) => each.round === round);
  if (last.some((each) => each.state === 'parked')) return [];
  const back = last.find((each) => each.state === 'failed' || each.state === 'stopped');
  if (back !== undefined) return [`drover resume ${quoted(back.name)}`];
  return last.length === 1 && last[0] !== undefined ? [`drover recover ${quoted(last[0].name)}`] : [];
}

function wayBackNotes({ plan, steps }: Report): string[] {
  if (plan === null || plan.state === 'cancelled' || plan.reason?.startsWith('internal: ')) return [];
  const ways = steps.flatMap(wayBack);
  if (ways.length === 0) return [];
  const more = ways.length > WAYS_SHOWN ? `; and ${ways.length - WAYS_SHOWN} more` : '';
  return [
    `A failed step goes on with its session, and what was left out because of it comes back: ${ways.slice(0, WAYS_SHOWN).join('; ')}${more}`,
  ];
}

/** What went wrong comes first when not all can be shown. */
function stepSection(report: Report): Section {
  const { steps } = report;
  const isBad = ({ state }: ReportStep) => state !== 'done' && state !== 'skipped';
  const shown = steps.length <= SHOWN ? steps : [...steps.filter(isBad), ...steps.filter((step) => !isBad(step))];
  const hasGates = steps.some(({ gates }) => gates.length > 0);
  const rows = shown.map((step) => [
    ...[step.kind === 'group' ? `${step.id} (group)` : step.id, step.state, whyText(step)],
    ...[step.kind === 'group' ? '' : String(step.tries), step.took_ms === null ? '' : durationText(step.took_ms)],
    ...[step.spent.turns === 0 ? '' : costText(step.spent), step.spent.turns === 0 ? '' : usedText(step.spent)],
    ...(hasGates ? [gatesText(step.gates)] : []),
    ...[step.sessions.map(({ name }) => name).join(', '), commitText(step.merged_commit)],
  ]);
  const gate = hasGates ? ['Gate'] : [];
  return section(
    'Steps',
    ['Step', 'State', 'Why', 'Tries', 'Took', 'Cost', 'Tokens', ...gate, 'Sessions', 'Merged as'],
    rows,
    wayBackNotes(report),
  );
}

function sessionSection({ sessions, plan }: Report): Section {
  const rows = sessions.map((each) => [
    ...[each.name, each.role, each.state, each.reason ?? '', durationText(each.took_ms), costText(each.spent)],
    ...[usedText(each.spent), gatesText(each.gates), commitText(each.merged_commit)],
  ]);
  const header = ['Session', 'Role', 'State', 'Why', 'Took', 'Cost', 'Tokens', 'Gate', 'Merged as'];
  return section(plan === null ? 'Sessions' : 'Other sessions', header, rows);
}

/** A merge that somebody else decides about; here it was only asked for. */
function requestSection({ steps }: Report): Section {
  const rows = steps
    .filter(({ kind, merge, state }) => kind === 'task' && merge === 'pr' && state === 'done')
    .map((step) => [step.id, step.branch ?? '', step.merged_commit === null ? 'asked for' : 'merged']);
  return section('Pull requests', ['Step', 'Branch', 'State'], rows);
}

function mergeSection(title: string, merges: Report['merged']): Section {
  const rows = merges.map((each) => [
    ...[each.step_id ?? each.session_name, each.branch, each.target],
    ...[
      title === 'Merged' ? commitText(each.commit) : `${each.outcome}${each.reason === null ? '' : `: ${each.reason}`}`,
    ],
    each.missing.length === 0 ? '' : `${count(each.missing.length, 'line')} missing`,
  ]);
  const header = ['Step', 'Branch', 'Into', title === 'Merged' ? 'As' : 'Why', 'Missing'];
  const hasMissing = merges.some(({ missing }) => missing.length > 0);
  return section(
    title,
    hasMissing ? header : header.slice(0, -1),
    hasMissing ? rows : rows.map((row) => row.slice(0, -1)),
  );
}

function moneySection(report: Report): Section {
  const line = (what: string, name: string, spent: Spent) => [
    ...[what, name, costText(spent), tokensText(spent.input_tokens), tokensText(spent.output_tokens)],
    ...[tokensText(spent.cache_read_tokens), String(spent.turns)],
  ];
  const rows = [
    line('all', '', report.spent),
    ...report.spent_by_model.map((each) => line('model', each.model ?? 'not named', each)),
    ...report.spent_by_pool.map((each) => line('pool', each.pool, each)),
  ];
  const header = ['Of', 'Name', 'Cost', 'Tokens in', 'Tokens out', 'From cache', 'Turns'];
  return section('Cost and tokens', header, report.spent.turns === 0 ? [] : rows, spentNotes(report));
}

function budgetSection({ budgets }: Report): Section {
  const rows = budgets.map((each) => [
    ...[each.scope, each.name],
    each.cost_micros === null ? '' : `${moneyText(each.spent_micros)} of ${moneyText(each.cost_micros)}`,
    each.tokens === null ? '' : `${tokensText(each.spent_tokens)} of ${tokensText(each.tokens)}`,
    each.raised_count === 0 ? '' : count(each.raised_count, 'time'),
  ]);
  const notes = budgets
    .filter(({ cost_micros, unpriced_turns }) => cost_micros !== null && unpriced_turns > 0)
    .map(
      ({ scope, name, unpriced_turns }) =>
        `The budget of the ${scope} ${name} could not hold in dollars: ${count(unpriced_turns, 'turn')} of which nobody knows what they cost counted as nothing.`,
    );
  return section('Budgets', ['Scope', 'Of', 'Cost', 'Tokens', 'Raised'], rows, notes);
}
