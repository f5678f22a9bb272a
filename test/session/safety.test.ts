import { expect, test } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { findHarness } from '../../src/harness/registry.ts';
import { DEFAULT_CONFIG } from '../../src/model/config.ts';
import { refuseUnsafe } from '../../src/session/safety.ts';
import { tempDir } from '../support/temp.ts';

test('a checkout whose plugins the CLI runs by itself is refused until its owner trusts it (faults row 77)', () => {
  const root = tempDir('unsafe');
  const opencode = findHarness('opencode', {});
  const place = { dir: join(root, 'packages/a/b'), root, main_root: root };
  expect(() => refuseUnsafe(opencode, DEFAULT_CONFIG, place)).not.toThrow();
  mkdirSync(join(root, 'packages/.opencode/plugin'), { recursive: true });
  expect(() => refuseUnsafe(opencode, DEFAULT_CONFIG, place)).toThrow(
    expect.objectContaining({ code: 'repository_untrusted' }),
  );
  expect(() => refuseUnsafe(findHarness('claude', {}), DEFAULT_CONFIG, place)).not.toThrow();
  expect(() => refuseUnsafe(opencode, { ...DEFAULT_CONFIG, trusted_repositories: [root] }, place)).not.toThrow();
  expect(() => refuseUnsafe(opencode, { ...DEFAULT_CONFIG, trusted_repositories: [`${root}x`] }, place)).toThrow();
});
