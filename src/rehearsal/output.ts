import { closeSync, writeSync } from 'node:fs';
import type { HarnessEvent } from '../model/harness.ts';

const STDOUT = 1;
const STDERR = 2;
const CHUNK = 64 * 1024;
const RETRY_MS = 1;

export type Stream = 'stdout' | 'stderr';

/**
 * Standard output, written at once: what was printed before a crash is printed. After `close` it swallows everything,
 * as a program does that closed its output and lives on.
 */
export class Output {
  /** Characters of events so far, for a plausible count of tokens. */
  written = 0;
  #closed = false;

  event(event: HarnessEvent): void {
    const line = `${JSON.stringify(event)}\n`;
    this.written += line.length;
    this.bytes(Buffer.from(line), 'stdout');
  }

  bytes(data: Uint8Array, to: Stream): void {
    if (this.#closed && to === 'stdout') return;
    const fd = to === 'stdout' ? STDOUT : STDERR;
    for (let done = 0; done < data.length; ) done += writeSome(fd, data.subarray(done, done + CHUNK));
  }

  /** One text event in a line of exactly `size` bytes (64 at least) and a newline, without ever holding it whole. */
  line(size: number, to: Stream): void {
    const head = '{"type":"text","text":"';
    const tail = '"}\n';
    this.bytes(Buffer.from(head), to);
    const filling = Buffer.alloc(CHUNK, 'x');
    for (let left = size - head.length - tail.length + 1; left > 0; left -= CHUNK) {
      this.bytes(filling.subarray(0, Math.min(left, CHUNK)), to);
    }
    this.bytes(Buffer.from(tail), to);
  }

  close(): void {
    if (!this.#closed) closeSync(STDOUT);
    this.#closed = true;
  }
}

/** A full pipe that does not block says EAGAIN; its reader is given time. */
function writeSome(fd: number, data: Uint8Array): number {
  try {
    return writeSync(fd, data);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    return 0;
  }
}

/** The bytes of a text in which `\xNN`, `\0`, `\n`, `\r`, `\t` and `\\` stand for one byte each; the rest is UTF-8. */
export function rawBytes(text: string): Uint8Array {
  const single: Record<string, number> = { '0': 0, n: 10, r: 13, t: 9, '\\': 92 };
  const parts = text.split(/(\\x[0-9a-fA-F]{2}|\\[0nrt\\])/).map((part, index) => {
    if (index % 2 === 0) return Buffer.from(part);
    return Buffer.of(part[1] === 'x' ? Number.parseInt(part.slice(2), 16) : (single[part[1] ?? ''] ?? 0));
  });
  return Buffer.concat(parts);
}
