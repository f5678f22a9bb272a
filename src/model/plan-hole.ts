/**
 * What a hole of a plan asks for: `steps.x.output`, `steps.x.outputs.y`, `inputs.y`, `matrix.z`, `foreach.item`,
 * `foreach.index`, or a plain name: a variable that is given when the plan is read.
 */
export interface Hole {
  kind: 'steps' | 'inputs' | 'matrix' | 'foreach' | 'variable';
  /** The words that are names: of `steps` the id and, for a named output, its name; else the one name. */
  path: string[];
  /** As it stands in the text, e.g. `steps.build.output`: the key of its value. */
  key: string;
}

export interface HoleScan {
  parts: (string | Hole)[];
  /** Why a brace is no hole; the text is unusable when there is any. */
  problems: string[];
}

const WORD = '[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?';
const PATTERNS: [Hole['kind'], RegExp][] = [
  ['steps', /^steps\.([A-Za-z0-9._-]+)\.output$/],
  ['steps', new RegExp(`^steps\\.([A-Za-z0-9._-]+?)\\.outputs\\.(${WORD})$`)],
  ['inputs', new RegExp(`^inputs\\.(${WORD})$`)],
  ['matrix', new RegExp(`^matrix\\.(${WORD})$`)],
  ['foreach', /^foreach\.(item|index)$/],
  ['variable', new RegExp(`^(${WORD})$`)],
];
const FORMS =
  'steps.ID.output, steps.ID.outputs.NAME, inputs.NAME, matrix.NAME, foreach.item, foreach.index or a variable';

/** Of one text; more would not help anybody. */
const MAX_PROBLEMS = 5;

/**
 * Takes a text apart at its `{{ holes }}`. `\{{` and `\}}` are braces that mean themselves. Linear in the text; a hole
 * within a hole, an open one and a lone pair of closing braces are problems.
 */
export function scanHoles(text: string): HoleScan {
  const parts: (string | Hole)[] = [];
  const problems: string[] = [];
  const marks = /\\?\{\{|\\?\}\}/g;
  let plain = '';
  let done = 0;
  for (let mark = marks.exec(text); mark !== null && problems.length < MAX_PROBLEMS; mark = marks.exec(text)) {
    plain += text.slice(done, mark.index);
    done = marks.lastIndex;
    if (mark[0].startsWith('\\')) {
      plain += mark[0].slice(1);
    } else if (mark[0] === '}}') {
      problems.push('"}}" closes nothing; write \\}} for braces that mean themselves');
    } else {
      const end = text.indexOf('}}', done);
      const inner = text.indexOf('{{', done);
      if (end < 0) {
        problems.push('"{{" is never closed; write \\{{ for braces that mean themselves');
        break;
      }
      if (inner >= 0 && inner < end) problems.push('a hole within a hole');
      else {
        const hole = holeOf(text.slice(done, end).trim());
        if (hole === null)
          problems.push(`{{ ${text.slice(done, end).trim().slice(0, 80)} }} is no hole: it must be ${FORMS}`);
        else {
          if (plain !== '') parts.push(plain);
          plain = '';
          parts.push(hole);
        }
      }
      done = inner >= 0 && inner < end ? closing(text, end) : end + 2;
      marks.lastIndex = done;
    }
  }
  plain += text.slice(done);
  if (plain !== '') parts.push(plain);
  return { parts, problems };
}

/** Behind all closing braces in a row of holes within holes, so that one mistake is told once. */
function closing(text: string, end: number): number {
  const next = text.indexOf('}}', end + 2);
  const open = text.indexOf('{{', end + 2);
  return next >= 0 && (open < 0 || next < open) ? next + 2 : end + 2;
}

function holeOf(key: string): Hole | null {
  for (const [kind, pattern] of PATTERNS) {
    const match = pattern.exec(key);
    if (match !== null) return { kind, path: match.slice(1), key };
  }
  return null;
}

/** The holes of a text, each key once. A text with problems has none. */
export function holesOf(text: string): Hole[] {
  const { parts } = scanHoles(text);
  return [...new Map(parts.filter((part) => typeof part !== 'string').map((hole) => [hole.key, hole])).values()];
}

/**
 * Puts values into a text that was found free of problems. They go in as they are and are never looked at again.
 * `missing` names the holes that have no value; then `text` must not be used.
 */
export function fillHoles(text: string, values: ReadonlyMap<string, string>): { text: string; missing: string[] } {
  const missing: string[] = [];
  const filled = scanHoles(text).parts.map((part) => {
    if (typeof part === 'string') return part;
    const value = values.get(part.key);
    if (value === undefined) missing.push(part.key);
    return value ?? '';
  });
  return { text: filled.join(''), missing };
}
