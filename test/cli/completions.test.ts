import { beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VERBS } from '../../src/cli/verbs.ts';
import { droverBench } from '../support/drover.ts';
import { seedSession, testStore } from '../support/store.ts';
import { tempDir } from '../support/temp.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
const scripts = new Map<string, string>();
const helps = new Map<string, string>();
/** Every long option and every command of a verb, as its help tells them. */
const told: { words: Set<string>; options: Set<string> } = { words: new Set(Object.keys(VERBS)), options: new Set() };

beforeAll(async () => {
  const bench = droverBench();
  for (const shell of SHELLS) scripts.set(shell, (await bench.run(['completions', shell])).stdout);
  for (const verb of Object.keys(VERBS)) {
    const help = (await bench.run([verb, '--help'])).stdout;
    helps.set(verb, help);
    collect(help);
    const commands = help.split('\nCommands:\n')[1]?.split('\n\n')[0] ?? '';
    for (const [, sub = ''] of commands.matchAll(/^ {2}([a-z]+)\b/gm)) {
      if (sub === 'help') continue;
      told.words.add(sub);
      collect((await bench.run([verb, sub, '--help'])).stdout);
    }
  }
}, 180_000);

function collect(help: string): void {
  for (const [, option = ''] of help.matchAll(/^ {2}(?:-\w, )?--([a-z-]+)/gm)) told.options.add(option);
}

test('the help of every verb has examples, and the exit codes of its own', () => {
  const lacking = (part: RegExp) => [...helps].filter(([, help]) => !part.test(help)).map(([verb]) => verb);
  expect(lacking(/\nExamples:\n {2}\S/)).toEqual([]);
  expect(lacking(/\bexit codes?\b[^:]*: 0/i)).toEqual([]);
});

describe.each(SHELLS)('the %s script', (shell) => {
  test('names every verb, command and long option (O-88)', () => {
    const script = scripts.get(shell) ?? '';
    expect(told.options.size).toBeGreaterThan(20);
    expect(told.words).toContain('complete');
    const hasWord = (word: string) => new RegExp(`(?<![\\w-])${word}(?![\\w-])`).test(script);
    expect([...told.words].filter((word) => !hasWord(word))).toEqual([]);
    const hasOption = (name: string) => (shell === 'fish' ? script.includes(` -l ${name} `) : hasWord(`--${name}`));
    expect([...told.options].filter((name) => !hasOption(name))).toEqual([]);
    expect(script).toContain('completions --sessions');
  });

  const program = Bun.which(shell);
  const reason = program === null ? ' [skipped: this shell is not installed]' : '';
  test.skipIf(program === null)(`is one the shell can parse${reason}`, () => {
    const path = join(tempDir(), 'script');
    writeFileSync(path, scripts.get(shell) ?? '');
    const run = Bun.spawnSync([program ?? '', '-n', path]);
    expect({ code: run.exitCode, err: run.stderr.toString() }).toEqual({ code: 0, err: '' });
  });
});

test.each([
  ['drover sl', ['sling']],
  ['drover --json sh', ['show']],
  ['drover run c', ['current', 'create', 'complete']],
  ['drover run complete --f', ['--failed']],
  ['drover run add cleanup cl', ['clarabelle']],
  ['drover sling --ha', ['--harness']],
  ['drover sling --harness cl', ['claude']],
  ['drover show ', ['latest', 'bessie', 'clarabelle']],
  ['drover logs be', ['bessie']],
  ['drover logs --raw be', ['bessie']],
  ['drover --project /tmp logs cl', ['clarabelle']],
  ['drover completions z', ['zsh']],
  ['drover logs --q', ['--quiet']],
])('bash completes %j', (line, expected) => {
  const path = join(tempDir(), 'script');
  writeFileSync(path, scripts.get('bash') ?? '');
  const words = line
    .split(' ')
    .map((word) => `'${word}'`)
    .join(' ');
  const text = `. ${path}; command() { printf 'bessie\\nclarabelle\\n'; }
COMP_WORDS=(${words}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _drover; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const run = Bun.spawnSync(['bash', '--norc', '-c', text]);
  expect({ err: run.stderr.toString(), words: run.stdout.toString().trim().split('\n') }).toEqual({
    err: '',
    words: expected,
  });
});

test('the names are those of live and recent sessions; a first call stores nothing (H-09)', async () => {
  const bench = droverBench();
  expect(await bench.run(['completions', '--sessions'])).toEqual({ code: 0, stdout: '', stderr: '' });
  expect(existsSync(bench.drover_home)).toBe(false);
  const world = await testStore();
  bench.env.DROVER_HOME = world.home;
  world.repo_root = bench.repo;
  await seedSession(world, { name: 'bessie' });
  await seedSession(world, { name: '$(touch /tmp/x)' });
  expect((await bench.run(['completions', '--sessions'])).stdout).toBe('bessie\n');
  expect((await bench.run(['completions'])).code).toBe(2);
  expect((await bench.run(['completions', 'tcsh'])).code).toBe(2);
});
