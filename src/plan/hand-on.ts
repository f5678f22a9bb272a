import type { ExpandedStep } from '../model/plan.ts';
import type { StepRow } from '../model/plan-step.ts';
import { type HandedOn, handedOnByGroup } from '../model/plan-values.ts';
import { readOutput } from '../session/output-file.ts';
import { answerOf } from '../store/plan-view.ts';
import { getSession } from '../store/session.ts';
import { refusalOf, rowOf, type Scene, specOf } from './scene.ts';

/** Names of outputs have no dot, so this one is nobody's. */
const OUTPUT_CALLED_ANSWER = 'outputs.answer';

/**
 * What a step that has done its work hands on, as it is stored; null when it hands on nothing but its answer. `problem`:
 * a file that it promised is not there, or is none that can be handed on.
 */
export async function takeOutputs(
  scene: Scene,
  row: StepRow,
  session_id: string | null,
): Promise<{ outputs_json: string | null } | { problem: string }> {
  if (row.kind === 'group') return { outputs_json: storedGroup(handedOnByGroup(await membersOf(scene, row))) };
  // Taken when it was handed to the merge, which may have taken its worktree away.
  if (row.outputs_json !== null) return { outputs_json: row.outputs_json };
  const wanted = Object.entries(specOf(scene, row).outputs);
  if (wanted.length === 0 || session_id === null) return { outputs_json: null };
  const session = await getSession(scene.deps.store, session_id);
  if (session === null) return { problem: `the session ${session_id} is gone` };
  const outputs: Record<string, string> = {};
  for (const [name, from] of wanted) {
    try {
      const text = from === 'answer' ? (session.result_text ?? '') : readOutput(session, from);
      if (text === null) return { problem: `the output ${name} is missing: no file ${from} in ${session.working_dir}` };
      outputs[name] = text;
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === null) throw error;
      return { problem: `the output ${name}: ${refusal.message}` };
    }
  }
  return { outputs_json: JSON.stringify(outputs) };
}

function membersOf(scene: Scene, group: StepRow): Promise<HandedOn[]> {
  const members = [...scene.rows.values()].filter(({ group_id }) => group_id === group.step_id);
  return Promise.all(members.map((row) => handedOnBy(scene, row)));
}

function storedGroup({ answer, outputs }: HandedOn): string {
  const { answer: called, ...rest } = outputs;
  return JSON.stringify({ ...rest, answer, ...(called === undefined ? {} : { [OUTPUT_CALLED_ANSWER]: called }) });
}

/** What a step that has ended hands on; of one that handed on nothing, empty texts. */
export async function handedOnBy({ deps }: Scene, row: StepRow): Promise<HandedOn> {
  const kept = JSON.parse(row.outputs_json ?? '{}') as Record<string, string>;
  if (row.kind === 'task') {
    const answer = row.session_id === null ? null : await answerOf(deps.store, row.session_id);
    return { answer: answer ?? '', outputs: kept };
  }
  const { answer = '', [OUTPUT_CALLED_ANSWER]: called, ...rest } = kept;
  return { answer, outputs: called === undefined ? rest : { ...rest, answer: called } };
}

/** What the steps that this one may ask have handed on: those it needs, and the one whose list it is an item of. */
export async function handedOnTo(scene: Scene, row: StepRow, spec: ExpandedStep): Promise<Map<string, HandedOn>> {
  const list = row.group_id === null ? null : specOf(scene, rowOf(scene, row.group_id)).foreach;
  const ids = new Set(list === null ? spec.needs : [...spec.needs, list.step]);
  const handed = new Map<string, HandedOn>();
  for (const id of ids) handed.set(id, await handedOnBy(scene, rowOf(scene, id)));
  return handed;
}
