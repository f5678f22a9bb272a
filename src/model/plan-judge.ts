import type { PlanFacts, SessionFact, StepFact } from './plan-facts.ts';

/** What nobody has worked on although all steps are done; null: nothing. */
export function leftOut(steps: readonly StepFact[]): string | null {
  const capped = steps.filter(({ dropped }) => dropped > 0);
  const told = capped.map(({ id, dropped }) => `${dropped} ${dropped === 1 ? 'item' : 'items'} of ${id}`);
  return told.length === 0 ? null : `${told.join(', ')} left out`;
}

/** Fewer changed lines, then the lower slot; a size that nobody knows comes last. */
export function isBetter(a: SessionFact, b: SessionFact): boolean {
  const [x, y] = [a.diff_lines ?? Number.POSITIVE_INFINITY, b.diff_lines ?? Number.POSITIVE_INFINITY];
  return x < y || (x === y && a.slot < b.slot);
}

export function isSpent(spent: PlanFacts['spent'], budget: PlanFacts['plan']['budget']): boolean {
  if (budget === null) return false;
  const { cost_micros, tokens } = budget;
  return (cost_micros !== null && spent.cost_micros >= cost_micros) || (tokens !== null && spent.tokens >= tokens);
}
