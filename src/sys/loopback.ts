import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { systemError } from './errno.ts';

export interface LoopbackAnswer {
  status: number;
  type: string;
  body: string;
}

export interface LoopbackServer {
  /** `http://127.0.0.1:<port>` */
  url: string;
  close(): Promise<void>;
}

/** Serves HTTP on a free port of 127.0.0.1, for programs of this machine alone, until it is closed. */
export function serveLoopback(
  answer: (request: { method: string; path: string; body: string }) => LoopbackAnswer,
): LoopbackServer {
  try {
    const server = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: async (request) => {
        const { pathname } = new URL(request.url);
        const { status, type, body } = answer({ method: request.method, path: pathname, body: await request.text() });
        return new Response(body, { status, headers: { 'content-type': type } });
      },
    });
    return { url: `http://127.0.0.1:${server.port}`, close: () => server.stop(true) };
  } catch (error) {
    throw systemError(error, 'listen on 127.0.0.1');
  }
}

/** A new, private directory below `root`; the caller removes it. */
export function scratchDirectory(root: string, name: string): string {
  try {
    return mkdtempSync(join(root, `${name}-`));
  } catch (error) {
    throw systemError(error, `make a directory in ${root}`);
  }
}
