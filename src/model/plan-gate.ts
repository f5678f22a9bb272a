import { scanHoles } from './plan-hole.ts';

/** What a shell takes in another way within, so that a word put there might be more than a word. */
const UNSURE = /^(?:`|<<|\(\(|\$(?:['"([]|\{(?![A-Za-z_][A-Za-z0-9_]*\})|$))/;
/** Of these, what keeps its meaning between double quotes; and `$(` brings quotes of its own. */
const UNSURE_IN_DOUBLE = /^(?:`|\$(?:\(|\[|\{(?![A-Za-z_][A-Za-z0-9_]*\})|$))/;

type Place = 'plain' | 'single' | 'double' | 'comment' | 'unsure';

/**
 * Why a hole of a gate's command cannot be filled where it stands; null: each can. Values are put in as one quoted word,
 * which is safe only where the shell reads words: not between quotes, in a comment, a here-document or an arithmetic.
 */
export function gateProblem(command: string): string | null {
  let place: Place = 'plain';
  let last = ' ';
  for (const part of scanHoles(command).parts) {
    if (typeof part !== 'string') {
      if (place !== 'plain')
        return `{{ ${part.key} }} must stand outside of quotes, comments and substitutions: its value is put in as one quoted word`;
      last = 'x';
      continue;
    }
    for (let i = 0; i < part.length && place !== 'unsure'; i += 1) {
      const char = part.charAt(i);
      // A command in a substitution starts anew, and its quotes are its own.
      const isSubstitution = place === 'plain' && part.startsWith('$(', i) && !part.startsWith('$((', i);
      const rest = part.slice(i, i + 64);
      if (place === 'comment') {
        if (char === '\n') place = 'plain';
      } else if (place === 'single') {
        if (char === "'") place = 'plain';
      } else if (!isSubstitution && (place === 'double' ? UNSURE_IN_DOUBLE : UNSURE).test(rest)) place = 'unsure';
      else if (char === '\\') i += 1;
      else if (char === '"') place = place === 'double' ? 'plain' : 'double';
      else if (place === 'plain' && char === "'") place = 'single';
      else if (place === 'plain' && char === '#' && /[\s;&|()]/.test(last)) place = 'comment';
      last = part.charAt(i);
    }
  }
  return null;
}

/** Puts values into a gate's command, each as one word that `/bin/sh` reads as it is. */
export function fillGate(command: string, values: ReadonlyMap<string, string>): string {
  return scanHoles(command)
    .parts.map((part) => (typeof part === 'string' ? part : word(values.get(part.key) ?? '')))
    .join('');
}

/** No command can have a NUL character, so none is put in. */
function word(value: string): string {
  return `'${value.replaceAll('\0', '').replaceAll("'", `'\\''`)}'`;
}
