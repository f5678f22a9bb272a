import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { tempDir } from '../support/temp.ts';

const FOLLOWER = resolve(import.meta.dir, '../fixtures/bin/follows-without-handles.ts');

test('a record that cannot be read just now ends nobody: it is told, and looked at again', async () => {
  const dir = tempDir('follow');
  writeFileSync(join(dir, 'made'), '{"code":0,"uptime":"1.00"}\n');
  const limited = `ulimit -n 80; exec ${process.execPath} ${FOLLOWER} ${dir}`;
  const child = Bun.spawn(['/bin/sh', '-c', limited], { stdout: 'pipe', stderr: 'pipe' });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect([await child.exited, stdout, stderr]).toEqual([0, 'told true false\n', '']);
}, 60_000);
