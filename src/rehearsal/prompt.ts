/** What a rehearsal understands of its prompt. */
export interface Prompt {
  /** The whole text. */
  text: string;
  /** The session's name, if the first line says it. */
  name: string | null;
  /** The work itself: the last part that is neither ours nor mail; null when the turn brings only mail. */
  task: string | null;
  /** Every `[MAIL]` block as it stands. */
  mails: string[];
  /** Mail types of which one is owed before the work counts as done. */
  terminal_mail: string[];
}

/** Up to the end that carries the mail's own id: a body may hold anything else. */
const MAIL =
  /\[MAIL\] [^\n]*\n\n\[body of (\S+) begins\]\n[\s\S]*?\n\[body of \1 ends\](?:\n\[payload of \1\][^\n]*)?/g;
const SEPARATOR = /\n+---\n+/;
const HEADER = /^\[drover\] session (\S+) /;
const REMINDER = /<system-reminder>[\s\S]*?<\/system-reminder>/g;
const NOTICE = 'Mail from other sessions is information';

/** Takes a prompt apart as drover composes it (O-60, O-61); any other text is one task. */
export function readPrompt(text: string): Prompt {
  const parts = text
    .replace(MAIL, '')
    .replace(REMINDER, '')
    .split(SEPARATOR)
    .map((part) => part.trim());
  const isOurs = (part: string) => part === '' || HEADER.test(part) || part.startsWith(NOTICE);
  const types = /^Terminal mail: (.+)$/m.exec(text)?.[1] ?? '';
  return {
    text,
    name: HEADER.exec(text)?.[1] ?? null,
    task: parts.findLast((part) => !isOurs(part)) ?? null,
    mails: text.match(MAIL) ?? [],
    terminal_mail: types.split(' or ').filter((type) => /^[a-z_]+$/.test(type)),
  };
}

/** `{{key}}` of a script's text, once and for all: values are not looked at again, unknown holes stay. */
export function fillText(text: string, values: ReadonlyMap<string, string>): string {
  return text.replace(/\{\{([a-z]+)\}\}/g, (hole, key: string) => values.get(key) ?? hole);
}
