import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { checkoutPath } from '../../src/model/checkout-path.ts';

const tree = { repo_root: '/farm', working_dir: '/state/trees/farm-1', worktree_path: '/state/trees/farm-1' };
const shared = { repo_root: '/farm', working_dir: '/farm/packages/core', worktree_path: null };

test.each([
  ['src/lib.rs', 'src/lib.rs'],
  ['./src//lib.rs', 'src/lib.rs'],
  ['src/../lib.rs', 'lib.rs'],
  ['/state/trees/farm-1/src/lib.rs', 'src/lib.rs'],
  ['/state/trees/farm-1/src/', 'src'],
  ['..name', '..name'],
  ['../farm-1/a', 'a'],
  ['', null],
  ['.', null],
  ['..', null],
  ['../other/a', null],
  ['src/../../a', null],
  ['/state/trees/farm-12/a', null],
  ['/farm/src/lib.rs', null],
  ['/etc/passwd', null],
  ['.git/config', null],
  ['.git', null],
  ['.gitignore', '.gitignore'],
  ['a\0b', null],
])('in a worktree %j is %j (E-142)', (named, path) => {
  expect(checkoutPath(tree, named)).toBe(path);
});

test('in a shared checkout paths are relative to the root of the repository, not to the working directory (E-142)', () => {
  expect(checkoutPath(shared, 'a.ts')).toBe('packages/core/a.ts');
  expect(checkoutPath(shared, '../b.ts')).toBe('packages/b.ts');
  expect(checkoutPath(shared, '/farm/c.ts')).toBe('c.ts');
  expect(checkoutPath(shared, '../../../c.ts')).toBeNull();
});

test("in somebody's own linked worktree the working directory stands for the root", () => {
  const linked = { repo_root: '/farm', working_dir: '/elsewhere', worktree_path: null };
  expect([checkoutPath(linked, 'a'), checkoutPath(linked, '../a')]).toEqual(['a', null]);
});

test('whatever is named, nothing leads out of the checkout', () => {
  const part = fc.constantFrom('..', '.', 'a', '.git', '', 'farm-1', '/');
  fc.assert(
    fc.property(fc.array(part, { maxLength: 9 }), fc.boolean(), (parts, isAbsolute) => {
      const path = checkoutPath(tree, `${isAbsolute ? '/state/trees/farm-1/' : ''}${parts.join('/')}`);
      expect(path === null || !/^\/|^\.\.?(?:\/|$)|^\.git(?:\/|$)|\/\.\.?(?:\/|$)|\/\/|\/$/.test(path)).toBe(true);
    }),
  );
});
