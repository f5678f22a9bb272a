import type { DispatchRow } from '../../src/model/dispatch.ts';
import type { SessionRow } from '../../src/model/session.ts';
import { addDispatch, type DispatchWishes, runDispatches } from '../../src/plan/dispatch.ts';
import { listDispatch } from '../../src/store/dispatch.ts';
import { insertMail } from '../../src/store/mail.ts';
import { DispatchDesk } from '../../src/supervisor/dispatches.ts';
import { endTurn, takeTurn } from '../support/store.ts';
import type { Night } from './desk.ts';

export const START = Date.parse('2026-05-05T12:00:00Z');

export const add = (world: Night, task: string, more: Partial<DispatchWishes> = {}) => {
  world.now += 1;
  const clock = { ...world.at.deps.clock, now: () => world.now };
  return addDispatch({ ...world.at.deps, clock }, { ...wishes(world), task, ...more });
};
export const wishes = (world: Night): DispatchWishes => ({
  ...{ cwd: world.at.repo, target: null, priority: 'normal', source: 'http', requester: '127.0.0.1' },
});
export const desk = (world: Night) => world.supervisor((options) => new DispatchDesk(options));
export const run = (world: Night, limit = 10) =>
  runDispatches(world.at.deps, { claimed_by: 'test', actor: 'supervisor', limit });
export const request = async (world: Night, { id }: DispatchRow) =>
  (await listDispatch(world.at.deps.store, { all: true, limit: 100 })).find((row) => row.id === id);
export const mails = (world: Night, to: Pick<SessionRow, 'id'>) =>
  world.at.deps.store.read((tx) =>
    tx.all<{ type: string; body: string; from_id: string; priority: string }>(
      'SELECT type, body, from_id, priority FROM mail WHERE to_id = :id ORDER BY seq',
      { id: to.id },
    ),
  );

/** A lead with an idle delegate that has read its handoff. */
export async function team(world: Night, max_children = 4) {
  world.at.config.max_children = max_children;
  const place = { repo_root: world.at.repo, working_dir: world.at.repo, branch: null, base_ref: null };
  const lead = await world.at.asking('lead', {
    ...{ ...place, role: 'coordinator', is_persistent: 1, project: 'ecc-platform', task_group: 'checkout recovery' },
  });
  const delegate = async (name: string, state: 'idle' | 'queued' = 'idle', is_read = true) => {
    const row = await world.at.asking(name, { ...place, parent_id: lead.id, depth: 1, is_persistent: 1 });
    const now = world.at.world.clock.now();
    if (is_read) await handoff(lead, row, 'task_handoff', now);
    if (state === 'idle')
      await endTurn(world.at.world, await takeTurn(world.at.world, row.id), { settle: { is_persistent: true } });
    if (!is_read) await handoff(lead, row, 'task_handoff', now);
    return world.at.now(row);
  };
  const handoff = (from: SessionRow, to: SessionRow, type: 'task_handoff' | 'status', now: number) =>
    world.at.deps.store.write((tx) =>
      insertMail(
        tx,
        {
          ...{ from_name: from.name, from_id: from.id, to_name: to.name, to_id: to.id, type, priority: 'normal' },
          ...{ subject: 's', body: 'b', payload_json: null },
        },
        now,
      ),
    );
  return { lead, delegate, handoff };
}
