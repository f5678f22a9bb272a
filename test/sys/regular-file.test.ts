import { expect, test } from 'bun:test';
import { linkSync, lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readExit, turnFiles } from '../../src/sys/turn-files.ts';
import { tempDir } from '../support/temp.ts';

const SYS = resolve(import.meta.dir, '../../src/sys');
const victim = join(tempDir(), 'victim');

/** What a process of an earlier turn may put in the place of a file; a socket cannot be made without a program. */
const PLANTS: Record<string, (path: string) => void> = {
  pipe: (path) => expect(Bun.spawnSync(['mkfifo', path]).exitCode).toBe(0),
  link: (path) => symlinkSync(victim, path),
  'dangling link': (path) => symlinkSync(join(tempDir(), 'nothing'), path),
  directory: (path) => mkdirSync(join(path, 'deep'), { recursive: true }),
  'second name': (path) => linkSync(victim, path),
};

/** In a process of its own: what waits for a pipe waits for ever, and no test could end it. */
function inChild(script: string): string {
  const text = `import { openOwn, openRegular } from '${SYS}/regular-file.ts';
    import { writePrivate, tailBytes } from '${SYS}/files.ts'; import { openTail } from '${SYS}/tail.ts';
    import { launchTurn } from '${SYS}/launch.ts'; import { liveHeld } from '${SYS}/turn-files.ts';
    import { readFileSync, writeSync, closeSync } from 'node:fs';
    const told = (work) => { try { return work(); } catch (error) { return error.code; } };
    ${script}`;
  const run = Bun.spawnSync([process.execPath, '-e', text], { timeout: 10_000, killSignal: 'SIGKILL' });
  if (run.exitCode !== 0) throw new Error(`it waited, or broke: ${run.signalCode} ${run.stderr}`);
  return run.stdout.toString().trim();
}

test('whatever stands in the place of a file, ours is written at once, and nothing behind it is touched', () => {
  for (const [what, plant] of Object.entries(PLANTS)) {
    writeFileSync(victim, 'precious');
    const dir = tempDir();
    for (const name of ['replaced', 'appended', 'private']) plant(join(dir, name));
    const said = inChild(`
      for (const [name, how] of [['replaced', 'replace'], ['appended', 'append']]) {
        const fd = openOwn('${dir}/' + name, how);
        writeSync(fd, 'ours'); closeSync(fd);
      }
      writePrivate('${dir}/private', 'ours');
      console.log('done');`);
    expect([what, said]).toEqual([what, 'done']);
    for (const name of ['replaced', 'appended', 'private']) {
      const stat = lstatSync(join(dir, name));
      expect([what, stat.isFile(), stat.mode & 0o777]).toEqual([what, true, 0o600]);
      expect([what, readFileSync(join(dir, name), 'utf8')]).toEqual([what, 'ours']);
    }
    expect([what, readFileSync(victim, 'utf8')]).toEqual([what, 'precious']);
  }
}, 60_000);

test('a file of ours is appended to, or emptied and written anew', () => {
  const path = join(tempDir(), 'file');
  writeFileSync(path, 'long enough');
  expect(
    inChild(`const a = openOwn('${path}', 'append'); writeSync(a, '+'); closeSync(a);
      console.log(readFileSync('${path}', 'utf8')); writePrivate('${path}', 'x'); console.log(readFileSync('${path}', 'utf8'))`),
  ).toBe('long enough+\nx');
  expect(() => writeFileSync(join(path, 'below'), '')).toThrow();
  expect(inChild(`console.log(told(() => writePrivate('${path}/below', '')))`)).toBe('file_not_found');
}, 60_000);

test('whatever stands in the place of a stream, reading it answers at once: not a file', () => {
  writeFileSync(victim, 'precious');
  const { 'second name': _, ...plants } = PLANTS;
  for (const [what, plant] of Object.entries(plants)) {
    const dir = tempDir();
    const { stdout, stderr } = turnFiles(dir);
    for (const path of [stdout, stderr]) plant(path);
    const said = inChild(
      `console.log(told(() => openTail('${stdout}')), tailBytes('${stderr}', 9).length, liveHeld('${dir}'))`,
    );
    // A tail may be of a log that a person has put elsewhere: it follows.
    expect([what, said]).toEqual([what, `not_a_file ${what === 'link' ? 8 : 0} false`]);
  }
  expect(
    inChild(`console.log(told(() => openRegular('${victim}.none')), told(() => openTail('${victim}.none')))`),
  ).toBe('ENOENT file_not_found');
}, 60_000);

test('launch: nothing that an earlier turn put into the directory of a later one stops it, leads elsewhere or speaks for it', () => {
  for (const [what, plant] of Object.entries(PLANTS)) {
    writeFileSync(victim, 'precious');
    const dir = tempDir();
    const { stdout, stderr, pid, exit } = turnFiles(dir);
    for (const path of [stdout, stderr, pid, exit]) plant(path);
    const said = inChild(`
      const turn = { dir: '${dir}', program: '/bin/sh', args: ['-c', 'echo out; echo err >&2; exit 3'],
        cwd: '/', env: {}, stdin_path: null, marker: 'planted' };
      await launchTurn(turn).exited;
      console.log(readFileSync('${stdout}', 'utf8').trim(), readFileSync('${stderr}', 'utf8').trim(),
        JSON.parse(readFileSync('${exit}', 'utf8')).code, JSON.parse(readFileSync('${pid}', 'utf8')).pid > 1);`);
    expect([what, said]).toEqual([what, 'out err 3 true']);
    expect([what, readFileSync(victim, 'utf8')]).toEqual([what, 'precious']);
  }
}, 60_000);

test('launch: the record of the end has its place before the harness begins, blank, and an older one is gone', () => {
  const dir = tempDir();
  const { exit } = turnFiles(dir);
  writeFileSync(exit, '{"code":0,"uptime":"1"}\n'.padEnd(200, 'x'));
  const said =
    inChild(`const turn = { dir: '${dir}', program: '/bin/sh', args: ['-c', 'wc -c <${exit}; tr -d " " <${exit} | wc -c; exit 255'],
    cwd: '/', env: { PATH: '/usr/bin:/bin' }, stdin_path: null, marker: 'earlier' };
    await launchTurn(turn).exited;
    console.log(readFileSync('${dir}/stdout.jsonl', 'utf8').trim().split(/\\s+/).join());`);
  expect(said).toBe('64,0');
  // Whatever the exit code and however long the machine is up, the record fits into its place.
  expect(lstatSync(exit).size).toBe(64);
  expect(readExit(dir)).toMatchObject({ code: 255, signal: null });
  expect('{"code":255,"uptime":"9999999999.99"}\n'.length).toBeLessThan(64);
}, 60_000);

test('launch: a harness that puts a pipe in the place of its record does not keep its launcher alive', () => {
  const dir = tempDir();
  const { exit } = turnFiles(dir);
  const said = inChild(`const turn = { dir: '${dir}', program: '/bin/sh', args: ['-c', 'rm ${exit}; mkfifo ${exit}'],
    cwd: '/', env: { PATH: '/usr/bin:/bin' }, stdin_path: null, marker: 'piped' };
    await launchTurn(turn).exited;
    console.log('ended');`);
  expect([said, lstatSync(exit).isFIFO(), readExit(dir)]).toEqual(['ended', true, null]);
}, 60_000);
