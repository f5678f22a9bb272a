import type { Config } from '../../model/config.ts';
import { type Diagnosis, fine, mendable, problem, warning } from '../../model/finding.ts';
import { homePaths } from '../../model/home.ts';
import { checkpoint } from '../../store/inspect.ts';
import { fileSize } from '../../sys/directory.ts';
import { fileSystemType, networkFileSystem } from '../../sys/file-system.ts';
import { diskFree } from '../../sys/files.ts';
import { modeOf, setMode } from '../../sys/mode.ts';
import { listBackups } from '../backups.ts';
import { type DoctorDeps, megabytes, someOf } from './deps.ts';

const MEBI = 1_048_576;
/** A log this long slows every reader down; SQLite empties it by itself unless a reader never ends. */
const LONG_LOG_BYTES = 64 * MEBI;

/** Modes, file system and room of a home that exists. */
export function homeFindings(deps: DoctorDeps, config: Config): Diagnosis[] {
  return [
    modes(deps.home),
    judgeFileSystem(deps.home, fileSystemType(deps.home)),
    judgeDisk(diskFree(deps.home), config.limits.min_free_mb),
    ...walFindings(deps.home),
  ];
}

/** What must be closed to others, with the bits it should have. Files that SQLite has not made yet are left out. */
function guarded(home: string): [path: string, bits: number][] {
  const database = homePaths.database(home);
  return [
    [home, 0o700],
    [homePaths.run(home), 0o700],
    [homePaths.session(home, '').replace(/\/$/, ''), 0o700],
    [homePaths.backups(home), 0o700],
    ...['', '-wal', '-shm'].map((suffix): [string, number] => [`${database}${suffix}`, 0o600]),
    ...listBackups(home).map(({ path }): [string, number] => [path, 0o600]),
  ];
}

function modes(home: string): Diagnosis {
  const all = guarded(home).flatMap(([path, bits]) => {
    const mode = modeOf(path);
    return mode === null ? [] : [{ path, bits, mode }];
  });
  const foreign = all.filter(({ mode }) => !mode.is_ours);
  if (foreign.length > 0) {
    const what = `of another user: ${someOf(foreign.map(({ path }) => path))}`;
    return problem('home', what, 'Give them to yourself (chown), or point DROVER_HOME to a directory of your own.');
  }
  const open = all.filter(({ bits, mode }) => mode.bits !== bits);
  if (open.length === 0) return fine('home', home);
  const told = open.map(({ path, bits, mode }) => `${path} is ${octal(mode.bits)}, not ${octal(bits)}`);
  return mendable(problem('home', someOf(told)), 'close it to others', async () => {
    for (const { path, bits } of open) setMode(path, bits);
    return `changed the mode of ${someOf(open.map(({ path }) => path))}`;
  });
}

function octal(bits: number): string {
  return bits.toString(8).padStart(4, '0');
}

/** `type`: the number that `statfs` gives. */
export function judgeFileSystem(home: string, type: number): Diagnosis {
  const network = networkFileSystem(type);
  if (network === null) return fine('file system', 'local');
  return problem(
    'file system',
    `${home} is on ${network}, a network file system: locks and the shared memory of SQLite do not hold there`,
    'Point DROVER_HOME to a local disk: drover down, then move the directory.',
  );
}

export function judgeDisk(free_bytes: number, min_free_mb: number): Diagnosis {
  const free = `${megabytes(free_bytes)} free`;
  const least = min_free_mb * MEBI;
  if (free_bytes < least) {
    return problem(
      'disk',
      `${free}, no turn starts below ${min_free_mb} MiB`,
      'Free some space: drover clean --all --dry-run shows what it could remove.',
    );
  }
  return free_bytes < 2 * least
    ? warning('disk', `${free}, no turn starts below ${min_free_mb} MiB`)
    : fine('disk', free);
}

function walFindings(home: string): Diagnosis[] {
  const database = homePaths.database(home);
  const bytes = fileSize(`${database}-wal`);
  if (bytes <= LONG_LOG_BYTES) return [];
  const hint = 'A reader that never ends keeps it; look for a program that has drover.db open.';
  const found = warning('write-ahead log', `${megabytes(bytes)} have not been moved into the database yet`, hint);
  return [
    mendable(found, 'move it into the database', async () => {
      const { busy } = checkpoint(database);
      return busy ? 'moved a part of it; somebody still reads the rest' : 'moved it into the database';
    }),
  ];
}
