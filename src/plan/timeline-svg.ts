import type { Report, SpanState, TimelineRow } from '../model/report.ts';
import { oneLine, timeText } from './report-text.ts';

const WIDTH = 960;
/** Where names stand; without names the picture has the whole width. */
const NAMES = 200;
const PAD = 8;
const AXIS = 24;
/** More rows than this are drawn without names, and lower. */
const NAMED = 60;
/** More rows than this are not drawn. */
const MAX_ROWS = 1_000;
const STATES: readonly SpanState[] = ['queued', 'idle', 'parked', 'working'];

const STYLE = `.tl{--q:#b8bec8;--i:#d9dde3;--p:#c9822b;--w:#2b7a4b;--t:#1c1e21;--l:#d0d5dc}
@media (prefers-color-scheme:dark){.tl{--q:#5a616c;--i:#3a3f47;--p:#e0a04e;--w:#4fae78;--t:#e6e6e6;--l:#3a3f47}}
.tl path{fill:none}.tl .queued{stroke:var(--q)}.tl .idle{stroke:var(--i)}.tl .parked{stroke:var(--p)}.tl .working{stroke:var(--w)}
.tl text{fill:var(--t);font:11px system-ui,sans-serif}.tl .grid{stroke:var(--l)}
.tl .fail{fill:#c43c3c;font-weight:600}`;

/**
 * The sessions of a run over its time, one row each: when they waited for their turn, worked, rested, were held. Its size
 * is bounded however many there are. Empty when there is none. Stands alone, and within a page.
 */
export function timelineSvg({ timeline, started_at, ended_at, made_at, timezone }: Report): string {
  const drawn = timeline.filter(({ spans }) => spans.length > 0);
  const rows = drawn.slice(0, MAX_ROWS);
  if (rows.length === 0) return '';
  const isNamed = rows.length <= NAMED;
  const height = isNamed ? 16 : Math.max(2, Math.min(8, Math.floor(1_200 / rows.length)));
  const left = isNamed ? NAMES : PAD;
  const from = rows.reduce((least, { spans }) => Math.min(least, spans[0]?.from_at ?? least), started_at);
  const to = rows.reduce((most, { spans }) => Math.max(most, spans.at(-1)?.to_at ?? most), ended_at ?? made_at);
  // A span takes time, so there is some to divide by.
  const x = (at: number) => left + ((at - from) / (to - from)) * (WIDTH - left - PAD);
  const bottom = AXIS + rows.length * height;
  const body = [
    ...axis(from, to, timezone, x, bottom),
    ...STATES.flatMap((state) => stripe(rows, state, x, height)),
    ...(isNamed ? rows.map((row, i) => label(row, AXIS + i * height + height * 0.75)) : []),
    legend(bottom + 16, left, drawn.length - rows.length),
  ];
  const title = `${rows.length} session${rows.length === 1 ? '' : 's'} from ${timeText(from, timezone)} to ${timeText(to, timezone)} (${timezone})`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="tl" role="img" aria-labelledby="tl-title tl-desc" viewBox="0 0 ${WIDTH} ${bottom + 24}" width="100%">`,
    `<title id="tl-title">${xml(title)}</title>`,
    '<desc id="tl-desc">One row per session: when it waited for its turn, worked, rested and was held.</desc>',
    `<style>${STYLE}</style>`,
    ...body,
    '</svg>',
  ].join('\n');
}

/** All spans of a state as one path: a few bytes each. Those in the same half pixel are drawn once. */
function stripe(rows: readonly TimelineRow[], state: SpanState, x: (at: number) => number, height: number): string[] {
  const half = (value: number) => Math.round(value * 2) / 2;
  const parts: string[] = [];
  rows.forEach(({ spans }, i) => {
    const y = AXIS + i * height + height / 2;
    let end = Number.NEGATIVE_INFINITY;
    for (const span of spans) {
      if (span.state !== state) continue;
      const start = Math.max(half(x(span.from_at)), end);
      const stop = Math.max(half(x(span.to_at)), half(x(span.from_at)) + 0.5);
      if (stop <= start) continue;
      parts.push(`M${start} ${y}H${stop}`);
      end = stop;
    }
  });
  return parts.length === 0
    ? []
    : [`<path class="${state}" stroke-width="${Math.max(1, height * 0.7)}" d="${parts.join('')}"/>`];
}

function label({ name, state }: TimelineRow, y: number): string {
  const isBad = state === 'failed' || state === 'zombie' || state === 'stopped';
  return `<text x="${PAD}" y="${y}"${isBad ? ' class="fail"' : ''}>${xml(oneLine(name, 30))}</text>`;
}

const MINUTE = 60_000;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080].map((minutes) => minutes * MINUTE);

/** Up to nine lines at round times of the zone, as far as its offset is whole minutes. */
function axis(from: number, to: number, zone: string, x: (at: number) => number, bottom: number): string[] {
  const step = STEPS.find((each) => (to - from) / each <= 8) ?? Math.ceil((to - from) / 8);
  const lines: string[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to && lines.length < 10; at += step) {
    const place = Math.round(x(at) * 10) / 10;
    const text = timeText(at, zone).slice(to - from > 86_400_000 ? 5 : 11);
    lines.push(
      `<path class="grid" d="M${place} ${AXIS - 4}V${bottom}"/><text x="${place}" y="14" text-anchor="middle">${xml(text)}</text>`,
    );
  }
  return lines;
}

const WORDS: Record<SpanState, string> = {
  queued: 'waiting for its turn',
  idle: 'at rest',
  parked: 'held',
  working: 'working',
};

function legend(y: number, left: number, missing: number): string {
  const keys = (['working', 'queued', 'idle', 'parked'] as const).map((state, i) => {
    const at = left + i * 150;
    return `<path class="${state}" stroke-width="8" d="M${at} ${y - 4}h12"/><text x="${at + 18}" y="${y}">${WORDS[state]}</text>`;
  });
  const more = missing === 0 ? '' : `<text x="${left + 600}" y="${y}">${missing} more are not drawn</text>`;
  return keys.join('') + more;
}

/** Text as text in XML and HTML, in content and in quoted attributes. */
export function xml(text: string): string {
  return text
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;')
    .replace(/'/g, '&#39;');
}
