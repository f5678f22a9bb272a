import { expect, test } from 'bun:test';
import { resolve } from 'node:path';

const ROOT = resolve(import.meta.dir, '../..');

async function run(program: string, args: string[]): Promise<{ code: number; said: string; shown: string }> {
  const child = Bun.spawn([process.execPath, '--no-env-file', `bench/durability/${program}.ts`, ...args], {
    ...{ cwd: ROOT, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  });
  const [shown, said, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, said, shown };
}

test.each<[string, string[], string]>([
  ['main', ['--bogus'], 'bogus'],
  ['main', ['--only'], 'only'],
  ['main', ['--only', 'nosuch'], 'kill, watch, limit'],
  ['main', ['--seed', 'abc'], '--seed takes a whole number from 0, not "abc"'],
  ['main', ['--sessions', '0'], '--sessions takes a whole number from 1'],
  ['main', ['--kills=-1'], '--kills takes a whole number from 0'],
  ['main', ['--minutes', '1e9'], '--minutes takes a whole number from 1'],
  ['main', ['--package', '/nowhere/at/all'], 'no checkout in /nowhere/at/all'],
  ['main', ['kill'], 'kill'],
  ['mutants', ['--bogus'], 'bogus'],
  ['mutants', ['--seeds', 'some'], '--seeds takes a whole number from 1'],
  ['mutants', ['--only', 'nosuch'], 'a claim does not ask for the lease'],
])(
  '%s %p: wrong arguments end with 2 and a reason, before anything is started',
  async (program, args, reason) => {
    const { code, said, shown } = await run(program, args);
    expect({ code, shown }).toEqual({ code: 2, shown: '' });
    expect(said).toContain(reason);
    expect(said).toStartWith(program === 'main' ? 'bench:durability: ' : 'mutants: ');
    expect(said).not.toMatch(/\n {4,}at |seed \d/);
  },
  30_000,
);
