import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { base32, NAME, newId, newSecret } from '../../src/model/id.ts';

test('a session id is agent- and 20 characters of base32: 96 bits (H-04)', () => {
  const ids = Array.from({ length: 2_000 }, () => newId('agent'));
  for (const id of ids) expect(id).toMatch(/^agent-[a-z2-7]{20}$/);
  expect(ids[0]).toHaveLength(26);
  expect(new Set(ids).size).toBe(ids.length);
  // Every position takes many values, the last one too (it carries one bit of the last byte).
  for (let i = 6; i < 25; i++) expect(new Set(ids.map((id) => id[i])).size).toBeGreaterThan(25);
});

test('base32 is that of RFC 4648 in lower case without padding (H-04)', () => {
  const vectors: Record<string, string> = {
    '': '',
    f: 'my',
    fo: 'mzxq',
    foo: 'mzxw6',
    foob: 'mzxw6yq',
    fooba: 'mzxw6ytb',
    foobar: 'mzxw6ytboi',
  };
  for (const [text, expected] of Object.entries(vectors)) expect(base32(new TextEncoder().encode(text))).toBe(expected);
  expect(base32(new Uint8Array(12).fill(255))).toBe('7777777777777777777q');
});

test('base32 keeps different bytes apart', () => {
  const bytes = fc.uint8Array({ minLength: 12, maxLength: 12 });
  fc.assert(fc.property(bytes, bytes, (a, b) => (base32(a) === base32(b)) === (Buffer.compare(a, b) === 0)));
});

test('a secret has 256 bits', () => {
  expect(newSecret()).toMatch(/^[a-z2-7]{52}$/);
  expect(newSecret()).not.toBe(newSecret());
});

test('a name is safe as a file name, an argument and a part of a branch', () => {
  for (const good of ['a', 'builder-fix', 'a.b_c-2', 'x'.repeat(64)]) expect(good).toMatch(NAME);
  for (const bad of ['', '-a', 'a-', '.a', 'a.', 'A', 'a b', 'a/b', 'a\n', 'x'.repeat(65), '@{', 'ä']) {
    expect(bad).not.toMatch(NAME);
  }
});
