import { beforeAll, expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MailRow } from '../../src/model/mail.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { errorOf, peek, promptOf, sessionOf, turnsOf, untilState } from '../support/peek.ts';
import { until } from '../support/until.ts';

let bench: Bench;

beforeAll(() => {
  const prices = { rehearsal: { input: 2, output: 10 } };
  bench = droverBench({ config: { prices, turn: { max_attempts: 1, sigkill_delay_ms: 300 } } });
});

const used = (input_tokens: number, output_tokens: number) => ({ usage: { input_tokens, output_tokens } });
const mails = () =>
  peek<MailRow>(bench, "SELECT * FROM mail WHERE to_id IS NULL AND from_name = 'drover' ORDER BY seq");

test('the turn that crosses its budget is ended in the middle, its work kept, the operator asked; raised, it goes on (E-120…E-126)', async () => {
  const turns = [
    [
      { write: { path: 'half.txt', content: 'half' } },
      used(50_000, 1_000),
      { say: 'half way' },
      { sleep: 300 },
      used(60_000, 1_000),
      { hang: {} },
    ],
    [{ run: 'cat half.txt > whole.txt' }, used(10, 10), { say: 'all of it' }],
  ];
  const task = `rehearsal-script: ${bench.script('half', { turns })}`;
  const limits = ['--budget-usd', '0.20', '--budget-tokens', '100000'];
  await bench.run(['sling', '--harness', 'rehearsal', '--worktree', '--name', 'half', ...limits, task]);
  const parked = await untilState(bench, 'half', 'parked');
  expect([parked.parked_reason, parked.parked_evidence]).toEqual([
    'budget',
    expect.stringContaining('$0.24 of $0.20, 112000 of 100000 tokens'),
  ]);
  const turn = await until('its turn is over', () => turnsOf(bench, 'half').find(({ ended_at }) => ended_at !== null));
  // 110,000 tokens in at 2 dollars a million and 2,000 out at 10.
  expect(turn).toMatchObject({ outcome: 'cancelled', tree_empty: 1, cost_micros: 240_000, is_cost_estimated: 1 });
  expect(readFileSync(join(parked.worktree_path ?? '', 'half.txt'), 'utf8')).toBe('half');
  const question = mails().find(({ type }) => type === 'question');
  expect(question?.body).toContain('drover budget raise session half --usd 0.20 --tokens 100000 --resume');
  expect((await bench.run(['wait', 'half'])).code).toBe(75);
  const refusal = await bench.run(['--json', 'resume', 'half']);
  expect([refusal.code, errorOf(refusal).code]).toEqual([3, 'budget_spent']);
  expect((await bench.json<{ spent: unknown[] }>(['resume', '--all'])).spent).toMatchObject([{ name: 'half' }]);
  const listed = await bench.run(['budget']);
  expect(listed.stdout).toMatch(
    /session +half +\$0\.24 of \$0\.20, 112000 of 100000 tokens +120 +1 +drover budget raise session half --usd 0\.20 --tokens 100000 --resume/,
  );

  const command = (question?.body ?? '').split('\n').find((line) => line.includes('budget raise'));
  const raised = await bench.json<{ resumed: string[]; budget: unknown }>(command?.trim().split(' ').slice(1) ?? []);
  expect(raised).toMatchObject({ resumed: ['half'], budget: { cost_micros: 400_000, tokens: 200_000 } });
  await untilState(bench, 'half', 'completed');
  expect(promptOf(bench, 'half', 2)).toContain('the budget of the session half is spent');
  expect(existsSync(join(parked.worktree_path ?? '', 'whole.txt'))).toBe(true);
  expect(sessionOf(bench, 'half')).toMatchObject({ cost_micros: 240_120, turn: 2 });
  expect((await bench.run(['show', 'half'])).stdout).toContain('~$0.2400');
}, 60_000);

test('bad words change nothing; names are resolved; list, set and rm say what is so', async () => {
  const run = async (...args: string[]) => {
    const ran = await bench.run(['--json', 'budget', ...args]);
    return [ran.code, ran.code === 0 ? '' : errorOf(ran).code];
  };
  const before = peek(bench, 'SELECT * FROM budgets');
  for (const bad of ['0', '-1', 'NaN', '1e9', '0.0000001', '', 'free', '99999999999'])
    expect([bad, await run('set', 'global', `--usd=${bad}`)]).toEqual([bad, [2, 'usage']]);
  for (const bad of ['0', '-5', '1.5', 'many', '9999999999999999'])
    expect([bad, await run('set', 'global', `--tokens=${bad}`)]).toEqual([bad, [2, 'usage']]);
  expect(await run('set', 'global')).toEqual([2, 'usage']);
  expect(await run('set', 'global', 'today', '--usd', '1')).toEqual([2, 'usage']);
  expect(await run('set', 'run', '--usd', '1')).toEqual([2, 'usage']);
  expect(await run('set', 'planet', 'earth', '--usd', '1')).toEqual([2, 'usage']);
  expect(await run('set', 'run', 'nobody', '--usd', '1')).toEqual([4, 'run_not_found']);
  expect(await run('set', 'session', 'nobody', '--usd', '1')).toEqual([4, 'session_not_found']);
  expect(await run('set', 'profile', 'nobody', '--usd', '1')).toEqual([2, 'unknown_profile']);
  expect(await run('raise', 'global', '--usd', '1')).toEqual([4, 'budget_not_found']);
  expect(await run('rm', 'global')).toEqual([4, 'budget_not_found']);
  expect(peek(bench, 'SELECT * FROM budgets')).toEqual(before);

  const set = await bench.run(['budget', 'set', 'global', '--usd', '$0.000001']);
  expect(set.stdout).toContain('the budget of the day: $0.000001; $0.24012 of $0.000001 spent');
  const { budgets } = await bench.json<{ budgets: Record<string, unknown>[] }>(['budget', 'list', '--all']);
  expect(budgets).toMatchObject([
    { scope: 'global', name: 'default', is_cost_spent: true, is_token_spent: false, parked_count: 0 },
    { scope: 'session', name: 'half', is_over: true, percent: expect.any(Number) },
  ]);
  // Nothing starts on such a day.
  const { session } = await bench.json<{ session: SessionRow }>(['sling', '--harness', 'rehearsal', 'late']);
  expect(await untilState(bench, session.name, 'parked')).toMatchObject({ parked_reason: 'budget', turn: 0 });
  const removed = await bench.run(['budget', 'rm', 'global']);
  expect(removed.stdout).toBe('the budget of the day: taken away\n1 stay parked: drover resume --all\n');
  await bench.json(['resume', '--all']);
  await untilState(bench, session.name, 'completed');
}, 60_000);
