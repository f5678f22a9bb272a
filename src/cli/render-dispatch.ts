import type { DispatchRow } from '../model/dispatch.ts';
import type { DispatchOutcome } from '../plan/dispatch.ts';
import { age, clip, paint, type Style, table } from './output.ts';

const STYLES: Record<DispatchRow['state'], Style> = {
  ...{ pending: 'cyan', dispatching: 'cyan', dispatched: 'green', failed: 'red' },
};

export function renderRequests(rows: readonly DispatchRow[], now: number): string {
  if (rows.length === 0) return 'no requests wait; --all shows those that are through';
  const header = ['ID', 'PRIORITY', 'STATE', 'AGE', 'FOR', 'RESULT', 'TASK'].map((cell) => paint('dim', cell));
  const lines = rows.map((row) => [
    row.id,
    row.priority,
    paint(STYLES[row.state], row.state),
    age(now - row.created_at),
    row.target_session_id ?? '-',
    clip(row.error ?? (row.result_action === null ? '-' : `${row.result_action} ${row.result_session_id}`), 60),
    clip(row.task, 60),
  ]);
  return table([header, ...lines]);
}

export function renderOutcomes(outcomes: readonly DispatchOutcome[]): string {
  if (outcomes.length === 0) return 'no requests wait';
  return table(outcomes.map((outcome) => [outcome.request_id, outcomeText(outcome), clip(outcome.task, 60)]));
}

function outcomeText({ action, session_id }: DispatchOutcome): string {
  if (action.type === 'failed') return paint('red', clip(`failed: ${action.details}`, 100));
  if (action.type === 'deferred_saturated') return paint('yellow', 'deferred: nobody has room');
  const word = action.type === 'assigned' ? action.details : action.type;
  return `${paint('green', word)} ${session_id}`;
}
