import { AppError } from '../model/error.ts';
import type { HaltRow } from '../model/halt.ts';
import type { Store, Tx } from './store.ts';

/** The halt that stands; null: none. */
export async function standingHalt(store: Store): Promise<HaltRow | null> {
  return store.read(standingHaltIn);
}

export function standingHaltIn(tx: Tx): HaltRow | null {
  return tx.get<HaltRow>('SELECT * FROM halts WHERE lifted_at IS NULL');
}

export function isHalted(tx: Tx): boolean {
  return tx.get('SELECT 1 FROM halts WHERE lifted_at IS NULL') !== null;
}

/** Throws `halted` (3) while a halt stands. `preserved`: what was not done because of it. */
export function refuseHalted(tx: Tx, preserved: string): void {
  const halt = standingHaltIn(tx);
  if (halt !== null) throw haltedError(halt, preserved);
}

export function haltedError({ halted_by, reason }: HaltRow, preserved: string): AppError {
  return new AppError('refused', 'halted', `Everything was halted by ${halted_by}: ${reason}`, {
    hint: 'Only a person lifts it. A session ends its turn, or asks the operator by mail.',
    preserved,
    recovery_commands: ['drover resume --all'],
  });
}
