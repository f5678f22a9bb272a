import type { VerdictRow } from '../model/verdict.ts';
import { listStateLog, type StateLogRow } from '../store/event.ts';
import { listVerdicts } from '../store/verdict.ts';
import type { Context } from './context.ts';
import { instantText, paint, printJson, safe } from './output.ts';
import { actText, healthText } from './render-watch.ts';
import { lookUp } from './sessions.ts';

/** Everything that was seen, judged and done about one session, in order. Throws `session_not_found` (4). */
export async function explain(context: Context, wanted: string): Promise<void> {
  const store = await context.reader();
  const session = await lookUp(context, store, wanted, 'newest');
  if (store === null) return;
  const verdicts = await listVerdicts(store, session.id);
  const states = await listStateLog(store, session.id);
  if (context.globals.json) {
    const { id, name, state, end_reason } = session;
    return printJson({ session: { id, name, state, end_reason }, verdicts, state_log: states });
  }
  const lines = [
    ...states.map((row) => ({ at: row.at, text: stateLine(row) })),
    ...verdicts.map((row) => ({ at: row.at, text: verdictLines(row) })),
  ].sort((a, b) => a.at - b.at);
  console.log(`${paint('bold', safe(session.name))}  ${session.id}  ${session.state}`);
  if (verdicts.length === 0) console.log('nothing about it was ever found to be wrong');
  for (const { at, text } of lines) console.log(`${paint('dim', instantText(at))}  ${text}`);
}

function stateLine({ turn, from_state, to_state, event, actor, reason }: StateLogRow): string {
  return `turn ${turn}  ${from_state ?? '-'} → ${to_state} (${event} by ${actor})${reason === null ? '' : `: ${safe(reason)}`}`;
}

function verdictLines(row: VerdictRow): string {
  const who = row.tier === 0 ? row.judged_by : `${row.judged_by}, tier ${row.tier}`;
  const head = `turn ${row.turn}  ${healthText(row.health, row.cause)} by ${who}: ${safe(row.evidence)}`;
  const act = row.act === 'none' ? '' : `\n  act    ${actText(row.act, row.level)}`;
  return `${head}${act}\n  facts  ${paint('dim', safe(factsText(row)))}`;
}

/** The facts as `name value`, instants as milliseconds before the verdict, without those that say nothing. */
function factsText(row: VerdictRow): string {
  const recorded = JSON.parse(row.facts_json) as Record<string, unknown>;
  const facts = (recorded.facts ?? recorded) as Record<string, unknown>;
  return Object.entries(facts)
    .filter(([, value]) => value !== null && value !== false && value !== 0)
    .map(([key, value]) => (isInstant(key, value) ? `${key} -${row.at - value} ms` : `${key} ${JSON.stringify(value)}`))
    .join(', ');
}

function isInstant(key: string, value: unknown): value is number {
  return typeof value === 'number' && /_(at|since)$/.test(key);
}
