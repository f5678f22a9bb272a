import type { ExpandedStep } from './plan.ts';
import { fillHoles } from './plan-hole.ts';

/** What an ended step hands on: its final answer, and its named outputs. */
export interface HandedOn {
  answer: string;
  outputs: Readonly<Record<string, string>>;
}

/**
 * The text a step's session is given, every hole filled from what the steps it needs have handed on. Values go in as they
 * are and open no holes of their own. `missing` names what there is no value for; then nothing may be started with it.
 */
export function taskOf(
  { task, inputs, values }: Pick<ExpandedStep, 'task' | 'inputs' | 'values'>,
  needs: ReadonlyMap<string, HandedOn>,
): { task: string; missing: string[] } {
  const known = new Map(Object.entries(values));
  for (const [id, { answer, outputs }] of needs) {
    known.set(`steps.${id}.output`, answer);
    for (const [name, text] of Object.entries(outputs)) known.set(`steps.${id}.outputs.${name}`, text);
  }
  const missing = new Set<string>();
  const own = new Map(known);
  for (const [name, text] of Object.entries(inputs)) {
    const filled = fillHoles(text, known);
    for (const key of filled.missing) missing.add(key);
    own.set(`inputs.${name}`, filled.text);
  }
  const filled = fillHoles(task, own);
  for (const key of filled.missing) missing.add(key);
  return { task: filled.text, missing: [...missing].sort() };
}

/** What a group hands on: one JSON list of its members' answers, and one of each named output, in their order. */
export function handedOnByGroup(members: readonly HandedOn[]): HandedOn {
  const names = new Set(members.flatMap(({ outputs }) => Object.keys(outputs)));
  const list = (name: string) => JSON.stringify(members.map(({ outputs }) => outputs[name] ?? ''));
  return {
    answer: JSON.stringify(members.map(({ answer }) => answer)),
    outputs: Object.fromEntries([...names].map((name) => [name, list(name)])),
  };
}
