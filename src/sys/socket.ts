import { chmodSync, rmSync, statSync } from 'node:fs';
import { AppError } from '../model/error.ts';
import { errnoOf, systemError } from './errno.ts';

/**
 * The doorbell: a unix stream socket that takes one line and answers one line per connection. A lost ring is harmless
 * by design, so callers learn only whether somebody answered.
 *
 * Paths longer than the 107 bytes of a socket address need no detour: Bun goes through the directory's descriptor, and
 * the file is where the path says. So no second place (/tmp, XDG_RUNTIME_DIR) has to be agreed on by both sides.
 */
export interface Doorbell {
  /** False when the socket file was removed or replaced: nobody can find us then. */
  isReachable(): boolean;
  close(): void;
}

/** A request or reply longer than this ends the connection. */
const MAX_LINE_BYTES = 64 * 1024;
const PROBE_MS = 500;

/**
 * Listens at `path` (mode 0600, in a private directory). `onLine` gets one line without its newline and returns the
 * reply, one line. The socket file of a dead server is replaced; only the holder of the pid lock may listen, so nobody
 * else replaces it at the same time. What `onLine` throws goes to `onError` and the caller gets no reply.
 * Errors: `refused` / `socket_in_use` when a living server answers there.
 */
export async function listen(
  path: string,
  onLine: (line: string) => string | Promise<string>,
  onError: (error: unknown) => void,
): Promise<Doorbell> {
  if (await isAnswered(path)) {
    throw new AppError('refused', 'socket_in_use', `a living server listens at ${path}`);
  }
  const handlers = new WeakMap<object, (chunk: Uint8Array) => void>();
  let server: Bun.UnixSocketListener<undefined> | null = null;
  try {
    rmSync(path, { force: true });
    const listener = Bun.listen({
      unix: path,
      socket: {
        open: (socket) => {
          const respond = async (line: string) => {
            try {
              socket.end(`${await onLine(line)}\n`);
            } catch (error) {
              socket.end();
              onError(error);
            }
          };
          const receive = lineCollector(respond, () => socket.end());
          handlers.set(socket, receive);
        },
        data: (socket, chunk) => handlers.get(socket)?.(chunk),
        error: (_socket, error) => onError(error),
      },
    });
    server = listener;
    chmodSync(path, 0o600);
    const mine = inodeAt(path) ?? 0;
    return {
      isReachable: () => inodeAt(path) === mine,
      close: () => closeServer(listener, path, mine),
    };
  } catch (error) {
    // Another server may have taken its place away: one that nobody can reach would keep the process alive.
    server?.stop(true);
    throw systemError(error, `listen at ${path}`);
  }
}

/** Rings once and waits for the reply line, at most `timeoutMs`; null when nobody answered, for whatever reason. */
export function ask(path: string, line: string, timeoutMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    let finish = (reply: string | null) => resolve(reply);
    const timer = setTimeout(() => finish(null), timeoutMs);
    const receive = lineCollector(
      (reply) => finish(reply),
      () => finish(null),
    );
    Bun.connect({
      unix: path,
      socket: {
        open: (socket) => {
          finish = (reply) => {
            resolve(reply);
            clearTimeout(timer);
            socket.terminate();
          };
          socket.write(`${line}\n`);
        },
        data: (_socket, chunk) => receive(chunk),
        close: () => finish(null),
        error: () => finish(null),
      },
    }).catch(() => {
      // No file, nobody listening, no permission: all mean that nobody heard us.
      clearTimeout(timer);
      resolve(null);
    });
  });
}

/** Does a process accept connections here? A refused connection or no file at all means no. */
async function isAnswered(path: string): Promise<boolean> {
  try {
    const socket = await Promise.race([
      Bun.connect({ unix: path, socket: { data: () => undefined } }),
      Bun.sleep(PROBE_MS).then(() => null),
    ]);
    socket?.terminate();
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ECONNREFUSED') return false;
    throw systemError(error, `look at ${path}`);
  }
}

/** Collects bytes up to the first newline, calls `onLine` once with them, ignores the rest. */
function lineCollector(
  onLine: (line: string) => void | Promise<void>,
  onTooLong: () => void,
): (chunk: Uint8Array) => void {
  const parts: Uint8Array[] = [];
  let length = 0;
  let done = false;
  return (chunk) => {
    if (done) return;
    const at = chunk.indexOf(10);
    const part = at < 0 ? chunk : chunk.subarray(0, at);
    length += part.length;
    parts.push(Uint8Array.from(part));
    done = at >= 0 || length > MAX_LINE_BYTES;
    if (length > MAX_LINE_BYTES) onTooLong();
    else if (done) void onLine(Buffer.concat(parts).toString('utf8'));
  };
}

function closeServer(server: { stop(closeActive?: boolean): void }, path: string, inode: number): void {
  const isOurs = inodeAt(path) === inode;
  server.stop(true);
  if (isOurs) rmSync(path, { force: true });
}

function inodeAt(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
