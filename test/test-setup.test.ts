import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { isScrubbed } from './setup/scrub.ts';
import { isAlive, lineage } from './setup/strays.ts';
import { tempDir } from './support/temp.ts';

const SETUP = resolve(import.meta.dir, 'setup.ts');
const TEMP = resolve(import.meta.dir, 'support/temp.ts');

interface Run {
  code: number;
  output: string;
}

/** Runs one test file of the given text under the real preload, in a `bun test` of its own. */
async function runFile(text: string, env: Record<string, string> = {}, flags = ['--isolate']): Promise<Run> {
  const dir = tempDir();
  mkdirSync(join(dir, 'test'));
  writeFileSync(join(dir, 'bunfig.toml'), `[test]\npreload = [${JSON.stringify(SETUP)}]\nroot = "./test"\n`);
  writeFileSync(join(dir, 'test', 'inner.test.ts'), `import { expect, test } from 'bun:test';\n${text}`);
  const run = Bun.spawn([process.execPath, 'test', ...flags], {
    cwd: dir,
    env: { ...process.env, ...env },
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err, code] = await Promise.all([run.stdout.text(), run.stderr.text(), run.exited]);
  return { code, output: `${out}${err}` };
}

/** The values of O-46, with the tool's own prefix. */
const CONTEXT = {
  DROVER_PROJECT_ROOT: '/somewhere/live',
  DROVER_AGENT_NAME: 'live-agent',
  DROVER_WORKTREE_PATH: '/somewhere/live/worktree',
  DROVER_TASK_ID: 'task-1',
  DROVER_PROFILE: 'live-profile',
  DROVER_RUN_ID: 'run-1',
};

const CREDENTIALS = {
  ANTHROPIC_API_KEY: 'secret-1',
  OPENAI_API_KEY: 'secret-2',
  GEMINI_API_KEY: 'secret-3',
  GOOGLE_APPLICATION_CREDENTIALS: 'secret-4',
  CODEX_HOME: 'secret-5',
  CLAUDE_CODE_OAUTH_TOKEN: 'secret-6',
  CLAUDECODE: 'secret-7',
  OPENCODE_CONFIG: 'secret-8',
  AWS_SECRET_ACCESS_KEY: 'secret-9',
  GITHUB_TOKEN: 'secret-10',
  SOME_OTHER_API_KEY: 'secret-11',
  SSH_AUTH_SOCK: 'secret-12',
};

describe('the environment of a test', () => {
  test('has none of the context variables of a live drover (O-46)', async () => {
    const names = JSON.stringify([...Object.keys(CONTEXT), 'DROVER_HOME', 'DROVER_ANYTHING']);
    const run = await runFile(
      `test('unset', () => { for (const name of ${names}) expect(process.env[name]).toBeUndefined(); });
       test('told', () => console.log('ROOT', process.env.DROVER_PROJECT_ROOT));`,
      { ...CONTEXT, DROVER_HOME: '/somewhere/live', DROVER_ANYTHING: 'x' },
    );
    expect(run.output).toContain('ROOT undefined');
    expect(run.code).toBe(0);
  });

  test('leaves no way to the project root of a live drover but the variable that is gone (O-47)', async () => {
    const inner = `import { readFileSync } from 'node:fs';
      test('no trace', () => {
        expect(JSON.stringify(process.env)).not.toContain('/somewhere/live');
        expect(Object.keys(globalThis).filter((name) => /root|drover/i.test(name))).toEqual([]);
      });`;
    expect(await runFile(inner, CONTEXT)).toMatchObject({ code: 0 });
  });

  test('and of its children has no credential, however they are started (O-46, O-48)', async () => {
    const run = await runFile(
      `import { execFileSync } from 'node:child_process';
       test('children', async () => {
         console.log(JSON.stringify(process.env));
         console.log(Bun.spawnSync(['env']).stdout.toString());
         console.log(Bun.spawnSync({ cmd: ['env'] }).stdout.toString());
         console.log(await Bun.spawn(['env'], { stdout: 'pipe' }).stdout.text());
         console.log(await Bun.spawn({ cmd: ['env'], stdout: 'pipe' }).stdout.text());
         console.log(await Bun.$\`env\`.text());
         console.log(execFileSync('env').toString());
         expect(Bun.spawnSync(['env'], { env: { ONLY: '1' } }).stdout.toString()).toBe('ONLY=1\\n');
       });`,
      { ...CONTEXT, ...CREDENTIALS, TELL_TALE: 'arrives' },
    );
    expect(run.output.split('TELL_TALE=arrives').length).toBe(7);
    expect(run.output).not.toContain('secret-');
    expect(run.output).not.toContain('live');
    expect(run.code).toBe(0);
  });

  test('has a home, temp and XDG directories of its own, gone afterwards (O-48)', async () => {
    const run = await runFile(
      `import { homedir, tmpdir } from 'node:os';
       test('told', () => console.log('PLACES', JSON.stringify([homedir(), tmpdir(), process.env.XDG_STATE_HOME])));`,
      { HOME: '/somewhere/live', TMPDIR: tmpdir(), XDG_STATE_HOME: '/somewhere/live' },
    );
    const places: string[] = JSON.parse(/PLACES (.*)/.exec(run.output)?.[1] ?? '[]');
    expect(places).toHaveLength(3);
    for (const place of places) {
      expect(place).toStartWith(tmpdir());
      expect(existsSync(place)).toBe(false);
    }
  });

  test('isolates git from the configuration of the machine and from repositories around it', () => {
    const git = (cwd: string, ...args: string[]) => Bun.spawnSync(['git', ...args], { cwd });
    writeFileSync(join(homedir(), '.gitconfig'), '[user]\n\tname = Somebody Else\n');
    expect(git(homedir(), 'config', '--list', '--show-origin').stdout.toString()).toBe('');
    expect(git(homedir(), 'var', 'GIT_AUTHOR_IDENT').stdout.toString()).toStartWith(
      'Drover Test <test@drover.invalid>',
    );
    expect(git(dirname(tmpdir()), 'init', '-q').exitCode).toBe(0);
    for (const place of [tmpdir(), tempDir()]) expect(git(place, 'rev-parse', '--git-dir').exitCode).toBe(128);
  });

  test('keeps what is nobody’s secret', () => {
    for (const name of ['PATH', 'TERM', 'LANG', 'NODE_EXTRA_CA_CERTS', 'USER']) expect(isScrubbed(name)).toBe(false);
  });
});

describe('a test file that leaves something behind fails', () => {
  test('and one that does not passes', async () => {
    const run = await runFile(
      `import { tempDir } from ${JSON.stringify(TEMP)};
       test('clean', async () => {
         tempDir();
         const child = Bun.spawn(['sleep', '600'], { stdin: 'ignore' });
         child.kill('SIGKILL');
         expect(await child.exited).not.toBe(0);
       });`,
    );
    expect(run).toMatchObject({ code: 0 });
  });

  const processes = {
    'a child': `Bun.spawn(['sleep', '600'], { env: {}, cwd: '/' }).unref();`,
    'an orphan with our environment': `Bun.spawnSync(['sh', '-c', 'cd /; setsid sleep 600 >/dev/null 2>&1 </dev/null &']);`,
    'an orphan in our directory': `Bun.spawnSync(
      ['sh', '-c', 'env -i setsid sleep 600 >/dev/null 2>&1 </dev/null &'], { cwd: process.env.TMPDIR! });`,
  };
  test.concurrent.each(Object.entries(processes))('%s, which is then ended', async (_name, start) => {
    const run = await runFile(`test('leaves', () => { ${start} });`);
    expect(run.code).not.toBe(0);
    const pid = Number(/process (\d+) \(by .*\): sleep 600/.exec(run.output)?.[1]);
    expect(pid).toBeGreaterThan(1);
    await gone(pid);
  });

  test('a temp directory', async () => {
    const run = await runFile(
      `import { mkdtempSync } from 'node:fs';
       import { tmpdir } from 'node:os';
       import { join } from 'node:path';
       test('leaves', () => { mkdtempSync(join(tmpdir(), 'forgotten-')); });`,
    );
    expect(run.output).toMatch(/temp file or directory: forgotten-/);
    expect(run.code).not.toBe(0);
  });

  test('a lock, even on a file that is deleted', async () => {
    const run = await runFile(
      `import { dlopen, FFIType } from 'bun:ffi';
       import { openSync, rmSync } from 'node:fs';
       const libc = process.platform === 'darwin' ? 'libc.dylib' : 'libc.so.6';
       test('leaves', () => {
         const path = process.env.TMPDIR + '/supervisor.lock';
         const { symbols } = dlopen(libc, { flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 } });
         expect(symbols.flock(openSync(path, 'a+'), 2)).toBe(0);
         rmSync(path);
       });`,
    );
    expect(run.output).toMatch(/lock still held: .*supervisor\.lock/);
    expect(run.code).not.toBe(0);
  });
});

/** Waits until the process has ended. */
async function gone(pid: number): Promise<void> {
  while (isAlive(lineage(pid).state)) await Bun.sleep(5);
}
