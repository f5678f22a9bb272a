import { expect, test } from 'bun:test';
import { safe } from '../../src/cli/output.ts';
import { quoted } from '../../src/model/shell.ts';

const BELL = '\u0007';
const WORDS = [
  ...['plain', '/a/b-c_d.e', '/tmp/sp ace', "it's", '$HOME', '`id`', '', '~', 'a"b', 'back\\slash', 'é ü'],
  ...['a\nb', `a\u001b[31mb`, `x${BELL}'\\y`, '\u202eevil', '\u009b31m', 'tab\there'],
];

test('a quoted word is one word to a shell, whatever is in it, and shows nothing that a terminal obeys', () => {
  for (const word of WORDS) {
    const command = `printf %s ${quoted(word)}`;
    expect(Bun.spawnSync(['bash', '-c', command]).stdout.toString()).toBe(word);
    // What is shown is what was meant: nothing is taken out on the way to the terminal.
    expect(safe(command)).toBe(command);
  }
  expect([quoted('/a/b-c_d.e'), quoted('/tmp/sp ace'), quoted("it's")]).toEqual([
    '/a/b-c_d.e',
    "'/tmp/sp ace'",
    `'it'\\''s'`,
  ]);
});
