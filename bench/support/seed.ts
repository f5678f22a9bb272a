import { newId } from '../../src/model/id.ts';
import { appendEvent } from '../../src/store/event.ts';
import type { World } from './world.ts';

const ENDED = ['completed', 'completed', 'completed', 'failed', 'stopped'];

const SESSION = `
INSERT INTO sessions (id, name, role, harness, task, project, task_group, repo_root, working_dir, state, turn,
                      input_tokens, output_tokens, cost_micros, created_at, updated_at, last_activity_at, ended_at)
VALUES (:id, :name, 'coordinator', 'stamp', :task, 'bench', 'general', :repo, :repo, :state, 1, 1200, 340, 56000,
        :at, :at, :at, :ended_at)`;
const TURN = `
INSERT INTO turns (session_id, turn, marker, dir, started_at, ended_at, outcome, reason, exit_code, lines, events)
VALUES (:id, 1, 'm', '/nowhere', :at, :at, 'completed', 'end', 0, 12, 14)`;
const MAIL = `
INSERT INTO mail (id, from_name, to_name, to_id, type, priority, subject, body, thread_id, created_at, delivered_turn,
                  deliveries, read_at)
VALUES (:mail_id, 'operator', :to_name, :to_id, 'task', 'normal', 'Your task', :task, :mail_id, :at, 1, 1, :at)`;

/**
 * A store with history: `count` sessions named `session-0` …, the last `live` of them idle and the others ended, each
 * with a turn, mail and an event; every tenth has written to the operator. Returns the ids of the idle ones.
 */
export async function seedSessions(world: World, size: { count: number; live: number }): Promise<string[]> {
  const now = Date.now();
  return world.store.write((tx) => {
    const idle: string[] = [];
    for (let i = 0; i < size.count; i += 1) {
      const is_live = i >= size.count - size.live;
      const at = now - (size.count - i) * 1000;
      const row = {
        id: newId('agent'),
        name: `session-${i}`,
        task: `mend fence number ${i}, the one by the river`,
        at,
      };
      const state = is_live ? 'idle' : (ENDED[i % ENDED.length] ?? 'completed');
      tx.run(SESSION, { ...row, repo: world.repo, state, ended_at: is_live ? null : at });
      tx.run(TURN, { id: row.id, at });
      const mail = { task: row.task, at };
      tx.run(MAIL, { ...mail, mail_id: newId('mail'), to_name: row.name, to_id: row.id });
      if (i % 10 === 0) tx.run(MAIL, { ...mail, mail_id: newId('mail'), to_name: 'operator', to_id: null });
      appendEvent(tx, { session_id: row.id, turn: 1, type: 'turn_end', data: {}, at });
      if (is_live) idle.push(row.id);
    }
    return idle;
  });
}
