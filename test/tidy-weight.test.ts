import { expect, test } from 'bun:test';
import type { SourceFile } from './tidy/source.ts';
import { codeFiles } from './tidy/tree.ts';
import { weightOf } from './tidy/weight.ts';

const files = new Map(codeFiles().map((file) => [file.path, file]));
const VERBS = 'src/cli/verbs/';
const verbs = [...files.keys()].filter((path) => path.startsWith(VERBS)).map((path) => path.slice(VERBS.length, -3));

/**
 * What the verbs that people and sessions wait for all day may load before they do anything, in files of our own: what they
 * have today and a little more. What only an option or a refusal needs is loaded there, by `import()`.
 */
const MODULES: Record<string, number> = {
  ...{ status: 32, show: 40, logs: 46, wait: 42, mail: 25, run: 35, ps: 60, report: 48, reservations: 52, chain: 18 },
  ...{ heartbeat: 36, schema: 11, watch: 43, harness: 53, pools: 80 },
  ...{ up: 26, down: 57, nudge: 76, pause: 78, resume: 84, recover: 79, stop: 82 },
};

/** Packages that a verb loads whatever it is asked for; those of the runtime are no weight. */
const PACKAGES: Record<string, string[]> = {
  ...{ budget: ['commander'], completions: ['commander'], dispatch: ['commander'], plan: ['commander'] },
  ...{ release: ['commander'], report: ['commander'], up: ['commander'], watch: ['commander'] },
  ...{ heartbeat: ['zod'], incident: ['zod'], schema: ['zod'], mcp: ['@modelcontextprotocol/sdk', 'zod'] },
  ...{ doctor: ['yaml'], template: ['yaml', 'zod'], schedule: ['commander', 'cron-parser', 'yaml', 'zod'] },
};

const packagesOf = (entry: string) =>
  weightOf(files, entry).packages.filter((name) => !name.startsWith('node:') && !name.startsWith('bun:'));

test('no verb loads a package that it does not always use (H-09)', () => {
  const found = verbs.map((verb) => [verb, packagesOf(`${VERBS}${verb}.ts`)] as const);
  const more = found.flatMap(([verb, names]) =>
    names.filter((name) => !PACKAGES[verb]?.includes(name)).map((name) => `${verb}: ${name}`),
  );
  expect(more).toEqual([]);
  // Nothing is allowed that nobody needs any more.
  const known = new Map(found);
  const stale = Object.entries(PACKAGES).flatMap(([verb, names]) =>
    names.filter((name) => !known.get(verb)?.includes(name)).map((name) => `${verb}: ${name}`),
  );
  expect(stale).toEqual([]);
});

test.each(Object.entries(MODULES))(
  '%s loads at most %d files of ours before it does anything (H-09)',
  (verb, ceiling) => {
    const { modules } = weightOf(files, `${VERBS}${verb}.ts`);
    expect(modules).toContain(`${VERBS}${verb}.ts`);
    expect(modules.length, modules.join('\n')).toBeLessThanOrEqual(ceiling);
    // The bound is near, or it bounds nothing.
    expect(modules.length).toBeGreaterThan(ceiling * 0.6);
  },
);

test('what every verb begins with is small and loads no package (H-09)', () => {
  for (const entry of ['src/cli/main.ts', 'src/cli/run-verb.ts']) {
    expect(packagesOf(entry)).toEqual([]);
    expect(weightOf(files, entry).modules.length).toBeLessThanOrEqual(14);
  }
});

test('types and what is imported on demand weigh nothing, everything else does', () => {
  const file = (path: string, text: string): [string, SourceFile] => [path, { path, text }];
  const world = new Map([
    file(
      'src/a.ts',
      "import type { B } from './b.ts';\nimport { type C, c } from './c.ts';\nexport const a: B | C = c;",
    ),
    file('src/b.ts', "import { z } from 'zod';\nexport type B = typeof z;"),
    file('src/c.ts', "import './d.ts';\nexport type C = 1;\nexport const c = async () => import('./e.ts');"),
    file('src/d.ts', "export { x } from 'yaml';\nimport { readFileSync } from 'node:fs';\nreadFileSync('/');"),
    file('src/e.ts', "import 'zod';"),
  ]);
  expect(weightOf(world, 'src/a.ts')).toEqual({
    modules: ['src/a.ts', 'src/c.ts', 'src/d.ts'],
    packages: ['node:fs', 'yaml'],
  });
});
