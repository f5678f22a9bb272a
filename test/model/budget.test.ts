import { expect, test } from 'bun:test';
import { type BudgetRow, moneyText, percentSpent, raiseCommand, spendingText } from '../../src/model/budget.ts';

const row = (cost_micros: number | null, tokens: number | null): BudgetRow => ({
  ...{ scope: 'session', key: 'agent-1', cost_micros, tokens },
  ...{ alerted_percent: 0, raised_count: 0, created_at: 1, updated_at: 1 },
});

test('money is written exactly, with at least two decimals', () => {
  expect([0, 1, 240_120, 1_500_000, 12_000_000, 1e15].map(moneyText)).toEqual([
    ...['$0.00', '$0.000001', '$0.24012', '$1.50', '$12.00', '$1000000000.00'],
  ]);
});

test('only bounded sides are told, and of a spent budget only those that are spent', () => {
  const spent = { cost_micros: 500_000, tokens: 120 };
  expect(spendingText(row(1_000_000, 100), spent)).toBe('$0.50 of $1.00, 120 of 100 tokens');
  expect(spendingText(row(1_000_000, 100), spent, 100)).toBe('120 of 100 tokens');
  expect(spendingText(row(null, 100), spent)).toBe('120 of 100 tokens');
});

test('the proposed raise always leaves something to spend', () => {
  for (const [bound, used] of [
    [100, 100],
    [100, 120],
    [100, 199],
    [100, 200],
    [100, 350],
    [1, 1_000_000],
  ] as const) {
    const spent = { cost_micros: used, tokens: used };
    const command = raiseCommand({ budget: row(bound, bound), name: "o'neil", spent });
    const [, usd = '', tokens = ''] =
      /^drover budget raise session 'o'\\''neil' --usd (\S+) --tokens (\S+)$/.exec(command) ?? [];
    const raised = row(bound + Math.round(Number(usd) * 1e6), bound + Number(tokens));
    expect([command, percentSpent(raised, spent) ?? 100]).toEqual([command, expect.any(Number)]);
    expect(percentSpent(raised, spent) ?? 100).toBeLessThan(100);
  }
});
