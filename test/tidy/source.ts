/** A file as the laws see it: `path` is relative to the repository with `/`. */
export interface SourceFile {
  path: string;
  text: string;
}

/** A breach of a law; `line` counts from 1, 0 speaks of the file as a whole. */
export interface Breach {
  path: string;
  line: number;
  message: string;
}

/** The text split by what it is. All three have the length and the lines of the original. */
export interface Layers {
  /** Code alone: comments, the insides of strings and regular expressions are blanks. */
  code: string;
  /** The insides of strings and templates alone. */
  strings: string;
  comments: string;
}

type Kind = 'code' | 'strings' | 'comments' | 'regex';

/** Words after which a slash starts a regular expression although they look like names. */
const BEFORE_REGEX = /(?:^|[^\w$.])(?:return|typeof|case|in|of|do|else|void|delete|await|yield|throw|new|instanceof)$/;

/** Separates code, strings and comments, so that a law never takes the one for the other. */
export function layers(text: string): Layers {
  const kinds = classify(text);
  const keep = (wanted: Kind) => {
    let out = '';
    for (let i = 0; i < text.length; i++) out += text[i] === '\n' || kinds[i] === wanted ? text[i] : ' ';
    return out;
  };
  return { code: keep('code'), strings: keep('strings'), comments: keep('comments') };
}

function classify(text: string): Kind[] {
  const kinds: Kind[] = new Array(text.length).fill('code');
  /** Depth of braces at which each open `${` of a template ends. */
  const holes: number[] = [];
  let depth = 0;
  let at = 0;
  const mark = (end: number, kind: Kind) => {
    kinds.fill(kind, at, end);
    at = end;
  };
  const template = (from: number) => {
    const end = templateEnd(text, from);
    at = from;
    mark(end, 'strings');
    if (text[end] === '`') at = end + 1;
    else holes.push(depth);
    if (text[end] !== '`') at = end + 2;
  };
  while (at < text.length) {
    const char = text[at] ?? '';
    const pair = char + (text[at + 1] ?? '');
    if (pair === '//') mark(lineEnd(text, at), 'comments');
    else if (pair === '/*') mark(after(text, '*/', at + 2), 'comments');
    else if (char === "'" || char === '"') {
      const end = quoteEnd(text, at + 1, char);
      at += 1;
      mark(end, 'strings');
      at += 1;
    } else if (char === '`') template(at + 1);
    else if (char === '}' && holes.at(-1) === depth) {
      holes.pop();
      template(at + 1);
    } else if (char === '/' && startsRegex(text, kinds, at)) mark(regexEnd(text, at + 1), 'regex');
    else {
      if (char === '{') depth += 1;
      if (char === '}') depth -= 1;
      at += 1;
    }
  }
  return kinds;
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}

function after(text: string, mark: string, from: number): number {
  const end = text.indexOf(mark, from);
  return end < 0 ? text.length : end + mark.length;
}

function quoteEnd(text: string, from: number, quote: string): number {
  let i = from;
  while (i < text.length && text[i] !== quote && text[i] !== '\n') i += text[i] === '\\' ? 2 : 1;
  return Math.min(i, text.length);
}

/** The closing backtick, or the `${` that interrupts the template. */
function templateEnd(text: string, from: number): number {
  let i = from;
  while (i < text.length && text[i] !== '`' && !text.startsWith('${', i)) i += text[i] === '\\' ? 2 : 1;
  return Math.min(i, text.length);
}

function regexEnd(text: string, from: number): number {
  let inClass = false;
  let i = from;
  for (; i < text.length && text[i] !== '\n'; i++) {
    if (text[i] === '\\') i += 1;
    else if (text[i] === '[') inClass = true;
    else if (text[i] === ']') inClass = false;
    else if (text[i] === '/' && !inClass) break;
  }
  return Math.min(i + 1, text.length);
}

function startsRegex(text: string, kinds: Kind[], at: number): boolean {
  let i = at - 1;
  while (i >= 0 && (/\s/.test(text[i] ?? '') || kinds[i] === 'comments')) i -= 1;
  const before = text[i];
  if (before === undefined || kinds[i] === 'regex') return before === undefined;
  if (/[\w$]/.test(before)) return BEFORE_REGEX.test(text.slice(Math.max(0, i - 20), i + 1));
  return !/[)\]}'"`]/.test(before);
}

const known = new WeakMap<SourceFile, Layers>();

/** `layers` of a file, worked out once. */
export function layersOf(file: SourceFile): Layers {
  const found = known.get(file) ?? layers(file.text);
  known.set(file, found);
  return found;
}

/** The line, from 1, of a position. */
export function lineAt(text: string, position: number): number {
  let line = 1;
  for (let i = text.indexOf('\n'); i >= 0 && i < position; i = text.indexOf('\n', i + 1)) line += 1;
  return line;
}
