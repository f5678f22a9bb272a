import { expect, test } from 'bun:test';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { realNames } from '../../src/sys/real-name.ts';
import { tempDir } from '../support/temp.ts';

function checkout(): string {
  const root = tempDir('checkout');
  mkdirSync(join(root, 'real/deep'), { recursive: true });
  mkdirSync(join(root, '.git'));
  writeFileSync(join(root, 'AGENTS.md'), 'a\n');
  symlinkSync('real', join(root, 'lnk'));
  symlinkSync('lnk/deep', join(root, 'twice'));
  symlinkSync('AGENTS.md', join(root, 'CLAUDE.md'));
  symlinkSync('nowhere', join(root, 'dangling'));
  symlinkSync('round', join(root, 'round'));
  symlinkSync(tempDir('outside'), join(root, 'out'));
  symlinkSync('.git', join(root, 'git'));
  symlinkSync('.', join(root, 'self'));
  return root;
}

test.each([
  ['real/x', 'real/x'],
  ['lnk/x', 'real/x'],
  ['lnk/deep/x', 'real/deep/x'],
  ['twice/x', 'real/deep/x'],
  ['self/self/lnk/x', 'real/x'],
  ['CLAUDE.md', 'AGENTS.md'],
  ['lnk', 'real'],
  ['lnk/not/there/yet', 'real/not/there/yet'],
  ['not/there', 'not/there'],
  ['dangling', 'dangling'],
  ['round/x', 'round/x'],
  ['AGENTS.md/x', 'AGENTS.md/x'],
  ['out/x', 'out/x'],
  ['git/config', 'git/config'],
  ['self', 'self'],
  [`${'n'.repeat(300)}/x`, `${'n'.repeat(300)}/x`],
])('%j is called %j', (path, real) => {
  const names = realNames();
  const root = checkout();
  expect([names(root, path), names(root, path)]).toEqual([real, real]);
});

test('a checkout that is itself reached by a link, or is not there, is no matter', () => {
  const root = checkout();
  const link = join(tempDir('link'), 'root');
  symlinkSync(root, link);
  expect([realNames()(link, 'lnk/x'), realNames()(join(root, 'none'), 'lnk/x')]).toEqual(['real/x', 'lnk/x']);
});
