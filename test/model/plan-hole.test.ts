import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { fillHoles, holesOf, scanHoles } from '../../src/model/plan-hole.ts';

test('every form of hole is read, with its names', () => {
  const text =
    '{{ steps.a.b.output }} {{steps.a.outputs.the-list}} {{ inputs.x }} {{ matrix.os }} {{ foreach.item }} {{ who }}';
  expect(holesOf(text).map(({ kind, path }) => [kind, ...path])).toEqual([
    ['steps', 'a.b'],
    ['steps', 'a', 'the-list'],
    ['inputs', 'x'],
    ['matrix', 'os'],
    ['foreach', 'item'],
    ['variable', 'who'],
  ]);
});

test.each([
  ['{{ steps.{{ inputs.x }}.output }}', 'a hole within a hole'],
  ['{{ open', 'never closed'],
  ['lone }} braces', 'closes nothing'],
  ['{{ steps.a.result }}', 'is no hole'],
  ['{{ }}', 'is no hole'],
  ['{{ foreach.items }}', 'is no hole'],
])('%s is a problem, told once', (text, what) => {
  const { problems } = scanHoles(text);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(what);
});

test('braces with a backslash mean themselves', () => {
  expect(scanHoles('a \\{{ x \\}} {{ x }}').problems).toEqual([]);
  expect(fillHoles('a \\{{ x \\}} {{ x }}', new Map([['x', '1']])).text).toBe('a {{ x }} 1');
});

test('a value is never looked at again, so none opens a hole of its own', () => {
  const values = new Map([
    ['a', '{{ b }}'],
    ['b', 'secret'],
  ]);
  expect(fillHoles('<{{ a }}>', values)).toEqual({ text: '<{{ b }}>', missing: [] });
  expect(fillHoles('<{{ c }}>', values).missing).toEqual(['c']);
});

test('any text is taken apart in one pass, and what is escaped comes out as it went in', () => {
  const piece = fc.constantFrom('{{', '}}', '{', '}', '\\', 'steps.a.output', ' ', 'x');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      scanHoles(pieces.join(''));
      const escaped = pieces.map((part) => part.replace(/[{}\\]/g, '')).join('\\{{');
      expect(fillHoles(escaped, new Map()).text).toBe(escaped.replaceAll('\\{{', '{{'));
    }),
  );
  expect(scanHoles('}}'.repeat(100_000)).problems.length).toBeLessThan(10);
  expect(scanHoles('{{'.repeat(100_000)).problems.length).toBeLessThan(10);
});
