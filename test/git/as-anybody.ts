import { join } from 'node:path';

/**
 * Calls a function of `src/git/<file>` in a process that is not above the modes of files, as root is. Returns what it
 * answered as JSON, or `<kind> <code>` of the error it threw.
 */
export function asAnybody(file: string, name: string, ...args: unknown[]): string {
  const clock = '{ sleep: async () => { throw new Error("waited"); } }';
  const given = args.map((arg) => JSON.stringify(arg, (key, value) => (key === 'clock' ? '@clock' : value)));
  const call = `git.${name}(${given.join(', ')})`.replace('"@clock"', clock);
  const script = `const git = await import(${JSON.stringify(join(import.meta.dir, '../../src/git', file))});
    try { console.log(JSON.stringify(await ${call})); } catch (error) { console.log(error.kind, error.code); }`;
  const command = [process.execPath, '-e', script];
  const plain = ['setpriv', '--bounding-set=-dac_override,-dac_read_search'];
  if (process.getuid?.() === 0) command.unshift(...plain);
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { cwd: '/' });
  if (exitCode !== 0 || stderr.length > 0) throw new Error(`exit ${exitCode}: ${stderr}`);
  return stdout.toString().trim();
}
