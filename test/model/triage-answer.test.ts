import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { REASON_LIMIT, TRIAGE_WORDS } from '../../src/model/triage.ts';
import { triageAnswer } from '../../src/model/triage-answer.ts';

const said = (verdict: string, reason: unknown = 'so') => JSON.stringify({ verdict, reason });

describe('the answer of a second opinion (O-69)', () => {
  test.each(TRIAGE_WORDS)('%s, with whatever a model writes around it', (verdict) => {
    const expected = { verdict, reason: 'it {waits} for "x" and }" \\' };
    const text = said(verdict, expected.reason);
    for (const around of [text, `Here:\n\`\`\`json\n${text}\n\`\`\`\nHope it helps {}`, `{"a": ${text}} {{ ${text}`])
      expect(triageAnswer(around)).toEqual(expected);
    expect(triageAnswer(said(` ${verdict.toUpperCase()} `))?.verdict).toBe(verdict);
  });

  test.each([
    ['', 'nothing'],
    ['extend', 'no object'],
    [said('retry'), 'a word that is none of the four'],
    [said('extend', 7), 'a reason that is no text'],
    ['{"verdict":"extend"', 'an object that does not end'],
    ["{'verdict':'extend'}", 'no JSON'],
    ['["extend"]', 'a list'],
    [`${said('extend')} but rather ${said('terminate')}`, 'two that differ'],
  ])('%p is no answer: %s', (text) => {
    expect(triageAnswer(text)).toBeNull();
  });

  test('the reason is one line, and cut', () => {
    expect(triageAnswer(said('nudge', ' a\n\tb '))?.reason).toBe('a b');
    expect(triageAnswer(said('nudge', '🙂'.repeat(900)))?.reason).toBe('🙂'.repeat(REASON_LIMIT));
    expect(triageAnswer('{"verdict":"nudge"}')).toEqual({ verdict: 'nudge', reason: '' });
    expect(triageAnswer(`${said('nudge', 'one')} ${said('nudge', 'two')}`)?.reason).toBe('one');
  });

  test('no text makes it throw or take long', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => triageAnswer(text) === null));
    for (const text of ['{'.repeat(200_000), '{"'.repeat(100_000)]) expect(triageAnswer(text)).toBeNull();
  }, 60_000);
});
