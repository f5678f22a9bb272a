import { readdirSync, readFileSync } from 'node:fs';
import { AppError } from '../model/error.ts';
import { MARKER_VARIABLE } from '../model/marker.ts';
import { nextRound } from './clock.ts';
import { errnoOf, systemError } from './errno.ts';
import { isZombie, type ProcessStat, processStat } from './identity.ts';

/** A living process as it was when it was looked at. */
export interface SeenProcess {
  stat: ProcessStat;
  /** Its environment between NULs, if a turn's marker stands in it; `blank`: it shows none now; null: no marker is in it. */
  marked: string | 'blank' | null;
}

/**
 * Every living process but init and ourselves, and then those that appeared meanwhile, until a list brings nothing new or
 * `max_lists` were taken: a chain of processes that each live shorter than a look would otherwise be gone from every list
 * before it is read. Errors: `unavailable` / `proc_missing` without /proc.
 */
export function* liveProcesses(max_lists: number): Generator<SeenProcess> {
  const seen = new Set<number>();
  for (let list = 0; list < max_lists; list += 1) {
    const fresh = processIds().filter((pid) => !seen.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      seen.add(pid);
      const stat = processStat(pid);
      if (stat !== null && !isZombie(stat)) yield { stat, marked: markedOf(stat) };
    }
  }
  for (const pid of unmarked.keys()) if (!seen.has(pid)) unmarked.delete(pid);
}

let wanted: { max_lists: number; list: Promise<SeenProcess[]> } | null = null;

/**
 * The same, for all who ask before the event loop goes round: it begins after everybody who gets it has asked, so it says
 * no less to each than one of his own. Turns that end together share the price.
 */
export function nextProcesses(max_lists: number): Promise<SeenProcess[]> {
  if (wanted === null) {
    const list = nextRound().then(() => {
      const lists = wanted?.max_lists ?? max_lists;
      wanted = null;
      return [...liveProcesses(lists)];
    });
    wanted = { max_lists, list };
  }
  wanted.max_lists = Math.max(wanted.max_lists, max_lists);
  return wanted.list;
}

const ANY_MARKER = `\0${MARKER_VARIABLE}=`;

/**
 * Processes in whose environment no turn's marker was: most of a machine's, and reading it is half the price of a look.
 * Which one it is, is said by pid, start time and image: it gets another environment by exec alone, and with it another
 * image. What a stat says of an image that is just being replaced holds for the old one.
 */
const unmarked = new Map<number, string>();

function markedOf(stat: ProcessStat): SeenProcess['marked'] {
  if (stat.is_kernel) return null;
  const { pid, image } = stat;
  const key = image === null ? null : `${stat.start_time} ${image.places}`;
  if (key !== null && unmarked.get(pid) === key) return null;
  const environment = textOf(pid, 'environ');
  if (environment === '') return 'blank';
  if (environment === null) return null;
  const text = `\0${environment}\0`;
  if (text.includes(ANY_MARKER)) return text;
  // Read whole, and of a process whose next image will lie elsewhere.
  const isSure = image !== null && environment.length === image.environment_bytes && hasRandomPlace(pid);
  if (key !== null && isSure) unmarked.set(pid, key);
  else unmarked.delete(pid);
  return null;
}

/** ADDR_NO_RANDOMIZE of a personality. */
const FIXED_PLACE = 0x0040000;
let isRandomized: boolean | undefined;

/** The kernel lays out a process anew at every exec: two images of one process never lie at the same place. */
function hasRandomPlace(pid: number): boolean {
  isRandomized ??= Number(readFileSync('/proc/sys/kernel/randomize_va_space', 'latin1')) > 0;
  const personality = isRandomized ? textOf(pid, 'personality') : null;
  return personality !== null && personality !== '' && (Number.parseInt(personality, 16) & FIXED_PLACE) === 0;
}

/** Null: it is gone, or somebody else's. */
function textOf(pid: number, file: 'environ' | 'personality'): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(errnoOf(error))) return null;
    throw systemError(error, `read the ${file} of process ${pid}`);
  }
}

/** Every pid but 1 (init belongs to nobody) and our own (we never signal ourselves). */
function processIds(): number[] {
  try {
    const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
    if (pids.includes(process.pid)) return pids.filter((pid) => pid > 1 && pid !== process.pid);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw systemError(error, 'list /proc');
  }
  throw new AppError('unavailable', 'proc_missing', 'cannot list processes: /proc is not mounted', {
    hint: 'drover needs /proc (Linux, WSL) to find the processes of a turn.',
  });
}
