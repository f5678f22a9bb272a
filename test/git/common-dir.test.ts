import { expect, test } from 'bun:test';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { checkoutOf, mainRootOf } from '../../src/git/common-dir.ts';
import { findRepository } from '../../src/git/repository.ts';
import { tempDir } from '../support/temp.ts';
import { plainGit } from './plain.ts';

const commonDirOf = (dir: string) => checkoutOf(dir)?.common_dir ?? null;

test('the main root read from files is the one that git tells, for every kind of place', async () => {
  const dir = tempDir('common-dir');
  const at = (name: string) => join(dir, name);
  for (const name of ['main', 'main/deep/er', 'outside', 'main/false/.git']) mkdirSync(at(name), { recursive: true });
  const commit = ['-c', 'user.name=t', '-c', 'user.email=t@localhost', 'commit', '-q', '--allow-empty', '-m', 'start'];
  plainGit(at('main'), 'init', '-q');
  plainGit(at('main'), ...commit);
  plainGit(at('main'), 'worktree', 'add', '-q', at('linked'));
  plainGit(dir, 'clone', '-q', '--bare', at('main'), at('bare.git'));
  plainGit(at('bare.git'), 'worktree', 'add', '-q', at('of-bare'));
  plainGit(at('main'), '-c', 'protocol.file.allow=always', 'submodule', 'add', '-q', at('bare.git'), 'sub');
  symlinkSync(at('main/deep'), at('link'));
  const places = ['main', 'main/deep/er', 'linked', 'bare.git', 'of-bare', 'main/sub', 'link', 'outside', 'nowhere'];
  for (const place of [...places, 'main/.git', 'main/false', 'bare.git/refs']) {
    const told = (await findRepository(at(place)))?.main_root ?? null;
    expect([place, mainRootOf(at(place))]).toEqual([place, told]);
  }
  expect(mainRootOf(at('linked'))).toBe(at('main'));
  expect(commonDirOf(at('linked'))).toBe(at('main/.git'));
  expect(commonDirOf(at('main/deep/er'))).toBe(at('main/.git'));
});
