import type { StepNode } from './plan-lines.ts';
import { COLOURS, levelsOf } from './render-plan-graph.ts';

const BOX = { width: 168, height: 40 };
const GAP = { x: 24, y: 56 };
const MARGIN = 24;
const LABEL = 20;

interface Spot {
  x: number;
  y: number;
}

/** A picture of the graph: one row per level, needs above what needs them. Without scripts, fonts or anything from outside. */
export function graphSvg(title: string, nodes: readonly StepNode[]): string {
  const levels = levelsOf(nodes).map((level) => [...level]);
  order(levels);
  const widest = Math.max(...levels.map((level) => level.length));
  const width = widest * (BOX.width + GAP.x) - GAP.x + 2 * MARGIN;
  const height = levels.length * (BOX.height + GAP.y) - GAP.y + 2 * MARGIN;
  const spots = new Map<string, Spot>();
  levels.forEach((level, n) => {
    const row = level.length * (BOX.width + GAP.x) - GAP.x;
    level.forEach(({ id }, i) => {
      spots.set(id, { x: (width - row) / 2 + i * (BOX.width + GAP.x), y: MARGIN + n * (BOX.height + GAP.y) });
    });
  });
  const edges = nodes.flatMap(({ id, needs }) => needs.map((need) => edge(spots.get(need), spots.get(id))));
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<title>${escaped(title)}</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#71717a"/></marker></defs>
<rect width="100%" height="100%" fill="#ffffff"/>
${[...edges, ...nodes.map((node) => box(node, spots.get(node.id)))].filter((part) => part !== '').join('\n')}
</svg>`;
}

/** Twice down: every step goes to the middle of what it needs, so that lines cross less. */
function order(levels: StepNode[][]): void {
  const place = new Map<string, number>();
  const note = (level: readonly StepNode[]) => {
    level.forEach(({ id }, i) => {
      place.set(id, (i + 0.5) / level.length);
    });
  };
  for (let pass = 0; pass < 2; pass++) {
    for (const level of levels) {
      const middle = new Map(level.map((node) => [node.id, middleOf(node, place)]));
      level.sort((a, b) => (middle.get(a.id) ?? 0) - (middle.get(b.id) ?? 0));
      note(level);
    }
  }
}

function middleOf({ id, needs }: StepNode, place: ReadonlyMap<string, number>): number {
  const known = needs.flatMap((need) => place.get(need) ?? []);
  if (known.length === 0) return place.get(id) ?? 0;
  return known.reduce((sum, at) => sum + at, 0) / known.length;
}

function edge(from: Spot | undefined, to: Spot | undefined): string {
  if (from === undefined || to === undefined) return '';
  const [x1, y1] = [from.x + BOX.width / 2, from.y + BOX.height];
  const [x2, y2] = [to.x + BOX.width / 2, to.y];
  const bend = (y2 - y1) / 2;
  return `<path d="M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}" fill="none" stroke="#71717a" marker-end="url(#tip)"/>`;
}

function box({ id, kind, state }: StepNode, spot: Spot | undefined): string {
  if (spot === undefined) return '';
  const [fill, line] = COLOURS[state];
  const name = id.length > LABEL ? `${id.slice(0, LABEL - 1)}…` : id;
  const middle = spot.x + BOX.width / 2;
  return `<g><title>${escaped(`${id}: ${state}`)}</title><rect x="${spot.x}" y="${spot.y}" width="${BOX.width}" height="${BOX.height}" rx="${kind === 'group' ? 20 : 6}" fill="${fill}" stroke="${line}"/><text x="${middle}" y="${spot.y + 17}" text-anchor="middle" font-weight="bold">${escaped(name)}</text><text x="${middle}" y="${spot.y + 32}" text-anchor="middle" fill="#52525b">${state}</text></g>`;
}

/** Text between tags and in attributes; what no XML may hold is left out. */
function escaped(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]/g, '')
    .replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
