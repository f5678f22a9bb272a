import { importsOf, packageOf, target } from './imports.ts';
import type { Breach, SourceFile } from './source.ts';

interface Room {
  /** Rooms it may import besides itself. */
  rooms: string[];
  /** Outside packages and built-in modules it may import besides `ANYWHERE`. */
  packages: string[];
}

/** Built-in modules that only compute. */
const ANYWHERE = ['node:path', 'node:crypto', 'node:util', 'node:url', 'node:assert'];
const FILES = ['node:fs', 'node:fs/promises'];
const MACHINE = [...FILES, 'node:os', 'node:net', 'node:child_process', 'node:tty', 'node:stream', 'node:events'];

const UPPER = ['model', 'sys', 'store', 'harness', 'git', 'session', 'guard', 'team', 'merge', 'plan', 'watchdog'];

/** The table of ARCHITECTURE §4, bottom-up, and the scripted harness, which stands apart. */
export const ROOMS: Record<string, Room> = {
  model: { rooms: [], packages: ['zod'] },
  sys: { rooms: ['model'], packages: [...MACHINE, 'bun', 'bun:ffi'] },
  store: { rooms: ['model'], packages: ['bun:sqlite'] },
  harness: { rooms: ['model'], packages: ['zod'] },
  git: { rooms: ['model', 'sys'], packages: [...FILES, 'node:os'] },
  session: { rooms: ['model', 'sys', 'store', 'harness', 'git'], packages: [] },
  guard: { rooms: ['model', 'sys', 'store', 'session'], packages: [] },
  team: { rooms: ['model', 'sys', 'store', 'git', 'session'], packages: [] },
  merge: { rooms: ['model', 'sys', 'store', 'git', 'session'], packages: [] },
  plan: { rooms: ['model', 'store', 'session', 'team', 'merge'], packages: ['cron-parser', 'yaml'] },
  watchdog: { rooms: ['model', 'sys', 'store', 'session', 'guard', 'team'], packages: [] },
  fleet: { rooms: ['model', 'store', 'session', 'plan'], packages: [] },
  supervisor: { rooms: [...UPPER, 'fleet'], packages: ['bun'] },
  cli: {
    rooms: [...UPPER, 'fleet', 'supervisor'],
    packages: ['commander', 'chalk', 'yaml', '@modelcontextprotocol/sdk', 'zod', 'bun', 'node:readline', ...MACHINE],
  },
  rehearsal: { rooms: ['model', 'sys', 'git'], packages: ['zod', ...FILES, 'node:os'] },
};

/** `src/<room>/…` → the room; `null` outside `src`. */
export function roomOf(path: string): string | null {
  return /^src\/([^/]+)\/./.exec(path)?.[1] ?? null;
}

/** A room imports only rooms that its row names, and only outside packages that its row names. */
export function roomBreaches(files: SourceFile[]): Breach[] {
  return files.filter(({ path }) => path.startsWith('src/')).flatMap(breachesOf);
}

function breachesOf(file: SourceFile): Breach[] {
  const name = roomOf(file.path) ?? '';
  const room = Object.hasOwn(ROOMS, name) ? ROOMS[name] : undefined;
  if (!room) return [{ path: file.path, line: 0, message: 'lies in no room of the table (ARCHITECTURE §4)' }];
  const breaches: Breach[] = [];
  for (const found of importsOf(file)) {
    const message = complaint(file, name, room, found.specifier, target(file, found));
    if (message) breaches.push({ path: file.path, line: found.line, message });
  }
  return breaches;
}

function complaint(file: SourceFile, name: string, room: Room, specifier: string, path: string | null): string | null {
  if (path === null) {
    const wanted = packageOf(specifier);
    if (/^[a-z_]+$/.test(wanted) && BARE_BUILTINS.has(wanted)) return `write node:${wanted} for ${wanted}`;
    if (ANYWHERE.includes(wanted) || room.packages.includes(wanted)) return null;
    return `${name}/ may not import ${wanted}; the table of rooms says who may, or ask a room below for it`;
  }
  if (!/\.(?:ts|json|md|html|css|js|sh|txt|yaml)$/.test(path)) return `${specifier}: name the file with its extension`;
  const other = roomOf(path);
  if (other === null) return outsideSource(file, path);
  if (other === name || room.rooms.includes(other)) return null;
  return `${name}/ may not import ${other}/ (${name}/ may: ${room.rooms.join(', ') || 'nothing'})`;
}

/** Texts ship beside `src`; code does not. */
function outsideSource(file: SourceFile, path: string): string | null {
  if (/^(?:agents|templates)\//.test(path) || path === 'package.json') return null;
  return `${file.path} reaches outside src: ${path}`;
}

const BARE_BUILTINS = new Set(
  [
    'fs',
    'os',
    'net',
    'tty',
    'path',
    'util',
    'url',
    'crypto',
    'stream',
    'events',
    'http',
    'https',
    'child_process',
  ].concat(['readline', 'assert', 'process', 'buffer', 'timers', 'zlib', 'worker_threads']),
);
