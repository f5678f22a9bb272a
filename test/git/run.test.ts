import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { workFacts } from '../../src/git/facts.ts';
import { commandArguments, gitEnvironment } from '../../src/git/hardening.ts';
import { findRepository } from '../../src/git/repository.ts';
import { git } from '../../src/git/run.ts';
import { newRepository, plainGit } from './plain.ts';
import { attributes, divergedBranches, newTrap, set } from './trap.ts';

/** Settings with a fixed name that run a program, reach the network, start something in the background or hide work. */
const FIXED = [
  'core.fsmonitor',
  'core.hooksPath',
  'core.alternateRefsCommand',
  'core.pager',
  'core.sshCommand',
  'credential.helper',
  'gpg.program',
  'gpg.openpgp.program',
  'gpg.x509.program',
  'gpg.ssh.program',
  'gpg.ssh.defaultKeyCommand',
  'commit.gpgSign',
  'tag.gpgSign',
  'log.showSignature',
  'merge.verifySignatures',
  'protocol.allow',
  'protocol.ext.allow',
  'submodule.recurse',
  'diff.ignoreSubmodules',
  'gc.auto',
  'maintenance.auto',
  'status.showUntrackedFiles',
  'rerere.enabled',
  'branch.autoSetupMerge',
  'worktree.guessRemote',
  'color.ui',
];
/** Settings with a free part in their name; only what is found is overruled. */
const NAMED = [
  'filter.x.clean',
  'filter.x.smudge',
  'filter.x.process',
  'filter.x.required',
  'diff.x.textconv',
  'diff.x.command',
  'merge.x.driver',
  'credential.https://host.helper',
  'remote.x.uploadpack',
  'remote.x.receivepack',
  'submodule.x.update',
  'gpg.x.program',
  'pager.status',
  'alias.x',
  'tar.x.command',
  'hook.x.command',
  'trailer.x.cmd',
  'mergetool.x.cmd',
];

test('every setting that could run something has our value, whatever the repository says', async () => {
  const { repo, evil } = newTrap();
  for (const key of [...FIXED, ...NAMED]) plainGit(repo, 'config', key, evil);
  const kept: string[] = [];
  for (const key of [...FIXED, ...NAMED]) {
    if ((await git(['config', '--get', key], { cwd: repo })).stdout.trim() === evil) kept.push(key);
  }
  expect(kept).toEqual([]);
});

test('commands that show differences start no program for it, even if the configuration changes after it was read', () => {
  for (const command of ['diff', 'diff-files', 'diff-index', 'diff-tree', 'log', 'show', 'format-patch']) {
    expect(commandArguments([command, 'x']).slice(0, 3)).toEqual([command, '--no-ext-diff', '--no-textconv']);
  }
  for (const command of ['blame', 'grep'])
    expect(commandArguments([command, 'x'])).toEqual([command, '--no-textconv', 'x']);
  expect(commandArguments(['rev-parse', 'x'])).toEqual(['rev-parse', 'x']);
});

test('git asks nobody, edits nothing, fetches nothing, and takes no optional lock', () => {
  expect(gitEnvironment('/home/u', new Map([['filter.a=b.clean', '']]))).toEqual({
    PATH: expect.not.stringMatching(/(^|:)(:|$|[^/])/),
    HOME: '/home/u',
    LANG: 'C',
    LC_ALL: 'C',
    TERM: 'dumb',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '',
    SSH_ASKPASS: '',
    GIT_EDITOR: ':',
    GIT_SEQUENCE_EDITOR: ':',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_LFS_SKIP_SMUDGE: '1',
    GIT_ALLOW_PROTOCOL: 'none',
    GIT_NO_LAZY_FETCH: '1',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_CONFIG_COUNT: '1',
    GIT_CONFIG_KEY_0: 'filter.a=b.clean',
    GIT_CONFIG_VALUE_0: '',
  });
});

describe('our git is the same git otherwise', () => {
  test('what is no program is left as the repository has it', async () => {
    const { repo } = newTrap();
    const harmless = { 'core.autocrlf': 'input', 'user.name': 'U', 'diff.x.wordRegex': '.', 'remote.x.url': '/x' };
    for (const [key, value] of Object.entries(harmless)) {
      plainGit(repo, 'config', key, value);
      expect((await git(['config', '--get', key], { cwd: repo })).stdout.trim()).toBe(value);
    }
  });

  test('a merge with a foreign driver ends as if none were named, conflict and all', async () => {
    const trap = newTrap();
    attributes(trap.repo, '* merge=evil');
    set('merge.evil.driver', 'true')(trap);
    divergedBranches(trap);
    const { code } = await git(['merge', 'other'], { cwd: trap.repo });
    expect(code).toBe(1);
    expect(await Bun.file(join(trap.repo, 'a')).text()).toContain('<<<<<<<');
    expect((await workFacts(trap.repo, null))?.in_progress).toBe('merge');
  });

  test('the environment of the caller points nowhere', async () => {
    const [here, there] = [newRepository(), newRepository()];
    const outer = { ...process.env };
    Object.assign(process.env, { GIT_DIR: join(there, '.git'), GIT_WORK_TREE: there, GIT_INDEX_FILE: '/nowhere' });
    try {
      expect((await findRepository(here))?.root).toBe(here);
      expect((await workFacts(here, null))?.dirty).toEqual([]);
    } finally {
      for (const name of ['GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE']) {
        if (outer[name] === undefined) delete process.env[name];
      }
    }
  });

  test('a NUL in an argument is refused', async () => {
    await expect(git(['log', 'a\0b'], { cwd: '/' })).rejects.toMatchObject({ code: 'argument_invalid' });
  });
});
