/**
 * Patterns of path reservations: `?` is one character, `*` any within a folder, `**` any across folders, and every other
 * character itself. A pattern without end takes time that grows with its length and never faster: it is run as a set of
 * places, not by trying.
 */

/** What one step of a pattern takes: a character, any but `/`, or any. */
type Taken = { is: 'char'; char: string } | { is: 'in_folder' } | { is: 'any' };

interface Place {
  /** Taking one character leads to the next place, or (`stays`) to the same one. */
  takes: Taken | null;
  stays: boolean;
  /** Places that are reached without taking anything. */
  free: number[];
}

const IN_FOLDER: Taken = { is: 'in_folder' };
const ANY: Taken = { is: 'any' };

/** The places of a pattern; the last one is its end. */
function placesOf(glob: string): Place[] {
  const places: Place[] = [];
  const add = (takes: Taken | null, stays = false, free: number[] = []) => places.push({ takes, stays, free });
  const isFolderStart = (at: number) => at === 0 || glob[at - 1] === '/';
  for (let at = 0; at < glob.length; at += 1) {
    const from = places.length;
    if (glob.startsWith('**', at) && isFolderStart(at) && glob[at + 2] === '/') {
      // `**/` is nothing, or folders each with its slash.
      add(null, false, [from + 1, from + 3]);
      add(ANY, true, [from + 2]);
      add({ is: 'char', char: '/' });
      at += 2;
    } else if (glob[at] === '*') {
      const isAcross = glob[at + 1] === '*';
      add(isAcross ? ANY : IN_FOLDER, true, [from + 1]);
      if (isAcross) at += 1;
    } else add(glob[at] === '?' ? IN_FOLDER : { is: 'char', char: glob[at] ?? '' });
  }
  add(null);
  return places;
}

/** These places and all that are reached from them for free. */
function closed(places: readonly Place[], from: Iterable<number>): Set<number> {
  const reached = new Set<number>();
  const queue = [...from];
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    if (reached.has(at)) continue;
    reached.add(at);
    queue.push(...(places[at]?.free ?? []));
  }
  return reached;
}

function takes(taken: Taken, char: string): boolean {
  return taken.is === 'any' || (taken.is === 'in_folder' ? char !== '/' : taken.char === char);
}

/** Whether a path relative to the repository is one of the pattern's. */
export function globMatches(glob: string, path: string): boolean {
  const places = placesOf(glob);
  let at = closed(places, [0]);
  for (let i = 0; i < path.length && at.size > 0; i += 1) {
    const char = path[i] ?? '';
    const next: number[] = [];
    for (const place of at) {
      const { takes: taken, stays } = places[place] ?? { takes: null, stays: false };
      if (taken !== null && takes(taken, char)) next.push(stays ? place : place + 1);
    }
    at = closed(places, next);
  }
  return at.has(places.length - 1);
}

/** Whether there is a path that belongs to both patterns. */
export function globsOverlap(one: string, other: string): boolean {
  const [a, b] = [placesOf(one), placesOf(other)];
  const seen = new Set<number>();
  const queue: [number, number][] = [[0, 0]];
  for (let pair = queue.pop(); pair !== undefined; pair = queue.pop()) {
    const [i, j] = pair;
    const key = i * b.length + j;
    if (seen.has(key)) continue;
    seen.add(key);
    if (i === a.length - 1 && j === b.length - 1) return true;
    const [left, right] = [a[i], b[j]];
    if (left === undefined || right === undefined) continue;
    for (const free of left.free) queue.push([free, j]);
    for (const free of right.free) queue.push([i, free]);
    if (left.takes !== null && right.takes !== null && haveCommon(left.takes, right.takes))
      queue.push([left.stays ? i : i + 1, right.stays ? j : j + 1]);
  }
  return false;
}

function haveCommon(one: Taken, other: Taken): boolean {
  if (one.is === 'char') return takes(other, one.char);
  return other.is === 'char' ? takes(one, other.char) : true;
}
