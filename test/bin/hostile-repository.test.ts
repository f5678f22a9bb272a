import { describe, expect, test } from 'bun:test';
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { tempDir } from '../support/temp.ts';

const ROOT = resolve(import.meta.dir, '../..');

/** Says what of the repository has reached the program: variables, and whose modules answer to a name. */
const PROBE = `
const commander = await import('commander');
console.log(JSON.stringify({
  dotenv: process.env.CANARY_DOTENV ?? null,
  fake: 'evil' in commander,
  leftovers: Object.keys(process.env).filter((name) => /^BUN_|^NODE_(OPTIONS|PATH)$/.test(name)),
}));
`;

interface Trap {
  repo: string;
  canaries: string;
  env: Record<string, string>;
}

/**
 * A repository that tries every door by which Bun, started in it, could be made to run its code. With `paths` its
 * tsconfig maps every module to its own, preloads included, so that the other traps show only without.
 */
function hostileRepository({ paths }: { paths: boolean }): Trap {
  const repo = tempDir('hostile');
  const canaries = tempDir('canaries');
  const evil = (name: string) => {
    const path = join(repo, `evil-${name}.cjs`);
    const mark = JSON.stringify(join(canaries, name));
    writeFileSync(path, `require('node:fs').writeFileSync(${mark}, ''); module.exports = { evil: true };`);
    return `./evil-${name}.cjs`;
  };
  const write = (path: string, content: unknown) =>
    writeFileSync(join(repo, path), typeof content === 'string' ? content : JSON.stringify(content));
  const mapped = evil('tsconfig');
  write('.env', 'CANARY_DOTENV=loaded\n');
  write('bunfig.toml', `preload = ["${evil('bunfig')}"]\n[run]\npreload = ["${evil('bunfig-run')}"]\n`);
  const mapping = paths ? { '*': [mapped] } : { commander: [mapped] };
  write('tsconfig.json', { compilerOptions: { paths: mapping, plugins: [{ name: mapped }] } });
  write('package.json', { name: 'repo', imports: { '#*': mapped }, preload: [mapped], bun: { preload: [mapped] } });
  write('.npmrc', 'registry=http://127.0.0.1:9/\n');
  mkdirSync(join(repo, 'node_modules/commander'), { recursive: true });
  write('node_modules/commander/package.json', { name: 'commander', main: `../../${evil('commander')}` });
  const env = {
    BUN_OPTIONS: `--preload ${evil('bun-options')}`,
    BUN_CONFIG_FILE: './bunfig.toml',
    BUN_CANARY: 'multi\nline',
    NODE_OPTIONS: `--require ${evil('node-options')}`,
    NODE_PATH: join(repo, 'node_modules'),
  };
  return { repo, canaries, env };
}

/** The launchers with the probe in place of the program, beside the real dependencies. */
function probePackage(): string {
  const root = tempDir('package');
  cpSync(join(ROOT, 'bin'), join(root, 'bin'), { recursive: true });
  for (const room of ['cli', 'rehearsal']) {
    mkdirSync(join(root, 'src', room), { recursive: true });
    writeFileSync(join(root, 'src', room, 'main.ts'), PROBE);
  }
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  return root;
}

function start(trap: Trap, ...argv: string[]) {
  const run = Bun.spawnSync(argv, { cwd: trap.repo, env: { ...process.env, ...trap.env } });
  return { code: run.exitCode, out: run.stdout.toString(), err: run.stderr.toString() };
}

describe.each([{ paths: false }, { paths: true }])('in a hostile repository %j', (kind) => {
  test('bin/drover --version runs none of its code', async () => {
    const trap = hostileRepository(kind);
    const { version } = await Bun.file(join(ROOT, 'package.json')).json();
    expect(start(trap, join(ROOT, 'bin/drover'), '--version')).toEqual({ code: 0, out: `${version}\n`, err: '' });
    expect(readdirSync(trap.canaries)).toEqual([]);
  });

  test.each(['drover', 'drover-rehearsal'])('bin/%s keeps files and variables from the program', (name) => {
    const trap = hostileRepository(kind);
    const { code, out } = start(trap, join(probePackage(), 'bin', name));
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual({ dotenv: null, fake: false, leftovers: [] });
    expect(readdirSync(trap.canaries)).toEqual([]);
  });
});

describe('the traps are live: a plain start of Bun falls for', () => {
  const main = join(ROOT, 'src/cli/main.ts');

  test('preloads of bunfig.toml and BUN_OPTIONS', () => {
    const trap = hostileRepository({ paths: false });
    expect(start(trap, process.execPath, main, '--version').code).toBe(0);
    expect(readdirSync(trap.canaries).sort()).toEqual(['bun-options', 'bunfig']);
  });

  test('a tsconfig.json that maps the program itself to another file', () => {
    const trap = hostileRepository({ paths: true });
    expect(start(trap, process.execPath, main, '--version').out).toBe('');
    expect(readdirSync(trap.canaries)).toContain('tsconfig');
  });

  test('variables of .env and of the caller', () => {
    const trap = hostileRepository({ paths: false });
    const { out } = start(trap, process.execPath, join(probePackage(), 'src/cli/main.ts'));
    const leftovers = expect.arrayContaining(['BUN_OPTIONS', 'NODE_OPTIONS', 'NODE_PATH']);
    expect(JSON.parse(out)).toMatchObject({ dotenv: 'loaded', leftovers });
  });
});
