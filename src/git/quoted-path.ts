const ESCAPES: Record<string, number> = { a: 7, b: 8, t: 9, n: 10, v: 11, f: 12, r: 13, '"': 34, '\\': 92 };

/** The bytes of a path as git writes it on a line: as it is, or in quotes with `\n`, `\"`, `\303` for what cannot stand there. */
export function pathBytes(text: string): Buffer {
  if (!isQuoted(text)) return Buffer.from(text);
  const bytes: number[] = [];
  const inner = Buffer.from(text.slice(1, -1));
  for (let at = 0; at < inner.length; at += 1) {
    const next = String.fromCharCode(inner[at + 1] ?? 0);
    if (inner[at] !== 92) bytes.push(inner[at] ?? 0);
    else if (/[0-3]/.test(next)) {
      bytes.push(Number.parseInt(inner.toString('latin1', at + 1, at + 4), 8));
      at += 3;
    } else {
      bytes.push(ESCAPES[next] ?? next.charCodeAt(0));
      at += 1;
    }
  }
  return Buffer.from(bytes);
}

/** The same for people: bytes that are no UTF-8 come out as U+FFFD. */
export function unquotePath(text: string): string {
  return isQuoted(text) ? pathBytes(text).toString('utf8') : text;
}

/** Text before and after a path that may be in quotes, so that the whole is quoted if the path was. */
export function wrapPath(before: string, text: string, after = ''): string {
  return isQuoted(text) ? `"${before}${text.slice(1, -1)}${after}"` : `${before}${text}${after}`;
}

function isQuoted(text: string): boolean {
  return text.length > 1 && text.startsWith('"') && text.endsWith('"');
}
