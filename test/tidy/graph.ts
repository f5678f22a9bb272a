import { importsOf, target } from './imports.ts';
import { type Breach, layersOf, lineAt, type SourceFile } from './source.ts';

/** Where the two executables begin. */
export const ENTRIES = ['src/cli/main.ts', 'src/rehearsal/main.ts'];

/** Exports that are for others than our own source: none so far. `path#name`. */
export const PUBLIC_API: string[] = [];

function edges(files: SourceFile[]): Map<string, string[]> {
  const paths = new Set(files.map(({ path }) => path));
  const reached = (file: SourceFile) =>
    importsOf(file)
      .map((found) => target(file, found))
      .filter((path) => path !== null && paths.has(path)) as string[];
  return new Map(files.map((file) => [file.path, reached(file)]));
}

/** No file imports itself through others; `import type` and `import()` count. One breach per cycle. */
export function cycleBreaches(files: SourceFile[]): Breach[] {
  const graph = edges(files);
  const done = new Set<string>();
  const breaches: Breach[] = [];
  const walk = (path: string, trail: string[]) => {
    const start = trail.indexOf(path);
    if (start >= 0) {
      const cycle = [...trail.slice(start), path].join(' -> ');
      breaches.push({ path, line: 0, message: `imports itself: ${cycle}; move what both need below both` });
      return;
    }
    if (done.has(path)) return;
    for (const next of graph.get(path) ?? []) walk(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) walk(path, []);
  return breaches;
}

/** Every file of `src` is reached from one of the entries; `import()` counts. */
export function deadFileBreaches(files: SourceFile[], entries = ENTRIES): Breach[] {
  const source = files.filter(({ path }) => path.startsWith('src/'));
  const graph = edges(source);
  const reached = new Set<string>();
  const queue = entries.filter((path) => graph.has(path));
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    queue.push(...(graph.get(path) ?? []));
  }
  const message = `is reached from no entry (${entries.join(', ')}): wire it or delete it`;
  return source.filter(({ path }) => !reached.has(path)).map(({ path }) => ({ path, line: 0, message }));
}

const DECLARATION =
  /(?<![\w$.])export\s+(default\b|(?:async\s+)?function\s*\*?\s*([\w$]+)|(?:abstract\s+)?class\s+([\w$]+)|(?:const|let)\s+([\w$]+)|(?:type|interface)\s+([\w$]+))/g;
const LIST = /(?<![\w$.])export\s+(?:type\s+)?\{([^}]*)\}/g;

interface Export {
  name: string;
  line: number;
  isType: boolean;
}

function exportsOf(file: SourceFile): Export[] {
  const { code } = layersOf(file);
  const declared = [...code.matchAll(DECLARATION)].map((match) => ({
    name: match[2] ?? match[3] ?? match[4] ?? match[5] ?? 'default',
    line: lineAt(code, match.index),
    isType: match[5] !== undefined,
  }));
  const listed = [...code.matchAll(LIST)].flatMap((match) =>
    (match[1] ?? '')
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '')
      .map((part) => ({
        name: part.split(/\s+as\s+/).at(-1) ?? part,
        line: lineAt(code, match.index),
        isType: part.startsWith('type ') || match[0].startsWith('export type'),
      })),
  );
  return [...declared, ...listed];
}

/**
 * Every export of `src` is used by another file of `src`, or is live in its own file and exported for a test. A type
 * may also be exported because an exported signature of its own file speaks of it.
 */
export function deadExportBreaches(files: SourceFile[], publicApi = PUBLIC_API): Breach[] {
  const bySource = usedNames(files.filter(({ path }) => path.startsWith('src/')));
  const byTests = usedNames(files.filter(({ path }) => !path.startsWith('src/')));
  const breaches: Breach[] = [];
  for (const file of files.filter(({ path }) => path.startsWith('src/'))) {
    for (const { name, line, isType } of exportsOf(file)) {
      if (publicApi.includes(`${file.path}#${name}`) || uses(bySource, file.path, name)) continue;
      const atHome = mentions(file, name) > 1;
      if (atHome && (isType || uses(byTests, file.path, name))) continue;
      const advice = atHome ? 'drop the word export' : 'delete it';
      breaches.push({ path: file.path, line, message: `nothing in src uses the export ${name}: ${advice}` });
    }
  }
  return breaches;
}

function uses(used: Map<string, Set<string>>, path: string, name: string): boolean {
  const names = used.get(path);
  return names !== undefined && (names.has(name) || names.has('*'));
}

function usedNames(files: SourceFile[]): Map<string, Set<string>> {
  const used = new Map<string, Set<string>>();
  for (const file of files) {
    for (const found of importsOf(file)) {
      const path = target(file, found);
      if (path === null || path === file.path) continue;
      const names = used.get(path) ?? new Set();
      for (const name of found.names) names.add(name);
      used.set(path, names);
    }
  }
  return used;
}

function mentions(file: SourceFile, name: string): number {
  const word = new RegExp(`(?<![\\w$.])${name.replaceAll('$', '\\$')}(?![\\w$])`, 'g');
  return layersOf(file).code.match(word)?.length ?? 0;
}
