import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { globMatches, globsOverlap } from '../../src/model/reservation-glob.ts';

test.each([
  ['src/auth/**', 'src/auth/session.rs', true],
  ['src/auth/**', 'src/auth/deep/er.rs', true],
  ['src/auth/**', 'src/authority.rs', false],
  ['src/auth/**', 'src/auth', false],
  ['src/*.ts', 'src/a.ts', true],
  ['src/*.ts', 'src/deep/a.ts', false],
  ['src/?.ts', 'src/a.ts', true],
  ['src/?.ts', 'src/ab.ts', false],
  ['src/?', 'src//', false],
  ['**/a.ts', 'a.ts', true],
  ['**/a.ts', 'x/y/a.ts', true],
  ['**/a.ts', 'x/ya.ts', false],
  ['a/**/b', 'a/b', true],
  ['a/**/b', 'a/x/y/b', true],
  ['a/**/b', 'a/xb', false],
  ['**', 'x/y', true],
  ['a**c', 'a/b/c', true],
  ['a.b', 'axb', false],
  ['(a|b)+', '(a|b)+', true],
  ['', '', true],
  ['*', '', true],
])('%j and %j: %p', (glob, path, expected) => {
  expect(globMatches(glob, path)).toBe(expected);
});

test.each([
  ['src/auth/**', 'src/auth/x.ts', true],
  ['src/auth/**', 'src/*/x.ts', true],
  ['src/auth/**', 'src/mail/**', false],
  ['**/*.md', 'docs/**', true],
  ['*.md', 'docs/**', false],
  ['a/*/c', '*/b/c', true],
  ['a/*/c', 'a/b', false],
  ['a?', 'ab', true],
  ['a?', 'a/', false],
  ['x', 'x', true],
])('%j overlaps %j: %p', (one, other, expected) => {
  expect([globsOverlap(one, other), globsOverlap(other, one)]).toEqual([expected, expected]);
});

const name = fc.stringMatching(/^[ab]{1,2}$/);
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const glob = fc
  .array(fc.oneof(name, fc.constantFrom('*', '**', '?', 'a*', '*b')), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join('/'));

test('what matches both patterns is an overlap of them, and a path is a pattern of itself', () => {
  fc.assert(
    fc.property(glob, glob, path, (one, other, file) => {
      if (globMatches(one, file) && globMatches(other, file)) expect(globsOverlap(one, other)).toBe(true);
      expect(globsOverlap(one, file)).toBe(globMatches(one, file));
    }),
    { numRuns: 500 },
  );
});

test('a pattern that is meant to be slow is not', () => {
  const evil = `${'**/*a'.repeat(60)}b`;
  expect(globMatches(evil, `${'a/'.repeat(200)}c`)).toBe(false);
  expect(globsOverlap(evil, `${'*a'.repeat(100)}c`)).toBe(false);
});
