import { AppError } from '../model/error.ts';
import { base32 } from '../model/id.ts';
import type { PathReservationRow } from '../model/reservation.ts';
import { globsOverlap } from '../model/reservation-glob.ts';
import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';
import { addPathReservations, listPathReservations, releasePathReservation } from '../store/path-reservation.ts';
import { isDirectory } from '../sys/directory.ts';

/** A longer wish is a slip of the pen, and longer texts would not fit the briefs of the others. */
const MAX_GLOB = 512;
const MAX_REASON = 500;
const MAX_AT_ONCE = 50;

export interface PathRequest {
  repo_root: string;
  /** The checkout the caller stands in; absolute patterns below it are taken as relative ones. */
  root: string;
  globs: readonly string[];
  reason?: string | undefined;
  /** Ends by itself then; null: with the session, or when a person releases it. */
  for_ms: number | null;
}

export interface Wished {
  rows: PathReservationRow[];
  /** Wishes of others for files of the same patterns. Advice: nobody is held up by them. */
  overlaps: PathReservationRow[];
}

/** Says to everybody that the caller wants to be alone with some files. Throws `glob_invalid`, `reason_too_long` (2). */
export async function reservePaths(deps: Deps, caller: Caller, request: PathRequest): Promise<Wished> {
  const globs = [...new Set(request.globs.map((glob) => cleanGlob(glob, request.root)))];
  if (globs.length === 0 || globs.length > MAX_AT_ONCE)
    throw invalid('glob_invalid', `Give 1 to ${MAX_AT_ONCE} patterns, not ${globs.length}.`);
  const reason = request.reason?.trim() || null;
  if (reason !== null && reason.length > MAX_REASON)
    throw invalid('reason_too_long', `The reason is longer than ${MAX_REASON} characters.`);
  const now = deps.clock.now();
  const owner = { owner_session_id: caller.session?.id ?? null, owner_name: caller.name };
  const times = { created_at: now, expires_at: request.for_ms === null ? null : now + request.for_ms };
  const { rows, before } = await addPathReservations(deps.store, {
    wanted: globs.map((glob) => ({ repo_root: request.repo_root, glob, reason, ...owner, ...times })),
    new_id: newPathId,
    now,
  });
  const others = before.filter((row) => !isOwn(row, caller));
  return { rows, overlaps: others.filter((row) => globs.some((glob) => globsOverlap(glob, row.glob))) };
}

function newPathId(): string {
  return `path-${base32(crypto.getRandomValues(new Uint8Array(10)))}`;
}

/** A person's are everybody's who is a person: there is one operator. */
function isOwn(row: PathReservationRow, { session }: Caller): boolean {
  return row.owner_session_id === (session?.id ?? null);
}

/** Relative to the repository, without `.`, `..` and an empty part. A folder stands for all that is in it. */
function cleanGlob(glob: string, root: string): string {
  const relative = glob.startsWith(`${root}/`) ? glob.slice(root.length + 1) : glob;
  if (relative.startsWith('/')) throw invalid('glob_invalid', `${shown(glob)} is not in ${root}.`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
  if (/[\0-\x1f\x7f]/.test(relative)) throw invalid('glob_invalid', `${shown(glob)} has characters that no name has.`);
  const parts = relative.split('/').filter((part) => part !== '.' && part !== '');
  if (parts.length === 0 || parts.includes('..') || relative.length > MAX_GLOB)
    throw invalid('glob_invalid', `${shown(glob)} names no files below the top of the repository.`);
  const path = parts.join('/');
  const isFolder = relative.endsWith('/') || (!/[*?]/.test(path) && isDirectory(`${root}/${path}`));
  return isFolder ? `${path}/**` : path;
}

function shown(glob: string): string {
  return JSON.stringify(glob.slice(0, 100));
}

function invalid(code: string, message: string): AppError {
  return new AppError('usage', code, message, {
    hint: "Name files or folders relative to the top of the repository, as in 'src/auth/**'.",
    preserved: 'nothing was reserved',
  });
}

/**
 * Ends wishes, named by id or by pattern. A session ends its own, a person any. Those that are over already count as ended.
 * Throws `path_reservation_not_found` (4), `path_reservation_foreign` (3); then none was ended.
 */
export async function releasePaths(
  deps: Deps,
  caller: Caller,
  request: { repo_root: string | null; root: string; words: readonly string[] },
): Promise<PathReservationRow[]> {
  const now = deps.clock.now();
  const open = await listPathReservations(deps.store, { repo_root: request.repo_root, now });
  const wanted = new Map<string, PathReservationRow>();
  for (const word of request.words) {
    const found = open.filter(
      (row) => row.id === word || row.glob === word || isSameGlob(row.glob, word, request.root),
    );
    const own = caller.session === null ? found : found.filter((row) => isOwn(row, caller));
    if (found[0] === undefined) throw notFound(word);
    if (own.length === 0) throw foreign(found[0]);
    for (const row of own) wanted.set(row.id, row);
  }
  const ended: PathReservationRow[] = [];
  for (const { id } of wanted.values()) {
    const row = await releasePathReservation(deps.store, { id, now });
    if (row !== null) ended.push(row);
  }
  return ended;
}

function isSameGlob(glob: string, word: string, root: string): boolean {
  try {
    return cleanGlob(word, root) === glob;
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}

function notFound(word: string): AppError {
  return new AppError('not_found', 'path_reservation_not_found', `Nobody has reserved ${shown(word)}.`, {
    hint: '`drover reservations paths` lists what is reserved.',
    preserved: 'nothing was released',
    recovery_commands: ['drover reservations paths'],
  });
}

function foreign({ id, glob, owner_name }: PathReservationRow): AppError {
  return new AppError('refused', 'path_reservation_foreign', `${shown(glob)} (${id}) is reserved by ${owner_name}.`, {
    hint: `Write to ${owner_name}; it ends with its owner's session.`,
    unsafe_condition: 'a session may only release what it has reserved itself',
    would_change: `${owner_name} would no longer be known to work on these files`,
    preserved: 'nothing was released',
    recovery_commands: ['drover reservations paths'],
  });
}
