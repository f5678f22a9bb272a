import type { Forecast, Range } from '../model/forecast.ts';
import type { PlanSettings } from '../model/plan.ts';
import { age, clip, dollars, paint, table } from './output.ts';

/** How wide a plan can really go: the least of these. */
export interface Slots {
  concurrency: number;
  /** Of this machine, for all repositories. */
  max_live_sessions: number;
  /** Of this repository; null: no step has a worktree. */
  max_worktrees: number | null;
}

const NAMES = 8;

/** What a plan will come to, for people. */
export function forecastText(input: {
  settings: PlanSettings;
  forecast: Forecast;
  slots: Slots;
  caps: Readonly<Record<string, number>>;
}): string {
  const { settings, forecast, slots, caps } = input;
  const { sessions, longest_path, without_history } = forecast;
  const count = forecast.steps.length;
  const rows = [
    [
      'Sessions',
      sessions.least === sessions.most ? `${sessions.least}` : `${sessions.least}, at most ${sessions.most}`,
    ],
    ['Slots', slotsText(slots)],
    ['Longest path', `${pathText(longest_path.steps)}${rangeText('  ', longest_path.took_ms, age, '')}`],
    ['Cost', rangeText('', forecast.cost_micros, dollars, 'no history')],
    ['Time', rangeText('', forecast.took_ms, age, 'no history')],
    ['Pools', forecast.pools.map((each) => poolText(each, caps)).join(', ')],
    ['Budget', budgetText(settings)],
    ['Window', windowText(settings)],
    ['No history', without_history.length === 0 ? '' : `${named(without_history)} (left out of cost and time)`],
  ].filter(([, value]) => value !== '');
  const head = `${paint('bold', settings.name)}: ${count} ${count === 1 ? 'step' : 'steps'}, no mistakes`;
  return `${head}\n${table(rows.map(([label = '', value = '']) => [paint('dim', label), value]))}`;
}

function slotsText({ concurrency, max_live_sessions, max_worktrees }: Slots): string {
  const least = Math.min(concurrency, max_live_sessions, max_worktrees ?? concurrency);
  const bounds = [`plan ${concurrency}`, `machine ${max_live_sessions}`];
  if (max_worktrees !== null) bounds.push(`worktrees ${max_worktrees}`);
  return `${least} side by side (${bounds.join(', ')})`;
}

function pathText(steps: readonly string[]): string {
  const told = steps.length <= NAMES ? steps : [...steps.slice(0, 4), '…', ...steps.slice(-3)];
  return `${steps.length}: ${told.join(' -> ')}`;
}

function rangeText(before: string, { median, worst }: Range, text: (value: number) => string, none: string): string {
  if (median === null || worst === null) return none;
  return `${before}${text(median)} as a rule, ${text(worst)} at worst`;
}

function poolText(
  { pool, sessions }: { pool: string; sessions: number },
  caps: Readonly<Record<string, number>>,
): string {
  const cap = Object.hasOwn(caps, pool) ? ` (${caps[pool]} at a time)` : '';
  return `${pool}: ${sessions} ${sessions === 1 ? 'session' : 'sessions'}${cap}`;
}

function budgetText({ budget }: PlanSettings): string {
  if (budget === null) return '';
  const parts = [budget.cost_micros === null ? '' : dollars(budget.cost_micros)];
  if (budget.tokens !== null) parts.push(`${budget.tokens} tokens`);
  return parts.filter((part) => part !== '').join(', ');
}

function windowText({ window }: PlanSettings): string {
  if (window === null) return '';
  const then = window.running === 'park' ? 'running turns are parked' : 'running turns finish';
  return `${window.start} to ${window.stop} ${window.timezone}; then ${then}`;
}

function named(ids: readonly string[]): string {
  const more = ids.length > NAMES ? `, and ${ids.length - NAMES} more` : '';
  return clip(`${ids.slice(0, NAMES).join(', ')}${more}`, 200);
}
