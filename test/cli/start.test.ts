import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { OPERATOR } from '../../src/model/mail.ts';
import { sendMail } from '../../src/store/mail.ts';
import { type Bench, droverBench } from '../support/drover.ts';
import { seedSession, takeTurn, testStore } from '../support/store.ts';

const ROOT = resolve(import.meta.dir, '../..');

/** What is loaded with these files before anything runs: own files and packages. Types and `import()` load nothing. */
function loadedWith(...entries: string[]): { files: Set<string>; packages: Set<string> } {
  const [files, packages] = [new Set<string>(), new Set<string>()];
  const transpiler = new Bun.Transpiler({ loader: 'ts' });
  const queue = entries.map((path) => join(ROOT, path));
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (files.has(path)) continue;
    files.add(path);
    if (!path.endsWith('.ts')) continue;
    for (const found of transpiler.scanImports(readFileSync(path, 'utf8'))) {
      if (found.kind !== 'import-statement') continue;
      if (found.path.startsWith('.')) queue.push(resolve(path, '..', found.path));
      else packages.add(found.path);
    }
  }
  return { files: new Set([...files].map((path) => path.slice(ROOT.length + 1))), packages };
}

test('--version and --help load next to nothing (ARCHITECTURE §4)', () => {
  const { files, packages } = loadedWith('src/cli/main.ts');
  expect([...files].sort()).toEqual(['package.json', 'src/cli/main.ts', 'src/cli/verbs.ts']);
  expect([...packages]).toEqual([]);
});

test.each(['status', 'show', 'mail'])('%s loads no parser, no schema and nothing that only writes', (verb) => {
  const { files, packages } = loadedWith('src/cli/run-verb.ts', `src/cli/verbs/${verb}.ts`);
  expect(files).toContain('src/store/reader.ts');
  expect([...packages].sort()).toEqual(['bun:sqlite', 'node:fs', 'node:path']);
  for (const heavy of ['cli/parse', 'store/schema', 'store/open', 'store/new-session', 'sys/lock'])
    expect(files).not.toContain(`src/${heavy}.ts`);
});

/** A bench on a store with a session in a turn, its child, and mail to the operator. */
async function filled(): Promise<Bench> {
  const world = await testStore();
  const bench = droverBench();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  const { id, name } = await seedSession(world, { name: 'ewe', repo_root: bench.repo, working_dir: bench.repo });
  await seedSession(world, { name: 'lamb', repo_root: bench.repo, parent_id: id });
  await takeTurn(world, id);
  const from = { from_name: name, from_id: id, payload_json: null };
  const draft = { ...from, type: 'status', priority: 'normal', subject: 'grass', body: 'is high' } as const;
  const to = [{ name: OPERATOR, id: null }];
  await sendMail(world.store, { draft, to, sender: null, is_terminal: false, now: world.clock.now() });
  return bench;
}

const bench = await filled();

/** Ages move on between two calls. */
const timeless = (text: string) => text.replace(/\b\d+(?:s|m)\b/g, '0s');

test.each([
  { plain: ['status'], parsed: ['status', '--'] },
  { plain: ['show', 'ewe'], parsed: ['show', '--', 'ewe'] },
  { plain: ['show', 'nobody'], parsed: ['show', '--', 'nobody'] },
  { plain: ['mail'], parsed: ['mail', '--'] },
  { plain: ['mail'], parsed: ['mail', '--limit', '200'] },
  { plain: ['mail', 'list'], parsed: ['mail', 'list', '--'] },
  { plain: ['mail', 'check'], parsed: ['mail', 'check', '--'] },
])('$plain does without the parser what the parser does with $parsed', async ({ plain, parsed }) => {
  for (const globals of [[], ['--json']]) {
    const [short, long] = [await bench.run([...plain, ...globals]), await bench.run([...globals, ...parsed])];
    expect(short.stdout + short.stderr).not.toBe('');
    expect({ ...short, stdout: timeless(short.stdout) }).toEqual({ ...long, stdout: timeless(long.stdout) });
  }
});

test.each([
  [['show'], /missing required argument/],
  [['show', 'ewe', 'lamb'], /too many arguments/],
  [['show', '-x'], /unknown option/],
  [['status', 'ewe'], /too many arguments/],
  [['mail', 'chekc'], /too many arguments/],
  [['mail', 'list', 'ewe'], /too many arguments/],
  [['mail', 'check', 'ewe'], /too many arguments/],
])('%j is left to the parser, which refuses it', async (args, words) => {
  const { code, stderr } = await bench.run(args);
  expect([code, stderr]).toEqual([2, expect.stringMatching(words)]);
});
