import { describe, expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { workFacts } from '../../src/git/facts.ts';
import { git } from '../../src/git/run.ts';
import { addWorktree, removeCleanWorktree } from '../../src/git/worktree.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { commitFile, plainGit, tryPlainGit } from './plain.ts';
import { attributes, divergedBranches, hook, newTrap, set, signedCommit, submodule, type Trap, touch } from './trap.ts';

interface Channel {
  name: string;
  plant: (trap: Trap) => void;
  /** What fires it in a git as anybody runs it. */
  args: (trap: Trap) => string[];
  /** How our git does the same; the same arguments when missing. */
  act?: (trap: Trap) => Promise<unknown>;
}

function newWorktree({ repo }: Trap): Promise<void> {
  const base_commit = plainGit(repo, 'rev-parse', 'HEAD');
  return addWorktree({
    repo_root: repo,
    path: join(repo, '..', 'ours'),
    branch: 'ours',
    base_commit,
    clock: systemClock,
  });
}

/** The object is gone, and somebody has promised to have it. */
function promise(trap: Trap, id: string): void {
  set('remote.evil.url', trap.repo)(trap);
  set('remote.evil.uploadpack', trap.brief)(trap);
  set('remote.evil.promisor', 'true')(trap);
  set('extensions.partialClone', 'evil')(trap);
  set('core.repositoryFormatVersion', '1')(trap);
  rmSync(join(trap.repo, '.git/objects', id.slice(0, 2), id.slice(2)));
}

const worktreeArgs = ({ repo }: Trap) => ['worktree', 'add', '-b', 'plain', join(repo, '..', 'plain')];

function smudgeByInclude(condition: string): (trap: Trap) => void {
  return (trap) => {
    attributes(trap.repo, '* filter=evil');
    const included = join(trap.repo, '..', 'included');
    writeFileSync(included, `[filter "evil"]\n\tsmudge = ${trap.evil}\n`);
    plainGit(trap.repo, 'config', `${condition}.path`, included);
  };
}

const status = () => ['status'];
const commit = () => ['commit', '--allow-empty', '-m', 'x'];

const CHANNELS: Channel[] = [
  { name: 'core.fsmonitor', plant: set('core.fsmonitor'), args: status, act: ({ repo }) => workFacts(repo, null) },
  {
    name: 'filter.clean',
    plant: (trap) => {
      attributes(trap.repo, '* filter=evil');
      set('filter.evil.clean')(trap);
      touch(trap);
    },
    args: status,
    act: ({ repo }) => workFacts(repo, null),
  },
  {
    name: 'filter.process, required, with = and a dot in its name',
    plant: (trap) => {
      attributes(trap.repo, '* filter=a=b.C');
      set('filter.a=b.C.process')(trap);
      set('filter.a=b.C.required', 'true')(trap);
      touch(trap);
    },
    args: () => ['add', 'a'],
  },
  {
    name: 'filter.clean from an included file',
    plant: (trap) => {
      attributes(trap.repo, '* filter=evil');
      writeFileSync(join(trap.repo, '..', 'included'), `[filter "evil"]\n\tclean = ${trap.evil}\n`);
      set('include.path', join(trap.repo, '..', 'included'))(trap);
      touch(trap);
    },
    args: status,
  },
  {
    name: 'filter.clean from the configuration of the worktree',
    plant: (trap) => {
      attributes(trap.repo, '* filter=evil');
      set('extensions.worktreeConfig', 'true')(trap);
      plainGit(trap.repo, 'config', '--worktree', 'filter.evil.clean', trap.evil);
      touch(trap);
    },
    args: status,
  },
  {
    name: 'filter.smudge, on a new worktree',
    plant: (trap) => {
      attributes(trap.repo, '* filter=evil');
      set('filter.evil.smudge')(trap);
    },
    args: worktreeArgs,
    act: newWorktree,
  },
  { name: 'post-checkout hook', plant: hook('post-checkout'), args: worktreeArgs, act: newWorktree },
  { name: 'reference-transaction hook', plant: hook('reference-transaction'), args: worktreeArgs, act: newWorktree },
  {
    name: 'core.hooksPath',
    plant: (trap) => {
      mkdirSync(join(trap.repo, '..', 'hooks'));
      writeFileSync(join(trap.repo, '..', 'hooks/post-checkout'), `#!/bin/sh\ntouch '${trap.canary}'\n`);
      chmodSync(join(trap.repo, '..', 'hooks/post-checkout'), 0o755);
      set('core.hooksPath', join(trap.repo, '..', 'hooks'))(trap);
    },
    args: worktreeArgs,
    act: newWorktree,
  },
  { name: 'pre-commit hook', plant: hook('pre-commit'), args: commit },
  { name: 'commit-msg hook', plant: hook('commit-msg'), args: commit },
  {
    name: 'diff.external',
    plant: (trap) => {
      set('diff.external')(trap);
      touch(trap);
    },
    args: () => ['diff'],
  },
  {
    name: 'diff.<driver>.command',
    plant: (trap) => {
      attributes(trap.repo, '* diff=evil');
      set('diff.evil.command')(trap);
      touch(trap);
    },
    args: () => ['diff', 'HEAD'],
  },
  {
    name: 'diff.<driver>.textconv in diff',
    plant: (trap) => {
      attributes(trap.repo, '* diff=evil');
      set('diff.evil.textconv')(trap);
      touch(trap);
    },
    args: () => ['diff'],
  },
  {
    name: 'diff.<driver>.textconv in log -p',
    plant: (trap) => {
      attributes(trap.repo, '* diff=evil');
      set('diff.evil.textconv')(trap);
    },
    args: () => ['log', '-p'],
  },
  {
    name: 'diff.<driver>.textconv in a command we give no option to',
    plant: (trap) => {
      attributes(trap.repo, '* diff=evil');
      set('diff.evil.textconv')(trap);
    },
    args: () => ['cat-file', '--textconv', 'HEAD:a'],
  },
  {
    name: 'merge.<driver>.driver',
    plant: (trap) => {
      attributes(trap.repo, '* merge=evil');
      set('merge.evil.driver')(trap);
      divergedBranches(trap);
    },
    args: () => ['merge', 'other'],
  },
  {
    name: 'gpg.program in log',
    plant: (trap) => {
      signedCommit(trap);
      set('gpg.program')(trap);
      set('log.showSignature', 'true')(trap);
    },
    args: () => ['log'],
  },
  {
    name: 'gpg.program in log --format=%G?',
    plant: (trap) => {
      signedCommit(trap);
      set('gpg.openpgp.program')(trap);
    },
    args: () => ['log', '--format=%G?'],
  },
  {
    name: 'gpg.program in commit',
    plant: (trap) => {
      set('gpg.program')(trap);
      set('commit.gpgSign', 'true')(trap);
    },
    args: commit,
  },
  { name: 'core.editor', plant: set('core.editor'), args: () => ['commit', '--allow-empty'] },
  {
    name: 'sequence.editor',
    plant: (trap) => {
      plainGit(trap.repo, 'commit', '--quiet', '--allow-empty', '-m', 'second');
      set('sequence.editor')(trap);
    },
    args: () => ['rebase', '-i', 'HEAD~1'],
  },
  { name: 'alias', plant: (trap) => set('alias.evil', `!${trap.evil}`)(trap), args: () => ['evil'] },
  {
    name: 'protocol.ext',
    plant: set('protocol.ext.allow', 'always'),
    args: ({ brief }) => ['ls-remote', `ext::${brief}`],
  },
  {
    name: 'core.sshCommand',
    plant: (trap) => set('core.sshCommand', trap.brief)(trap),
    args: () => ['ls-remote', 'ssh://host.invalid/x'],
  },
  {
    name: 'remote.<name>.uploadpack',
    plant: (trap) => {
      set('remote.evil.url', trap.repo)(trap);
      set('remote.evil.uploadpack', trap.brief)(trap);
    },
    args: () => ['ls-remote', 'evil'],
  },
  {
    name: 'a promisor remote, when an object is missing',
    plant: (trap) => promise(trap, plainGit(trap.repo, 'rev-parse', 'HEAD:a')),
    args: () => ['cat-file', '-p', 'HEAD:a'],
  },
  {
    name: 'a promisor remote, when a commit is missing',
    plant: (trap) => {
      const first = plainGit(trap.repo, 'rev-parse', 'HEAD');
      commitFile(trap.repo, 'b', 'b\n', 'second');
      promise(trap, first);
    },
    args: () => ['rev-list', 'HEAD'],
  },
  {
    name: 'a promisor remote, when the commit of a branch is missing',
    plant: (trap) => {
      const id = plainGit(trap.repo, 'commit-tree', '-m', 'gone', 'HEAD^{tree}');
      plainGit(trap.repo, 'branch', 'gone', id);
      promise(trap, id);
    },
    args: () => ['for-each-ref', '--format=%(refname) %(subject)'],
  },
  {
    name: 'credential.helper',
    plant: (trap) => set('credential.helper', `!${trap.evil}`)(trap),
    args: () => ['credential', 'fill'],
    act: ({ repo }) => git(['credential', 'fill'], { cwd: repo, stdin: 'protocol=https\nhost=host.invalid\n\n' }),
  },
  {
    name: 'credential.<url>.helper',
    plant: (trap) => set('credential.https://host.invalid.helper', `!${trap.evil}`)(trap),
    args: () => ['credential', 'fill'],
    act: ({ repo }) => git(['credential', 'fill'], { cwd: repo, stdin: 'protocol=https\nhost=host.invalid\n\n' }),
  },
  {
    name: 'core.askPass',
    plant: set('core.askPass'),
    args: () => ['credential', 'fill'],
    act: ({ repo }) => git(['credential', 'fill'], { cwd: repo, stdin: 'protocol=https\nhost=host.invalid\n\n' }),
  },
  {
    name: 'trailer.<name>.command',
    plant: (trap) => {
      set('trailer.sign.key', 'Sign')(trap);
      set('trailer.sign.command')(trap);
    },
    args: ({ evil }) => ['interpret-trailers', evil],
  },
  {
    name: 'core.fsmonitor of a submodule, seen by status',
    plant: (trap) => {
      submodule(trap);
      plainGit(join(trap.repo, 'sub'), 'config', 'core.fsmonitor', trap.evil);
    },
    args: status,
    act: ({ repo }) => workFacts(repo, null),
  },
  {
    name: 'a filter of a submodule, seen by status and diff',
    plant: (trap) => {
      submodule(trap);
      const sub = join(trap.repo, 'sub');
      attributes(sub, '* filter=evil');
      plainGit(sub, 'config', 'filter.evil.clean', trap.evil);
      writeFileSync(join(sub, 'a'), 'two\n');
    },
    args: () => ['diff'],
    act: async ({ repo }) => {
      await workFacts(repo, null);
      await git(['diff'], { cwd: repo });
      await git(['diff-index', 'HEAD'], { cwd: repo });
      await git(['diff-files'], { cwd: repo });
    },
  },
];

describe('a hostile repository runs nothing of its own in our git (ARCHITECTURE §6)', () => {
  for (const { name, plant, args, act } of CHANNELS) {
    test(name, async () => {
      const input = 'protocol=https\nhost=host.invalid\n\n';
      const control = newTrap();
      plant(control);
      rmSync(control.canary, { force: true });
      Bun.spawnSync(['git', ...args(control)], {
        cwd: control.repo,
        env: { ...process.env, GIT_TERMINAL_PROMPT: '0', TERM: 'xterm' },
        stdin: Buffer.from(input),
      });
      expect(existsSync(control.canary)).toBe(true);

      const trap = newTrap();
      plant(trap);
      rmSync(trap.canary, { force: true });
      await (act ? act(trap) : git(args(trap), { cwd: trap.repo }));
      expect(existsSync(trap.canary)).toBe(false);
    });
  }

  test('a filter that only the worktree to be removed knows', async () => {
    for (const plain of [true, false]) {
      const trap = newTrap();
      attributes(trap.repo, '* filter=evil');
      set('extensions.worktreeConfig', 'true')(trap);
      await newWorktree(trap);
      const path = join(trap.repo, '..', 'ours');
      plainGit(path, 'config', '--worktree', 'filter.evil.clean', trap.evil);
      // The same bytes at another time: git has to look, and to ask the filter.
      writeFileSync(join(path, 'a'), 'one\n');
      utimesSync(join(path, 'a'), 1_700_000_000, 1_700_000_000);

      if (plain) plainGit(trap.repo, 'worktree', 'remove', path);
      else await removeCleanWorktree({ repo_root: trap.repo, path, clock: systemClock });
      expect(existsSync(path)).toBe(false);
      expect(existsSync(trap.canary)).toBe(plain);
    }
  });

  for (const condition of ['includeIf.onbranch:**', 'includeIf.gitdir:**/worktrees/**']) {
    test(`a configuration that changes under way is refused: ${condition}`, async () => {
      const control = newTrap();
      smudgeByInclude(condition)(control);
      tryPlainGit(control.repo, worktreeArgs(control));
      expect(existsSync(control.canary)).toBe(true);

      const trap = newTrap();
      smudgeByInclude(condition)(trap);
      rmSync(trap.canary, { force: true });
      await expect(newWorktree(trap)).rejects.toMatchObject({ kind: 'refused', code: 'git_config_unsafe' });
      expect(existsSync(trap.canary)).toBe(false);
    });
  }

  test('more programs than an environment can hold are refused', async () => {
    const { repo } = newTrap();
    const drivers = Array.from({ length: 600 }, (_, i) => `[filter "f${i}"]\n\tclean = true\n`).join('');
    writeFileSync(join(repo, '.git/config'), drivers);
    await expect(git(['status'], { cwd: repo })).rejects.toMatchObject({ code: 'git_config_unsafe' });
  });
});
