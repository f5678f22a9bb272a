import { NAME } from './id.ts';
import { type ExpandedStep, PLAN_LIMITS, type PlanFile, type PlanStep } from './plan.ts';
import { expandStep, sizeOf } from './plan-expand.ts';
import { gateProblem } from './plan-gate.ts';
import { cyclesOf, orderOf } from './plan-graph.ts';
import { type Hole, holesOf, scanHoles } from './plan-hole.ts';
import type { PlanIssue } from './plan-schema.ts';
import { similar } from './similar.ts';

/** Names that exist on this machine; what is left out is not checked. */
export interface Known {
  profiles?: ReadonlySet<string>;
  harnesses?: ReadonlySet<string>;
  roles?: ReadonlySet<string>;
  /** Asked of names in `roles`: a session with such a role rests when its work is done, and never ends. */
  is_persistent?: (role: string) => boolean;
  /** Of a step that names none. */
  default_role?: string;
  /** Whether the settings say how a pull request is opened. */
  can_open_pr?: boolean;
}

export interface CheckedPlan {
  /** Needs before those that need them, a group after its members. Empty when there are issues. */
  steps: ExpandedStep[];
}

/** Names of a cycle that are told; the rest is counted. */
const NAMES_TOLD = 250;

/**
 * What the plan means: needs, cycles, holes, names, and how many steps it comes to. Every problem at once; pure.
 */
export function checkPlan(
  file: PlanFile,
  variables: Readonly<Record<string, string>>,
  known: Known,
): CheckedPlan & { issues: PlanIssue[] } {
  const issues: PlanIssue[] = [];
  const byId = idsOf(file.steps, issues);
  const needs = file.steps.map((step, i) => needsOf(step, i, byId, issues));
  for (const cycle of cyclesOf(needs)) issues.push(cycleIssue(file.steps, cycle));
  file.steps.forEach((step, i) => {
    const check = new StepCheck(step, i, { steps: file.steps, byId, variables, known, issues });
    check.rules();
    check.holes();
  });
  const total = file.steps.reduce((sum, step) => sum + sizeOf(step), 0);
  if (total > PLAN_LIMITS.steps)
    issues.push({ path: ['steps'], message: `comes to ${total} steps, which are more than ${PLAN_LIMITS.steps}` });
  else namesIssues(file.steps, variables, known, issues);
  if (issues.length > 0) return { issues, steps: [] };
  const steps = orderOf(needs).flatMap((i) => {
    const step = file.steps[i];
    return step === undefined ? [] : expandStep(step, variables);
  });
  return { issues, steps };
}

function idsOf(steps: readonly PlanStep[], issues: PlanIssue[]): Map<string, number> {
  const byId = new Map<string, number>();
  const repeated = new Map<string, number>();
  steps.forEach(({ id, matrix, foreach }, i) => {
    const first = byId.get(id);
    if (first === undefined) byId.set(id, i);
    else issues.push({ path: ['steps', i, 'id'], message: `the id ${id} is taken by step ${first + 1} of this plan` });
    if (matrix === null && foreach === null) return;
    repeated.set(id, i);
    if (id.length > 58)
      issues.push({ path: ['steps', i, 'id'], message: 'the id of a step that is repeated may have 58 characters' });
  });
  for (const [id, i] of byId) {
    const group = /^(.+)\.\d+$/.exec(id)?.[1];
    if (group !== undefined && repeated.has(group))
      issues.push({ path: ['steps', i, 'id'], message: `the id ${id} is that of a repetition of the step ${group}` });
  }
  return byId;
}

/** The indexes a step waits for, the list it is repeated for included. */
function needsOf(step: PlanStep, i: number, byId: ReadonlyMap<string, number>, issues: PlanIssue[]): number[] {
  const found = new Set<number>();
  const add = (id: string, path: (string | number)[]) => {
    const at = byId.get(id);
    if (at === undefined) issues.push({ path, message: unknown('step', id, near(byId, issues)) });
    else found.add(at);
  };
  const seen = new Set<string>();
  step.needs.forEach((id, n) => {
    const path = ['steps', i, 'needs', n];
    if (seen.has(id)) issues.push({ path, message: `needs ${id} twice` });
    else add(id, path);
    seen.add(id);
  });
  if (step.foreach !== null) add(step.foreach.step, ['steps', i, 'foreach']);
  return [...found];
}

function unknown(what: string, name: string, known: Iterable<string>): string {
  const near = similar(name, known);
  return `there is no ${what} ${JSON.stringify(name.slice(0, 80))}${near === null ? '' : `; did you mean ${near}?`}`;
}

function cycleIssue(steps: readonly PlanStep[], cycle: readonly number[]): PlanIssue {
  const names = [...cycle, cycle[0] ?? 0].map((at) => steps[at]?.id ?? '');
  const told =
    names.length <= NAMES_TOLD ? names : [...names.slice(0, NAMES_TOLD), `… ${names.length - NAMES_TOLD} more`];
  const first = cycle[0] ?? 0;
  const n = steps[first]?.needs.indexOf(names[1] ?? '') ?? -1;
  const path = n < 0 ? ['steps', first] : ['steps', first, 'needs', n];
  const who = cycle.length === 1 ? 'it waits for itself' : `these ${cycle.length} wait for one another`;
  return { path, message: `${who}: ${told.join(' -> ')}` };
}

interface Around {
  steps: readonly PlanStep[];
  byId: ReadonlyMap<string, number>;
  variables: Readonly<Record<string, string>>;
  known: Known;
  issues: PlanIssue[];
}

class StepCheck {
  readonly #step: PlanStep;
  readonly #at: (string | number)[];
  readonly #around: Around;

  constructor(step: PlanStep, i: number, around: Around) {
    this.#step = step;
    this.#at = ['steps', i];
    this.#around = around;
  }

  #tell(path: (string | number)[], message: string, is_shared = false): void {
    this.#around.issues.push({ path: [...this.#at, ...path], message, is_shared });
  }

  /** Keys that do not go together. */
  rules(): void {
    const { matrix, foreach, worktree, base, attempts, merge, needs, when } = this.#step;
    if (matrix !== null && foreach !== null) this.#tell(['foreach'], 'a step has a matrix or a foreach, not both');
    if (worktree === false && attempts > 1) this.#tell(['attempts'], 'attempts side by side need a worktree each');
    if (worktree === false && base !== null) this.#tell(['base'], 'what starts from a base needs a worktree');
    if (worktree === false && merge !== 'none') this.#tell(['merge'], 'what is to be merged needs a worktree');
    if (merge === 'pr' && this.#around.known.can_open_pr === false)
      this.#tell(['merge'], 'pr needs the setting merge.pr_command', true);
    if (when === 'any_failed' && needs.length === 0 && foreach === null)
      this.#tell(['when'], 'any_failed never comes true for a step without needs');
    if (when !== 'all_ok' && foreach !== null) this.#tell(['when'], 'a step with foreach needs its list: only all_ok');
  }

  /** Every hole has something that will fill it, and every input a hole (E-072). */
  holes(): void {
    const { task, inputs, harness, profile, role, base } = this.#step;
    const asked = new Set<string>();
    for (const hole of this.#scan(task, ['task'])) {
      asked.add(hole.key);
      this.#checkHole(hole, ['task'], ['steps', 'inputs', 'matrix', 'foreach', 'variable']);
    }
    for (const [name, text] of Object.entries(inputs)) {
      const path = ['inputs', name];
      for (const hole of this.#scan(text, path))
        this.#checkHole(hole, path, ['steps', 'matrix', 'foreach', 'variable']);
      if (!asked.has(`inputs.${name}`)) this.#tell(path, `no hole {{ inputs.${name} }} of the task asks for it`);
    }
    for (const [key, text] of Object.entries({ harness, profile, role, base })) {
      for (const hole of this.#scan(text ?? '', [key])) this.#checkHole(hole, [key], ['matrix', 'variable']);
    }
    this.#gateHoles();
    for (const [name, from] of Object.entries(this.#step.outputs))
      if (from.includes('{{')) this.#tell(['outputs', name], 'an output takes no holes');
  }

  /** What other steps hand on is an agent's text, and no part of a command. */
  #gateHoles(): void {
    for (const [n, command] of (this.#step.gate ?? []).entries()) {
      const path = ['gate', n];
      const holes = this.#scan(command, path);
      for (const hole of holes) this.#checkHole(hole, path, ['matrix', 'foreach', 'variable']);
      const problem = holes.length === 0 ? null : gateProblem(command);
      if (problem !== null) this.#tell(path, problem, true);
    }
  }

  #scan(text: string, path: (string | number)[]): Hole[] {
    const { problems } = scanHoles(text);
    for (const problem of problems) this.#tell(path, problem, true);
    return problems.length > 0 ? [] : holesOf(text);
  }

  #checkHole({ kind, path: words, key }: Hole, path: (string | number)[], allowed: readonly Hole['kind'][]): void {
    const [first = ''] = words;
    const hole = `{{ ${key} }}`;
    const { matrix, foreach, inputs } = this.#step;
    if (!allowed.includes(kind)) this.#tell(path, `${hole} cannot be used here`, true);
    else if (kind === 'steps') this.#checkStepHole(words, hole, path);
    else if (kind === 'variable' && !Object.hasOwn(this.#around.variables, first))
      this.#tell(path, `${hole}: no value was given`, true);
    else if (kind === 'foreach' && foreach === null) this.#tell(path, `${hole}: this step has no foreach`);
    else if (kind === 'matrix' && !Object.hasOwn(matrix ?? {}, first))
      this.#tell(path, `${hole}: ${unknown('list', first, Object.keys(matrix ?? {}))} in the matrix`);
    else if (kind === 'inputs' && !Object.hasOwn(inputs, first))
      this.#tell(path, `${hole}: ${unknown('input', first, Object.keys(inputs))}`);
  }

  #checkStepHole([id = '', output]: string[], hole: string, path: (string | number)[]): void {
    const { steps, byId, issues } = this.#around;
    const other = steps[byId.get(id) ?? -1];
    if (other === undefined) this.#tell(path, `${hole}: ${unknown('step', id, near(byId, issues))}`);
    else if (!this.#step.needs.includes(id) && this.#step.foreach?.step !== id)
      this.#tell(path, `${hole}: this step does not need ${id}; add it to its needs`);
    else if (output !== undefined && !Object.hasOwn(other.outputs, output))
      this.#tell(path, `${hole}: ${unknown('output', output, Object.keys(other.outputs))} of the step ${id}`);
    else if (this.#step.when !== 'all_ok')
      this.#tell(
        path,
        `${hole}: ${id} may have failed and left no ${output ?? 'answer'}; only a step with all_ok can ask for it`,
      );
  }
}

/** Suggestions cost a look at every id: only the first mistakes get one. */
function near(byId: ReadonlyMap<string, number>, issues: readonly PlanIssue[]): Iterable<string> {
  return issues.length < 50 ? byId.keys() : [];
}

/** Names as they are once their holes are filled. One issue per wrong name and place. */
function namesIssues(
  steps: readonly PlanStep[],
  variables: Readonly<Record<string, string>>,
  known: Known,
  issues: PlanIssue[],
): void {
  const sets = { harness: known.harnesses, profile: known.profiles, role: known.roles };
  const { default_role = '', is_persistent = () => false } = known;
  const plain = is_persistent(default_role) ? steps.findIndex(({ role }) => role === null) : -1;
  if (plain >= 0) issues.push({ path: ['steps', plain], message: neverEnds(`the default role ${default_role}`) });
  steps.forEach((step, i) => {
    const told = new Set<string>();
    const fields = (['harness', 'profile', 'role', 'base'] as const).filter(
      (key) => step[key] !== null && isFilled(step[key], step, variables),
    );
    if (
      fields.length === 0 ||
      (issues.length > 0 && fields.some((key) => scanHoles(step[key] ?? '').problems.length > 0))
    )
      return;
    for (const each of expandStep(step, variables)) {
      for (const key of fields) {
        const name = each[key];
        if (name === null) continue;
        const wrong = nameProblem(key, name, key === 'base' ? undefined : sets[key]);
        const problem = wrong ?? (key === 'role' && is_persistent(name) ? neverEnds(`the role ${name}`) : null);
        if (problem === null || told.has(`${key} ${name}`)) continue;
        told.add(`${key} ${name}`);
        issues.push({ path: ['steps', i, key], message: problem, is_shared: true });
      }
    }
  });
}

/** A hole without a value is told as such; what is left of the name then is no name. */
function isFilled(
  text: string,
  { matrix }: Pick<PlanStep, 'matrix'>,
  variables: Readonly<Record<string, string>>,
): boolean {
  return holesOf(text).every(({ kind, path: [name = ''] }) =>
    kind === 'variable' ? Object.hasOwn(variables, name) : kind === 'matrix' && Object.hasOwn(matrix ?? {}, name),
  );
}

function neverEnds(role: string): string {
  return `${role} is persistent: a step with it never ends`;
}

function nameProblem(key: string, name: string, known: ReadonlySet<string> | undefined): string | null {
  if (name === '' || name.startsWith('-') || name.includes('\0'))
    return `${JSON.stringify(name.slice(0, 80))} is no ${key}`;
  if (key !== 'base' && !NAME.test(name)) return `${JSON.stringify(name.slice(0, 80))} is no ${key}`;
  if (known === undefined || known.has(name)) return null;
  return unknown(key, name, known);
}
