import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dir, '../..');

/** The last cell of every row: which file, and how the name of the test begins or what it contains. */
function named(): { file: string; name: string }[] {
  const rows = readFileSync(join(ROOT, 'docs/faults.md'), 'utf8').split('\n');
  return rows
    .filter((line) => line.startsWith('| ') && !line.startsWith('| fault |'))
    .map((line) => {
      const [, file, name] = /\| `(test\/[^`]+)`: (.+) \|$/.exec(line) ?? [];
      if (file === undefined || name === undefined) throw new Error(`no test in this row: ${line}`);
      return { file, name };
    });
}

test('every test that the page about faults names is there', () => {
  expect(named().length).toBeGreaterThan(50);
  const missing = named().filter(({ file, name }) => {
    const path = join(ROOT, file);
    return !existsSync(path) || !readFileSync(path, 'utf8').replaceAll("\\'", "'").includes(name);
  });
  expect(missing).toEqual([]);
});
