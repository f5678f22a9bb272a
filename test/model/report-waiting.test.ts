import { describe, expect, test } from 'bun:test';
import type { BudgetRow } from '../../src/model/budget.ts';
import type { PlanState } from '../../src/model/plan.ts';
import { buildReport } from '../../src/model/report-build.ts';
import type { ReportRows, ReportSessionRow } from '../../src/model/report-rows.ts';
import {
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
const open = (state: PlanState, more = {}) => planRow({ state, ended_at: null, ...more });

describe('what waits, and the command that moves it on', () => {
  const parked = (more: Partial<ReportSessionRow>) => sessionRow('ewe', { state: 'parked', ...more });
  const pool = {
    reason: 'usage_limit',
    evidence: null,
    blocked_at: EVENING,
    retry_at: null,
    strikes: 1,
    struck_at: null,
  };
  const rest = { opened_at: null, probe_id: null, updated_at: EVENING };
  const waitingOf = (more: Partial<ReportRows>) =>
    buildReport(
      rowsOf({ plan: open('active'), steps: [stepRow('s0', { state: 'running', ended_at: null })], ...more }),
      NOW,
    ).waiting;

  test('a gate: resume with a word; and what it was told', () => {
    const evidence = JSON.stringify({ kind: 'gate', text: 'gate `npm test`: exit code 1' });
    const [wait] = waitingOf({
      sessions: [parked({ parked_reason: 'gate', parked_evidence: evidence })],
      states: stateRows('ewe', [
        [1, 'working'],
        [3, 'parked'],
        [7, 'working'],
        [9, 'parked'],
        [10, 'parked'],
      ]),
      step_sessions: [tryRow('s0', 'ewe')],
    });
    expect(wait).toMatchObject({
      ...{ kind: 'session', name: 'ewe', step_id: 's0', reason: 'gate', evidence: 'gate `npm test`: exit code 1' },
      ...{ since_at: min(9), by_itself: false, commands: ["drover resume ewe --text 'what to change'"] },
    });
  });

  test('a budget: the one that is spent is raised by what it was, and who it parked goes on with it', () => {
    const budget = { scope: 'run' as const, key: 'run-a', cost_micros: 1_500_000, tokens: null, alerted_percent: 100 };
    const budgets = [{ ...budget, raised_count: 0, created_at: EVENING, updated_at: EVENING }];
    const spent = { cost_micros: 1_600_000, tokens: 5 };
    const told = JSON.stringify({ kind: 'budget', text: 'spent', scope: 'run', key: 'run-a', spent });
    const sessions = [parked({ parked_reason: 'budget', parked_evidence: told })];
    expect(waitingOf({ sessions, budgets })[0]?.commands).toEqual([
      'drover budget raise run run-a --usd 1.50 --resume',
    ]);
    // It was raised meanwhile: what is left to do is to let the session go on.
    const raised = [{ ...budget, raised_count: 1, created_at: 1, updated_at: 1, cost_micros: 9_000_000 }];
    expect(waitingOf({ sessions, budgets: raised })[0]?.commands).toEqual(['drover resume ewe']);
    const memory = [parked({ parked_reason: 'budget', parked_evidence: '{"kind":"memory","text":"2 GB"}' })];
    expect(waitingOf({ sessions: memory, budgets })[0]).toMatchObject({
      evidence: '2 GB',
      commands: ['drover resume ewe'],
    });
    const turns = [turnRow('ewe', { cost_micros: 1_500_000 })];
    const [plan] = waitingOf({
      plan: open('parked', { reason: 'budget' }),
      budgets,
      turns,
      sessions: [parked({ state: 'idle' })],
    });
    expect(plan).toMatchObject({
      kind: 'plan',
      reason: 'budget',
      commands: ['drover budget raise run run-a --usd 1.50'],
    });
  });

  test('a budget that holds a plan and its sessions is raised by one command, told once', () => {
    const budget = { scope: 'run' as const, key: 'run-a', cost_micros: 100_000, tokens: null, alerted_percent: 100 };
    const budgets: BudgetRow[] = [{ ...budget, raised_count: 0, created_at: EVENING, updated_at: EVENING }];
    const told = (cost_micros: number) =>
      JSON.stringify({ text: 'spent', scope: 'run', key: 'run-a', spent: { cost_micros, tokens: 5 } });
    const held = (id: string, cost_micros: number) =>
      sessionRow(id, { state: 'parked', parked_reason: 'budget', parked_evidence: told(cost_micros) });
    const sessions = [held('a', 110_000), held('b', 350_000)];
    const commands = (more: Partial<ReportRows>) =>
      waitingOf({ budgets, sessions, ...more }).map((each) => [each.name, each.commands, each.goes_on_with]);
    // By so much that it is enough for what the one that saw most had seen.
    const raise = 'drover budget raise run run-a --usd 0.30 --resume';
    expect(commands({})).toEqual([
      ['a', [raise], null],
      ['b', [], 'a'],
    ]);
    const turns = [turnRow('a', { cost_micros: 350_000 })];
    expect(commands({ plan: open('parked', { reason: 'budget' }), turns })).toEqual([
      ['night', [raise], null],
      ['a', [], 'night'],
      ['b', [], 'night'],
    ]);
    const own: BudgetRow = {
      ...budget,
      ...{ raised_count: 0, created_at: 1, updated_at: 1, scope: 'session', key: 'b' },
    };
    const mine = sessionRow('b', {
      ...{ state: 'parked', parked_reason: 'budget' },
      parked_evidence: JSON.stringify({ scope: 'session', key: 'b', spent: { cost_micros: 100_000, tokens: 5 } }),
    });
    expect(commands({ budgets: [...budgets, own], sessions: [held('a', 110_000), mine] })).toEqual([
      ['a', ['drover budget raise run run-a --usd 0.10 --resume'], null],
      ['b', ['drover budget raise session b --usd 0.10 --resume'], null],
    ]);
  });

  test('an open incident goes before anything else', () => {
    const incident = {
      ...{ id: 'incident-a', key: 'k', repo_root: '/farm', kind: 'overlap' as const, path: 'a.ts' },
      ...{ first_session_id: 'ewe', second_session_id: 'other', first_action: null, second_action: null },
      ...{ active_session_id: 'other', paused_session_id: 'ewe', strategy: 'escalate' as const, summary: 'both wrote' },
      ...{ prediction_json: null, created_at: EVENING, updated_at: EVENING, resolved_at: null, resolution: null },
    };
    const report = buildReport(
      rowsOf({ sessions: [parked({ parked_reason: 'conflict' })], incidents: [incident] }),
      NOW,
    );
    expect(report.waiting[0]?.commands).toEqual([
      'drover incident show incident-a',
      "drover incident resolve incident-a 'how' --resume",
    ]);
    expect(report.incidents).toMatchObject([{ between: ['ewe', 'other'], held: 'ewe', resolved_at: null }]);
  });

  test('a limit says when it goes on by itself, or who must let it', () => {
    const at = (more: Partial<ReportSessionRow>, more_rows: Partial<ReportRows> = {}) =>
      waitingOf({ sessions: [parked({ parked_reason: 'usage_limit', ...more })], ...more_rows })[0];
    expect(at({ resume_at: min(600) })).toMatchObject({ by_itself: true, resumes_at: min(600), commands: [] });
    expect(at({ resume_at: min(400) })).toMatchObject({ resumes_at: NOW });
    const blocked = { ...pool, ...rest, name: 'my pool', state: 'blocked' as const };
    expect(at({ parked_pool: 'my pool' }, { pools: [{ ...blocked, opens_at: min(700) }] })).toMatchObject({
      ...{ by_itself: true, resumes_at: min(700), commands: [] },
    });
    expect(at({ parked_pool: 'my pool' }, { pools: [{ ...blocked, opens_at: null }] })).toMatchObject({
      ...{ by_itself: false, commands: ["drover pools release 'my pool'"] },
    });
    const [plan] = waitingOf({
      plan: open('parked', { reason: 'pool' }),
      pools: [{ ...blocked, opens_at: null }],
    });
    expect(plan?.commands).toEqual(["drover pools release 'my pool'"]);
  });

  test('a question is answered, whether it parked its session or not', () => {
    const questions = [{ id: 'mail-q', from_id: 'ewe', subject: 'Which database?', created_at: min(3) }];
    for (const session of [parked({ parked_reason: 'question' }), sessionRow('ewe', { state: 'idle' })])
      expect(waitingOf({ sessions: [session], questions })[0]).toMatchObject({
        ...{ reason: 'question', commands: ["drover mail reply mail-q --body 'your answer'"] },
      });
    expect(waitingOf({ sessions: [sessionRow('ewe', { state: 'working' })], questions })).toEqual([]);
  });

  test('a person’s word, and a name that a shell would read in another way', () => {
    const sessions = [parked({ parked_reason: 'operator', name: '$(rm -rf ~)' })];
    expect(waitingOf({ sessions })[0]?.commands).toEqual(["drover resume '$(rm -rf ~)'"]);
    expect(waitingOf({ plan: open('paused') })[0]).toMatchObject({
      kind: 'plan',
      commands: ['drover plan resume plan-a'],
    });
  });

  test('a merge that was refused', () => {
    const steps = [stepRow('s0', { state: 'parked', session_id: 'ewe', ended_at: null })];
    const merges = [mergeRow('ewe', { outcome: 'conflict', merged_commit: null, reason: 'a.ts' })];
    const report = buildReport(rowsOf({ plan: open('parked'), steps, merges, sessions: [sessionRow('ewe')] }), NOW);
    expect(report.waiting).toMatchObject([
      { kind: 'step', step_id: 's0', reason: 'conflict', commands: ['drover rebase ewe', 'drover merge ewe'] },
    ]);
    expect(report.refused).toMatchObject([{ outcome: 'conflict', reason: 'a.ts', step_id: null }]);
    expect(report.merged).toEqual([]);
  });

  test('a merge that was refused before it was tried goes on by the plan, when what refused it is put right', () => {
    const held = (mode: string, reason: string) => {
      const steps = [
        stepRow('s0', {
          ...{ state: 'parked', session_id: 'ewe', ended_at: null, reason },
          spec_json: JSON.stringify({ merge: mode }),
        }),
      ];
      const sessions = [sessionRow('ewe', { worktree_path: '/farm/my trees/ewe' })];
      return waitingOf({ plan: open('parked'), steps, sessions });
    };
    const commit = [
      "git -C '/farm/my trees/ewe' status --short",
      "git -C '/farm/my trees/ewe' add --all && git -C '/farm/my trees/ewe' commit -m 'what is left'",
    ];
    const dirty = 'the worktree of ewe has uncommitted changes';
    expect(held('queue', dirty)).toMatchObject([
      { reason: 'merge', evidence: dirty, commands: [...commit, 'drover plan resume plan-a'] },
    ]);
    const own = 'its worktree has changes that are not committed: a.ts';
    expect(held('pr', own)).toMatchObject([
      { reason: 'pull request', evidence: own, commands: [...commit, 'drover plan resume plan-a'] },
    ]);
    expect(held('pr', 'merge.pr_command exit code 1')[0]?.commands).toEqual(['drover plan resume plan-a']);
    expect(held('queue', '/farm is on main and has changes of its own')[0]?.commands).toEqual([
      'drover plan resume plan-a',
    ]);
  });
});
