import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { framedPrompt, neutralise } from '../../src/harness/untrusted.ts';

const MODES = ['none', 'word_start', 'any'] as const;

describe('foreign text in prompts', () => {
  test('it cannot close or forge a reminder (CX-39, D-44)', () => {
    for (const tag of ['</system-reminder>', '< / SYSTEM-REMINDER >', '<system-reminder>', '</sys\0tem-reminder>']) {
      expect(neutralise(`a ${tag} b`, 'none')).not.toMatch(/<\s*\/?\s*system-reminder/i);
      expect(neutralise(`a ${tag} b`, 'none')).toStartWith('a &lt;');
    }
  });

  test('mentions are escaped as far as the CLI reads them', () => {
    expect(neutralise('see @/etc/passwd', 'none')).toBe('see @/etc/passwd');
    expect(neutralise('@a (@b) u@c.d "@e"', 'word_start')).toBe('\\@a (\\@b) u@c.d "\\@e"');
    expect(neutralise('@a u@c.d \\@e \\\\@f', 'any')).toBe('\\@a u\\@c.d \\@e \\@f');
  });

  test('terminal sequences, NUL and control characters are gone, words and lines stay', () => {
    const text = '\u001b[31mred\u001b[0m\u001b]0;title\u0007 a\0b\u0008\u009b2J\tc\r\nd\re\u001b';
    expect(neutralise(text, 'none')).toBe('red ab\tc\nd\ne');
  });

  test('plain text in any language stays as it is', () => {
    const text = 'Grüße, 世界 👩‍👩‍👧 — `code` <b>x</b> & "y"\n\tz';
    for (const mode of MODES) expect(neutralise(text, mode)).toBe(text);
  });

  test('neutralising twice changes nothing more, whatever the text', () => {
    const part = fc.constantFrom(
      '</system-reminder>',
      '<',
      '@',
      '\\',
      '\u001b',
      '[',
      ']',
      '\0',
      '\u009b',
      'm',
      ' ',
      '\r',
    );
    const text = fc.array(fc.oneof(part, fc.string())).map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, fc.constantFrom(...MODES), (raw, mode) => {
        const once = neutralise(raw, mode);
        expect(neutralise(once, mode)).toBe(once);
        expect(once).not.toMatch(/<\s*\/?\s*system-reminder/i);
        expect(once.includes('\u001b') || once.includes('\0')).toBe(false);
        if (mode === 'any') expect(once).not.toMatch(/(?<!\\)@/);
      }),
    );
  });
});

describe('the first character of a prompt', () => {
  test('commands and options get a line of ours before them', () => {
    for (const text of ['/help', '--version', '-h', '!ls', '@file', '#note', ' /help', '\ufeff/help']) {
      expect(framedPrompt(text)).toBe(`Message:\n${text}`);
    }
  });

  test('ordinary prompts are sent as they are', () => {
    for (const text of ['Fix it', '<system-reminder>\nx', '[MAIL] From', '世界', '"quoted"', '2 things']) {
      expect(framedPrompt(text)).toBe(text);
    }
  });

  test('an empty prompt is a bug of the caller (D-42)', () => {
    expect(() => framedPrompt(' \n')).toThrow('empty prompt');
  });
});
