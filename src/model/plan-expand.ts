import type { ExpandedStep, PlanStep, Scalar } from './plan.ts';
import { fillGate } from './plan-gate.ts';
import { fillHoles, holesOf } from './plan-hole.ts';

/** How many sessions' worth of steps a step comes to: its combinations, or the most items its list may have. */
export function sizeOf({ matrix, foreach }: Pick<PlanStep, 'matrix' | 'foreach'>): number {
  if (matrix !== null) return Object.values(matrix).reduce((product, list) => product * list.length, 1);
  return foreach?.max ?? 1;
}

/**
 * A step as it is carried out: itself; or one step per combination of its matrix (`id.1` …; the last list varies
 * fastest) and the group that holds them; or, of a step with foreach, the group alone, whose members come later.
 */
export function expandStep(step: PlanStep, variables: Readonly<Record<string, string>>): ExpandedStep[] {
  const plain = filled(step, pick(step, variables));
  if (step.matrix !== null) {
    const members = combinations(step.matrix).map((values, n) => ({
      ...filled(step, { ...plain.values, ...values }),
      id: `${step.id}.${n + 1}`,
      group_id: step.id,
      gate: filledGate(step.gate, { ...plain.values, ...values }),
    }));
    return [...members, { ...plain, kind: 'group', harness: null, profile: null, role: null, base: null }];
  }
  return [
    step.foreach === null ? { ...plain, gate: filledGate(step.gate, plain.values) } : { ...plain, kind: 'group' },
  ];
}

/** Once, when all values are known: what was put in opens no holes. */
function filledGate(gate: string[] | null, values: Record<string, string>): string[] | null {
  const map = new Map(Object.entries(values));
  return gate === null ? null : gate.map((command) => fillGate(command, map));
}

/** Members of a step with foreach, for the items of the list. */
export function membersOf(group: ExpandedStep, items: readonly string[]): ExpandedStep[] {
  return items.map((item, n) => {
    const values = { ...group.values, 'foreach.item': item, 'foreach.index': String(n + 1) };
    return {
      ...group,
      id: `${group.id}.${n + 1}`,
      kind: 'task',
      group_id: group.id,
      foreach: null,
      gate: filledGate(group.gate, values),
      values,
    };
  });
}

/** The variables a step asks for. */
function pick(step: PlanStep, variables: Readonly<Record<string, string>>): Record<string, string> {
  const { task, inputs, harness, profile, role, base, gate } = step;
  const texts = [task, ...Object.values(inputs), harness, profile, role, base, ...(gate ?? [])];
  const keys = texts.flatMap((text) => holesOf(text ?? '').filter(({ kind }) => kind === 'variable'));
  return Object.fromEntries(
    keys.filter(({ key }) => Object.hasOwn(variables, key)).map(({ key }) => [key, variables[key] ?? '']),
  );
}

function filled(step: PlanStep, values: Record<string, string>): ExpandedStep {
  const { matrix: _matrix, ...rest } = step;
  const map = new Map(Object.entries(values));
  const fill = (text: string | null) => (text === null ? null : fillHoles(text, map).text);
  return {
    ...rest,
    harness: fill(step.harness),
    profile: fill(step.profile),
    role: fill(step.role),
    base: fill(step.base),
    // What is kept apart from others has to have a place of its own.
    worktree: step.worktree ?? (step.attempts > 1 || step.merge !== 'none' ? true : null),
    kind: 'task',
    group_id: null,
    values,
  };
}

function combinations(matrix: Record<string, Scalar[]>): Record<string, string>[] {
  let all: Record<string, string>[] = [{}];
  for (const [name, list] of Object.entries(matrix)) {
    all = all.flatMap((values) => list.map((value) => ({ ...values, [`matrix.${name}`]: String(value) })));
  }
  return all;
}
