import { AppError } from '../model/error.ts';
import type { PoolRow, PoolWord } from '../model/pool.ts';
import { quoted } from '../model/shell.ts';
import type { Deps } from '../session/deps.ts';
import type { Caller } from '../session/identity.ts';
import { demandPerson } from '../session/rights.ts';
import { isPoolKnown, poolUses, setPool } from '../store/pool.ts';
import { movePools, poolsNeed } from '../store/pool-advance.ts';

/**
 * Moves every pool on: parks who would start in a blocked one, sends a probe ahead when its time has come, lets the others
 * follow when it is open. Costs one small read while there is nothing to do. Returns lines for the log.
 */
export async function advancePools(deps: Pick<Deps, 'store' | 'config_for'>, now: number): Promise<string[]> {
  const need = await poolsNeed(deps.store, now);
  if (need === null) return [];
  // The pace is the user's and the same in all repositories.
  const pace = need.repo_root === null ? null : (await deps.config_for(need.repo_root)).limits.stagger_ms;
  return movePools(deps.store, { now, stagger_ms: pace });
}

/**
 * A person blocks or opens a pool, or switches its guard off and on. `configured`: names that only the settings know.
 * Throws `not_allowed` (3) for sessions, `pool_off` (3) for a block that nobody would heed, and `pool_not_found` (4).
 */
export async function changePool(
  deps: Pick<Deps, 'store' | 'clock'>,
  caller: Caller,
  request: { name: string; word: PoolWord; configured: readonly string[] },
): Promise<{ before: PoolRow; after: PoolRow }> {
  const { name, word, configured } = request;
  demandPerson(caller, 'change a pool');
  const now = deps.clock.now();
  if (!configured.includes(name) && !(await isPoolKnown(deps.store, name))) {
    const used = (await poolUses(deps.store, now)).map((pool) => pool.name);
    const known = [...new Set([...used, ...configured])].sort();
    throw new AppError('not_found', 'pool_not_found', `There is no pool ${JSON.stringify(name)}.`, {
      hint: `Known are: ${known.join(', ')}. A profile names its own with \`pool:\`.`,
      preserved: 'nothing was changed',
      data: { known },
    });
  }
  const move = await setPool(deps.store, name, word, now);
  if (word.type !== 'block' || move.after.state !== 'off') return move;
  throw new AppError('refused', 'pool_off', `The guard of the pool ${JSON.stringify(name)} is off.`, {
    hint: `Nothing of it is held back. Switch it on first: drover pools on ${quoted(name)}`,
    preserved: 'nothing was changed',
    recovery_commands: [`drover pools on ${quoted(name)}`],
  });
}
