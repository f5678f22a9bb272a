import { packageOf, target } from './imports.ts';
import type { SourceFile } from './source.ts';

/** What is loaded as soon as a file is: its own source and packages, `import()` and types left out. */
export interface Weight {
  modules: string[];
  packages: string[];
}

const scanner = new Bun.Transpiler({ loader: 'ts' });

/** The files that are loaded together with `entry`, by what the runtime itself takes for an import. */
export function weightOf(files: ReadonlyMap<string, SourceFile>, entry: string): Weight {
  const modules = new Set<string>();
  const packages = new Set<string>();
  const load = (path: string) => {
    const file = files.get(path);
    if (modules.has(path) || file === undefined) return;
    modules.add(path);
    for (const { kind, path: specifier } of scanner.scanImports(file.text)) {
      if (kind !== 'import-statement') continue;
      const next = target(file, { specifier, line: 0, names: [] });
      if (next !== null) load(next);
      else packages.add(packageOf(specifier));
    }
  };
  load(entry);
  return { modules: [...modules].sort(), packages: [...packages].sort() };
}
