import type { DecisionRow, FileActivityRow, IncidentRow } from '../model/incident.ts';
import type { Prediction } from '../session/prediction.ts';
import { age, clip, instantText, paint, safe, table } from './output.ts';

/** Names of the sessions an incident speaks of, by id. */
export type Names = ReadonlyMap<string, string>;

function nameOf(names: Names, id: string | null): string {
  return id === null ? '-' : safe(names.get(id) ?? id);
}

/** One line per incident. */
export function incidentTable(rows: readonly IncidentRow[], names: Names, now: number): string {
  const header = ['ID', 'KIND', 'PATH', 'BETWEEN', 'HELD', 'AGE', 'STATE'].map((cell) => paint('dim', cell));
  const lines = rows.map((row) => [
    row.id,
    row.kind,
    paint('bold', clip(row.path, 60)),
    `${nameOf(names, row.first_session_id)}, ${nameOf(names, row.second_session_id)}`,
    nameOf(names, row.paused_session_id),
    age(now - row.created_at),
    row.resolved_at === null ? paint('yellow', 'open') : `resolved: ${clip(row.resolution ?? '', 60)}`,
  ]);
  return table([header, ...lines]);
}

export interface IncidentFacts {
  incident: IncidentRow;
  names: Names;
  prediction: Prediction | null;
  decisions: DecisionRow[];
  /** Writes of this path by the two. */
  writes: FileActivityRow[];
}

export function renderIncident(
  { incident: row, names, prediction, decisions, writes }: IncidentFacts,
  now: number,
): string {
  const fields: [string, string][] = [
    ['Incident', `${paint('bold', row.id)}  ${row.kind}`],
    ['Key', safe(row.key)],
    ['Path', safe(row.path)],
    ['Repository', safe(row.repo_root)],
    ['Between', sides(row, names)],
    ['Goes on', nameOf(names, row.active_session_id)],
    ['Held', nameOf(names, row.paused_session_id)],
    ['Strategy', row.strategy],
    ['Summary', safe(row.summary)],
    ['Opened', `${instantText(row.created_at)} (${age(now - row.created_at)} ago)`],
    ['State', row.resolved_at === null ? paint('yellow', 'open') : `resolved: ${safe(row.resolution ?? '')}`],
  ];
  const blocks = [
    table(fields.map(([label, value]) => [paint('dim', label), value])),
    writeBlock(writes, names, now),
    predictionBlock(prediction),
    decisionBlock(decisions, now),
    row.resolved_at === null ? paint('dim', `Settle it: drover incident resolve ${row.id} "<how>" --resume`) : '',
  ];
  return blocks.filter((block) => block !== '').join('\n\n');
}

function sides(row: IncidentRow, names: Names): string {
  const side = (id: string, action: string | null) => `${nameOf(names, id)}${action === null ? '' : ` (${action})`}`;
  return `${side(row.first_session_id, row.first_action)}, ${side(row.second_session_id, row.second_action)}`;
}

function writeBlock(writes: readonly FileActivityRow[], names: Names, now: number): string {
  if (writes.length === 0) return '';
  const lines = writes.map((row) => [
    `${age(now - row.at)} ago`,
    nameOf(names, row.session_id),
    row.turn === null ? '-' : `turn ${row.turn}`,
    row.action,
    row.source,
  ]);
  return `${paint('bold', 'WRITES')}\n${table(lines)}`;
}

function predictionBlock(prediction: Prediction | null): string {
  const title = paint('bold', 'PREDICTED MERGE');
  if (prediction === null) return `${title}\nno two branches to merge`;
  const { ours, theirs, is_clean, conflicts, problem } = prediction;
  const what = `${safe(theirs.branch)} (${theirs.commit.slice(0, 12)}) into ${safe(ours.branch)} (${ours.commit.slice(0, 12)})`;
  const note = paint('dim', 'as committed now; work that is not committed is no part of it');
  const verdict =
    is_clean === null
      ? paint('yellow', `unknown: ${safe(problem ?? '')}`)
      : is_clean
        ? paint('green', 'merges cleanly')
        : paint('red', `conflicts in ${conflicts.map(({ path, kind }) => `${safe(path)} (${kind})`).join(', ')}`);
  return `${title}\n${what}: ${verdict}\n${note}`;
}

function decisionBlock(decisions: readonly DecisionRow[], now: number): string {
  if (decisions.length === 0) return '';
  const lines = decisions.map((row) => [`${age(now - row.at)} ago`, clip(row.decision, 80), clip(row.reasoning, 100)]);
  return `${paint('bold', 'DECISIONS')}\n${table(lines)}`;
}
