import type { SessionRow } from '../model/session.ts';
import { heldMerges } from '../store/merge-held.ts';
import type { Deps } from './deps.ts';

const TAIL = 4_000;

/**
 * For the brief of who goes on with the work of an ended session: that it was not merged, why, and the end of what its gate
 * said. Empty when nothing keeps it out.
 */
export async function heldMergeNote({ store }: Pick<Deps, 'store'>, { id }: Pick<SessionRow, 'id'>): Promise<string> {
  const held = (await heldMerges(store, [id])).get(id);
  if (held === undefined) return '';
  const output = held.output?.slice(-TAIL).trim() ?? '';
  const said = output === '' ? '' : `\n\nThe end of what it said:\n${output}`;
  const where = `at ${held.head.slice(0, 12)}, into ${held.target} at ${held.base_head.slice(0, 12)}`;
  return `\n\nIts branch ${held.branch}, ${where}, was not merged: ${held.reason}.${said}`;
}
