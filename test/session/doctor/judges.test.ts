import { describe, expect, test } from 'bun:test';
import type { Diagnosis } from '../../../src/model/finding.ts';
import { isHealthy } from '../../../src/model/finding.ts';
import { judgeClock } from '../../../src/session/doctor/database.ts';
import { judgeProbe } from '../../../src/session/doctor/harnesses.ts';
import { judgeDisk, judgeFileSystem } from '../../../src/session/doctor/home.ts';
import { judgeBun, judgeGit, judgeInotify } from '../../../src/session/doctor/machine.ts';
import type { Probed } from '../../../src/session/doctor/probe.ts';

const level = ({ finding }: Diagnosis) => finding.level;

test('Bun and git are judged by their versions', () => {
  expect(['1.4.5', '1.5.0', '2.0.0'].map((version) => level(judgeBun(version)))).toEqual(['ok', 'ok', 'ok']);
  expect(level(judgeBun('1.3.13'))).toBe('problem');
  const git = (said: string | null) => level(judgeGit(said));
  expect(['git version 2.38.0', 'git version 2.39.5 (Apple Git-154)', 'git version 3.0'].map(git)).toEqual([
    'ok',
    'ok',
    'ok',
  ]);
  expect(['git version 2.37.9', null].map(git)).toEqual(['problem', 'problem']);
  expect(git('mystery')).toBe('warning');
});

test('a database on a network file system is a problem, a local one is none', () => {
  const judge = (type: number) => judgeFileSystem('/h', type).finding;
  expect(judge(0x6969)).toMatchObject({ level: 'problem', what: expect.stringContaining('/h is on NFS') });
  expect(judge(0x01021997)).toMatchObject({ level: 'problem', what: expect.stringContaining('9P') });
  // `statfs` may give it as a negative number.
  expect(judge(0xff534d42 | 0)).toMatchObject({ level: 'problem', what: expect.stringContaining('CIFS') });
  expect([0xef53, 0x9123683e, 0x58465342, 0x01021994].map((type) => judge(type).level)).toEqual([
    'ok',
    'ok',
    'ok',
    'ok',
  ]);
});

test('the disk: below the limit no turn starts; twice the limit is room enough', () => {
  const MEBI = 1_048_576;
  expect(level(judgeDisk(200 * MEBI - 1, 200))).toBe('problem');
  expect(level(judgeDisk(200 * MEBI, 200))).toBe('warning');
  expect(level(judgeDisk(400 * MEBI, 200))).toBe('ok');
});

test('a clock behind the newest row went back', () => {
  expect(judgeClock(null, 1_000)).toEqual([]);
  expect(judgeClock(3_000, 1_000).map(level)).toEqual(['ok']);
  expect(judgeClock(61_000, 1_000)[0]?.finding).toMatchObject({
    level: 'problem',
    what: expect.stringContaining('60 s'),
  });
});

test('limits of inotify', () => {
  expect(level(judgeInotify(128, 8_192))).toBe('ok');
  expect(level(judgeInotify(127, 8_192))).toBe('warning');
  expect(level(judgeInotify(128, 8_191))).toBe('warning');
  expect(level(judgeInotify(null, null))).toBe('ok');
});

describe('what a conversation with the scripted model proves', () => {
  const good: Probed = {
    seen: { session: 1, text: 1, result: 1 },
    unknown: [],
    malformed: 0,
    result: { ok: true, reason: 'success' },
    exit: { code: 0, signal: null },
    timed_out: false,
    asked: 1,
    needs_model: true,
    stderr_tail: '',
  };
  const judged = (change: Partial<Probed>) =>
    judgeProbe('harness x', { ...good, ...change }).map(({ finding }) => finding);

  test('nothing is wrong with one that ends well', () => {
    expect(judged({})).toEqual([]);
  });

  test('unknown event types are listed, and are a warning', () => {
    expect(judged({ unknown: ['brand/new', 'other'] })).toMatchObject([
      { level: 'warning', what: 'event types its parser does not know: brand/new, other' },
    ]);
    expect(judged({ malformed: 2 })).toMatchObject([{ level: 'warning', what: expect.stringContaining('2 lines') }]);
  });

  test('it asked the model and ended with 0, but said no result that is understood: a problem', () => {
    expect(judged({ result: null })).toMatchObject([{ level: 'problem', what: expect.stringContaining('no result') }]);
    expect(judged({ result: { ok: false, reason: 'odd' } })).toMatchObject([{ level: 'problem' }]);
  });

  test('one that did not take part proves nothing: a warning', () => {
    expect(judged({ result: null, asked: 0 })).toMatchObject([
      { level: 'warning', what: expect.stringContaining('without asking the scripted model') },
    ]);
    expect(judged({ result: null, timed_out: true, exit: null })).toMatchObject([
      { level: 'warning', what: expect.stringContaining('after 60 s') },
    ]);
    expect(judged({ result: null, exit: { code: 1, signal: null }, stderr_tail: 'a\nno such flag' })).toMatchObject([
      { level: 'warning', what: expect.stringContaining('ended with 1 with no result: no such flag') },
    ]);
  });
});

test('warnings and mended problems are no reason for a bad exit code', () => {
  const finding = { check: 'c', what: 'w', hint: null, fix: null };
  expect(
    isHealthy([
      { ...finding, level: 'warning' },
      { ...finding, level: 'problem', fixed: true },
    ]),
  ).toBe(true);
  expect(isHealthy([{ ...finding, level: 'problem' }])).toBe(false);
  expect(isHealthy([{ ...finding, level: 'problem', fixed: false }])).toBe(false);
});
