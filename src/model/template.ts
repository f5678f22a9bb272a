import { AppError } from './error.ts';

const HOLE = /\{\{([^{}]*)\}\}/g;
const HOLE_NAME = /^[a-z][a-z0-9_]*$/;

/**
 * Fills the `{{name}}` holes of one of our own texts (O-63). Names are lowercase words joined by `_`, without blanks.
 *
 * Strict, because a prompt with a hole in it is sent to nobody's notice: every hole needs a value and every value a
 * hole. Values go in as they are and are never looked at again, so no value can open a hole of its own.
 *
 * Throws `template_unfilled` (bug) and names every hole that does not fit.
 */
export function fillTemplate(text: string, values: Readonly<Record<string, string>>): string {
  const wanted = new Set([...text.matchAll(HOLE)].map((match) => match[1] ?? ''));
  const has = (name: string) => HOLE_NAME.test(name) && Object.hasOwn(values, name);
  const unknown = [...wanted].filter((name) => !has(name));
  const unused = Object.keys(values).filter((name) => !wanted.has(name));
  const loose = /\{\{|\}\}/.test(text.replace(HOLE, ''));
  if (unknown.length > 0 || unused.length > 0 || loose) throw unfilled(unknown, unused, loose);
  return text.replace(HOLE, (_hole, name: string) => values[name] ?? '');
}

function unfilled(unknown: string[], unused: string[], loose: boolean): AppError {
  const holes = (names: string[]) => names.map((name) => `{{${name}}}`).join(', ');
  const problems = [
    unknown.length > 0 ? `no value for ${holes(unknown)}` : null,
    unused.length > 0 ? `no hole for ${holes(unused)}` : null,
    loose ? 'braces that belong to no hole' : null,
  ].filter((problem) => problem !== null);
  return new AppError('bug', 'template_unfilled', `A template does not fit its values: ${problems.join('; ')}.`, {
    data: { unknown, unused },
  });
}
