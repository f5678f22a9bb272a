import { expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tempDir } from '../support/temp.ts';

const SCRIPT = join(import.meta.dir, '../support/harness-install.ts');

/** An `npm` that makes the directories which the real one would fill, or fails, and counts its calls. */
function fakeNpm(dir: string, body: string): string {
  const bin = join(dir, 'fake-bin');
  mkdirSync(bin);
  const npm = join(bin, 'npm');
  writeFileSync(npm, `#!/bin/sh\necho call >> "${join(dir, 'calls')}"\n${body}\n`);
  chmodSync(npm, 0o755);
  return bin;
}

const native = `${process.platform}-${process.arch}`;
const FILLS = `
cd "$3/" || exit 9
sleep 0.2
for f in @anthropic-ai/claude-code-${native}/claude @openai/codex-${native}/vendor/triple/bin/codex \\
  @google/gemini-cli/bundle/gemini.js opencode-${native}/bin/opencode; do
  mkdir -p "node_modules/$(dirname "$f")" && echo "$f" > "node_modules/$f"
done`;

function install(cache: string, bin: string) {
  return Bun.spawn([process.execPath, SCRIPT], {
    env: { PATH: `${bin}:/usr/bin:/bin`, HOME: cache, XDG_CACHE_HOME: cache },
    timeout: 20_000,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
}

test('two installations at once download once, leave no lock and see the same executables', async () => {
  const cache = tempDir();
  const bin = fakeNpm(cache, FILLS);
  const both = [install(cache, bin), install(cache, bin)];
  const outputs = await Promise.all(both.map((child) => child.stdout.text()));
  expect(await Promise.all(both.map((child) => child.exited))).toEqual([0, 0]);
  expect(outputs[0]).toBe(outputs[1] ?? '');
  const { programs } = JSON.parse(outputs[0] ?? '') as { programs: Record<string, string> };
  expect(Object.keys(programs)).toEqual(['claude', 'codex', 'gemini', 'opencode']);
  expect(readFileSync(programs.codex ?? '', 'utf8')).toContain('vendor/triple/bin/codex');
  expect(readFileSync(join(cache, 'calls'), 'utf8')).toBe('call\n');
  expect(readdirSync(join(cache, 'drover-harnesses'))).toHaveLength(1);
});

test('the lock of an installation that died is taken over', async () => {
  const cache = tempDir();
  const bin = fakeNpm(cache, FILLS);
  const first = install(cache, bin);
  expect(await first.exited).toBe(0);
  const root = join(cache, 'drover-harnesses');
  const [hash = ''] = readdirSync(root);
  const fresh = tempDir();
  mkdirSync(join(fresh, 'drover-harnesses', `${hash}.lock`), { recursive: true });
  writeFileSync(join(fresh, 'drover-harnesses', `${hash}.lock`, 'pid'), String(first.pid));
  const second = install(fresh, bin);
  expect(await second.exited).toBe(0);
  expect(existsSync(join(fresh, 'drover-harnesses', hash, 'bin'))).toBe(true);
});

test('an npm that fails is a clear error, and the next try starts afresh', async () => {
  const cache = tempDir();
  const bin = fakeNpm(cache, 'echo "npm error network unreachable" >&2; exit 1');
  for (const _ of [1, 2]) {
    const child = install(cache, bin);
    const stderr = await child.stderr.text();
    expect(await child.exited).toBe(1);
    expect(stderr).toContain('cannot install the agent CLIs: npm exit 1\nnpm error network unreachable');
  }
  expect(readdirSync(join(cache, 'drover-harnesses'))).toEqual([]);
});
