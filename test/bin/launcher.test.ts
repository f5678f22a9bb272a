import { describe, expect, test } from 'bun:test';
import { chmodSync, cpSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { tempDir } from '../support/temp.ts';

const ROOT = resolve(import.meta.dir, '../..');
const PLACEHOLDER = `echo "Error: Bun's postinstall script was not run." >&2\nexit 1\n`;

/** `bin/` alone at the given place, with a program that is there only to be named. */
function packageAt(root: string): string {
  cpSync(join(ROOT, 'bin'), join(root, 'bin'), { recursive: true });
  return join(root, 'bin/drover');
}

/** A stand-in for Bun that tells its name and arguments. */
function fakeBun(path: string, content = `#!/bin/sh\necho "${path}" "$@"\n`): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  chmodSync(path, 0o755);
  return path;
}

/** PATH holds nothing but what the launcher itself may use. */
function bare(): string {
  const dir = tempDir('path');
  symlinkSync(Bun.which('readlink') ?? '', join(dir, 'readlink'));
  return dir;
}

function start(program: string, args: string[] = [], path = bare(), cwd = tempDir()) {
  const run = Bun.spawnSync([program, ...args], { cwd, env: { PATH: path } });
  return { code: run.exitCode, out: run.stdout.toString(), err: run.stderr.toString() };
}

describe('the launcher finds Bun', () => {
  test.each(['node_modules/@oven/bun-some-platform/bin/bun', 'node_modules/.bin/bun', 'node_modules/bun/bin/bun.exe'])(
    'in its own %s',
    (place) => {
      const root = tempDir();
      fakeBun(join(root, place));
      expect(start(packageAt(root))).toMatchObject({ code: 0, out: expect.stringContaining(`${place} --no-env-file`) });
    },
  );

  test.each(['@oven/bun-some-platform/bin/bun', '.bin/bun', 'bun/bin/bun.exe'])(
    'as a neighbour in the node_modules it is installed in (%s)',
    (place) => {
      const root = tempDir();
      fakeBun(join(root, 'node_modules', place));
      const drover = packageAt(join(root, 'node_modules/drover'));
      expect(start(drover).out).toContain(join(root, 'node_modules', place).slice(root.length + 1));
    },
  );

  test('but not beside a checkout that lies in no node_modules', () => {
    const root = tempDir();
    fakeBun(join(root, 'projects/bun/bin/bun.exe'));
    expect(start(packageAt(join(root, 'projects/drover'))).code).toBe(69);
  });

  test('on PATH, passing over relative entries, which the repository could fill', () => {
    const repo = tempDir();
    fakeBun(join(repo, 'bun'));
    fakeBun(join(repo, 'sub/bun'));
    const real = dirname(fakeBun(join(tempDir(), 'bun')));
    const drover = packageAt(tempDir());
    expect(start(drover, [], `.::sub:${bare()}`, repo).code).toBe(69);
    expect(start(drover, [], `.::sub:${bare()}:${real}`, repo).out).toStartWith(real);
  });

  test('through any number of symlinks, relative and absolute', () => {
    const root = tempDir();
    fakeBun(join(root, 'node_modules/bun/bin/bun.exe'));
    const drover = packageAt(root);
    const links = tempDir();
    symlinkSync(drover, join(links, 'one'));
    mkdirSync(join(links, 'deep'));
    symlinkSync('../one', join(links, 'deep/two'));
    expect(start(join(links, 'deep/two'), ['a b', '']).out).toEndWith('src/cli/main.ts a b \n');
    expect(start('./two', [], bare(), join(links, 'deep')).code).toBe(0);
  });

  test('and takes the text file of a package whose install script never ran for none', () => {
    const root = tempDir();
    const modules = join(root, 'node_modules');
    fakeBun(join(modules, 'bun/bin/bun.exe'), PLACEHOLDER);
    fakeBun(join(modules, 'bun/bin/bunx.exe'), PLACEHOLDER);
    const drover = packageAt(root);
    expect(start(drover).code).toBe(69);
    const platform = fakeBun(join(modules, '@oven/bun-some-platform/bin/bun'));
    expect(start(drover).out).toContain('@oven/bun-some-platform');
    chmodSync(platform, 0o644);
    expect(start(drover).code).toBe(69);
  });

  test('without reading it when it is its own bunx', () => {
    const root = tempDir();
    const bun = fakeBun(join(root, 'node_modules/bun/bin/bun.exe'));
    linkSync(bun, join(dirname(bun), 'bunx.exe'));
    expect(start(packageAt(root)).code).toBe(0);
  });
});

describe('the launcher', () => {
  test('without Bun says so and how to get it, exit 69', () => {
    const { code, out, err } = start(packageAt(tempDir()));
    expect({ code, out }).toEqual({ code: 69, out: '' });
    expect(err).toContain('no Bun executable found');
    expect(err).toContain('npm install');
  });

  test('passes arguments and exit code through untouched', () => {
    const root = tempDir();
    fakeBun(join(root, 'node_modules/.bin/bun'), '#!/bin/sh\nfor a in "$@"; do printf "[%s]" "$a"; done\nexit 75\n');
    const { code, out } = start(packageAt(root), ['--a b', '', '*', '$HOME', "it's"]);
    expect(code).toBe(75);
    expect(out).toEndWith("main.ts][--a b][][*][$HOME][it's]");
    expect(out).toStartWith('[--no-env-file][--config=/dev/null][--tsconfig-override=/dev/null][--no-install]');
  });

  test('hands every other variable on, whatever it holds', () => {
    const root = tempDir();
    const probe = '#!/bin/sh\nprintf "%s|" "$KEEP" "$TRICK" "$BUN_X" "$NODE_PATH"\n';
    fakeBun(join(root, 'node_modules/.bin/bun'), probe);
    const env = { PATH: bare(), KEEP: `a'b"c\n*`, TRICK: "x\nexport BUN_X='1'", BUN_X: '2', NODE_PATH: '/x', IFS: 'z' };
    const run = Bun.spawnSync([packageAt(root)], { env });
    expect(run.stdout.toString()).toBe(`a'b"c\n*|x\nexport BUN_X='1'|||`);
  });

  test('is plain POSIX shell', () => {
    for (const name of ['drover', 'drover-rehearsal']) {
      expect(readFileSync(join(ROOT, 'bin', name), 'utf8')).toStartWith('#!/bin/sh\n');
    }
    for (const shell of ['dash', 'bash', 'busybox'].map((name) => Bun.which(name)).filter((path) => path !== null)) {
      const words = shell.endsWith('busybox') ? [shell, 'sh'] : [shell];
      const env = { ...process.env, BUN_OPTIONS: '--no-such-option' };
      const run = Bun.spawnSync([...words, join(ROOT, 'bin/drover'), '--version'], { env });
      expect(run.stdout.toString()).toMatch(/^\d+\.\d+\.\d+/);
    }
  });
});
