import { roomOf } from './rooms.ts';
import { type Breach, type Layers, layersOf, lineAt, type SourceFile } from './source.ts';

interface Ban {
  what: RegExp;
  /** Where to look for it. */
  layer: keyof Layers;
  /** Rooms that may. */
  allowed: string[];
  /** What to do instead; ends the message. */
  instead: string;
}

/** A global's member that is not some other object's: `Bun.spawn`, not `deps.Bun.spawn`. */
const word = (names: string) => new RegExp(`(?<![\\w$.])(?:${names})`, 'g');
const EXECUTABLES = ['cli', 'rehearsal'];

/** What only one room may do, because it is the door to it (ARCHITECTURE §8). */
export const ROOM_BANS: Ban[] = [
  {
    what: word(String.raw`Date\.now\b|new\s+Date\s*(?:\(\s*\)|(?![\w(\s]))|performance\.now\b|Bun\.nanoseconds\b`),
    layer: 'code',
    allowed: ['sys'],
    instead: 'take a Clock (model/clock.ts)',
  },
  {
    what: word(
      String.raw`(?:globalThis\.)?(?:setTimeout|setInterval|setImmediate)\b|Bun\.sleep(?:Sync)?\b|AbortSignal\.timeout\b`,
    ),
    layer: 'code',
    allowed: ['sys'],
    instead: 'take a Clock and await clock.sleep(ms, signal)',
  },
  {
    what: word(String.raw`Bun\.(?:spawn(?:Sync)?\b|\$)`),
    layer: 'code',
    allowed: ['sys', 'rehearsal'],
    instead: 'start processes through sys/, which passes the environment and proves the tree gone',
  },
  {
    what: word(String.raw`process\.kill\b`),
    layer: 'code',
    allowed: ['sys', 'rehearsal'],
    instead: 'signal through sys/, which verifies whose pid it is first',
  },
  {
    what: /\bnew\s+Database\b|(?<![\w$.])Bun\.(?:sql|SQL)\b/g,
    layer: 'code',
    allowed: ['store', 'fleet'],
    instead: 'write an operation in store/',
  },
  {
    what: /\b(?:SELECT\s[^;]*?\sFROM\s|INSERT\s+(?:OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|(?:CREATE|DROP|ALTER)\s+(?:TABLE|INDEX|UNIQUE|VIEW|TRIGGER)\b|PRAGMA\s+\w|BEGIN\s+IMMEDIATE\b)/g,
    layer: 'strings',
    allowed: ['store', 'fleet'],
    instead: 'SQL lives in store/: call an operation of it',
  },
  {
    what: word(
      String.raw`process\.(?:exit|abort|exitCode|stdout|stderr|stdin|argv)\b|console\.|Bun\.(?:stdout|stderr|stdin|argv)\b`,
    ),
    layer: 'code',
    allowed: EXECUTABLES,
    instead: 'return a value or throw an AppError; cli/ prints and exits',
  },
  {
    what: word(String.raw`process\.env\b|Bun\.env\b|import\.meta\.env\b`),
    layer: 'code',
    allowed: EXECUTABLES,
    instead: 'take what you need as an argument; cli/ reads the environment',
  },
];

const EVERYWHERE: Omit<Ban, 'allowed'>[] = [
  {
    what: /\bcatch\s*(?:\([^)]*\))?\s*\{\s*\}|\.catch\s*\(\s*(?:\(\s*[\w$]*\s*\)|[\w$]+)\s*=>\s*\{\s*\}\s*\)/g,
    layer: 'code',
    instead: 'an empty catch: name the errors that are expected and rethrow the rest',
  },
  {
    what: /(?<![\w$.]|\b(?:const|let|var|function)\s)any(?![\w$]|\s*(?:\?\s*:|[:(=]))/g,
    layer: 'code',
    instead: 'the type any: use unknown and narrow it, or a zod schema',
  },
  {
    what: /@ts-(?:ignore|nocheck)\b/g,
    layer: 'comments',
    instead: 'fix the type, or @ts-expect-error with the reason behind it',
  },
  {
    what: /(?<![\w$])(?:test|it|describe)(?:\.\w+)*\.only\b/g,
    layer: 'code',
    instead: 'a lone test keeps all others from running: take .only away',
  },
];

/** Each room's doors are used by that room only. Holds for `src`. */
export function roomBanBreaches(files: SourceFile[]): Breach[] {
  return files
    .filter(({ path }) => path.startsWith('src/'))
    .flatMap((file) =>
      ROOM_BANS.filter(({ allowed }) => !allowed.includes(roomOf(file.path) ?? '')).flatMap((ban) =>
        hits(file, ban).map(({ line, found }) => ({
          path: file.path,
          line,
          message: `${found} belongs to ${ban.allowed.map((room) => `${room}/`).join(', ') || 'nobody'}: ${ban.instead}`,
        })),
      ),
    );
}

/** What no file may do, tests and benches included. */
export function generalBanBreaches(files: SourceFile[]): Breach[] {
  return files.flatMap((file) =>
    EVERYWHERE.flatMap((ban) =>
      hits(file, ban).map(({ line, found }) => ({ path: file.path, line, message: `${found}: ${ban.instead}` })),
    ),
  );
}

function hits(file: SourceFile, { what, layer }: Pick<Ban, 'what' | 'layer'>): { line: number; found: string }[] {
  const text = layersOf(file)[layer];
  return [...text.matchAll(what)].map((match) => ({
    line: lineAt(text, match.index),
    found: match[0].replace(/\s+/g, ' ').trim(),
  }));
}

/** A test that is left out says why: `// reason: …` on its line or the one above. `skipIf` carries its reason. */
export function skipBreaches(files: SourceFile[]): Breach[] {
  return files.flatMap((file) => {
    const { code, comments } = layersOf(file);
    const notes = comments.split('\n');
    return [
      ...code.matchAll(
        /(?<![\w$])(?:test|it|describe)(?:\.\w+)*\.(?:skip|todo)\b|(?<![\w$.])x(?:it|test|describe)\s*\(/g,
      ),
    ]
      .map((match) => lineAt(code, match.index))
      .filter((line) => !/reason:\s*\S/.test(`${notes[line - 2] ?? ''}${notes[line - 1] ?? ''}`))
      .map((line) => ({ path: file.path, line, message: 'skipped without a reason: add "// reason: …" or run it' }));
  });
}

/** Paths of one machine, hosts of registries, and the talk of those who develop it. */
const FOREIGN: [RegExp, string][] = [
  [/(?<![\w.~}\])-])\/work\//g, 'a path of one machine'],
  [/\.\.\/shared\b/g, 'a path outside the repository'],
  [/registry\.npmjs|registry\.yarnpkg/g, 'the host of a registry'],
  [/\bissue\s#\d*/gi, 'a number of some tracker'],
];

/** The repository speaks of itself alone, in code, comments, strings and prose. */
export function foreignTalkBreaches(files: SourceFile[]): Breach[] {
  return files.flatMap(({ path, text }) =>
    FOREIGN.flatMap(([what, why]) =>
      [...text.matchAll(what)].map((match) => ({
        path,
        line: lineAt(text, match.index),
        message: `${match[0].trim()} is ${why}: say it in the repository's own terms`,
      })),
    ),
  );
}
