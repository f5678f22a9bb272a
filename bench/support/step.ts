import { appendEvent } from '../../src/store/event.ts';
import type { Store } from '../../src/store/store.ts';
import { transition } from '../../src/store/transition.ts';

/** One transition of a session in its first turn, from working to stalled or back, with an event, in one transaction. */
export async function moveSession(store: Store, session_id: string, stalls: boolean): Promise<void> {
  await store.write((tx) => {
    const now = Date.now();
    const event = stalls ? 'stall' : 'progress';
    const moved = transition(tx, { session_id, event, actor: 'supervisor', now, fence: 1 });
    if (!moved.ok) throw new Error(`${session_id}: ${moved.reason}, it is ${moved.prev}`);
    appendEvent(tx, { session_id, turn: 1, type: 'text', data: { text: 'said' }, at: now });
  });
}
