import { expect, test } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { assertNoLeaks, leaksOf } from '../support/leaks.ts';
import { tempDir } from '../support/temp.ts';
import { until } from '../support/until.ts';

test('leaks: a process is found by environment, directory, argument or open file, until it has ended', async () => {
  const dir = tempDir();
  const out = join(dir, 'sub');
  mkdirSync(out);
  const starts: [string, string[], { env?: Record<string, string>; cwd?: string; stdout?: Bun.BunFile }][] = [
    ['environ', ['sleep', '60'], { env: { PATH: '/usr/bin:/bin', X: out } }],
    ['cwd', ['sleep', '60'], { cwd: out }],
    ['cmdline', ['sh', '-c', 'sleep 60; :', out], {}],
    ['fd', ['sleep', '60'], { stdout: Bun.file(join(out, 'file')) }],
  ];
  for (const [evidence, command, options] of starts) {
    const child = Bun.spawn(command, { env: { PATH: '/usr/bin:/bin' }, cwd: '/', detached: true, ...options });
    await until(evidence, () => leaksOf(out).some((leak) => leak.pid === child.pid && leak.evidence === evidence));
    await expect(assertNoLeaks(out, 20)).rejects.toThrow(`(${evidence})`);
    expect(child.pid).toBeGreaterThan(1);
    process.kill(-child.pid, 'SIGKILL');
    await child.exited;
    await assertNoLeaks(out);
  }
});
