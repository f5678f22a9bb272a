/**
 * One line of a byte stream. `offset` is the stream position of its first byte, `end` the position after its newline:
 * a reader that has dealt with the frame continues at `end`. A line longer than the limit has no text.
 */
export type Frame =
  | { offset: number; end: number; oversize: false; text: string }
  | { offset: number; end: number; oversize: true };

const NEWLINE = 10;
const RETURN = 13;
const BOM = [0xef, 0xbb, 0xbf] as const;

/**
 * Cuts a byte stream into lines; how the stream was cut into chunks has no influence on the frames.
 *
 * The cut is made on bytes, so a character split between chunks stays whole. Invalid UTF-8 becomes U+FFFD, NUL stays
 * data, one CR before the newline goes, a byte order mark at stream position 0 goes, empty lines are frames too.
 * The unfinished tail is kept as a list of copies and joined once, so a line of any length costs linear time;
 * beyond `limitBytes` (newline not counted) nothing is kept at all.
 */
export class LineReader {
  readonly #limit: number;
  /** Stream position of the first byte that no frame has covered yet. */
  #start: number;
  #parts: Buffer[] = [];
  #pending = 0;

  /** `offset` is the stream position of the first byte that will be pushed; it must be the start of a line. */
  constructor(limitBytes: number, offset = 0) {
    this.#limit = limitBytes;
    this.#start = offset;
  }

  /** Where the first unfinished line starts: the offset to continue from after a restart. */
  get committed(): number {
    return this.#start;
  }

  /** The stream position of the next byte to push. */
  get position(): number {
    return this.#start + this.#pending;
  }

  /**
   * Hands the lines this chunk completes to `take`, in order and each as soon as it is cut, so that not all of their texts
   * exist at once. The chunk may be reused by the caller afterwards.
   */
  push(chunk: Uint8Array, take: (frame: Frame) => void): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let from = 0;
    for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, from)) {
      const frame = this.#finish(bytes, from, at, 1);
      from = at + 1;
      take(frame);
    }
    if (from < bytes.length) this.#keep(bytes.subarray(from));
  }

  /** The last line when the stream ended without a newline, else null. Call it only when nothing more can come. */
  flush(): Frame | null {
    return this.#pending === 0 ? null : this.#finish(Buffer.alloc(0), 0, 0, 0);
  }

  #keep(rest: Buffer): void {
    this.#pending += rest.length;
    if (this.#pending > this.#limit) this.#parts = [];
    else this.#parts.push(Buffer.from(rest));
  }

  /** What was kept and the bytes from `from` to `to` are a line. */
  #finish(bytes: Buffer, from: number, to: number, terminator: number): Frame {
    const offset = this.#start;
    const length = this.#pending + to - from;
    const end = offset + length + terminator;
    const parts = this.#parts;
    if (this.#pending > 0) {
      this.#parts = [];
      this.#pending = 0;
    }
    this.#start = end;
    if (length > this.#limit) return { offset, end, oversize: true };
    if (parts.length === 0) return { offset, end, oversize: false, text: decode(bytes, from, to, offset === 0) };
    const line = Buffer.concat([...parts, bytes.subarray(from, to)], length);
    return { offset, end, oversize: false, text: decode(line, 0, length, offset === 0) };
  }
}

function decode(bytes: Buffer, from: number, to: number, streamStart: boolean): string {
  const start = streamStart && BOM.every((byte, i) => bytes[from + i] === byte) ? from + BOM.length : from;
  const end = to > from && bytes[to - 1] === RETURN ? to - 1 : to;
  return bytes.toString('utf8', start, Math.max(start, end));
}
