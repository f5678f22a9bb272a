import { fillTemplate } from '../model/template.ts';
import type { VerdictRow } from '../model/verdict.ts';
import { quoteLines } from '../session/transcript-tail.ts';
import type { WatchFacts, WatchVerdict } from './judge.ts';

/** What somebody is told who is asked about a stuck session. */
export interface Briefing {
  session: { name: string; role: string; harness: string; task: string };
  turn: number;
  verdict: WatchVerdict;
  facts: WatchFacts;
  /** Verdicts about it, oldest first. */
  verdicts: readonly Pick<VerdictRow, 'health' | 'cause' | 'act' | 'evidence' | 'at'>[];
  /** Lines of foreign text, oldest first. */
  transcript: string;
  now: number;
}

const TASK_CHARS = 2_000;
const MAX_VERDICTS = 10;

/** The question as `templates/triage.md` puts it. Pure. Foreign text stands behind a mark on every line of it. */
export function triagePrompt(template: string, briefing: Briefing): string {
  const { session, turn, verdict, facts, verdicts, transcript, now } = briefing;
  const { name, role, harness, task } = session;
  const { health, cause, evidence } = verdict;
  const ladder = verdicts.slice(-MAX_VERDICTS).map((row) => {
    const cause = row.cause === null ? '' : ` (${row.cause})`;
    return `- ${seconds(now - row.at)} ago: ${row.act}: ${row.health}${cause}: ${row.evidence}`;
  });
  return fillTemplate(template, {
    ...{ name, role, harness, turn: String(turn), evidence },
    verdict: cause === null ? health : `${health} (${cause})`,
    facts: factsText(facts, now),
    ladder: ladder.length === 0 ? '- nothing yet' : ladder.join('\n'),
    task: quoteLines(task.length > TASK_CHARS ? `${task.slice(0, TASK_CHARS).toWellFormed()} …` : task),
    transcript: quoteLines(transcript === '' ? '(nothing)' : transcript),
  });
}

function factsText(facts: WatchFacts, now: number): string {
  const { started_at, last_event_at, tools_open, processes, rss_bytes, cpu_ms, cpu_over_ms, is_limited } = facts;
  return [
    `the turn began ${seconds(now - started_at)} ago`,
    last_event_at === null ? 'it has said nothing' : `its last event came ${seconds(now - last_event_at)} ago`,
    `tools that run: ${tools_open}`,
    processes === null ? null : `processes: ${processes}, ${Math.round((rss_bytes ?? 0) / 1_048_576)} MiB`,
    cpu_ms === null ? null : `CPU: ${seconds(cpu_ms)} within the last ${seconds(cpu_over_ms ?? 0)}`,
    is_limited ? 'its provider said "not now"' : null,
  ]
    .filter((text) => text !== null)
    .join('; ');
}

const seconds = (ms: number) => `${Math.max(0, Math.round(ms / 1000))} s`;
