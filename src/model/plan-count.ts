import type { StepRow, StepState } from './plan-step.ts';

/** Steps that are carried out, by what became of them. */
export type StepCounts = Record<StepState, number> & { total: number };

/**
 * What is carried out: a group is its members, as soon as it has any, and one step before that; so one whose list was never
 * told, or was none, has failed like any other. `dropped`: items of lists beyond their caps, which nobody worked on.
 */
export function countSteps(steps: readonly Pick<StepRow, 'step_id' | 'group_id' | 'state' | 'dropped'>[]): {
  counts: StepCounts;
  dropped: number;
} {
  const parents = new Set(steps.map(({ group_id }) => group_id));
  const counts: StepCounts = {
    ...{ pending: 0, running: 0, parked: 0, merging: 0, done: 0, failed: 0, skipped: 0, cancelled: 0, total: 0 },
  };
  let dropped = 0;
  for (const step of steps) {
    dropped += step.dropped;
    if (parents.has(step.step_id)) continue;
    counts[step.state] += 1;
    counts.total += 1;
  }
  return { counts, dropped };
}

type Span = Pick<StepRow, 'state' | 'started_at' | 'ended_at'>;

/**
 * A group with members as people see it: it runs as soon as one of them was begun, from the first that was begun on. Its own
 * row says when it was decided about, which is all at once for a matrix.
 */
export function groupSpan(group: Span, members: readonly Span[]): Span {
  const begun = members.flatMap(({ started_at }) => (started_at === null ? [] : [started_at]));
  if (begun.length === 0) return group;
  const started_at = begun.reduce((first, at) => Math.min(first, at), group.started_at ?? Number.POSITIVE_INFINITY);
  return { state: group.state === 'pending' ? 'running' : group.state, started_at, ended_at: group.ended_at };
}
