import { expect, test } from 'bun:test';
import { touchesOf } from '../../src/harness/file-touch.ts';
import { asObject, countAt, numberAt, objectsAt, parseLine } from '../../src/harness/json-line.ts';

test('a list is no object', () => {
  expect(asObject([])).toBeNull();
  expect(asObject(null)).toBeNull();
  expect(asObject({ a: 1 })).toEqual({ a: 1 });
  expect(objectsAt({ list: [1, null, [], { a: 1 }, 'x'] }, 'list')).toEqual([{ a: 1 }]);
  expect(objectsAt({ list: { a: 1 } }, 'list')).toEqual([]);
});

test('numbers beyond all bounds are none, counts are whole and never negative', () => {
  const object = parseLine('{"huge":1e999,"big":1e300,"half":2.5,"minus":-3,"text":"7"}') ?? {};
  expect(numberAt(object, 'huge')).toBeNull();
  expect(numberAt(object, 'half')).toBe(2.5);
  const counts = ['huge', 'big', 'half', 'minus', 'text', 'absent'].map((key) => countAt(object, key));
  expect(counts).toEqual([0, Number.MAX_SAFE_INTEGER, 3, 0, 0, 0]);
});

test('paths that no file can have are no touches', () => {
  const touched = (file_path: string) => touchesOf('Write', { file_path }).length;
  expect(['a', '', 'a\0', '\ud800', 'a'.repeat(5000)].map(touched)).toEqual([1, 0, 0, 0, 0]);
});
