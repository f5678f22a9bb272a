import type { Prompt } from './prompt.ts';
import type { Step } from './script-schema.ts';

const FILE = 'REHEARSAL.md';

export interface DefaultFacts {
  prompt: Prompt;
  turn: number;
  /** The session's. */
  name: string;
  is_repository: boolean;
}

/**
 * What happens without a script: it says what it read, writes that into REHEARSAL.md, commits that one file (other
 * changes in the tree are not its own), and sends the mail that the prompt asks for (O-63). The texts have no holes.
 */
export function defaultSteps({ prompt, turn, name, is_repository }: DefaultFacts): Step[] {
  const read = prompt.task === null ? `${prompt.mails.length} mail(s)` : JSON.stringify(firstLine(prompt.task));
  const note = `Turn ${turn} of ${name} read ${read}.`;
  const commit: Step = { kind: 'commit', input: { message: `Rehearsal of ${name}, turn ${turn}`, paths: [FILE] } };
  // `done` sends the first of the types that are asked for; a rehearsal has no reason for another.
  const done: Step = { kind: 'done', input: { summary: note } };
  return [
    { kind: 'say', input: { text: note } },
    { kind: 'append', input: { path: FILE, content: `${note}\n` } },
    ...(is_repository ? [commit] : []),
    ...(prompt.terminal_mail.length > 0 ? [done] : []),
    { kind: 'say', input: { text: 'The rehearsal is over; no model was called.' } },
  ];
}

function firstLine(text: string): string {
  const line = text.trim().split('\n', 1)[0] ?? '';
  return line.length > 200 ? `${line.slice(0, 199)}…` : line;
}
