import { posix } from 'node:path';
import { layersOf, lineAt, type SourceFile } from './source.ts';

/** One import, re-export or `import()`; types are none the less imports. */
export interface Import {
  specifier: string;
  line: number;
  /** Names taken from the other side; `'*'` when all of them may be used. */
  names: string[];
}

/** `import … from '`, `export … from '`, `import '`, `import('`, `require('`: everything up to the opening quote. */
const HEADS = [
  /(?:^|[;}\s])(?:import|export)\s+(?:type\s+)?([\w$\s{},*]*?)\s*from\s*['"]/g,
  /(?:^|[;}\s])(import)\s*['"]/g,
  /(?<![\w$.])(import|require(?:\.resolve)?)\s*\(\s*['"`]/g,
];

/** All imports of a file, in no order. */
export function importsOf(file: SourceFile): Import[] {
  const { code } = layersOf(file);
  return HEADS.flatMap((head) =>
    [...code.matchAll(head)].map((match) => {
      const start = match.index + match[0].length;
      const quote = file.text[start - 1] ?? "'";
      const specifier = file.text.slice(start, file.text.indexOf(quote, start));
      return { specifier, line: lineAt(file.text, start), names: namesIn(match[1] ?? '') };
    }),
  );
}

function namesIn(clause: string): string[] {
  const braces = /\{([^}]*)\}/.exec(clause);
  const outside = clause.replace(/\{[^}]*\}/, '').replace(/[\s,]/g, '');
  const inside = (braces?.[1] ?? '').split(',').map((part) => part.trim().replace(/^type\s+/, ''));
  const names = inside.map((part) => part.split(/\s+as\s+/)[0] ?? '').filter((name) => name !== '');
  if (outside === '') return names;
  return /^[\w$]+$/.test(outside) && outside !== 'import' && outside !== 'require' ? [...names, 'default'] : ['*'];
}

/** The file a relative specifier means, or `null` for a package. Specifiers carry their extension. */
export function target(from: SourceFile, { specifier }: Import): string | null {
  return specifier.startsWith('.') ? posix.join(posix.dirname(from.path), specifier) : null;
}

/** The package of a specifier without its subpath: `@scope/name`, `name`, `node:fs/promises`. */
export function packageOf(specifier: string): string {
  if (/^(?:node|bun):/.test(specifier)) return specifier;
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
