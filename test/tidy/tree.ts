import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { SourceFile } from './source.ts';

const ROOT = resolve(import.meta.dir, '../..');
const CODE = ['src', 'test', 'bench'];
const PROSE = [...CODE, 'bin', 'agents', 'templates', 'docs', '.ci'];
/** Captured output of other programs: theirs to say what it says. */
const CAPTURED = /^test\/fixtures\//;

/** The TypeScript of the repository. */
export function codeFiles(): SourceFile[] {
  return read(CODE.flatMap(walk).filter((path) => path.endsWith('.ts') && !CAPTURED.test(path)));
}

/** Everything that is written by hand, whatever its language. */
export function writtenFiles(): SourceFile[] {
  const top = readdirSync(ROOT).filter((name) => /\.(?:md|json|toml)$/.test(name) && name !== 'package-lock.json');
  return read([...PROSE.flatMap(walk).filter((path) => !CAPTURED.test(path)), ...top]);
}

function walk(folder: string): string[] {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .filter((path) => !path.includes('/node_modules/') && statSync(join(ROOT, path)).isFile())
    .sort();
}

function read(paths: string[]): SourceFile[] {
  return paths
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
    .filter(({ text }) => !text.includes('\0'));
}
