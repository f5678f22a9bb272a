import type { StepState } from '../model/plan-step.ts';
import { paint } from './output.ts';
import type { StepNode } from './plan-lines.ts';

const MARKS: Record<StepState, string> = {
  ...{ pending: '.', running: '>', parked: '=', merging: '>', done: '+', failed: 'x', skipped: '-', cancelled: '-' },
};

/** The rank of every step: one more than the highest of what it needs. Nodes come after what they need. */
export function levelsOf(nodes: readonly StepNode[]): StepNode[][] {
  const rank = new Map<string, number>();
  const levels: StepNode[][] = [];
  for (const node of nodes) {
    const own = node.needs.reduce((most, need) => Math.max(most, (rank.get(need) ?? -1) + 1), 0);
    rank.set(node.id, own);
    const level = levels[own] ?? [];
    level.push(node);
    levels[own] = level;
  }
  return levels;
}

const NEEDS_TOLD = 6;

/** One block per level; what stands in one block may run side by side. */
export function graphText(nodes: readonly StepNode[]): string {
  const named = ({ kind, id }: StepNode) => (kind === 'group' ? `[${id}]` : id);
  const width = Math.min(
    40,
    nodes.reduce((most, node) => Math.max(most, named(node).length), 0),
  );
  return levelsOf(nodes)
    .map((level, n) => {
      const lines = level.map((node) => {
        const more = node.needs.length > NEEDS_TOLD ? `, and ${node.needs.length - NEEDS_TOLD} more` : '';
        const needs = node.needs.length === 0 ? '' : `  <- ${node.needs.slice(0, NEEDS_TOLD).join(', ')}${more}`;
        return `   ${MARKS[node.state]} ${`${named(node).padEnd(width)} ${node.state.padEnd(9)}${paint('dim', needs)}`.trimEnd()}`;
      });
      return `${paint('bold', `level ${n + 1}`)}\n${lines.join('\n')}`;
    })
    .join('\n');
}

/** Fill and line of every state, in Mermaid and in SVG. */
export const COLOURS: Record<StepState, [fill: string, line: string]> = {
  pending: ['#f4f4f5', '#a1a1aa'],
  running: ['#dbeafe', '#2563eb'],
  merging: ['#dbeafe', '#2563eb'],
  parked: ['#fef3c7', '#d97706'],
  done: ['#dcfce7', '#16a34a'],
  failed: ['#fee2e2', '#dc2626'],
  skipped: ['#f4f4f5', '#d4d4d8'],
  cancelled: ['#fae8ff', '#a21caf'],
};

/** A flowchart for whatever draws Mermaid. Ids are numbers: what a step is called is only ever a label. */
export function graphMermaid(nodes: readonly StepNode[]): string {
  const at = new Map(nodes.map(({ id }, i) => [id, `s${i}`]));
  const lines = nodes.map(({ id, kind, state }, i) => {
    const label = `"${mermaidText(`${id}`)}<br/>${state}"`;
    return `  s${i}${kind === 'group' ? `([${label}])` : `[${label}]`}:::${state}`;
  });
  const edges = nodes.flatMap(({ needs }, i) =>
    needs.flatMap((need) => (at.has(need) ? [`  ${at.get(need)} --> s${i}`] : [])),
  );
  const used = new Set(nodes.map(({ state }) => state));
  const styles = [...used].map((state) => `  classDef ${state} fill:${COLOURS[state][0]},stroke:${COLOURS[state][1]}`);
  return ['flowchart TD', ...lines, ...edges, ...styles].join('\n');
}

function mermaidText(text: string): string {
  return text.replace(/[^\w .-]/g, (char) => `#${char.codePointAt(0)};`);
}
