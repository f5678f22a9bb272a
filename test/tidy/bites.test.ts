import { describe, expect, test } from 'bun:test';
import { foreignTalkBreaches, generalBanBreaches, roomBanBreaches, skipBreaches } from './bans.ts';
import { cycleBreaches, deadExportBreaches, deadFileBreaches } from './graph.ts';
import { importsOf } from './imports.ts';
import { fileLengthBreaches, functionLengthBreaches } from './length.ts';
import { ROOMS, roomBreaches } from './rooms.ts';
import { type Breach, layers, type SourceFile } from './source.ts';

/** `{path: text}` as files. */
function files(texts: Record<string, string>): SourceFile[] {
  return Object.entries(texts).map(([path, text]) => ({ path, text }));
}

function messages(law: (files: SourceFile[]) => Breach[], texts: Record<string, string>): string[] {
  return law(files(texts)).map(({ path, line, message }) => `${path}:${line} ${message}`);
}

describe('code, strings and comments are told apart', () => {
  test.each([
    ['a // b', 'a', '', '//b'],
    ['a /* b */ c', 'ac', '', '/*b*/'],
    [`f('x', "y", \`z\`)`, `f('',"",\`\`)`, 'xyz', ''],
    [`f(\`a\${b(\`c\${{ d }}e\`)}f\`)`, `f(\`\${b(\`\${{d}}\`)}\`)`, 'acef', ''],
    [`const r = /'\\/[/"]/g; g('s')`, `constr=g;g('')`, 's', ''],
    [`a / b / 'c'`, `a/b/''`, 'c', ''],
    [`(a) / b / x[0] / 'c'`, `(a)/b/x[0]/''`, 'c', ''],
    [`'it\\'s' + x`, `''+x`, `it\\'s`, ''],
    ['return /`/.test(y)', 'return.test(y)', '', ''],
    ["x = '// no'; y", "x='';y", '//no', ''],
  ])('%s', (text, code, strings, comments) => {
    const found = layers(text);
    for (const layer of Object.values(found)) expect(layer).toHaveLength(text.length);
    const squeezed = Object.fromEntries(Object.entries(found).map(([name, layer]) => [name, layer.replace(/\s/g, '')]));
    expect(squeezed).toEqual({ code, strings, comments });
  });

  test('imports of every form are found, and none in strings or comments', () => {
    const text = `import a from './a.ts';
import { b, type B as Bee } from "./b.ts";
import type {
  C,
} from './c.ts';
import * as d from './d.ts';
import './e.ts';
export { f } from './f.ts';
export * from './g.ts';
const h = await import('./h.ts');
type I = import('./i.ts').I;
// import j from './j.ts';
const k = "import k from './k.ts'";
`;
    const found = importsOf({ path: 'src/x.ts', text });
    expect(Object.fromEntries(found.map(({ specifier, names }) => [specifier, names.join()]))).toEqual({
      './a.ts': 'default',
      './b.ts': 'b,B',
      './c.ts': 'C',
      './d.ts': '*',
      './e.ts': '*',
      './f.ts': 'f',
      './g.ts': '*',
      './h.ts': '*',
      './i.ts': '*',
    });
    expect(found.find(({ specifier }) => specifier === './e.ts')?.line).toBe(7);
  });
});

describe('rooms', () => {
  test.each([
    ['a room above', 'src/model/a.ts', `import { b } from '../store/b.ts';`, 'model/ may not import store/'],
    ['types of it', 'src/store/a.ts', `import type { B } from '../sys/b.ts';`, 'store/ may not import sys/'],
    ['lazily', 'src/sys/a.ts', `await import('../cli/b.ts');`, 'sys/ may not import cli/'],
    ['by re-export', 'src/git/a.ts', `export * from '../session/b.ts';`, 'git/ may not import session/'],
    ['the rehearsal', 'src/cli/a.ts', `import '../rehearsal/main.ts';`, 'cli/ may not import rehearsal/'],
    ['a foreign package', 'src/store/a.ts', `import { z } from 'zod';`, 'store/ may not import zod'],
    ['a door of another room', 'src/session/a.ts', `import fs from 'node:fs';`, 'session/ may not import node:fs'],
    ['SQLite', 'src/cli/a.ts', `import { Database } from 'bun:sqlite';`, 'cli/ may not import bun:sqlite'],
    ['no room at all', 'src/utils/a.ts', '', 'lies in no room'],
    ['the top of src', 'src/a.ts', '', 'lies in no room'],
    ['a name without extension', 'src/model/a.ts', `import './b';`, 'with its extension'],
    ['a built-in without node:', 'src/sys/a.ts', `import 'fs';`, 'write node:fs'],
    ['tests', 'src/model/a.ts', `import '../../test/setup.ts';`, 'reaches outside src'],
  ])('importing %s is a breach', (_what, path, text, message) => {
    expect(messages(roomBreaches, { [path]: text })).toEqual([expect.stringContaining(message)]);
  });

  test('what the table allows is none', () => {
    const texts = {
      'src/model/a.ts': `import { z } from 'zod'; import { b } from './b.ts';`,
      'src/store/a.ts': `import { Database } from 'bun:sqlite'; import type { A } from '../model/a.ts';`,
      'src/cli/a.ts': `import '../supervisor/b.ts'; import x from '@modelcontextprotocol/sdk/server/index.js';
        import role from '../../agents/lead.md'; import manifest from '../../package.json';`,
      'test/a.test.ts': `import '../src/cli/main.ts'; import 'left-pad';`,
    };
    expect(messages(roomBreaches, texts)).toEqual([]);
  });

  test('the table has no way round in a circle', () => {
    const order = Object.keys(ROOMS);
    for (const [name, { rooms }] of Object.entries(ROOMS)) {
      for (const other of rooms) expect(order.indexOf(other)).toBeLessThan(order.indexOf(name));
    }
  });
});

describe('the graph of files', () => {
  test('a cycle is a breach, through types too, named once', () => {
    const texts = {
      'src/model/a.ts': `import type { B } from './b.ts';`,
      'src/model/b.ts': `import { c } from './c.ts';`,
      'src/model/c.ts': `const a = await import('./a.ts');`,
      'src/model/d.ts': `import './a.ts';`,
    };
    expect(messages(cycleBreaches, texts)).toEqual([
      expect.stringContaining('src/model/a.ts -> src/model/b.ts -> src/model/c.ts -> src/model/a.ts'),
    ]);
    expect(messages(cycleBreaches, { ...texts, 'src/model/c.ts': '' })).toEqual([]);
  });

  test('a file that no entry reaches is a breach', () => {
    const texts = {
      'src/cli/main.ts': `const verb = () => import('./sling.ts');`,
      'src/cli/sling.ts': `export const run = 1;`,
      'src/cli/lost.ts': `import './sling.ts';`,
      'test/lost.test.ts': `import '../src/cli/lost.ts';`,
    };
    expect(messages(deadFileBreaches, texts)).toEqual([expect.stringContaining('src/cli/lost.ts:0')]);
  });

  test('an export that only tests use, or nobody, is a breach', () => {
    const texts = {
      'src/model/a.ts': `export const used = 1;
export function dead() {}
export const forTest = 2;
export function inner() { return inner; }
const own = inner;
export interface Shape { x: Part }
export type Part = number;
export type Lost = string;
const later = 3;
export { later, forTest as renamed };
`,
      'src/model/b.ts': `import { used as mine, type Shape } from './a.ts';`,
      'test/a.test.ts': `import { forTest, inner } from '../src/model/a.ts';`,
    };
    const found = deadExportBreaches(files(texts), ['src/model/a.ts#later']).map(({ message }) => message);
    expect(found).toEqual([
      expect.stringContaining('export dead: delete it'),
      expect.stringContaining('export Lost: delete it'),
      expect.stringContaining('export renamed: delete it'),
    ]);
    const untested = deadExportBreaches(files({ ...texts, 'test/a.test.ts': '' }), ['src/model/a.ts#later']);
    expect(untested.map(({ message }) => message)).toContainEqual(
      expect.stringContaining('inner: drop the word export'),
    );
  });
});

describe('lengths', () => {
  const body = (lines: number) => '  x();\n'.repeat(lines);

  test('a file of 401 lines is a breach, one of 400 is none', () => {
    expect(messages(fileLengthBreaches, { 'test/a.ts': 'x\n'.repeat(400) })).toEqual([]);
    expect(messages(fileLengthBreaches, { 'test/a.ts': 'x\n'.repeat(401) })).toEqual([expect.stringContaining('401')]);
  });

  test.each([
    ['function f(a: number) {', '}'],
    ['function f(): { a: string } {', '}'],
    [`async function* f(a = { b: 1 }): AsyncGenerator<{ c: 'd' }> {`, '}'],
    [`function f(x: unknown): x is { a: 'b' | 'c' } {`, '}'],
    [`function f(): 'a' | 'b' {`, '}'],
    ['function f(): string[] {', '}'],
    ['function f(): (a: number) => void {', '}'],
    ['const f = (a: number): Promise<void> => {', '};'],
    ['const f = a => {', '};'],
    ['const f = async () => {', '};'],
    ['class A { method(a: number): void {', '} }'],
    ['class A { constructor() {', '} }'],
    ["test('x', () => {", '});'],
  ])('a function of 71 lines is a breach, one of 70 is none: %s', (head, tail) => {
    const text = (lines: number) => `\n${head}\n${body(lines - 2)}${tail}\n`;
    expect(messages(functionLengthBreaches, { 'src/model/a.ts': text(70) })).toEqual([]);
    expect(messages(functionLengthBreaches, { 'src/model/a.ts': text(71) })).toEqual([
      expect.stringContaining('src/model/a.ts:2 function has 71 lines'),
    ]);
  });

  test.each([
    ["describe('x', () => {", '});'],
    ["describe.each([1, 2])('in %s', (kind) => {", '});'],
    ['const table = {', '};'],
    ['class A {', '}'],
    ['interface A {', '}'],
  ])('but a list of tests, a table and a class may be long: %s', (head, tail) => {
    expect(messages(functionLengthBreaches, { 'test/a.ts': `${head}\n${body(80)}${tail}\n` })).toEqual([]);
  });
});

describe('bans', () => {
  test.each([
    ['Date.now()', 'store', 'Clock'],
    ['new Date()', 'cli', 'Clock'],
    ['new Date', 'model', 'Clock'],
    ['performance.now()', 'watchdog', 'Clock'],
    ['setTimeout(f, 1)', 'supervisor', 'clock.sleep'],
    ['globalThis.setInterval(f, 1)', 'cli', 'clock.sleep'],
    ['await Bun.sleep(1)', 'session', 'clock.sleep'],
    ['AbortSignal.timeout(5)', 'guard', 'clock.sleep'],
    ['Bun.spawn([])', 'cli', 'sys/'],
    ['Bun.spawnSync([])', 'git', 'sys/'],
    ['Bun.$`ls`', 'plan', 'sys/'],
    ['process.kill(1)', 'watchdog', 'sys/'],
    ['new Database(path)', 'supervisor', 'store/'],
    ["db.query('SELECT id FROM session')", 'session', 'store/'],
    ['sql(`UPDATE session\n SET state = 1`)', 'cli', 'store/'],
    ["run('PRAGMA foreign_keys')", 'sys', 'store/'],
    ['process.exit(1)', 'sys', 'AppError'],
    ['console.log(1)', 'model', 'AppError'],
    ['process.stdout.write(x)', 'session', 'AppError'],
    ['const { HOME } = process.env', 'sys', 'argument'],
    ['Bun.env.HOME', 'harness', 'argument'],
  ])('%s in %s/ is a breach that names the way out', (text, room, instead) => {
    expect(messages(roomBanBreaches, { [`src/${room}/a.ts`]: text })).toEqual([expect.stringContaining(instead)]);
  });

  test('the rooms that are the doors may, and words in comments and strings are words', () => {
    const texts = {
      'src/sys/a.ts': 'Date.now(); setTimeout(f, 1); Bun.spawn([]); process.kill(1);',
      'src/store/a.ts': 'new Database(path); q(`SELECT a FROM b`)',
      'src/cli/a.ts': 'console.log(process.env.HOME); process.exit(1)',
      'src/rehearsal/a.ts': 'console.log(process.env.HOME); process.exit(1)',
      'src/model/a.ts': `// Date.now() and console.log
        const x = 'call setTimeout(…), or process.exit'; new Date(0); clock.now(); deps.process.exit(); row.UPDATE;
        const hint = 'Select a name from the list';`,
      'test/a.test.ts': 'Date.now(); Bun.spawn([]); new Database(path);',
    };
    expect(messages(roomBanBreaches, texts)).toEqual([]);
  });

  test.each([
    ['try { f(); } catch {}', 'empty catch'],
    ['try { f(); } catch (error) { /* never mind */ }', 'empty catch'],
    ['p.catch(() => {});', 'empty catch'],
    ['p.catch((e) => { });', 'empty catch'],
    ['let x: any;', 'unknown'],
    ['const y = x as any;', 'unknown'],
    ['function f(a: any[], b?: Record<string, any>) {}', 'unknown'],
    ['// @ts-ignore', '@ts-expect-error'],
    ['/* @ts-nocheck */', '@ts-expect-error'],
    ["test.only('x', f);", '.only'],
    ["describe.concurrent.only('x', f);", '.only'],
  ])('%s is a breach anywhere', (text, message) => {
    for (const path of ['src/model/a.ts', 'test/a.test.ts', 'bench/a.ts']) {
      const found = messages(generalBanBreaches, { [path]: text });
      expect(found[0]).toContain(message);
      expect(found.every((line) => line.includes(message))).toBe(true);
    }
  });

  test('a catch that does something, any as a word, and a reasoned expectation are none', () => {
    const text = `try { f(); } catch (error) { if (!isGone(error)) throw error; }
      p.catch((error) => log(error)); // any error will do; see any.ts
      const any = 'any'; Promise.any([]); const o = { any: 1 }; matcher.any(); x.only();
      // @ts-expect-error: the type has no such field
      type T = { any?: string };`;
    expect(messages(generalBanBreaches, { 'src/model/a.ts': text })).toEqual([]);
  });

  test('a skipped test without its reason is a breach', () => {
    const texts = {
      'test/a.test.ts': `test.skip('a', f);\n\ntest.todo('b');\ndescribe.skip('c', f);\nxit('d', f);`,
      'test/b.test.ts': `// reason: needs a kernel with pidfd\ntest.skip('a', f);\ntest.skipIf(!cgroups)('b', f);
        test.skip('c', f); // reason: the registry is out of reach`,
    };
    expect(skipBreaches(files(texts)).map(({ path, line }) => `${path}:${line}`)).toEqual([
      'test/a.test.ts:1',
      'test/a.test.ts:3',
      'test/a.test.ts:4',
      'test/a.test.ts:5',
    ]);
  });

  test.each([
    ['see /', 'work/main'],
    ['in ..', '/shared/spec'],
    ['https://registry.', 'npmjs.org/'],
    ['fixes iss', 'ue #12'],
  ])('talk of elsewhere is a breach in any file: %s…', (head, tail) => {
    for (const path of ['src/model/a.ts', 'README.md', '.ci/run']) {
      expect(messages(foreignTalkBreaches, { [path]: `# x\n${head}${tail}` })).toEqual([
        expect.stringContaining(`${path}:2 `),
      ]);
    }
    expect(
      messages(foreignTalkBreaches, { 'a.md': 'the work/ folder, shared state, the npm registry, an issue' }),
    ).toEqual([]);
  });
});
