import { AppError, errorJson } from '../model/error.ts';
import type { SessionRow } from '../model/session.ts';
import { paint, safe } from './output.ts';

/** What became of one session of several. */
export type Tried<T> = { row: SessionRow; done: T; error: null } | { row: SessionRow; done: null; error: AppError };

/**
 * Does something to sessions one by one: one that cannot be helped keeps nobody else from it, and each has its result. When
 * the store or the machine fails, the rest is not tried. A bug ends it.
 */
export async function eachOf<T>(
  rows: readonly SessionRow[],
  act: (row: SessionRow) => Promise<T>,
): Promise<Tried<T>[]> {
  const tried: Tried<T>[] = [];
  let broken: AppError | null = null;
  for (const row of rows) {
    const one: Tried<T> = broken === null ? await tryOne(row, act) : { row, done: null, error: broken };
    tried.push(one);
    if (one.error?.kind === 'unavailable' || one.error?.kind === 'parked') broken = one.error;
  }
  return tried;
}

async function tryOne<T>(row: SessionRow, act: (row: SessionRow) => Promise<T>): Promise<Tried<T>> {
  try {
    return { row, done: await act(row), error: null };
  } catch (error) {
    if (!(error instanceof AppError) || error.kind === 'bug') throw error;
    return { row, done: null, error };
  }
}

/** Before anything is done to any of them. Throws the error of the only one, or one that names all that cannot be. */
export function refuseFirst(rows: readonly SessionRow[], problemOf: (row: SessionRow) => AppError | null): void {
  const found = rows.flatMap((row) => problemOf(row) ?? []);
  const [first] = found;
  if (first === undefined) return;
  if (rows.length === 1) throw first;
  const data = { refused: found.map(({ code, message }) => ({ code, message })) };
  const preserved = 'nothing was done to any of them';
  const message = found.map((each) => each.message).join(' ');
  throw new AppError(first.kind, first.code, message, { ...first.details, preserved, data });
}

/** The error of a call that named one session is that session's. */
export function throwOnly(tried: readonly Tried<unknown>[]): void {
  const [only, second] = tried;
  if (second === undefined && only?.error != null) throw only.error;
}

export function doneOf<T>(tried: readonly Tried<T>[]): { row: SessionRow; done: T }[] {
  return tried.flatMap((one) => (one.error === null ? [{ row: one.row, done: one.done }] : []));
}

/** For `--json`: those to whom nothing was done, each with its reason. */
export function failedJson(tried: readonly Tried<unknown>[]): Record<string, unknown>[] {
  return tried.flatMap(({ row: { id, name }, error }) =>
    error === null ? [] : [{ id, name, error: { ...errorJson(error), preserved: `${name} is as it was` } }],
  );
}

/** The same for people, on standard error. */
export function tellFailed(tried: readonly Tried<unknown>[]): void {
  for (const { row, error } of tried) {
    if (error === null) continue;
    console.error(`${paint('red', 'error')}: ${safe(row.name)}: ${safe(error.message)} [${error.code}]`);
    if (error.details.hint) console.error(`  ${safe(error.details.hint)}`);
    for (const command of error.details.recovery_commands ?? []) console.error(`  Try: ${safe(command)}`);
  }
}

/** The worst of several results. */
export function worstCode(tried: readonly Tried<unknown>[]): number {
  return Math.max(0, ...tried.map(({ error }) => error?.exitCode ?? 0));
}
