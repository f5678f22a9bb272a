import { AppError } from '../model/error.ts';

/**
 * The few libc calls Bun has no API for. Nothing is loaded before the first call: `bun:ffi` and `dlopen` cost about a
 * millisecond, which a verb that only reads rows must not pay. Returned numbers are libc's own (-1 = failed).
 */
interface Libc {
  flock(fd: number, operation: number): number;
  /** `syscall(number, a, b, c, d)`; the numbers used here are the same on x86-64 and arm64. */
  syscall(number: number, a: number, b: number, c: number, d: number): number;
  errno(): number;
}

const NAMES = ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1'];

let loaded: Libc | undefined;

/** libc, loaded once. Errors: `unavailable` / `libc_missing` on a system that is not Linux. */
export function libc(): Libc {
  loaded ??= load();
  return loaded;
}

function load(): Libc {
  const { dlopen, read } = require('bun:ffi') as typeof import('bun:ffi');
  const failures: string[] = [];
  for (const name of NAMES) {
    try {
      const { symbols } = dlopen(name, {
        flock: { args: ['i32', 'i32'], returns: 'i32' },
        syscall: { args: ['i64', 'i64', 'i64', 'i64', 'i64'], returns: 'i64' },
        __errno_location: { args: [], returns: 'ptr' },
      });
      return {
        flock: (fd, operation) => symbols.flock(fd, operation),
        syscall: (number, a, b, c, d) =>
          Number(symbols.syscall(BigInt(number), BigInt(a), BigInt(b), BigInt(c), BigInt(d))),
        errno: () => {
          const where = symbols.__errno_location();
          return where === null ? 0 : read.i32(where, 0);
        },
      };
    } catch (error) {
      failures.push(String(error));
    }
  }
  throw new AppError('unavailable', 'libc_missing', 'cannot load the C library', {
    hint: 'drover runs on Linux (glibc or musl), WSL included.',
    data: { failures },
  });
}
