/** Nothing that a shell would read in another way, and no tilde or dash at the beginning. */
const PLAIN = /^[\w./][\w./-]*$/;
/** What a terminal obeys, or what would not be shown as it is: it must neither be printed nor left out of a command. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/**
 * A word of a command that people copy into their shell: as it is, or in quotes. What cannot be printed is written as
 * `$'\x1b'`, which bash and zsh read; another shell finds no such name.
 */
export function quoted(word: string): string {
  if (PLAIN.test(word)) return word;
  if (word.search(HIDDEN) < 0) return `'${word.replaceAll("'", `'\\''`)}'`;
  const escaped = word.replace(/['\\]/g, (char) => `\\${char}`).replace(HIDDEN, inHex);
  return `$'${escaped}'`;
}

function inHex(char: string): string {
  return [...Buffer.from(char)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
}
