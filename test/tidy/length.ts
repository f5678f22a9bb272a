import { type Breach, layersOf, lineAt, type SourceFile } from './source.ts';

export const FILE_LINES = 400;
export const FUNCTION_LINES = 70;

/** Files of code are at most `FILE_LINES` lines long. */
export function fileLengthBreaches(files: SourceFile[]): Breach[] {
  return files.flatMap(({ path, text }) => {
    const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
    const message = `has ${lines} lines (at most ${FILE_LINES}): split it by what it does`;
    return lines > FILE_LINES ? [{ path, line: 0, message }] : [];
  });
}

/** Functions are at most `FUNCTION_LINES` lines long, from the line of the parameters to the closing brace. */
export function functionLengthBreaches(files: SourceFile[]): Breach[] {
  return files.flatMap((file) =>
    functionsOf(file).flatMap(({ line, lines }) => {
      const message = `function has ${lines} lines (at most ${FUNCTION_LINES}): name its parts`;
      return lines > FUNCTION_LINES ? [{ path: file.path, line, message }] : [];
    }),
  );
}

interface Span {
  line: number;
  lines: number;
}

/** Every function with a body, except callbacks of `describe`, which are lists of tests. */
function functionsOf(file: SourceFile): Span[] {
  const { code } = layersOf(file);
  const partner = pairs(code);
  const spans: Span[] = [];
  for (const [close, open] of partner) {
    if (code[close] !== ')') continue;
    const body = bodyAfter(code, close, partner);
    if (body === null || isControl(code, open) || isDescribe(code, open)) continue;
    spans.push(span(code, open, body.close));
  }
  for (const match of code.matchAll(/(?<![\w$.)])[\w$]+\s*=>\s*\{/g)) {
    const close = closeOf(partner, match.index + match[0].length - 1);
    if (!isDescribe(code, match.index)) spans.push(span(code, match.index, close));
  }
  return spans;
}

function span(code: string, from: number, to: number): Span {
  const line = lineAt(code, from);
  return { line, lines: lineAt(code, to) - line + 1 };
}

/** Closing bracket → its opening one, for all three kinds. */
function pairs(code: string): Map<number, number> {
  const open: number[] = [];
  const found = new Map<number, number>();
  for (let i = 0; i < code.length; i++) {
    if ('([{'.includes(code[i] ?? ' ')) open.push(i);
    else if (')]}'.includes(code[i] ?? ' ')) found.set(i, open.pop() ?? 0);
  }
  return found;
}

const opposites = new WeakMap<Map<number, number>, Map<number, number>>();

function closeOf(partner: Map<number, number>, open: number): number {
  const opposite = opposites.get(partner) ?? new Map([...partner].map(([close, start]) => [start, close]));
  opposites.set(partner, opposite);
  return opposite.get(open) ?? open;
}

/** The body that belongs to parameters closing at `close`: `{`, `=> {`, or either behind a return type. */
function bodyAfter(code: string, close: number, partner: Map<number, number>): { close: number } | null {
  let i = skipBlanks(code, close + 1);
  if (code[i] === ':') i = skipType(code, skipBlanks(code, i + 1), partner);
  if (code.startsWith('=>', i)) i = skipBlanks(code, i + 2);
  return code[i] === '{' ? { close: closeOf(partner, i) } : null;
}

function skipBlanks(code: string, from: number): number {
  let i = from;
  while (/\s/.test(code[i] ?? '')) i += 1;
  return i;
}

/** From the start of a type to what follows it. A brace is part of the type where an operand is due. */
function skipType(code: string, from: number, partner: Map<number, number>): number {
  let due = true;
  let i = from;
  while (i < code.length) {
    const char = code[i] ?? '';
    const word = /^[\w$.]+/.exec(code.slice(i, i + 200))?.[0];
    if ((char === '{' || char === '(') && due) i = closeOf(partner, i) + 1;
    else if (due && /['"`]/.test(char)) i = code.indexOf(char, i + 1) + 1;
    else if (char === '[') i = closeOf(partner, i) + 1;
    else if (char === '<') i = angleEnd(code, i);
    else if (char === '|' || char === '&') i += 1;
    else if (code.startsWith('=>', i) && arrowOfType(code, i, partner)) i += 2;
    else if (word && (due || /^(?:is|extends|in)$/.test(word))) i += word.length;
    else return i;
    due = char === '|' || char === '&' || code.startsWith('=>', i - 2) || isTypeOperator(word);
    i = skipBlanks(code, i);
  }
  return i;
}

function isTypeOperator(word: string | undefined): boolean {
  return word !== undefined && /^(?:is|asserts|keyof|typeof|readonly|unique|infer|extends|in|new)$/.test(word);
}

/** `(a: A) => B` within a type, as against the arrow of the function itself: only behind a closing parenthesis. */
function arrowOfType(code: string, at: number, partner: Map<number, number>): boolean {
  const before = code.slice(0, at).trimEnd().length - 1;
  if (code[before] !== ')' || !partner.has(before)) return false;
  const open = partner.get(before) ?? 0;
  return /[:|&]$/.test(code.slice(0, open).trimEnd());
}

function angleEnd(code: string, from: number): number {
  let depth = 0;
  for (let i = from; i < code.length; i++) {
    if (code[i] === '<') depth += 1;
    if (code[i] === '>' && code[i - 1] !== '=') depth -= 1;
    if (depth === 0) return i + 1;
  }
  return code.length;
}

function isControl(code: string, open: number): boolean {
  return /(?<![\w$.])(?:if|for|while|switch|catch|with|for\s+await)$/.test(
    code.slice(Math.max(0, open - 40), open).trimEnd(),
  );
}

/** `describe('…', () => {`, with modifiers. */
function isDescribe(code: string, open: number): boolean {
  const before = code.slice(Math.max(0, open - 400), open);
  return /(?<![\w$.])describe(?:\.[\w.]+)?(?:\([^;{}]*\))?\(\s*(['"`])\s*\1\s*,\s*(?:async\s*)?$/.test(before);
}
