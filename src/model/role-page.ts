import { AppError } from './error.ts';
import { NAME } from './id.ts';
import { MAIL_TYPES, type MailType, RESERVED_MAIL_TYPES } from './mail.ts';
import { CAPABILITIES, type Role } from './role.ts';

/** A longer page is a mistake, and every first prompt would pay for it. Characters. */
const PAGE_LIMIT = 64 * 1024;

const PAGE = /^\uFEFF?---[ \t]*\n([\s\S]*?)\n---[ \t]*(?:\n|$)([\s\S]*)$/;

const OUR_KEYS = ['persistent', 'terminal-mail', 'can'];

/**
 * One page of `agents/` as a role (O-49, O-64): YAML front matter between two `---` lines, then the prompt.
 *
 * Front matter as Claude Code reads it for subagents: `name` (default: `fallbackName`, and never another name, because
 * sessions find their page by it), `description` (required), `tools` (list, or words joined by commas; none = all),
 * `model` (`inherit` = none). Ours: `persistent`, `terminal-mail`, `can`. Other keys belong to other programs and are
 * left alone, except spellings of ours: a right or a contract must not be lost to a typing error.
 *
 * Throws `role_page_invalid` (2) with every problem of the page in the message.
 */
export function parseRolePage(text: string, fallbackName: string): Role {
  const problems: string[] = [];
  const page = text.length > PAGE_LIMIT ? null : PAGE.exec(text.replace(/\r\n?/g, '\n'));
  if (text.length > PAGE_LIMIT) throw invalid(fallbackName, [`it is longer than ${PAGE_LIMIT} characters`]);
  if (page === null) throw invalid(fallbackName, ['it does not begin with front matter between two lines of ---']);
  const matter = frontMatter(page[1] ?? '', problems);
  const name = words(matter.name ?? fallbackName, 'name', problems);
  if (!NAME.test(name))
    problems.push(`name: ${JSON.stringify(name)} is not a name of lowercase letters, digits, dots and dashes`);
  else if (name !== fallbackName) problems.push(`name: says ${name}, but the page is called ${fallbackName}`);
  const model = matter.model === undefined ? 'inherit' : words(matter.model, 'model', problems);
  const role: Role = {
    name,
    description: words(matter.description ?? '', 'description', problems),
    is_persistent: flag(matter.persistent, 'persistent', problems),
    terminal_mail: oneOf(matter['terminal-mail'], 'terminal-mail', TERMINAL_TYPES, problems),
    can: oneOf(matter.can, 'can', CAPABILITIES, problems),
    tools: list(matter.tools, 'tools', problems),
    model: model === 'inherit' ? null : model,
    prompt: (page[2] ?? '').trim(),
    version: `${name}@${new Bun.CryptoHasher('sha256').update(text).digest('hex').slice(0, 8)}`,
  };
  if (role.prompt === '') problems.push('there is no text below the front matter');
  if (role.is_persistent && role.terminal_mail.length > 0) {
    problems.push('terminal-mail: a persistent role never ends by mail; remove it, or persistent');
  }
  if (problems.length > 0) throw invalid(fallbackName, problems);
  return role;
}

/** What a contract may ask for: anything an agent can send. */
const TERMINAL_TYPES: readonly MailType[] = MAIL_TYPES.filter((type) => !RESERVED_MAIL_TYPES.includes(type));

function invalid(name: string, problems: string[]): AppError {
  return new AppError('usage', 'role_page_invalid', `The page of role ${name} is not usable: ${problems.join('; ')}.`, {
    hint: 'Correct the page; nothing was started.',
    preserved: 'nothing was stored',
    data: { role: name, problems },
  });
}

function frontMatter(yaml: string, problems: string[]): Record<string, unknown> {
  let value: unknown;
  try {
    value = Bun.YAML.parse(yaml);
  } catch (error) {
    problems.push(`the front matter is not YAML: ${error instanceof Error ? error.message : String(error)}`);
    return {};
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    problems.push('the front matter is not a list of "key: value" lines');
    return {};
  }
  for (const key of Object.keys(value)) {
    const meant = OUR_KEYS.find((ours) => ours.replace('-', '') === key.toLowerCase().replace(/[-_ ]/g, ''));
    if (meant !== undefined && meant !== key) problems.push(`${key}: is spelled ${meant}`);
  }
  return value as Record<string, unknown>;
}

function words(value: unknown, key: string, problems: string[]): string {
  if (typeof value === 'string' && value.trim() !== '') return value.trim();
  problems.push(`${key}: must be text that is not empty`);
  return '';
}

function flag(value: unknown, key: string, problems: string[]): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? false;
  problems.push(`${key}: must be true or false`);
  return false;
}

function list(value: unknown, key: string, problems: string[]): string[] {
  const items: unknown[] = typeof value === 'string' ? value.split(',') : Array.isArray(value) ? value : [];
  const isList = value === undefined || value === null || typeof value === 'string' || Array.isArray(value);
  if (!isList || items.some((item) => typeof item !== 'string')) {
    problems.push(`${key}: must be a list of words`);
    return [];
  }
  return [...new Set(items.map((item) => String(item).trim()).filter((item) => item !== ''))];
}

function oneOf<T extends string>(value: unknown, key: string, known: readonly T[], problems: string[]): T[] {
  return list(value, key, problems).filter((item): item is T => {
    const isKnown = (known as readonly string[]).includes(item);
    if (!isKnown) problems.push(`${key}: there is no ${JSON.stringify(item)}; known: ${known.join(', ')}`);
    return isKnown;
  });
}
