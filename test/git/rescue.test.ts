import { describe, expect, test } from 'bun:test';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { rescue } from '../../src/git/rescue.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { tempDir } from '../support/temp.ts';
import { commitFile, newRepository, plainGit, tryPlainGit } from './plain.ts';
import { snapshot } from './snapshot.ts';
import { newTrap } from './trap.ts';

const save = (path: string, session_id = 's1') => rescue({ path, session_id, clock: systemClock });

function worktree(root = newRepository()) {
  const path = join(tempDir('trees'), 'work tree');
  plainGit(root, 'worktree', 'add', '--quiet', '-b', 'work', path);
  return { root, path };
}

const gitDir = (path: string) => plainGit(path, 'rev-parse', '--absolute-git-dir');

/** Everything but new objects and the new refs. */
const state = (root: string, path: string) => {
  const isNew = (name: string) => name.startsWith('/.git/objects') || name.startsWith('/.git/refs/drover');
  return [snapshot(root, isNew), snapshot(path, isNew)];
};

/** The files of a commit as they would come out again. */
function filesOf(root: string, commit: string): Record<string, string> {
  const dir = join(tempDir('out'), 'tree');
  plainGit(root, 'worktree', 'add', '--quiet', '--detach', dir, commit);
  const { '/.git': _git, ...files } = snapshot(dir);
  return files;
}

const filesIn = (path: string, left_out: (name: string) => boolean = () => false) => {
  const { '/.git': _link, ...files } = snapshot(path, (name) => name.startsWith('/.git/') || left_out(name));
  delete files['/.git/'];
  return files;
};

describe('rescue (ARCHITECTURE §1.6)', () => {
  test('everything: staged, unstaged, untracked, deleted, links, modes, any name; nothing else changes', async () => {
    const { root, path } = worktree();
    commitFile(path, 'gone', 'gone\n', 'gone');
    rmSync(join(path, 'gone'));
    writeFileSync(join(path, 'a'), 'unstaged\n');
    writeFileSync(join(path, 'staged'), 'staged\n');
    plainGit(path, 'add', 'staged');
    mkdirSync(join(path, 'new/deep'), { recursive: true });
    writeFileSync(join(path, 'new/deep/x\ny "z"'), 'untracked\r\n');
    writeFileSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.from([0xff])]), 'odd\n');
    writeFileSync(join(path, 'run'), '#!/bin/sh\n');
    chmodSync(join(path, 'run'), 0o755);
    symlinkSync('nowhere', join(path, 'link'));
    const before = state(root, path);
    const { ref, commit, ignored_ref, left_out } = await save(path);
    expect(state(root, path)).toEqual(before);
    expect([ref, ignored_ref, left_out]).toEqual(['refs/drover/rescued/s1', null, []]);
    expect(plainGit(root, 'rev-parse', ref)).toBe(commit);
    expect(plainGit(root, 'rev-parse', `${commit}^1`)).toBe(plainGit(path, 'rev-parse', 'HEAD'));
    expect(filesOf(root, commit)).toEqual(filesIn(path));
    // What is staged stands in the files, too.
    expect(plainGit(root, 'log', '-1', '--format=%P', commit)).toBe(plainGit(path, 'rev-parse', 'HEAD'));
    plainGit(root, 'fsck', '--strict');
  });

  test('what is staged otherwise than it stands in the files is the second parent', async () => {
    const { root, path } = worktree();
    writeFileSync(join(path, 'a'), 'staged\n');
    writeFileSync(join(path, 'only staged'), 'x\n');
    plainGit(path, 'add', '.');
    writeFileSync(join(path, 'a'), 'later\n');
    rmSync(join(path, 'only staged'));
    const { commit } = await save(path);
    expect(plainGit(root, 'show', `${commit}:a`)).toBe('later');
    expect(plainGit(root, 'show', `${commit}^2:a`)).toBe('staged');
    expect(plainGit(root, 'show', `${commit}^2:only staged`)).toBe('x');
  });

  test('changes that git does not look at: same size and time, marked as unchanged or as not wanted', async () => {
    const { root, path } = worktree();
    for (const name of ['trusted', 'skipped', 'grün']) commitFile(path, name, 'one\n', name);
    plainGit(path, 'update-index', '--assume-unchanged', 'trusted', 'grün');
    plainGit(path, 'update-index', '--skip-worktree', 'skipped');
    plainGit(root, 'config', 'core.trustctime', 'false');
    plainGit(root, 'config', 'core.checkStat', 'minimal');
    const time = 1_600_000_000;
    utimesSync(join(path, 'a'), time, time);
    plainGit(path, 'update-index', '--refresh');
    for (const name of ['a', 'trusted', 'skipped', 'grün']) writeFileSync(join(path, name), 'two\n');
    utimesSync(join(path, 'a'), time, time);
    expect(plainGit(path, 'status', '--porcelain')).toBe('');
    const { commit } = await save(path);
    for (const name of ['a', 'trusted', 'skipped', 'grün'])
      expect(plainGit(root, 'show', `${commit}:${name}`)).toBe('two');
  });

  test('a sparse checkout: files that are not there are not deleted; new ones outside of it are saved', async () => {
    const { root, path } = worktree();
    for (const dir of ['in', 'out']) {
      mkdirSync(join(path, dir));
      commitFile(path, `${dir}/x`, 'x\n', dir);
    }
    plainGit(path, 'sparse-checkout', 'set', 'in');
    expect(existsSync(join(path, 'out'))).toBe(false);
    mkdirSync(join(path, 'out'));
    writeFileSync(join(path, 'out/new'), 'new\n');
    const { commit } = await save(path);
    expect(plainGit(root, 'ls-tree', '-r', '--name-only', commit).split('\n')).toEqual([
      'a',
      'in/x',
      'out/new',
      'out/x',
    ]);
  });

  test('ignored files that are named are saved apart, as they stand; others are not, unless they are staged', async () => {
    const { root, path } = worktree();
    writeFileSync(join(path, '.gitignore'), '*.log\ncache/\n');
    mkdirSync(join(path, 'cache/deep'), { recursive: true });
    writeFileSync(join(path, 'cache/deep/x [1]\r\n'), 'x\r\n');
    symlinkSync('nowhere', join(path, 'cache/link'));
    for (const name of ['*.log', 'other.log', 'kept.log']) writeFileSync(join(path, name), `${name}\n`);
    plainGit(path, 'add', '-f', 'kept.log');
    const before = state(root, path);
    const saved = await rescue({ path, session_id: 's1', ignored: ['cache/', '*.log'], clock: systemClock });
    expect(state(root, path)).toEqual(before);
    const names = (ref: string) => plainGit(root, 'ls-tree', '-r', '-z', '--name-only', ref).split('\0').slice(0, -1);
    expect(names(saved.commit)).toEqual(['.gitignore', 'a', 'kept.log']);
    expect(saved.ignored_ref).toBe('refs/drover/rescued/s1-ignored');
    expect(names(saved.ignored_ref ?? '')).toEqual(['*.log', 'cache/deep/x [1]\r\n', 'cache/link']);
    expect(plainGit(root, 'log', '--format=%P', saved.ignored_ref ?? '')).toBe('');
    expect(await rescue({ path, session_id: 's1', ignored: ['cache/', '*.log'], clock: systemClock })).toEqual(saved);
    plainGit(root, 'fsck', '--strict');
  });

  test('who has been rescued a thousand times is told, and nothing is done', async () => {
    const { root, path } = worktree();
    const head = plainGit(root, 'rev-parse', 'HEAD');
    const refs = Array.from({ length: 1_000 }, (_, i) => `refs/drover/rescued/s1${i === 0 ? '' : `-${i + 1}`}`);
    const folder = join(root, '.git/refs/drover/rescued');
    mkdirSync(folder, { recursive: true });
    for (const ref of refs) writeFileSync(join(root, '.git', ref), `${head}\n`);
    writeFileSync(join(path, 'new'), 'x');
    const files = filesIn(path);
    await expect(save(path)).rejects.toMatchObject({ kind: 'failed', code: 'rescue_refs_full' });
    expect([filesIn(path), plainGit(root, 'rev-parse', ...refs)]).toEqual([files, `${head}\n`.repeat(1_000).trim()]);
    plainGit(root, 'update-ref', '-d', 'refs/drover/rescued/s1-7');
    expect((await save(path)).ref).toBe('refs/drover/rescued/s1-7');
  });

  test('repositories inside: their files are saved, their .git is named; so are submodules', async () => {
    const { root, path } = worktree();
    for (const dir of ['inner', 'inner/deeper', 'unborn'])
      newRepository({ dir: join(path, dir), unborn: dir === 'unborn' });
    for (const dir of ['inner', 'inner/deeper', 'unborn']) writeFileSync(join(path, dir, 'new'), `${dir}\n`);
    newRepository({ dir: join(path, 'sub') });
    plainGit(path, '-c', 'advice.addEmbeddedRepo=false', 'add', 'sub');
    plainGit(path, 'commit', '--quiet', '-m', 'sub');
    writeFileSync(join(path, 'sub/a'), 'changed\n');
    const before = state(root, path);
    const { commit, left_out } = await save(path);
    expect(state(root, path)).toEqual(before);
    expect(plainGit(root, 'ls-tree', '-r', '--name-only', commit).split('\n')).toEqual([
      'a',
      'inner/a',
      'inner/deeper/a',
      'inner/deeper/new',
      'inner/new',
      'sub',
      'unborn/new',
    ]);
    expect(left_out.sort()).toEqual(['inner/.git/', 'inner/deeper/.git/', 'sub/', 'unborn/.git/']);
  });

  test('no filter runs: a large file is saved as it stands there', async () => {
    const trap = newTrap();
    const { root, path } = worktree(trap.repo);
    plainGit(root, 'config', 'filter.lfs.clean', trap.evil);
    plainGit(root, 'config', 'filter.lfs.required', 'true');
    writeFileSync(join(path, '.gitattributes'), '*.bin filter=lfs -text\n');
    writeFileSync(join(path, 'x.bin'), 'large\0\n');
    plainGit(root, 'config', 'core.autocrlf', 'true');
    writeFileSync(join(path, 'dos'), 'one\r\ntwo\r\n');
    const { commit } = await save(path);
    expect(plainGit(root, 'show', `${commit}:x.bin`)).toBe('large\0');
    expect(plainGit(root, 'show', `${commit}:dos`)).toBe('one\r\ntwo');
    expect(existsSync(trap.canary)).toBe(false);
  });

  test('byte for byte, whatever attributes would make of it: line ends, keywords, encodings', async () => {
    const { root, path } = worktree();
    const attributes = ['*.crlf text', '*.id ident', '*.u16 working-tree-encoding=UTF-16LE', '*.dos text eol=crlf'];
    commitFile(path, '.gitattributes', `${attributes.join('\n')}\n`, 'attributes');
    commitFile(path, 'same.dos', 'one\r\n', 'dos');
    const files: Record<string, Buffer> = {
      'x.crlf': Buffer.from('one\r\ntwo\n\r\n'),
      'odd "näme"\n.crlf': Buffer.from('one\r\n'),
      'x.id': Buffer.from('$Id: mine $\n'),
      'x.u16': Buffer.from('wide\n', 'utf16le'),
      'same.dos': Buffer.from('one\r\n'),
      'deep/er/y.crlf': Buffer.from('\r\n'),
    };
    mkdirSync(join(path, 'deep/er'), { recursive: true });
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(path, name), bytes);
    chmodSync(join(path, 'x.crlf'), 0o755);
    const before = state(root, path);
    const { commit } = await save(path);
    expect(state(root, path)).toEqual(before);
    for (const [name, bytes] of Object.entries(files)) {
      const { stdout } = Bun.spawnSync(['git', 'cat-file', 'blob', `${commit}:${name}`], { cwd: root });
      expect([name, stdout.toString('hex')]).toEqual([name, bytes.toString('hex')]);
    }
    expect(plainGit(root, 'ls-tree', commit, 'x.crlf')).toStartWith('100755 ');
  });

  test('a ref is never overwritten; the same is not saved twice, even after somebody died in between', async () => {
    const { root, path } = worktree();
    const first = await save(path);
    expect(await save(path)).toEqual(first);
    writeFileSync(join(path, 'a'), 'two\n');
    const second = await save(path);
    expect(second.ref).toBe('refs/drover/rescued/s1-2');
    expect(await save(path)).toEqual(second);
    plainGit(path, 'add', 'a');
    writeFileSync(join(path, 'a'), 'three\n');
    const third = await save(path);
    expect(third.ref).toBe('refs/drover/rescued/s1-3');
    expect(await save(path)).toEqual(third);
    // The same files, but something else is staged; then on another commit.
    plainGit(path, 'update-index', '--cacheinfo', `100644,${plainGit(root, 'hash-object', '-w', '--stdin')},a`);
    const fourth = await save(path);
    expect(fourth.ref).toBe('refs/drover/rescued/s1-4');
    plainGit(path, 'reset', '--quiet');
    plainGit(path, 'commit', '--quiet', '--allow-empty', '-m', 'other');
    expect((await save(path)).ref).toBe('refs/drover/rescued/s1-5');
    plainGit(path, 'commit', '--quiet', '--allow-empty', '-m', 'another');
    expect((await save(path)).ref).toBe('refs/drover/rescued/s1-6');
    expect(plainGit(root, 'rev-parse', first.ref)).toBe(first.commit);
    // A folder of refs where the ref should be.
    plainGit(root, 'update-ref', 'refs/drover/rescued/s2/x', first.commit);
    expect((await save(path, 's2')).ref).toBe('refs/drover/rescued/s2-2');
    plainGit(root, 'update-ref', '-d', 'refs/drover/rescued/s2/x');
  });

  test('a ref where the folder should be is an error with nothing half done', async () => {
    const { root, path } = worktree();
    plainGit(root, 'update-ref', 'refs/drover/rescued', 'HEAD');
    const before = state(root, path);
    await expect(save(path)).rejects.toMatchObject({ kind: 'failed', code: 'git_failed' });
    expect(state(root, path)).toEqual(before);
  });

  for (const [what, prepare] of Object.entries<(root: string, path: string) => void>({
    'no branch': (_, path) => plainGit(path, 'checkout', '--quiet', '--detach'),
    'the middle of a merge, with conflicts': (root, path) => {
      commitFile(path, 'a', 'ours\n', 'ours');
      const theirs = commitFile(root, 'a', 'theirs\n', 'theirs');
      expect(tryPlainGit(path, ['merge', theirs]).code).not.toBe(0);
    },
    'the middle of a rebase, with conflicts': (root, path) => {
      commitFile(path, 'a', 'ours\n', 'ours');
      const theirs = commitFile(root, 'a', 'theirs\n', 'theirs');
      expect(tryPlainGit(path, ['rebase', theirs]).code).not.toBe(0);
    },
    "another git's lock on the index": (_, path) => writeFileSync(join(gitDir(path), 'index.lock'), ''),
    'a spoilt index': (_, path) => writeFileSync(join(gitDir(path), 'index'), 'rubbish'),
    'no index at all': (_, path) => rmSync(join(gitDir(path), 'index')),
    'an index in two files': (_, path) => plainGit(path, 'update-index', '--split-index'),
  })) {
    test(`in the state: ${what}`, async () => {
      const { root, path } = worktree();
      prepare(root, path);
      appendFileSync(join(path, 'a'), 'more\n');
      writeFileSync(join(path, 'new'), 'new\n');
      const before = state(root, path);
      const { commit } = await save(path);
      expect(state(root, path)).toEqual(before);
      expect(filesOf(root, commit)).toEqual(filesIn(path));
    });
  }

  test('before the first commit', async () => {
    const root = newRepository({ unborn: true });
    writeFileSync(join(root, 'new'), 'new\n');
    writeFileSync(join(root, 'staged'), 'staged\n');
    plainGit(root, 'add', 'staged');
    const before = state(root, root);
    const { commit } = await save(root);
    expect(state(root, root)).toEqual(before);
    expect(plainGit(root, 'log', '--format=%P', commit)).toBe('');
    expect(plainGit(root, 'ls-tree', '--name-only', commit)).toBe('new\nstaged');
  });

  test('a file that cannot be read fails it all, and a worktree without its .git is not taken for another one', async () => {
    const { root, path } = worktree();
    const outer = newRepository({ dir: join(tempDir('outer'), 'outer') });
    const inner = join(outer, 'inner');
    plainGit(root, 'worktree', 'add', '--quiet', '-b', 'inner', inner);
    rmSync(join(inner, '.git'));
    await expect(save(inner)).rejects.toMatchObject({ kind: 'refused', code: 'worktree_foreign' });
    await expect(save(path, '../x')).rejects.toMatchObject({ kind: 'usage', code: 'session_id_invalid' });
    expect(plainGit(root, 'for-each-ref', 'refs/drover')).toBe('');
    writeFileSync(join(path, 'secret'), 'x\n', { mode: 0o000 });
    const script = `const { rescue } = await import(${JSON.stringify(join(import.meta.dir, '../../src/git/rescue.ts'))});
      await rescue(${JSON.stringify({ path, session_id: 's1' })});`;
    const command = [process.execPath, '-e', script];
    const plain = ['setpriv', '--bounding-set=-dac_override,-dac_read_search'];
    if (process.getuid?.() === 0) command.unshift(...plain);
    const { exitCode, stderr } = Bun.spawnSync(command, { cwd: '/' });
    expect([exitCode, stderr.toString()]).toEqual([1, expect.stringContaining('permission_denied')]);
    expect(plainGit(root, 'for-each-ref', 'refs/drover')).toBe('');
  });
});
