import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { type Frame, LineReader } from '../../src/sys/frames.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

function push(reader: LineReader, chunk: Uint8Array): Frame[] {
  const found: Frame[] = [];
  reader.push(chunk, (frame) => found.push(frame));
  return found;
}

function frames(chunks: Uint8Array[], limit = 1000, offset = 0): Frame[] {
  const reader = new LineReader(limit, offset);
  const found = chunks.flatMap((chunk) => push(reader, chunk));
  const last = reader.flush();
  return last ? [...found, last] : found;
}

const texts = (list: Frame[]) => list.map((frame) => (frame.oversize ? null : frame.text));

test('frames: lines with their place in the stream', () => {
  expect(frames([bytes('ab\n\ncde\n')], 10, 100)).toEqual([
    { offset: 100, end: 103, oversize: false, text: 'ab' },
    { offset: 103, end: 104, oversize: false, text: '' },
    { offset: 104, end: 108, oversize: false, text: 'cde' },
  ]);
});

test('frames: an unfinished line is held back until its newline, or until the stream has ended', () => {
  const reader = new LineReader(100, 7);
  expect(push(reader, bytes('abc'))).toEqual([]);
  expect([reader.committed, reader.position]).toEqual([7, 10]);
  expect(texts(push(reader, bytes('d\ne')))).toEqual(['abcd']);
  expect([reader.committed, reader.position]).toEqual([12, 13]);
  expect(reader.flush()).toEqual({ offset: 12, end: 13, oversize: false, text: 'e' });
  expect(reader.flush()).toBeNull();
});

test('frames: BOM at the start, CRLF, NUL, U+2028 and a lone CR', () => {
  expect(texts(frames([bytes('\ufeff{}\r\na\0b\n\u2028\nx\ry\r\r\n\ufeff\n')]))).toEqual([
    '{}',
    'a\0b',
    '\u2028',
    'x\ry\r',
    '\ufeff',
  ]);
  expect(texts(frames([bytes('\ufeffx\n')], 10, 50))).toEqual(['\ufeffx']);
  expect(texts(frames([bytes('\ufeff\r\n'), bytes('\r')]))).toEqual(['', '']);
});

test('frames: invalid UTF-8 is replaced, a character split between chunks is not', () => {
  expect(texts(frames([new Uint8Array([0x61, 0xff, 0x62, 10])]))).toEqual(['a\ufffdb']);
  const euro = bytes('€\n');
  expect(texts(frames([euro.slice(0, 1), euro.slice(1, 2), euro.slice(2)]))).toEqual(['€']);
});

test('frames: a line over the limit is reported with its place and the next one is read', () => {
  expect(frames([bytes('abcd\n'), bytes('abcde'), bytes('f\nok\n12345')], 4)).toEqual([
    { offset: 0, end: 5, oversize: false, text: 'abcd' },
    { offset: 5, end: 12, oversize: true },
    { offset: 12, end: 15, oversize: false, text: 'ok' },
    { offset: 15, end: 20, oversize: true },
  ]);
});

test('frames: the reader keeps copies, so a caller may reuse its buffer', () => {
  const reader = new LineReader(100);
  const buffer = bytes('abc');
  push(reader, buffer);
  buffer.fill(0x7a);
  expect(texts(push(reader, bytes('\n')))).toEqual(['abc']);
});

test('frames: what comes out does not depend on how the stream was cut (property)', () => {
  const stream = fc.array(
    fc.oneof(
      fc.constantFrom('\n', '\r\n', '\r', '\0', '\ufeff', '€', '𝄞', '{"a":1}\n'),
      fc.string({ unit: 'binary', maxLength: 12 }),
      fc.uint8Array({ maxLength: 6 }),
    ),
    { maxLength: 30 },
  );
  fc.assert(
    fc.property(
      stream,
      fc.array(fc.nat(15), { maxLength: 60 }),
      fc.integer({ min: 0, max: 20 }),
      (pieces, cuts, limit) => {
        const whole = Buffer.concat(pieces.map((piece) => (typeof piece === 'string' ? bytes(piece) : piece)));
        const chunks: Uint8Array[] = [];
        let at = 0;
        for (const cut of cuts) {
          chunks.push(whole.subarray(at, at + cut));
          at += cut;
        }
        chunks.push(whole.subarray(at));
        const found = frames(chunks, limit);
        expect(found).toEqual(frames([whole], limit));
        // The frames cover the stream without a gap, and each is what its bytes say.
        let covered = 0;
        for (const frame of found) {
          expect(frame.offset).toBe(covered);
          covered = frame.end;
          const line = whole.subarray(frame.offset, frame.end);
          const body = line.at(-1) === 10 ? line.subarray(0, -1) : line;
          expect(body.includes(10)).toBe(false);
          expect(frame.oversize).toBe(body.length > limit);
          if (!frame.oversize) {
            const text = body.toString('utf8').replace(/\r$/, '');
            expect(frame.text).toBe(frame.offset === 0 ? text.replace(/^\ufeff/, '') : text);
          }
        }
        expect(covered).toBe(whole.length);
      },
    ),
    { numRuns: 2000 },
  );
});

test('frames: any committed offset is a place to start again from (property)', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', '\n', '€', '\r') }), fc.nat(40), (text, cut) => {
      const whole = bytes(text);
      const first = new LineReader(5);
      const before = push(first, whole.subarray(0, cut));
      const after = frames([whole.subarray(first.committed)], 5, first.committed);
      expect([...before, ...after]).toEqual(frames([whole], 5));
    }),
  );
});

/** Milliseconds of processor time, whoever else uses it, to read one line of `size` bytes in chunks of 64 KiB. */
function timeOfLine(size: number, limit: number): number {
  const reader = new LineReader(limit);
  const chunk = new Uint8Array(65_536).fill(0x61);
  const start = process.cpuUsage();
  for (let done = 0; done < size; done += chunk.length) push(reader, chunk);
  const [frame] = push(reader, bytes('\n'));
  const { user, system } = process.cpuUsage(start);
  expect(frame).toMatchObject({ offset: 0, end: size + 1, oversize: size > limit });
  return (user + system) / 1_000;
}

test('frames: a line of 32 MB costs linear time and a longer one no memory', () => {
  timeOfLine(1 << 20, 1 << 30);
  const small = Math.min(timeOfLine(2 << 20, 1 << 30), timeOfLine(2 << 20, 1 << 30));
  expect(timeOfLine(32 << 20, 1 << 30)).toBeLessThan(Math.max(small, 1) * 16 * 6);
  const before = process.memoryUsage().rss;
  timeOfLine(512 << 20, 1 << 20);
  expect(process.memoryUsage().rss - before).toBeLessThan(100 << 20);
});
